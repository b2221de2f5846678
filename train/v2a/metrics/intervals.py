"""Means with their bootstrap intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_DRAWS = 2000


@dataclass(frozen=True)
class Figure:
    """A mean over clips with its 95 % bootstrap interval, resampled by video; null without values."""

    mean: float | None
    low: float | None
    high: float | None

    def to_json(self) -> dict[str, float | None]:
        return {"mean": self.mean, "low": self.low, "high": self.high}


def interval(values: Sequence[float | None], groups: Sequence[str]) -> Figure:
    """Mean and 95 % percentile bootstrap. Clips of one video are drawn together: they are not independent."""
    known = [(value, group) for value, group in zip(values, groups, strict=True) if value is not None]
    if not known:
        return Figure(None, None, None)
    names = sorted({group for _, group in known})
    place = {group: i for i, group in enumerate(names)}
    totals, counts = np.zeros(len(names)), np.zeros(len(names))
    for value, group in known:
        totals[place[group]] += value
        counts[place[group]] += 1
    draws = np.random.default_rng(0).integers(0, len(names), (_DRAWS, len(names)))
    means = totals[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Figure(float(totals.sum() / counts.sum()), float(low), float(high))
