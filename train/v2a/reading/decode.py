"""Samples to arrays: runs in stream workers, imports no torch."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.plane import VideoPlane

from v2a.reading.form import DamagedError, Form, Grid
from v2a_data.errors import FatalError
from v2a_data.media.decode import to_float
from v2a_data.media.limits import DEMUXERS, PROTOCOLS
from v2a_data.media.picture import Scaler

_FULL_SCALE = np.float32(1 / 32768)


@dataclass(frozen=True)
class Target:
    """Where frames of the view from `start` on go: planes (T, …) uint8, with sound (T · samples per frame,) float32."""

    start: int
    planes: np.ndarray
    sound: np.ndarray


class Decoder:
    """Decodes samples of one shard set into preallocated arrays. One swscale context is kept."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self._scaler = Scaler()

    def decode(self, mp4: bytes, shard_fps: Fraction, planes: np.ndarray, sound: np.ndarray) -> tuple[int, int]:
        """Fill `planes` and `sound` from the sample's start; returns how many frames and audio samples were there.

        Of the pictures the rest is left as it is, of the sound it is silence.
        """
        return self.fill(mp4, shard_fps, [Target(0, planes, sound)])

    def fill(self, mp4: bytes, shard_fps: Fraction, targets: Sequence[Target]) -> tuple[int, int]:
        """Fill targets, whose spans do not overlap; decodes from the keyframe at or before the first of them only.

        Returns how many of their frames and audio samples were there. Raises `DamagedError` for what FFmpeg refuses.
        """
        try:
            return self._fill(mp4, shard_fps, targets)
        except av.FFmpegError as error:
            raise DamagedError(str(error)) from None

    def _fill(self, mp4: bytes, shard_fps: Fraction, targets: Sequence[Target]) -> tuple[int, int]:
        pictures, sounds = _Pictures(self.form, Grid(self.form, shard_fps), targets), _Sounds(self.form, targets)
        options = {"protocol_whitelist": PROTOCOLS, "format_whitelist": DEMUXERS}
        with av.open(io.BytesIO(mp4), "r", format="mp4", options=options) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            for stream in (video, audio):
                stream.codec_context.thread_count = 1
            # Floats: fractions would cost a tenth of the decoding.
            per_tick = shard_fps * Fraction(video.time_base or 1)
            frames, samples = float(per_tick), float(self.form.rate_hz * Fraction(audio.time_base or 1))
            if pictures.first:
                container.seek(int(pictures.first / per_tick), stream=video, backward=True)
            for packet in container.demux(video, audio):
                for frame in packet.decode():
                    if isinstance(frame, av.AudioFrame) and frame.pts is not None:
                        sounds.place(frame, round(frame.pts * samples))
                    elif isinstance(frame, av.VideoFrame) and frame.pts is not None:
                        pictures.place(frame, round(frame.pts * frames), self._scaler)
                if not pictures.wanted and sounds.complete:
                    break
        sounds.finish()
        return pictures.shown, sounds.heard


class _Pictures:
    """The pictures of targets: which frames are wanted, and where each goes."""

    def __init__(self, form: Form, grid: Grid, targets: Sequence[Target]) -> None:
        self.form, self.shown = form, 0
        self.first = grid.shown(min(target.start for target in targets))
        sizes = ((form.width, form.height), (form.width // 2, form.height // 2), (form.width // 2, form.height // 2))
        self._parts = sizes[:1] if form.grey else sizes
        frame_bytes = sum(width * height for width, height in self._parts)
        self.wanted = {
            grid.shown(target.start + i): (body, i * frame_bytes)
            for target in targets
            for body in (memoryview(target.planes.reshape(-1)),)  # type: ignore[arg-type]
            for i in range(len(target.planes))
        }

    def place(self, frame: av.VideoFrame, index: int, scaler: Scaler) -> None:
        """Copy the shards' frame `index` to where it is wanted, if it is."""
        place = self.wanted.pop(index, None)
        if place is None:
            return
        body, at = place
        if (frame.width, frame.height) != self._parts[0]:
            frame = scaler.fitted(frame, *self._parts[0], self.form.fit)
        for (width, height), plane in zip(self._parts, frame.planes, strict=False):
            size = width * height
            # Bytes as they lie, which is twice as fast as arrays, where lines have no ends to cut off.
            body[at : at + size] = plane if plane.line_size == width else _cut(plane, width, height)
            at += size
        self.shown += 1


def _cut(plane: VideoPlane, width: int, height: int) -> memoryview:
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return memoryview(rows[:height, :width].tobytes())


class _Sounds:
    """The sound of targets, put together from decoded pieces by their times.

    Pieces of one channel of 16 bit, which is what shards hold, are collected as bytes and scaled once: a piece is
    a fourteenth of a second, and arithmetic on each would cost as much as decoding it.
    """

    def __init__(self, form: Form, targets: Sequence[Target]) -> None:
        self.form, self.heard = form, 0
        each = form.samples_per_frame
        self._spans = [
            (target.start * each, target.start * each + len(target.sound), target.sound) for target in targets
        ]
        self._wanted = sum(len(target.sound) for target in targets)
        self._first, self._last = min(start for start, *_ in self._spans), max(stop for _, stop, _ in self._spans)
        self._plain: bool | None = None

    @property
    def complete(self) -> bool:
        return self._wanted == self.heard

    def place(self, frame: av.AudioFrame, first: int) -> None:
        """Take a piece that begins at sample `first` of the sound. Raises `FatalError` for another rate."""
        if self._plain is None:
            self._begin(frame)
        begin, end = max(first, self._first), min(first + frame.samples, self._last)
        if begin >= end:
            return
        if self._plain:
            piece = memoryview(frame.planes[0])[2 * (begin - first) : 2 * (end - first)]
            self._bytes[2 * (begin - self._first) : 2 * (end - self._first)] = piece
        else:
            self._values[begin - self._first : end - self._first] = to_float(frame).mean(axis=0)[
                begin - first : end - first
            ]
        self.heard += sum(max(0, min(end, stop) - max(begin, start)) for start, stop, _ in self._spans)

    def finish(self) -> None:
        """Write what was collected to the targets."""
        if self._plain is None:
            return
        scale = _FULL_SCALE if self._plain else np.float32(1)
        for start, stop, sound in self._spans:
            np.multiply(self._values[start - self._first : stop - self._first], scale, out=sound)

    def _begin(self, frame: av.AudioFrame) -> None:
        if frame.sample_rate != self.form.rate_hz:
            raise FatalError(f"train.view.rate_hz {self.form.rate_hz} is not the shards' {frame.sample_rate}")
        self._plain = frame.format.name in ("s16", "s16p") and frame.layout.nb_channels == 1
        self._values = np.zeros(self._last - self._first, np.int16 if self._plain else np.float32)
        self._bytes = memoryview(self._values).cast("B")  # type: ignore[arg-type]
