"""A logistic combination of scores: one more field, `right`, that rules can name.

`right = 1 / (1 + exp(-(intercept + sum of weight · score)))`, null where one of its scores is null. Where several
scores each tell a little, one threshold on it keeps more right windows than a threshold on each (`v2a-data calibrate
--combine logistic`). The weights stand in the recipe's `[combine]`, per unit of each score as it is measured.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from v2a_data.curate.rules import Rules
from v2a_data.curate.thresholds import compared, newton, thresholds
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


def combined_rules(rules: Rules, written: Mapping[str, str], fields: Sequence[str]) -> dict[str, str]:
    """The rules with one condition on `right` in the place of those on the combined scores; other rules as written."""
    moved = {(item.field, item.up) for item in thresholds(rules) if item.field in fields}
    rest = [item.text for item in rules.conjuncts if (compared(item.node) or ("", False))[:2] not in moved]
    return {**written, "keep": " and ".join([*map("({})".format, rest), f"{RIGHT} >= 0.5"])}
