"""Damaged samples: said once each, replaced by rule, and the end of the run where there are too many.

The rule: the n-th crop of a damaged sample is the n-th crop (counted round, where it has fewer) of the next sample in
the order of the epoch that has crops and is not damaged; after the last sample comes the first. It depends on (seed,
epoch) and the files alone, not on ranks, workers or where a run was taken up.
"""

from collections.abc import Callable
from dataclasses import dataclass

from v2a_data.console import Console
from v2a_data.errors import FatalError
from v2a_data.shards.read import Entry

# So many damaged samples are borne, or one in a hundred.
BORNE, BORNE_SHARE = 10, 0.01
MOST_IN_A_ROW = 16
_NAMED = 5
_HINT = "`v2a-data verify` says what is damaged, `v2a-data repair` writes it again from its media"


@dataclass(frozen=True)
class Damaged:
    """A sample that cannot be used, and why."""

    key: str
    shard: str
    reason: str

    def __str__(self) -> str:
        return f"{self.shard}: sample {self.key}: {self.reason}"


def warn(found: Damaged) -> None:
    """What is done with a damaged sample where nobody asks for it otherwise."""
    Console("stream").warn(f"{found}; another takes its place")


class DamageLog:
    """Damaged samples of a run, in the order in which they were met."""

    def __init__(self, samples: int, report: Callable[[Damaged], None] | None = None) -> None:
        self.found: list[Damaged] = []
        self._most = max(BORNE, int(BORNE_SHARE * samples))
        self._keys: set[str] = set()
        self._report = report or warn

    def note(self, entry: Entry, reason: str) -> None:
        """Say it the first time. Raises `FatalError` naming them where there are too many."""
        if entry.key in self._keys:
            return
        self._keys.add(entry.key)
        self.found.append(Damaged(entry.key, entry.shard, reason))
        self._report(self.found[-1])
        if len(self.found) > self._most:
            raise FatalError(f"{len(self.found)} samples are damaged: {self._names()}", hint=_HINT)

    def none_left(self, tried: int) -> FatalError:
        """The error where no sample could take a damaged one's place."""
        return FatalError(f"{tried} samples in a row are damaged: {self._names()}", hint=_HINT)

    def _names(self) -> str:
        more = len(self.found) - _NAMED
        return "; ".join(map(str, self.found[-_NAMED:])) + (f"; and {more} more" if more > 0 else "")
