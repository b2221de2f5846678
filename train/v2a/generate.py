"""Sound for silent video of any length, at flat memory: frames in, overlapping stretches of sound out."""

import tempfile
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from v2a.built import form_of, load_decoder, load_vqvae
from v2a.colour import video
from v2a.config import TrainConfig
from v2a.models.base import SoundDecoder, VideoEncoder
from v2a.reading.form import Form
from v2a_data.errors import ItemError
from v2a_data.media.client import MediaChild

_STRETCH_S = 10.0
_OVERLAP_SHARE = 0.1
_TAKE_FRAMES = 250
# Audio samples over which two stretches are asked whether they agree; a power below hearing.
_PIECE = 512
_NO_POWER = 1e-12


class SoundMaker:
    """A trained encoder and decoder."""

    def __init__(self, encoder: VideoEncoder, decoder: SoundDecoder, form: Form, device: torch.device) -> None:
        self.encoder, self.decoder, self.form, self.device = encoder, decoder, form, device
        time = encoder.stride[0]
        if decoder.whole_windows:
            self.stretch = decoder.shape.frames * time
        else:
            self.stretch = max(1, round(_STRETCH_S * form.fps / time)) * time
        self.overlap = max(1, round(self.stretch * _OVERLAP_SHARE / time)) * time

    @classmethod
    def load(cls, config: TrainConfig, checkpoints: Path, device: torch.device) -> "SoundMaker":
        """From the newest checkpoints. Raises `MissingToolError` before they exist, `UsageError` where the
        decoder belongs to another encoder."""
        encoder, found = load_vqvae(config, checkpoints, device)
        decoder, view = load_decoder(config, checkpoints, encoder, found, device)
        return cls(encoder, decoder, form_of(view), device)

    def whole(self, planes: np.ndarray) -> np.ndarray:
        """Planes `(T, …)` of the form → sound `(T · samples per frame,)` float32."""
        return np.concatenate(list(self.stream(iter([planes]))))

    def stream(self, pieces: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Pieces of planes in order → pieces of sound, as long together as the video.

        Stretches overlap by a tenth and are cross-faded at even power.
        """
        audio = self.form.samples_per_frame
        waiting = np.zeros((0, *self.form.plane_shape(1)[1:]), np.uint8)
        tail: np.ndarray | None = None
        for piece in pieces:
            waiting = np.concatenate([waiting, piece])
            while len(waiting) >= self.stretch + self.overlap:
                sound = faded(tail, self._sound(waiting[: self.stretch]))
                tail = sound[-self.overlap * audio :]
                yield sound[: -self.overlap * audio]
                waiting = waiting[self.stretch - self.overlap :]
        if len(waiting):
            yield from self._last(waiting, tail)

    def _last(self, waiting: np.ndarray, tail: np.ndarray | None) -> Iterator[np.ndarray]:
        """What is left: at most a stretch and an overlap; a decoder of whole windows takes it in two."""
        audio = self.form.samples_per_frame
        if self.decoder.whole_windows and len(waiting) > self.stretch:
            sound = faded(tail, self._sound(waiting[: self.stretch]))
            tail = sound[-self.overlap * audio :]
            yield sound[: -self.overlap * audio]
            waiting = waiting[self.stretch - self.overlap :]
        yield faded(tail, self._sound(waiting))

    @torch.inference_mode()
    def _sound(self, planes: np.ndarray) -> np.ndarray:
        shown = video(torch.from_numpy(planes[None]).to(self.device), self.form)
        sound = self.decoder.generate(self.encoder.encode(shown).values)[0]
        samples = len(planes) * self.form.samples_per_frame
        return np.asarray(sound[:samples].clamp(-1, 1).float().cpu().numpy())


def faded(tail: np.ndarray | None, sound: np.ndarray) -> np.ndarray:
    """`sound` with its beginning cross-faded from the end of the stretch before: its power goes evenly from one's
    to the other's.

    Parts that do not agree keep that power by themselves; where they agree, in each short piece, their sum would
    be up to 3 dB louder than either and is turned down.
    """
    if tail is None:
        return sound
    count = min(len(tail), len(sound))
    ramp = np.linspace(0, np.pi / 2, count)
    old, new, out, up = tail[:count].astype(np.float64), sound[:count].astype(np.float64), np.cos(ramp), np.sin(ramp)
    power = out**2 * _smoothed(old**2) + up**2 * _smoothed(new**2) + _NO_POWER
    agreement = 2 * out * up * np.maximum(_smoothed(old * new), 0.0)
    mixed = np.clip((old * out + new * up) * np.sqrt(power / (power + agreement)), -1, 1).astype(np.float32)
    return np.concatenate([mixed, sound[count:]])


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Means over `_PIECE` samples around each, over fewer at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    first, last = np.maximum(places - _PIECE // 2, 0), np.minimum(places + _PIECE // 2 + 1, len(values))
    return np.asarray((sums[last] - sums[first]) / (last - first))


def generate_file(maker: SoundMaker, video: Path, target: Path, progress: Callable[[int], None]) -> int:
    """Sound for one video, to `.wav`, or with the video's picture to `.mp4` or `.mkv`; returns the frames.

    Raises `ItemError` where the video cannot be decoded. Nothing is left under the final name then.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".tmp-") as folder:
        sound = Path(folder) / "sound.wav"
        with MediaChild() as child:
            child.grid_open(video, maker.form.width, maker.form.height, maker.form.fps, maker.form.fit)
            frames = _write_wav(sound, maker, _pieces(child, maker.form, Path(folder)), progress)
        if not frames:
            raise ItemError("no_picture", f"{video.name} has no frames")
        finished = sound
        if target.suffix.lower() != ".wav":
            from v2a_data.media.ffmpeg import mux

            finished = Path(folder) / f"muxed{target.suffix.lower()}"
            mux(video, sound, finished)
        finished.replace(target)
    return frames


def _pieces(child: MediaChild, form: Form, folder: Path) -> Iterator[np.ndarray]:
    """The frames of the form, out of those in colour, whose luma comes first."""
    while len(piece := child.grid_take(_TAKE_FRAMES, folder)):
        yield piece[:, : form.plane_shape(1)[1]]


def _write_wav(path: Path, maker: SoundMaker, pieces: Iterator[np.ndarray], progress: Callable[[int], None]) -> int:
    samples = 0
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(maker.form.rate_hz)
        for sound in maker.stream(pieces):
            file.writeframes(to_pcm(sound).tobytes())
            samples += len(sound)
            progress(len(sound) // maker.form.samples_per_frame)
    return samples // maker.form.samples_per_frame


def to_pcm(sound: np.ndarray) -> np.ndarray:
    """Float −1..1 to 16 bit, little-endian."""
    return np.clip(np.round(sound * 32767), -32768, 32767).astype("<i2")
