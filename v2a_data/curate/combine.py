"""A logistic combination of scores: one more field, `right`, that rules can name.

`right = 1 / (1 + exp(-(intercept + sum of weight · score)))`, null where one of its scores is null. Where several
scores each tell a little, one threshold on it loses fewer right windows than stricter thresholds on each (`v2a-data
calibrate --combine logistic`). The weights stand in the recipe's `[combine]`, per unit of each score as it is measured.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from v2a_data.curate.thresholds import newton
from v2a_data.recipe import RIGHT, CombineSection

# Pulls weights of scores in units of their spread towards 0: votes are few, and scores that never err would have none.
_RIDGE = 1.0
_DIGITS = 6


def combined(section: CombineSection, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """`right` of every window, 0..1, from columns `(n,)`; NaN where a score is."""
    size = len(next(iter(columns.values()))) if columns else 0
    total = np.full(size, section.intercept)
    for name, weight in section.weights.items():
        total = total + weight * columns[name]
    return np.asarray(1 / (1 + np.exp(-np.clip(total, -500, 500))))


def fit_combination(
    columns: Mapping[str, np.ndarray], right: np.ndarray, fields: Sequence[str]
) -> CombineSection | None:
    """Weights that make `right (n,)` likeliest, over the windows with all scores; ridge regression on scores in units
    of their spread (Hoerl and Kennard 1970; le Cessie and van Houwelingen 1992).

    Null where the votes do not tell: fewer than two scores that vary, or fewer than 3 windows of a kind.
    """
    names = [name for name in fields if np.nanstd(columns[name]) > 0]
    scores = np.stack([columns[name] for name in names], axis=1) if names else np.zeros((len(right), 0))
    known = ~np.isnan(scores).any(axis=1)
    scores, target = scores[known], right[known].astype(float)
    if len(names) < 2 or min(target.sum(), len(target) - target.sum()) < 3:
        return None
    mean, spread = scores.mean(axis=0), np.maximum(scores.std(axis=0), 1e-9)
    x = np.concatenate([np.ones((len(scores), 1)), (scores - mean) / spread], axis=1)
    beta = newton(x, target, np.asarray([0.0] + [_RIDGE] * len(names)))
    weights = {name: float(f"{value:.{_DIGITS}g}") for name, value in zip(names, beta[1:] / spread, strict=True)}
    intercept = float(f"{beta[0] - float(np.sum(beta[1:] * mean / spread)):.{_DIGITS}g}")
    return CombineSection(intercept, weights)


def combined_rules(written: Mapping[str, str]) -> dict[str, str]:
    """The rules with one more condition on `keep`.

    The recipe's own conditions stay: votes were drawn by them, so that what they drop is known from a few heavy votes
    alone, and a promise about it would not hold.
    """
    return {**written, "keep": f"({written['keep']}) and {RIGHT} >= 0.5"}
