"""Which crops an epoch has and in which order: a pure function of (seed, epoch) and of what samples there are.

Samples are drawn in groups (one of them all; or shard sets with weights; or labels in balance). In a group, shards
are permuted and four of them are open at a time; each is cut into short runs that are read in sequence, and runs of the
open shards take turns. Groups are merged in proportion. The crops of `block` samples are shuffled together.

`crops[g]` has the global index g: batch g // batch; rank r of W takes the r-th of W stretches of every batch.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Literal

import numpy as np

from v2a_data.errors import UsageError

# Samples whose crops are shuffled together, and the shards that they come from.
BLOCK = 16
OPEN_SHARDS = 4
# Weights of shard sets: beyond, sums and shares would leave what numbers hold.
LOWEST_WEIGHT, HIGHEST_WEIGHT = 1e-6, 1e6


@dataclass(frozen=True)
class Group:
    """Samples (indices, in reading order) with the shard of each, and their share of every epoch."""

    samples: tuple[int, ...]
    shards: tuple[Hashable, ...]
    share: float


@dataclass(frozen=True)
class Cutting:
    """How samples become crops of `frames` frames.

    `all`: as many as fit, their common phase drawn; `one`: a single one anywhere. Shorter samples give none,
    or with `tile` one that is repeated to the length.
    """

    frames: int
    crops: Literal["all", "one"] = "all"
    tile: bool = False

    def count(self, length: int) -> int:
        """Crops of a sample of so many frames."""
        if length < self.frames:
            return int(self.tile and length > 0)
        return 1 if self.crops == "one" else length // self.frames

    def starts(self, length: int, rng: np.random.Generator) -> tuple[int, ...]:
        """First frames of the crops."""
        count = self.count(length)
        if not count or length < self.frames:
            return (0,) * count
        phase = int(rng.integers(0, length - count * self.frames + 1))
        return tuple(phase + i * self.frames for i in range(count))


@dataclass(frozen=True)
class Pick:
    """A sample in the order of an epoch, and where its crops start."""

    sample: int
    starts: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """An epoch: samples as they are read, and crops `(pick, which of its starts)` in global order."""

    picks: tuple[Pick, ...]
    crops: tuple[tuple[int, int], ...]

    def after(self, pick: int) -> int | None:
        """The next pick with crops, of another sample; after the last comes the first."""
        following = ((pick + step) % len(self.picks) for step in range(1, len(self.picks)))
        return next((i for i in following if self.picks[i].starts and self._differ(i, pick)), None)

    def _differ(self, one: int, other: int) -> bool:
        return self.picks[one].sample != self.picks[other].sample


def groups_of(
    sets: Sequence[int], shards: Sequence[str], labels: Sequence[str], weights: Sequence[float], *, balance: bool
) -> list[Group]:
    """Groups of samples, each given by its shard set, shard and label.

    A set has the share that its weight has of all weights; with `balance`, labels have equal parts of it.
    Raises `UsageError` for weights that are none, and for a group so light that none of it would ever be drawn.
    """
    if not all(LOWEST_WEIGHT <= weight <= HIGHEST_WEIGHT for weight in weights):
        bounds = f"from {LOWEST_WEIGHT:g} to {HIGHEST_WEIGHT:g}"
        raise UsageError(f"weights of shard sets must be {bounds}, got {list(weights)}")
    members: dict[tuple[int, str], list[int]] = {}
    for i, number in enumerate(sets):
        members.setdefault((number, labels[i] if balance else ""), []).append(i)
    total = sum(weights[number] for number in {number for number, _ in members})
    parts = {number: sum(1 for other, _ in members if other == number) for number, _ in members}
    groups = [
        Group(tuple(chosen), tuple((number, shards[i]) for i in chosen), weights[number] / total / parts[number])
        for (number, _), chosen in sorted(members.items())
    ]
    for (number, label), quota in zip(sorted(members), quotas_of([g.share for g in groups], len(sets)), strict=True):
        if not quota:
            of = f" of the label {label!r}" if balance else ""
            raise UsageError(
                f"shard set {number + 1}, with weight {weights[number]:g} of {total:g}, gives no sample{of} to an "
                f"epoch of {len(sets)}: it would never be drawn",
                hint="raise its weight, or leave it out",
            )
    return groups


def epoch_plan(
    groups: Sequence[Group], lengths: Sequence[int], cutting: Cutting, seed: int, epoch: int, block: int = BLOCK
) -> Plan:
    """The plan of an epoch: as many samples as there are, those of each group by its share."""
    rng = np.random.default_rng([seed, epoch])
    quotas = quotas_of([group.share for group in groups], sum(len(group.samples) for group in groups))
    run = max(1, block // OPEN_SHARDS)
    chosen = [list(islice(_endless(g, run, rng), quota)) for g, quota in zip(groups, quotas, strict=True)]
    picks = tuple(Pick(i, cutting.starts(lengths[i], rng)) for i in _merged(chosen, rng))
    crops: list[tuple[int, int]] = []
    for first in range(0, len(picks), block):
        ours = [(first + i, j) for i, p in enumerate(picks[first : first + block]) for j in range(len(p.starts))]
        crops += [ours[i] for i in rng.permutation(len(ours)).tolist()]
    return Plan(picks, tuple(crops))


def most_crops(lengths: Sequence[int], cutting: Cutting, block: int) -> int:
    """No `block` samples in a row give more crops."""
    return block * max(map(cutting.count, lengths), default=0)


def quotas_of(shares: Sequence[float], total: int) -> list[int]:
    """Whole numbers that sum to `total` in these proportions: the largest remainders get one more."""
    exact = [share * total for share in shares]
    quotas = [int(number) for number in exact]
    by_rest = sorted(range(len(exact)), key=lambda i: (quotas[i] - exact[i], i))
    for i in by_rest[: total - sum(quotas)]:
        quotas[i] += 1
    return quotas


def _endless(group: Group, run: int, rng: np.random.Generator) -> Iterator[int]:
    """The group's samples, every one once before any comes again."""
    while True:
        by_shard: dict[Hashable, list[int]] = {}
        for sample, shard in zip(group.samples, group.shards, strict=True):
            by_shard.setdefault(shard, []).append(sample)
        names = list(by_shard)
        waiting = [_runs(by_shard[names[i]], run, rng) for i in rng.permutation(len(names)).tolist()]
        opened: list[list[list[int]]] = []
        while waiting or opened:
            while waiting and len(opened) < OPEN_SHARDS:
                opened.append(waiting.pop(0))
            for runs in opened:
                yield from runs.pop(0)
            opened = [runs for runs in opened if runs]


def _runs(samples: Sequence[int], run: int, rng: np.random.Generator) -> list[list[int]]:
    """Neighbours in a shard, read in sequence; where the runs begin is drawn, and so is their order."""
    first = int(rng.integers(0, run))
    edges = [0, *range(first or run, len(samples), run), len(samples)]
    pieces = [list(samples[a:b]) for a, b in pairwise(edges) if a < b]
    return [pieces[i] for i in rng.permutation(len(pieces)).tolist()]


def _merged(chosen: Sequence[Sequence[int]], rng: np.random.Generator) -> list[int]:
    """Rows of samples as one, each spread evenly over the whole."""
    if len(chosen) == 1:
        return list(chosen[0])
    offsets = rng.random(len(chosen))
    placed = [
        ((i + offsets[number]) / len(row), number, sample)
        for number, row in enumerate(chosen)
        for i, sample in enumerate(row)
    ]
    return [sample for _, _, sample in sorted(placed, key=lambda place: place[:2])]
