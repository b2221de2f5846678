"""Samples to arrays: runs in stream workers, imports no torch."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from v2a_data.errors import FatalError, UsageError
from v2a_data.media.decode import to_float
from v2a_data.media.limits import DEMUXERS, PROTOCOLS
from v2a_data.media.picture import FitRule, Scaler, plane_view, split_planes

_FULL_SCALE = np.float32(1 / 32768)


@dataclass(frozen=True)
class Form:
    """The form in which a model sees samples: px, frames per second, audio samples per second, rule of other shapes.

    A grey form has the luma alone (limited range), a coloured one YUV 4:2:0 planes.
    """

    width: int
    height: int
    fps: Fraction
    rate_hz: int
    fit: FitRule = "pad"
    grey: bool = False

    @property
    def samples_per_frame(self) -> int:
        """Audio samples of one frame."""
        return int(self.rate_hz / self.fps)

    def plane_shape(self, frames: int) -> tuple[int, int, int]:
        """Shape of so many frames as YUV 4:2:0 planes, or as luma."""
        return frames, self.height if self.grey else self.height * 3 // 2, self.width


class Grid:
    """Which frame of the shards a frame of the view is: the one nearest in time, the later one of two as near.

    Where the rates divide, every n-th. 15.625 frames per second out of 25 are the frames 0, 2, 3, 5, 6, 8, …: never
    more than half a frame of the shards (20 ms) away. Raises `FatalError` for a rate above the shards' own.
    """

    def __init__(self, form: Form, shard_fps: Fraction) -> None:
        step = shard_fps / form.fps
        if step < 1:
            raise FatalError(f"train.view.fps {form.fps} is more than the shards' {shard_fps}")
        if (form.rate_hz / form.fps).denominator != 1:
            raise UsageError(f"train.view: rate_hz / fps must be whole, got {form.rate_hz} / {form.fps}")
        # Whole numbers: fractions would cost a tenth of the decoding.
        self._up, self._down = step.numerator, step.denominator

    def length(self, frames: int) -> int:
        """Frames of the view in so many of the shards."""
        return frames * self._down // self._up

    def shown(self, index: int) -> int:
        """The shards' frame that is frame `index` of the view."""
        return (2 * index * self._up + self._down) // (2 * self._down)


@dataclass(frozen=True)
class Target:
    """Where frames of the view from `start` on go: planes (T, …) uint8, with sound (T · samples per frame,) float32."""

    start: int
    planes: np.ndarray
    sound: np.ndarray


class DamagedError(Exception):
    """A sample that does not hold what the index says."""


class Decoder:
    """Decodes samples of one shard set into preallocated arrays. One swscale context is kept."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self._scaler = Scaler()

    def decode(self, mp4: bytes, shard_fps: Fraction, planes: np.ndarray, sound: np.ndarray) -> tuple[int, int]:
        """Fill `planes` and `sound` from the sample's start; returns how many frames and audio samples were there.

        The arrays' rest is left as it is.
        """
        return self.fill(mp4, shard_fps, [Target(0, planes, sound)])

    def fill(self, mp4: bytes, shard_fps: Fraction, targets: Sequence[Target]) -> tuple[int, int]:
        """Fill targets, whose spans do not overlap; decodes from the keyframe at or before the first of them only.

        Returns how many of their frames and audio samples were there.
        """
        first = min(target.start for target in targets)
        grid = Grid(self.form, shard_fps)
        wanted = {grid.shown(t.start + i): plane for t in targets for i, plane in enumerate(t.planes)}
        sounds = _Sounds(self.form, targets)
        shown = 0
        options = {"protocol_whitelist": PROTOCOLS, "format_whitelist": DEMUXERS}
        with av.open(io.BytesIO(mp4), "r", format="mp4", options=options) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            video.codec_context.thread_count = 1
            per_tick = shard_fps * Fraction(video.time_base or 1)
            if first:
                container.seek(int(grid.shown(first) / per_tick), stream=video, backward=True)
            frames_per_tick = float(per_tick)
            for packet in container.demux(video, audio):
                for frame in packet.decode():
                    if isinstance(frame, av.AudioFrame):
                        sounds.place(frame)
                    elif isinstance(frame, av.VideoFrame) and frame.pts is not None:
                        plane = wanted.pop(round(frame.pts * frames_per_tick), None)
                        if plane is not None:
                            self.scale(frame, plane)
                            shown += 1
                if not wanted and sounds.complete:
                    break
        return shown, sounds.heard

    def scale(self, frame: av.VideoFrame, target: np.ndarray) -> None:
        """One frame into `(height * 3 / 2, width)`, or into `(height, width)` for a grey form."""
        form = self.form
        if (frame.width, frame.height) != (form.width, form.height):
            frame = self._scaler.fitted(frame, form.width, form.height, form.fit)
        parts = (target,) if form.grey else split_planes(target, form.width, form.height)
        for plane, part in enumerate(parts):
            part[:] = plane_view(frame, plane)


class _Sounds:
    """The sound of targets, put together from decoded pieces by their times."""

    def __init__(self, form: Form, targets: Sequence[Target]) -> None:
        self.form, self.heard = form, 0
        each = form.samples_per_frame
        self._spans = [(target.start * each, target.sound) for target in targets]
        self._left = sum(len(sound) for _, sound in self._spans)

    @property
    def complete(self) -> bool:
        return self._left == self.heard

    def place(self, frame: av.AudioFrame) -> None:
        if frame.sample_rate != self.form.rate_hz:
            raise FatalError(f"train.view.rate_hz {self.form.rate_hz} is not the shards' {frame.sample_rate}")
        if frame.pts is None or frame.time_base is None:
            return
        first = round(frame.pts * frame.time_base * self.form.rate_hz)
        for start, sound in self._spans:
            begin, end = max(first, start), min(first + frame.samples, start + len(sound))
            if begin < end:
                values, scale = _mono(frame)
                np.multiply(values[begin - first : end - first], scale, out=sound[begin - start : end - start])
                self.heard += end - begin


def _mono(frame: av.AudioFrame) -> tuple[np.ndarray, np.float32]:
    """`(samples,)` and what to multiply with: one channel of 16 bit as it is, else the mean of the channels."""
    if frame.format.name in ("s16", "s16p") and frame.layout.nb_channels == 1:
        return frame.to_ndarray().reshape(-1), _FULL_SCALE
    return np.asarray(to_float(frame).mean(axis=0), np.float32), np.float32(1)
