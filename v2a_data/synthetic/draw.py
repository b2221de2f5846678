"""Where a video's physical parameters come from: named draws from one seed.

Every name has a stream of its own, so fixing or adding one parameter changes no other, and the
order of the draws means nothing. The `ood` split takes its values from bands just outside the
ranges that the other splits use.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

# Bands outside a range, as shares of its span: a gap, then this far.
_GAP, _REACH = 0.02, 0.16
# A range above zero stays above zero: never below this share of its lower end.
_LEAST = 0.6


class Draw:
    """Named random values of one thing; what was drawn is kept in `values`, by name.

    `fixed` overrides a value by its name (an option's index for `choice`) and leaves all others
    as they are. The same name gives the same value each time.
    """

    def __init__(
        self, rng: np.random.Generator, *, ood: bool = False, fixed: Mapping[str, float] | None = None
    ) -> None:
        self._seed = int(rng.integers(2**63))
        self.ood = ood
        self.fixed = dict(fixed or {})
        self.values: dict[str, float] = {}

    def uniform(self, name: str, low: float, high: float) -> float:
        """A value of `low..high`; with `ood` one of the bands just below or above, never inside."""
        where, side = self.child(f"uniform/{name}").random(2)
        value = self._outside(low, high, float(where), side < 0.5) if self.ood else low + float(where) * (high - low)
        self.values[name] = float(self.fixed.get(name, value))
        return self.values[name]

    def choice(self, name: str, options: Sequence[T]) -> T:
        """One of the options, each as likely; `values` holds its index. The same with `ood`."""
        index = int(self.fixed.get(name, self.child(f"choice/{name}").integers(len(options))))
        self.values[name] = float(index)
        return options[index]

    def child(self, name: str) -> np.random.Generator:
        """A random stream of its own for textures, noise, patterns; the same for the same name."""
        salt = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
        return np.random.default_rng([self._seed, salt])

    @staticmethod
    def _outside(low: float, high: float, where: float, below: bool) -> float:
        span = high - low
        start, stop = high + _GAP * span, high + _REACH * span
        if below:
            bottom, top = low - _REACH * span, low - _GAP * span
            if low >= 0:
                bottom = max(bottom, _LEAST * low)
            if bottom < top:
                start, stop = bottom, top
        return start + where * (stop - start)
