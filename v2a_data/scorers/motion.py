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
# So many pixels may be brighter in a black picture: a logo, a clock.
_LIT_SHARE = 0.0097


class Motion:
    """Mean change between pictures 80 ms apart, share of frozen and of black picture.

    Null in a window in which no picture of the source came on.
    """

    @dataclass(frozen=True)
    class Config:
        """Nothing to set."""

    name: ClassVar[str] = "motion"
    version: ClassVar[int] = 2
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
        luma, shown_s = np.asarray(tap.luma), np.asarray(tap.luma_s)
        change = np.maximum(luma[1:], luma[:-1]) - np.minimum(luma[1:], luma[:-1])
        amount = change.mean(axis=(1, 2)) / 255.0
        frozen = in_runs(
            np.mean(change > _CHANGED_LEVELS, axis=(1, 2)) <= _CHANGED_SHARE, round(_STILL_RUN_S * _RATE_HZ)
        )
        black = np.mean(luma > _BLACK_LEVEL, axis=(1, 2)) <= _LIT_SHARE
        fields = {name: np.full(len(tap.window_start_s), np.nan, np.float32) for name in ("motion", "still", "black")}
        evidence = np.full(len(tap.window_start_s), np.nan)
        for i, start_s in enumerate(tap.window_start_s):
            first = round((start_s - tap.window_start_s[0]) * _RATE_HZ)
            part = slice(first, first + round(WINDOW_S * _RATE_HZ))
            if not _inside(shown_s[part], start_s):
                continue
            fields["black"][i] = black[part].mean()
            if len(amount[part]):
                fields["motion"][i], fields["still"][i] = amount[part].mean(), frozen[part].mean()
                evidence[i] = shown_s[first + int(amount[part].argmax())]
        return WindowScores(fields, evidence)


def _inside(shown_s: np.ndarray, start_s: float) -> bool:
    """Whether any picture came on inside the window: an older one says nothing of it."""
    return bool(np.any((shown_s >= start_s) & (shown_s < start_s + WINDOW_S)))


def in_runs(marks: np.ndarray, shortest: int) -> np.ndarray:
    """True where a mark stands in a row of at least `shortest` marks."""
    out = np.zeros(len(marks), dtype=bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marks.astype(np.int8), [0]])))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        if last - first >= shortest:
            out[first:last] = True
    return out
