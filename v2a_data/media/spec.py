"""The form of a sample: what a recipe's `[shard]` asks of every cut."""

from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from v2a_data.media.picture import FitRule


@dataclass(frozen=True)
class CutSpec:
    """Size in px, frames per second, sound rate in Hz, channels, x264's crf, and how frames of another shape fit."""

    width: int
    height: int
    fps: Fraction
    rate_hz: int
    channels: int
    crf: int
    fit: FitRule = "pad"

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "CutSpec":
        return cls(**{**value, "fps": Fraction(value["fps"])})

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "fps": f"{self.fps.numerator}/{self.fps.denominator}"}

    def frames(self, duration_s: float) -> int:
        """Frames of a span of this length."""
        return round(duration_s * self.fps)

    def audio_samples(self, frames: int) -> int:
        """Audio samples that go with so many frames."""
        return round(frames * self.rate_hz / self.fps)
