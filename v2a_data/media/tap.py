"""The decode tap: one demux and decode of a video gives every scorer what it declared.

Arrays go to `.npy` files in a folder; sound is streamed to disk, so memory stays flat for any length.
"""

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import av
import numpy as np

from v2a_data.errors import ItemError
from v2a_data.media.decode import Media, Picture, SoundChunk
from v2a_data.media.limits import open_media
from v2a_data.media.pick import Picker
from v2a_data.media.picture import Scaler
from v2a_data.media.sound import Resampler, Timeline, mix_to

MONO_RATE_HZ = 16000
SoundForm = Literal["source", "mono16k"]


@dataclass(frozen=True)
class TapSpec:
    """What one decode has to yield: every form of picture and sound that some scorer declared.

    `windows` are start seconds of windows `window_s` long; `frames` holds (frames per window,
    shorter side in px), `luma` (width, height, per second).
    """

    windows: tuple[float, ...]
    window_s: float
    frames: tuple[tuple[int, int], ...] = ()
    luma: tuple[tuple[int, int, float], ...] = ()
    sound: tuple[SoundForm, ...] = ()

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "TapSpec":
        frames = tuple((int(count), int(px)) for count, px in value["frames"])
        luma = tuple((int(width), int(height), float(rate)) for width, height, rate in value["luma"])
        return cls(tuple(value["windows"]), value["window_s"], frames, luma, tuple(value["sound"]))


def frames_name(count: int, px: int) -> str:
    """File stem of a frames track."""
    return f"frames-{count}-{px}"


def luma_name(width: int, height: int, rate: float) -> str:
    """File stem of a luma track."""
    return f"luma-{width}-{height}-{rate:g}"


def frame_times(windows: np.ndarray, window_s: float, count: int) -> np.ndarray:
    """Times `(n, count)` of `count` frames evenly inside each window; one frame is at its centre."""
    return windows[:, None] + (np.arange(count) + 0.5) / max(count, 1) * window_s


def tap(path: str, spec: TapSpec, folder: str) -> dict[str, Any]:
    """Decode `path` once and write what `spec` asks into `folder`.

    Per frames track `<stem>.npy` (windows, k, h, w, 3) uint8 and `<stem>-s.npy` (windows, k); per
    luma track `<stem>.npy` (m, h, w) uint8 and `<stem>-s.npy` (m,); `sound-source.npy` (samples,
    channels) and `sound-mono16k.npy` (samples, 1) float32 from the first window's start on. Sound
    without a sample is not written. Returns `rate_hz` of the source's sound and the number of
    `pictures` decoded. Raises `ItemError("picture_undecodable")` where no picture decodes.
    """
    media = Media(open_media(path))
    out = Path(folder)
    start_s, stop_s = spec.windows[0], spec.windows[-1] + spec.window_s
    tracks = _tracks(spec, media, out, stop_s)
    sounds = _Sounds(spec, out, start_s, stop_s)
    pictures, picture_done, sound_done = 0, not tracks, not spec.sound
    for item in media.decode(start_s):
        if isinstance(item, Picture):
            pictures += 1
            for track in tracks:
                track.push(item)
            picture_done = picture_done or item.time_s >= stop_s
        else:
            sounds.push(item)
            sound_done = sound_done or item.time_s >= stop_s
        if picture_done and sound_done:
            break
    media.container.close()
    if tracks and not pictures:
        raise ItemError("picture_undecodable")
    for track in tracks:
        track.finish()
    return {"pictures": pictures, **sounds.finish()}


def _tracks(spec: TapSpec, media: Media, out: Path, stop_s: float) -> list["_Track"]:
    windows = np.asarray(spec.windows)
    scaler = Scaler(float(media.video.sample_aspect_ratio or 1) if media.video is not None else 1.0)
    tracks = []
    for count, px in spec.frames:
        times = frame_times(windows, spec.window_s, count)
        convert = partial(scaler.rgb, shorter_side=px)
        tracks.append(_Track(out / frames_name(count, px), times.reshape(-1), convert, times.shape))
    for width, height, rate in spec.luma:
        times = windows[0] + np.arange(int(np.ceil((stop_s - windows[0]) * rate))) / rate
        convert = partial(scaler.luma, width=width, height=height)
        tracks.append(_Track(out / luma_name(width, height, rate), times, convert, times.shape))
    return tracks


