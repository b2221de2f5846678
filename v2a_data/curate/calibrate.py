"""Thresholds from votes, for a promise: of the windows kept, at least a share P is right, at confidence C.

- Unit: the window. Right: people say seen and heard, and name nothing that disturbs. `voice` and `music` are allowed
  where `keep` has no condition on them. A window on which people are unsure or divided is not right.
- Three tenths of the videos, by hash, are for choosing: a path of thresholds (`thresholds.py`) and where on it the test
  starts, the strictest among the points that are most likely to pass.
- The other videos are for testing: from the start towards looser points, in an order fixed before, each point at the
  whole risk, and the first that fails ends it. The loosest that passed is taken. In such a fixed sequence the chance
  that any wrong point passes is no more than that of one test (Maurer, Hothorn and Lehmacher 1995; Angelopoulos et al.
  2021, "Learn then test", section 3).
- A point passes when the one-sided lower bound of the precision on the test part is at least P: Clopper and
  Pearson's on effective counts (Korn and Graubard 1998), the windows of a video taken as telling the same (Kish 1965).
- The two-sided intervals of precision, recall and yield are of the test part at the point taken, as if that point had
  been known before; `benchmarks/calibrate.py` counts how often they hold the truth.
- A workspace remembers its tests. Every new question gets four fifths of the risk that is left of 1 - C, so
  that all promises ever made from one workspace hold together with confidence C, however often one asks.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from v2a_data.curate.combine import fit_combination
from v2a_data.curate.intervals import (
    allowed_errors,
    at_most,
    clopper_pearson,
    effective_size,
    lower_bound,
    supported,
)
from v2a_data.curate.rules import Rules
from v2a_data.curate.thresholds import LEVELS, Curve, Threshold, fit_curve, moved, thresholds
from v2a_data.recipe import RIGHT, CombineSection

CHOOSING_SHARE = 0.3
_SPENT = 0.8
_NEARLY = 0.06
_MOST_VOTES = 1_000_000


@dataclass(frozen=True)
class Judged:
    """Windows with votes and scores; all arrays `(n,)`.

    `aspects` holds 1 yes, 0 no, NaN unsure: `seen`, `heard`, and per confounder 1 where it disturbs.
    `weights` is how many windows each stands for.
    """

    videos: np.ndarray
    columns: Mapping[str, np.ndarray]
    aspects: Mapping[str, np.ndarray]
    right: np.ndarray
    weights: np.ndarray

    def take(self, mask: np.ndarray) -> "Judged":
        return Judged(
            self.videos[mask],
            {name: values[mask] for name, values in self.columns.items()},
            {name: values[mask] for name, values in self.aspects.items()},
            self.right[mask],
            self.weights[mask],
        )


@dataclass(frozen=True)
class Share:
    """A share with its two-sided interval; `of` is the effective number of windows behind it."""

    value: float
    low: float
    high: float
    of: float

    def to_json(self) -> dict[str, float]:
        return {"value": round(self.value, 4), "low": round(self.low, 4), "high": round(self.high, 4),
                "of": round(self.of, 1)}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What the test said of the point taken, or of the first where none passed.

    `bound` is the precision that the test part supports there at the risk of this question.
    """

    values: dict[Threshold, float]
    fixed: tuple[Threshold, ...]
    choosing: int
    testing: int
    kept: int
    precision: Share
    recall: Share
    yields: Share
    bound: float
    promised: bool
    more_votes: int | None


def choosing(video_id: str) -> bool:
    """Whether a video is in the part that thresholds are chosen on; always the same for one id."""
    return int.from_bytes(sha256(f"calibrate/{video_id}".encode()).digest()[:8]) / 2**64 < CHOOSING_SHARE


def risk_of(question: int, confidence: float) -> float:
    """The risk of the question with this number (0, 1, …): their sum over all questions is 1 - confidence."""
    return (1 - confidence) * _SPENT * (1 - _SPENT) ** question


def right_windows(aspects: Mapping[str, np.ndarray], allowed: Sequence[str]) -> np.ndarray:
    """`(n,)` boolean: seen, heard, and nothing that disturbs but what is allowed."""
    right = (aspects["seen"] == 1) & (aspects["heard"] == 1)
    for name, values in aspects.items():
        if name not in ("seen", "heard", *allowed):
            right &= values == 0
    return right


def allowed_confounders(rules: Rules, combined: Collection[str] = ()) -> tuple[str, ...]:
    """`voice` and `music`, where the recipe has no condition on them and does not combine them."""
    read = {name for conjunct in rules.conjuncts for name in conjunct.names} | set(combined)
    return tuple(name for name in ("voice", "music") if name not in read)


