"""Motion, stillness and blackness of each window, from small grey pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from v2a_data.schema import WINDOW_S
from v2a_data.scorers.base import Field, ModelRef, Needs, VideoTap, WindowScores

_SIZE = (64, 36)
_RATE_HZ = 12.5
# A step counts as still when hardly any pixel changes by more than coding noise.
_CHANGED_LEVELS = 3
_CHANGED_SHARE = 0.0015
_STILL_RUN_S = 0.6
_BLACK_LEVEL = 32


class Motion:
    """Mean change between pictures 80 ms apart, share of frozen and of black picture."""

    @dataclass(frozen=True)
    class Config:
        """Nothing to set."""

    name: ClassVar[str] = "motion"
    version: ClassVar[int] = 1
    licence: ClassVar[str] = "Apache-2.0 (own code)"
    uses_model: ClassVar[bool] = False
    writes: ClassVar[tuple[Field, ...]] = (
        Field("motion", "0..1", "mean change of luma between pictures 80 ms apart, share of full scale"),
        Field("still", "0..1", "share of the window inside a freeze of 0.6 s or longer"),
        Field("black", "0..1", "share of the window in which the picture is black"),
    )

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def needs(self) -> Needs:
        return Needs(luma=(*_SIZE, _RATE_HZ))

    @property
    def model(self) -> ModelRef | None:
        return None

    def open(self, device: str) -> None:
        """Nothing to load."""

    def score(self, taps: Sequence[VideoTap]) -> list[WindowScores]:
        return [self._score(tap) for tap in taps]

    def _score(self, tap: VideoTap) -> WindowScores:
        assert tap.luma is not None and tap.luma_s is not None
        windows = len(tap.window_start_s)
        luma = np.asarray(tap.luma, np.int16)
        change = np.abs(np.diff(luma, axis=0))
        amount = change.mean(axis=(1, 2)) / 255.0
        frozen = in_runs(
            np.mean(change > _CHANGED_LEVELS, axis=(1, 2)) <= _CHANGED_SHARE, round(_STILL_RUN_S * _RATE_HZ)
        )
        black = np.percentile(luma.reshape(len(luma), -1), 99, axis=1) <= _BLACK_LEVEL
        columns: dict[str, list[float]] = {"motion": [], "still": [], "black": []}
        evidence = []
        for start_s in tap.window_start_s:
            first = round((start_s - tap.window_start_s[0]) * _RATE_HZ)
            last = first + round(WINDOW_S * _RATE_HZ)
            for name, values in (("motion", amount), ("still", frozen), ("black", black)):
                part = values[first:last]
                columns[name].append(float(part.mean()) if len(part) else np.nan)
            moved = amount[first:last]
            evidence.append(float(tap.luma_s[first + int(moved.argmax())]) if len(moved) else np.nan)
        fields = {name: np.asarray(values, np.float32) for name, values in columns.items()}
        assert len(evidence) == windows
        return WindowScores(fields, np.asarray(evidence))


def in_runs(marks: np.ndarray, shortest: int) -> np.ndarray:
    """True where a mark stands in a row of at least `shortest` marks."""
    out = np.zeros(len(marks), dtype=bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marks.astype(np.int8), [0]])))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        if last - first >= shortest:
            out[first:last] = True
    return out
