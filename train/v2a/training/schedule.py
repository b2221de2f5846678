"""Learning rates over a training: a linear warm-up, then a fall to a tenth or none."""

import math

from v2a.config import Optimisation

_LAST_SHARE = 0.1


def learning_rate(settings: Optimisation, step: int) -> float:
    """The rate of the step after `step` steps are done."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    return settings.lr * warm * _share(settings.schedule, step / max(1, settings.steps))


def _share(schedule: str, done: float) -> float:
    if schedule == "constant":
        return 1.0
    left = 0.5 + 0.5 * math.cos(math.pi * done) if schedule == "cosine" else 1.0 - done
    return _LAST_SHARE + (1.0 - _LAST_SHARE) * left