def choose_and_test(judged: Judged, rules: Rules, precision: float, confidence: float, question: int = 0) -> Outcome:
    """Choose an order of thresholds on one part of the votes and test them in that order on the other."""
    first = np.asarray([choosing(str(video)) for video in judged.videos], dtype=bool)
    learn, test = judged.take(first), judged.take(~first)
    risk = risk_of(question, confidence)
    curves = fit(learn, rules)
    order = _order(learn, rules, curves, precision, risk, len(test.videos) / max(1, len(learn.videos)))
    values, kept = _loosest(test, rules, order, precision, risk)
    found = share_of(test.right[kept], test.weights[kept], test.videos[kept], confidence)
    right = test.right
    return Outcome(
        values,
        tuple(item for item in thresholds(rules) if item not in curves),
        len(learn.videos),
        len(test.videos),
        int(kept.sum()),
        found,
        share_of(kept[right], test.weights[right], test.videos[right], confidence),
        share_of(kept, test.weights, test.videos, confidence),
        lower_bound(found.value * found.of, found.of, risk),
        supported(found.value * found.of, found.of, precision, risk),
        _more_votes(found, len(judged.videos), precision, confidence, question),
    )


def fit(learn: Judged, rules: Rules) -> dict[Threshold, Curve]:
    """Curves of the thresholds on which the votes tell something; where scores are combined, of that one alone."""
    curves = {}
    found = thresholds(rules)
    for item in [item for item in found if item.field == RIGHT] or found:
        votes = learn.right.astype(float) if item.aspect == RIGHT else learn.aspects.get(item.aspect)
        if votes is None:
            continue
        known = ~np.isnan(votes) & ~np.isnan(learn.columns[item.field])
        fine = votes[known] == (1 if item.up else 0)
        curve = fit_curve(learn.columns[item.field][known], fine, item.up)
        if curve is not None:
            curves[item] = curve
    return curves


def combination(judged: Judged, rules: Rules) -> CombineSection | None:
    """The scores on which the votes tell something, combined on the part for choosing; null where they tell too little
    to combine any."""
    learn = judged.take(np.asarray([choosing(str(video)) for video in judged.videos], dtype=bool))
    return fit_combination(learn.columns, learn.right, [item.field for item in fit(learn, rules)])


def keeps(columns: Mapping[str, np.ndarray], rules: Rules, values: Mapping[Threshold, float]) -> np.ndarray:
    """Which windows `keep` holds for with other numbers; windows that it cannot decide on are not kept."""
    windows = len(next(iter(columns.values())))
    return moved(rules, values).evaluate(columns, windows)["keep"].true


def _order(
    learn: Judged, rules: Rules, curves: Mapping[Threshold, Curve], precision: float, risk: float, ratio: float
) -> list[dict[Threshold, float]]:
    """The points to test, each looser than the one before: from the strictest of those that are nearly the most
    likely to pass; from the most precise where none is likely at all."""
    points = [{item: curve.at(level) for item, curve in curves.items()} for level in LEVELS] if curves else [{}]
    kept = [keeps(learn.columns, rules, point) for point in points]
    chances = [_chance(learn, mask, precision, risk, ratio) for mask in kept]
    best = max(chances)
    if best == 0:
        first = int(np.argmax([_precision(learn, mask) for mask in kept]))
    else:
        first = max(i for i, chance in enumerate(chances) if chance >= best - _NEARLY)
    return points[first::-1]


def _loosest(
    test: Judged, rules: Rules, order: Sequence[dict[Threshold, float]], precision: float, risk: float
) -> tuple[dict[Threshold, float], np.ndarray]:
    """The last point before the first that fails, or the first; and what it keeps of the test part."""
    taken = order[0], keeps(test.columns, rules, order[0])
    for point in order:
        kept = keeps(test.columns, rules, point)
        size = effective_size(test.weights[kept], test.videos[kept])
        if not supported(_mean(test.right[kept], test.weights[kept]) * size, size, precision, risk):
            break
        taken = point, kept
    return taken


def _precision(learn: Judged, kept: np.ndarray) -> float:
    """Precision on the choosing part, pulled towards a half where few are kept."""
    size = effective_size(learn.weights[kept], learn.videos[kept])
    return (_mean(learn.right[kept], learn.weights[kept]) * size + 0.5) / (size + 1)


def _chance(learn: Judged, kept: np.ndarray, precision: float, risk: float, ratio: float) -> float:
    """How likely the test part supports the promise, by what the choosing part kept (Jeffreys' prior)."""
    size = effective_size(learn.weights[kept], learn.videos[kept])
    expected = int(size * ratio)
    right = _mean(learn.right[kept], learn.weights[kept]) * size
    return at_most(allowed_errors(expected, precision, risk), expected, right + 0.5, size - right + 0.5)


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    return float(np.average(values, weights=weights)) if len(values) else 0.0


def share_of(values: np.ndarray, weights: np.ndarray, videos: np.ndarray, confidence: float) -> Share:
    """A share of weighted windows, with its interval by effective size."""
    size, mean = effective_size(weights, videos), _mean(values, weights)
    low, high = clopper_pearson(mean * size, size, confidence)
    return Share(mean, low, high, size)


def _more_votes(found: Share, votes: int, precision: float, confidence: float, question: int) -> int | None:
    """About how many votes more would support the promise at the next question, were the precision and the share
    of kept windows to stay; 0 where it is supported, null where no number would do."""
    if supported(found.value * found.of, found.of, precision, risk_of(question, confidence)):
        return 0
    if found.value <= precision or not found.of:
        return None
    risk, size = risk_of(question + 1, confidence), found.of
    while not supported(found.value * size, size, precision, risk):
        size *= 1.05
        if size / found.of * votes > _MOST_VOTES:
            return None
    return max(1, round(votes * (size / found.of - 1)))
