"""Motion, stillness, slides, blackness and hard cuts of each window, from small grey pictures."""

from typing import ClassVar

import numpy as np

from v2a_data.schema import WINDOW_S
from v2a_data.scorers.base import Field, Needs, VideoTap, WindowScores, WithoutModel

_SIZE = (64, 36)
_RATE_HZ = 12.5
# A step counts as still when hardly any pixel changes by more than coding noise.
_CHANGED_LEVELS = 3
_CHANGED_SHARE = 0.0015
_STILL_RUN_S = 0.6
# Another slide comes within as many steps as coding takes to settle, and so many pixels differ by more levels than
# a keyframe changes in a picture that stays.
_BETWEEN_SLIDES = 8
_SLIDE_LEVELS = 8
_SLIDE_SHARE = 0.003
# A hard cut changes grey levels by so much on average, so many times as much as the steps around it.
_CUT_LEVELS = 8.0
_CUT_TIMES = 4.0
_CUT_NEAR = 4
# Pictures before and after a cut have nothing in common: their highest correlation.
_CUT_ALIKE = 0.55
_CUT_BEFORE, _CUT_AFTER = 3, 4
_BLACK_LEVEL = 32
# So many pixels may be brighter in a black picture: a logo, a clock.
_LIT_SHARE = 0.0097


class Motion(WithoutModel):
    """Mean change between pictures 80 ms apart, share of frozen, of slides and of black picture, number of hard cuts.

    Null in a window in which no picture of the source came on. Slides that fade into one another or are moved
    about are neither frozen nor cut, and not found.
    """

    name: ClassVar[str] = "motion"
    version: ClassVar[int] = 3
    writes: ClassVar[tuple[Field, ...]] = (
        Field("motion", "0..1", "mean change of luma between pictures 80 ms apart, share of full scale"),
        Field("still", "0..1", "share of the window inside a freeze of 0.6 s or longer"),
        Field("slideshow", "0..1", "share of the window inside freezes that follow right upon one another"),
        Field("cuts", "count", "hard cuts: from one step to the next nothing of the picture is left"),
        Field("black", "0..1", "share of the window in which the picture is black"),
    )

    @property
    def needs(self) -> Needs:
        return Needs(luma=(*_SIZE, _RATE_HZ))

    def _score(self, tap: VideoTap) -> WindowScores:
        assert tap.luma is not None and tap.luma_s is not None
        luma, shown_s = np.asarray(tap.luma), np.asarray(tap.luma_s)
        change = np.maximum(luma[1:], luma[:-1]) - np.minimum(luma[1:], luma[:-1])
        amount = change.mean(axis=(1, 2))
        frozen = in_runs(
            np.mean(change > _CHANGED_LEVELS, axis=(1, 2)) <= _CHANGED_SHARE, round(_STILL_RUN_S * _RATE_HZ)
        )
        black = np.mean(luma > _BLACK_LEVEL, axis=(1, 2)) <= _LIT_SHARE
        steps = {
            "motion": amount / 255.0,
            "still": frozen,
            "slideshow": slides(frozen, luma),
            "cuts": cuts(luma, amount),
        }
        fields = {field.name: np.full(len(tap.window_start_s), np.nan, np.float32) for field in self.writes}
        evidence = np.full(len(tap.window_start_s), np.nan)
        for i, start_s in enumerate(tap.window_start_s):
            first = round((start_s - tap.window_start_s[0]) * _RATE_HZ)
            part = slice(first, first + round(WINDOW_S * _RATE_HZ))
            if not _inside(shown_s[part], start_s):
                continue
            fields["black"][i] = black[part].mean()
            if len(amount[part]):
                for name, values in steps.items():
                    fields[name][i] = values[part].sum() if name == "cuts" else values[part].mean()
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


def slides(frozen: np.ndarray, luma: np.ndarray) -> np.ndarray:
    """True in the freezes `(m - 1,)` of pictures `(m, h, w)` that border on a freeze of another picture."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], frozen.astype(np.int8), [0]])))
    out = np.zeros(len(frozen), dtype=bool)
    for first, stop, follows, last in zip(edges[::2], edges[1::2], edges[2::2], edges[3::2], strict=False):
        one, other = (luma[(begin + end) // 2].astype(np.int16) for begin, end in ((first, stop), (follows, last)))
        if follows - stop <= _BETWEEN_SLIDES and np.mean(np.abs(one - other) > _SLIDE_LEVELS) >= _SLIDE_SHARE:
            out[first:last] = True
    return out


def cuts(luma: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """True at the steps `(m - 1,)` of pictures `(m, h, w)` that are hard cuts; `amount` is their mean change.

    A flash is none: the pictures after it are those before it.
    """
    out = np.zeros(len(amount), dtype=bool)
    for i in np.flatnonzero(amount >= _CUT_LEVELS):
        near = amount[max(0, i - _CUT_NEAR) : i + _CUT_NEAR + 1]
        if amount[i] == near.max() and amount[i] >= _CUT_TIMES * np.median(near):
            before, after = luma[max(0, i + 1 - _CUT_BEFORE) : i + 1], luma[i + 1 : i + 1 + _CUT_AFTER]
            out[i] = (_unit(before) @ _unit(after).T).max() <= _CUT_ALIKE
    return out


def _unit(pictures: np.ndarray) -> np.ndarray:
    """Pictures as rows without their mean, of length 1; an even picture is like no other."""
    rows = pictures.reshape(len(pictures), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6))
