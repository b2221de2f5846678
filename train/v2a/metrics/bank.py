"""What baseline rows may know: the test clips, how their pictures look, and a bank of training clips."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from v2a.metrics.base import Clip, Sound

# A picture as retrieval sees it: rows and columns of mean luma.
ROWS, COLUMNS = 9, 16
# A mean change of luma, in 0..1, that coding alone makes.
_STILL = 1e-3


@dataclass(frozen=True)
class Look:
    """`pixels` (T, ROWS, COLUMNS) float32 in 0..1: small luma frames of a clip at the view's rate."""

    pixels: np.ndarray

    @cached_property
    def motion(self) -> np.ndarray:
        """`(T,)` when there is more motion and when less: ln(mean |difference from the frame before| + 1e-3), less
        its mean over time, with root mean square 1. The first frame has the second's; zeros for steady motion.

        So two clips are alike where their profiles are correlated, however large the things are that move: on made
        clips that retrieves better than the plain profile does.
        """
        if len(self.pixels) < 2:
            return np.zeros(len(self.pixels), np.float32)
        change = np.abs(np.diff(self.pixels, axis=0)).mean(axis=(1, 2), dtype=np.float64)
        level = np.log(np.pad(change, (1, 0), mode="edge") + _STILL)
        level -= level.mean()
        size = float(np.sqrt(np.mean(level**2)))
        return np.asarray(level / size if size > 1e-6 else 0 * level, np.float32)


def look(planes: np.ndarray, height: int) -> Look:
    """The look of planes `(T, height * 3 / 2, width)` uint8: luma averaged over blocks as equal as can be."""
    luma = planes[:, :height]
    for axis, parts in ((1, ROWS), (2, COLUMNS)):
        edges = np.arange(parts + 1) * luma.shape[axis] // parts
        # Of equal edges, where there are fewer rows than blocks, the row itself is taken.
        sums = np.add.reduceat(luma, edges[:-1], axis=axis, dtype=np.float32)
        shape = [-1 if i == axis else 1 for i in range(3)]
        luma = sums / np.maximum(np.diff(edges), 1).astype(np.float32).reshape(shape)
    return Look(luma / np.float32(255))


@dataclass(frozen=True)
class Bank:
    """Training clips: their looks, their mean waveform, and how the real sound of one of them is read."""

    looks: Sequence[Look]
    mean: np.ndarray
    sound: Callable[[int], Sound]


@dataclass(frozen=True)
class Setting:
    """What a baseline row may use; without looks and bank some rows cannot be had."""

    clips: Sequence[Clip]
    looks: Sequence[Look] = ()
    bank: Bank | None = None


def nearest(wanted: np.ndarray, others: Sequence[np.ndarray]) -> int:
    """Which of `others` has the smallest mean squared difference from `wanted` over the frames that both have.

    Those that last as long as it come first, if there are any; the first of equals.
    """
    frames = len(wanted)
    long = [i for i, other in enumerate(others) if len(other) >= frames]
    places = long or range(len(others))
    return min(places, key=lambda i: _difference(wanted, others[i]))


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    frames = min(len(a), len(b))
    return float(np.mean(np.square(a[:frames] - b[:frames])))


def mean_waveform(sounds: Iterable[np.ndarray]) -> np.ndarray:
    """Mean of sounds of any lengths, sample by sample, as long as the longest; each counts while it lasts."""
    total, count = np.zeros(0), np.zeros(0)
    for sound in sounds:
        longer = max(0, len(sound) - len(total))
        total, count = (np.pad(values, (0, longer)) for values in (total, count))
        total[: len(sound)] += sound
        count[: len(sound)] += 1
    return (total / np.maximum(count, 1)).astype(np.float32)
