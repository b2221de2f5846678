"""What a metric is. Each gives one value per clip, so that every row of a table has an interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

import numpy as np

from v2a.metrics import features


@dataclass(frozen=True)
class Sound:
    """`samples` (n,) float32 in −1..1; `of` is the key of the clip whose real sound it is, null otherwise.

    Features are kept once measured: every row of a table is compared with the same real sounds.
    """

    samples: np.ndarray
    rate_hz: int
    of: str | None = None

    @cached_property
    def log_mel(self) -> np.ndarray:
        """`(MELS, frames)` natural logarithms."""
        return features.log_mel(self.samples, self.rate_hz)

    @cached_property
    def onset_strength(self) -> np.ndarray:
        """Spectral flux per hop of 20 ms, dB."""
        return features.onset_strength(self.samples, self.rate_hz)

    @cached_property
    def onsets(self) -> np.ndarray:
        """Times of onsets, s."""
        return features.onsets(self.samples, self.rate_hz)


@dataclass(frozen=True)
class Clip:
    """A test clip: its key, label, duplicate group (a video and its copies) and its real sound."""

    key: str
    label: str
    group: str
    real: Sound


class Metric(Protocol):
    """Judges generated sounds beside the real ones; null where it cannot be measured.

    It sees the whole set at once, because the headline compares each sound with other clips' real sounds.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    licence: ClassVar[str]
    higher_is_better: ClassVar[bool | None]
    headline: ClassVar[bool]

    def __call__(self, generated: Sequence[Sound], clips: Sequence[Clip]) -> list[float | None]:
        """One value per clip."""
        ...


def pearson(a: np.ndarray, b: np.ndarray) -> float | None:
    """Correlation of two equally long vectors; null where either is constant."""
    x, y = a - a.mean(), b - b.mean()
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / norm if norm > 1e-9 else None