class _Track:
    """One picked series of pictures on its way to disk. A frame picked twice is scaled once."""

    def __init__(
        self, stem: Path, times_s: np.ndarray, convert: Callable[[av.VideoFrame], np.ndarray], grid: tuple[int, ...]
    ) -> None:
        self.picker, self.convert, self.grid, self.stem = Picker(times_s, "shown"), convert, grid, stem
        self.stream = _NpyStream(stem.with_name(f"{stem.name}.npy"))
        self.times_s: list[float] = []
        self.last: np.ndarray | None = None

    def push(self, picture: Picture) -> None:
        self._take(self.picker.push(picture))

    def _take(self, picked: Iterable[tuple[int, Picture]]) -> None:
        for _, picture in picked:
            if self.last is None or self.times_s[-1] != picture.time_s:
                array = self.convert(picture.frame)
                self.last = array if self.last is None else _match(array, self.last.shape)
            self.stream.append(self.last[None])
            self.times_s.append(picture.time_s)

    def finish(self) -> None:
        self._take(self.picker.finish())
        self.stream.close(self.grid)
        np.save(self.stem.with_name(f"{self.stem.name}-s.npy"), np.asarray(self.times_s).reshape(self.grid))


def _match(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Nearest-pixel copy at another size: streams that change resolution half-way stay usable."""
    if array.shape == shape:
        return array
    rows = np.arange(shape[0]) * array.shape[0] // shape[0]
    columns = np.arange(shape[1]) * array.shape[1] // shape[1]
    return array[rows][:, columns]


class _Sounds:
    """Sound at the source's rate, and mixed to 16 kHz mono, streamed to disk.

    The mix to mono is decided per window, so that anti-phase stereo does not vanish in it.
    """

    def __init__(self, spec: TapSpec, out: Path, start_s: float, stop_s: float) -> None:
        self.timeline = Timeline(start_s)
        self.spec, self.stop_s = spec, stop_s
        self.source = _NpyStream(out / "sound-source.npy") if "source" in spec.sound else None
        self.mono = _NpyStream(out / "sound-mono16k.npy") if "mono16k" in spec.sound else None
        self.resampler: Resampler | None = None
        self.waiting: list[np.ndarray] = []

    def push(self, chunk: SoundChunk) -> None:
        if chunk.time_s >= self.stop_s or not (self.source or self.mono):
            return
        samples = self.timeline.lay(chunk)
        if samples is None:
            return
        if self.source:
            self.source.append(samples.T)
        if self.mono:
            self.waiting.append(samples)
            self._mix_windows(round(self.spec.window_s * self.timeline.rate_hz))

    def _mix_windows(self, size: int) -> None:
        if sum(part.shape[1] for part in self.waiting) < size:
            return
        joined = np.concatenate(self.waiting, axis=1)
        for first in range(0, joined.shape[1] - size + 1, size):
            self._mix(joined[:, first : first + size])
        self.waiting = [joined[:, joined.shape[1] // size * size :]]

    def _mix(self, samples: np.ndarray) -> None:
        assert self.mono is not None
        self.resampler = self.resampler or Resampler(self.timeline.rate_hz, MONO_RATE_HZ)
        for piece in self.resampler.push(mix_to(1, samples)[0]):
            self.mono.append(piece[:, None])

    def finish(self) -> dict[str, Any]:
        if self.mono:
            rest = np.concatenate(self.waiting, axis=1) if self.waiting else np.zeros((1, 0), np.float32)
            if rest.shape[1]:
                self._mix(rest)
            for piece in self.resampler.flush() if self.resampler else ():
                self.mono.append(piece[:, None])
        for stream in (self.source, self.mono):
            if stream:
                stream.close()
        return {"rate_hz": self.timeline.rate_hz}


class _NpyStream:
    """A .npy file written row by row; its header is set at the end. Nothing is written without rows."""

    _HEADER_BYTES = 192

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: BinaryIO | None = None
        self.rows = 0
        self.item: tuple[int, ...] = ()
        self.dtype = np.dtype(np.float32)

    def append(self, rows: np.ndarray) -> None:
        """`(n, ...)`; all rows have one shape and type."""
        if self.file is None:
            self.file = self.path.open("wb")
            self.file.write(bytes(self._HEADER_BYTES))
            self.item, self.dtype = rows.shape[1:], rows.dtype
        self.file.write(np.ascontiguousarray(rows).tobytes())
        self.rows += len(rows)

    def close(self, grid: tuple[int, ...] | None = None) -> None:
        """`grid` splits the first axis, for example into windows and frames."""
        if self.file is None:
            return
        header = io.BytesIO()
        shape = (*(grid or (self.rows,)), *self.item)
        descr = np.lib.format.dtype_to_descr(self.dtype)
        np.lib.format.write_array_header_1_0(header, {"descr": descr, "fortran_order": False, "shape": shape})
        self.file.seek(0)
        self.file.write(_padded(header.getvalue(), self._HEADER_BYTES))
        self.file.close()


def _padded(header: bytes, size: int) -> bytes:
    """The same .npy header filled with spaces up to `size` bytes (format 1.0 allows any filling)."""
    fill = size - len(header)
    length = int.from_bytes(header[8:10], "little") + fill
    return header[:8] + length.to_bytes(2, "little") + header[10:-1] + b" " * fill + b"\n"
