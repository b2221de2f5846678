"""Shares with their intervals, from weighted and clustered counts; standard library and numpy only."""

import math

import numpy as np

_STEPS = 200


def beta_cdf(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction (modified Lentz)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(1 - x, b, a)
    front = math.exp(_log_choose(a, b) + a * math.log(x) + b * math.log1p(-x)) / a
    tiny = 1e-300
    c, d = 1.0, 1 / _away(1 - (a + b) * x / (a + 1), tiny)
    total = d
    for m in range(1, _STEPS):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away(1 + numerator * d, tiny)
            c = _away(1 + numerator / c, tiny)
            total *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return front * total


def _away(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny


def _log_choose(a: float, b: float) -> float:
    return math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)


def clopper_pearson(right: float, total: float, confidence: float) -> tuple[float, float]:
    """Two-sided exact interval of a share (Clopper and Pearson 1934); 0..1 without any observation.

    Counts may be fractions: the effective numbers of a weighted sample (Korn and Graubard 1998).
    """
    tail = (1 - confidence) / 2
    return lower_bound(right, total, tail), 1 - lower_bound(total - right, total, tail)


def lower_bound(right: float, total: float, risk: float) -> float:
    """One-sided exact lower bound of a share, wrong with probability `risk` at most."""
    if right <= 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if beta_cdf(middle, right, total - right + 1) < risk:
            low = middle
        else:
            high = middle
    return low


def supported(right: float, total: float, share: float, risk: float) -> bool:
    """True when the one-sided lower bound of `right / total` is at least `share`."""
    return right > 0 and beta_cdf(share, right, total - right + 1) <= risk


def allowed_errors(total: int, share: float, risk: float) -> int:
    """The most wrong ones among `total` that still support `share`; -1 where not even none do."""
    errors = -1
    while errors + 1 < total and supported(total - errors - 1, total, share, risk):
        errors += 1
    return errors


def at_most(errors: int, total: int, right: float, wrong: float) -> float:
    """P(at most `errors` of `total` wrong) under a beta-binomial whose share of wrong ones is Beta(wrong, right)."""
    if errors < 0:
        return 0.0
    logs = (
        -math.log(total + 1)
        - (math.lgamma(total - k + 1) + math.lgamma(k + 1) - math.lgamma(total + 2))
        + math.lgamma(k + wrong) + math.lgamma(total - k + right) - math.lgamma(total + right + wrong)
        + _log_choose(right, wrong)
        for k in range(errors + 1)
    )  # fmt: skip
    return min(1.0, math.fsum(math.exp(value) for value in logs))


def effective_size(weights: np.ndarray, videos: np.ndarray) -> float:
    """How many independent observations weighted windows are worth (Kish 1965), taking the windows of one
    video as telling the same: (Σ W)² / Σ W² over the videos' summed weights W."""
    if not len(weights):
        return 0.0
    _, group = np.unique(videos, return_inverse=True)
    summed = np.bincount(group, weights)
    return float(summed.sum() ** 2 / np.square(summed).sum())
