"""The form in which models see samples; imports neither torch nor a decoder, so that who imports it may fork."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from v2a_data.errors import FatalError, UsageError


@dataclass(frozen=True)
class Form:
    """The form in which a model sees samples: px, frames per second, audio samples per second, rule of other shapes.

    A grey form has the luma alone (limited range), a coloured one YUV 4:2:0 planes.
    """

    width: int
    height: int
    fps: Fraction
    rate_hz: int
    fit: Literal["pad", "crop"] = "pad"
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


class DamagedError(Exception):
    """A sample that does not hold what the index says."""
