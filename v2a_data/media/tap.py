"""The decode tap: one demux and decode of a video gives every scorer what it declared.

Arrays go to `.npy` files in a folder; sound is streamed to disk, so memory stays flat for any length.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import av
import numpy as np

from v2a_data.errors import ItemError
from v2a_data.media.decode import TICK_S, Media, Picture, SoundChunk
from v2a_data.media.limits import open_media
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
    without a sample is not written.

    A window's frames are source frames of `[start, stop)`: those on screen at the wanted times, or the next
    one where that came on before the window. A window without a source frame has black ones at NaN s. Luma is
    what is on screen, whenever it came on.

    Returns `rate_hz` of the source's sound and the number of `pictures` decoded. Raises
    `ItemError("picture_undecodable")` where no picture decodes.
    """
    media = Media(open_media(path))
    if not spec.sound:
        media.audio = None
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
        spans = [(start, start + spec.window_s) for start in spec.windows for _ in range(count)]
        tracks.append(_Track(out / frames_name(count, px), times, spans, partial(scaler.rgb, shorter_side=px)))
    for width, height, rate in spec.luma:
        times = windows[0] + np.arange(int(np.ceil((stop_s - windows[0]) * rate))) / rate
        spans = [(-np.inf, np.inf)] * len(times)
        convert = partial(scaler.luma, width=width, height=height)
        tracks.append(_Track(out / luma_name(width, height, rate), times, spans, convert))
    return tracks


class _Track:
    """One picked series of pictures on its way to disk. A frame picked twice is scaled once.

    Each wanted time (rising) gets the frame on screen, or the next one where that one's time is before the span
    of the wanted time; and black where no frame has its time in the span.
    """

    def __init__(
        self,
        stem: Path,
        times_s: np.ndarray,
        spans: Sequence[tuple[float, float]],
        convert: Callable[[av.VideoFrame], np.ndarray],
    ) -> None:
        self.wanted, self.grid, self.spans = times_s.reshape(-1).tolist(), times_s.shape, spans
        self.convert, self.stem = convert, stem
        self.stream = _NpyStream(stem.with_name(f"{stem.name}.npy"))
        self.times_s: list[float] = []
        self.shown: Picture | None = None
        self.scaled: Picture | None = None
        self.array: np.ndarray | None = None

    def push(self, picture: Picture) -> None:
        if self.shown is not None and picture.time_s <= self.shown.time_s:
            return
        until_s = picture.time_s - TICK_S
        while len(self.times_s) < len(self.wanted) and self.wanted[len(self.times_s)] < until_s:
            earliest_s, before_s = self.spans[len(self.times_s)]
            if self.shown is not None and self.shown.time_s >= earliest_s:
                self._take(self.shown)
            else:
                self._take(picture, inside=picture.time_s < before_s)
        self.shown = picture

    def finish(self) -> None:
        """The wanted times after the last frame get that frame, if it is inside."""
        assert self.shown is not None
        while len(self.times_s) < len(self.wanted):
            self._take(self.shown, inside=self.shown.time_s >= self.spans[len(self.times_s)][0])
        self.stream.close(self.grid)
        np.save(self.stem.with_name(f"{self.stem.name}-s.npy"), np.asarray(self.times_s).reshape(self.grid))

    def _take(self, picture: Picture, *, inside: bool = True) -> None:
        if self.array is None or (inside and self.scaled is not picture):
            array = self.convert(picture.frame)
            self.array = array if self.array is None else _match(array, self.array.shape)
            self.scaled = picture
        self.stream.append((self.array if inside else np.zeros_like(self.array))[None])
        self.times_s.append(picture.time_s if inside else np.nan)


def _match(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Nearest-pixel copy at another size: streams that change resolution half-way stay usable."""
    if array.shape == shape:
        return array
    rows = np.arange(shape[0]) * array.shape[0] // shape[0]
    columns = np.arange(shape[1]) * array.shape[1] // shape[1]
    return array[rows][:, columns]


class _Sounds:
    """Sound at the source's rate, and mixed to 16 kHz mono, streamed to disk a window at a time.

    The mix to mono is decided per window, so that anti-phase stereo does not vanish in it.
    """

    def __init__(self, spec: TapSpec, out: Path, start_s: float, stop_s: float) -> None:
        self.timeline = Timeline(start_s)
        self.window_s, self.stop_s = spec.window_s, stop_s
        self.source = _NpyStream(out / "sound-source.npy") if "source" in spec.sound else None
        self.mono = _NpyStream(out / "sound-mono16k.npy") if "mono16k" in spec.sound else None
        self.resampler: Resampler | None = None
        self.waiting: list[np.ndarray] = []
        self.waits = 0
        self.changed = False

    def push(self, chunk: SoundChunk) -> None:
        if chunk.time_s >= self.stop_s or self.changed:
            return
        try:
            pieces = self.timeline.lay(chunk)
        except ItemError:
            # Other channels or another rate from here on: what follows has no sound that could be compared.
            self.changed = True
            return
        for piece in pieces:
            self._add(piece)

    def _add(self, samples: np.ndarray) -> None:
        self.waiting.append(samples)
        self.waits += samples.shape[1]
        size = round(self.window_s * self.timeline.rate_hz)
        if self.waits < size:
            return
        joined = np.concatenate(self.waiting, axis=1)
        whole = self.waits // size * size
        for first in range(0, whole, size):
            self._write(joined[:, first : first + size])
        self.waiting, self.waits = [joined[:, whole:]], self.waits - whole

    def _write(self, samples: np.ndarray) -> None:
        if self.source:
            self.source.append(samples.T)
        if self.mono:
            self.resampler = self.resampler or Resampler(self.timeline.rate_hz, MONO_RATE_HZ)
            for piece in self.resampler.push(mix_to(1, samples)[0]):
                self.mono.append(piece[:, None])

    def finish(self) -> dict[str, Any]:
        if self.waits:
            self._write(np.concatenate(self.waiting, axis=1))
        if self.mono and self.resampler:
            for piece in self.resampler.flush():
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
        self.file.write(np.ascontiguousarray(rows).data)
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
