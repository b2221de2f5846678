"""Samples to training crops, in an order that can be taken up anywhere.

The order is that of `order.py`. The cursor is (epoch, batches taken); a stream opened with it gives the very next
batch, whatever the number of workers, or of ranks that share the global batches.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Literal

import numpy as np

from v2a.reading.damage import MOST_IN_A_ROW, Damaged, DamageLog
from v2a.reading.fill import Job, Piece
from v2a.reading.order import BLOCK, Cutting, Plan, epoch_plan, groups_of, most_crops
from v2a.reading.ring import SampleSource
from v2a.reading.sets import pool_of
from v2a_data.errors import FatalError, NothingError, UsageError
from v2a_data.shards.read import Entry


@dataclass(frozen=True)
class Crops:
    """One batch on the host: what the source gives per frame, (B, T, …), and sound (B, samples).

    The arrays are views of the ring: they hold until the next batch is asked for.
    """

    keys: tuple[str, ...]
    labels: tuple[str, ...]
    start_frames: tuple[int, ...]
    frames: np.ndarray
    sound: np.ndarray

    def part(self, first: int, stop: int) -> "Crops":
        """The crops from `first` to before `stop`."""
        here = slice(first, stop)
        return Crops(self.keys[here], self.labels[here], self.start_frames[here], self.frames[here], self.sound[here])


@dataclass
class Cursor:
    """Where the stream stands; saved with every checkpoint."""

    epoch: int = 0
    batch: int = 0


@dataclass(frozen=True)
class _Epoch:
    """An epoch in work: its plan and its batches from `done` on, which have the numbers from `first` on."""

    number: int
    plan: Plan
    done: int
    first: int
    batches: int


@dataclass(frozen=True)
class _Task:
    """Crops of one pick: (which of the pick's, number of the batch, place in it). `tried` others were damaged."""

    epoch: _Epoch
    pick: int
    crops: tuple[tuple[int, int, int], ...]
    tried: int = 0

    @property
    def last(self) -> int:
        return max(batch for _, batch, _ in self.crops)


class ShardStream:
    """Batches of crops of `crop_frames` frames, endlessly. Use as a context manager.

    `batch` is the global one: rank r of `world` gets the r-th stretch of it, so that the ranks' shares in order are the
    batch, and decodes no others. Every sample is read once per epoch. `crops="all"` gives as many crops as fit, with a
    phase drawn per epoch and sample; `"one"` a single one anywhere. `tile` repeats samples shorter than a crop, which
    are left out otherwise. The last, partial batch of an epoch is left out.

    `weights` are the shares of an epoch of the sets of shards that the entries are of; `balance` gives labels equal
    shares. A damaged sample goes to `report` and is replaced (see `damage.py`). Raises `NothingError` for an empty
    split or fewer crops than a batch, `UsageError` for a batch that `world` does not divide.
    """

    def __init__(
        self,
        source: SampleSource,
        entries: Sequence[Entry],
        crop_frames: int,
        batch: int,
        seed: int,
        *,
        block: int = BLOCK,
        cursor: Cursor | None = None,
        rank: int = 0,
        world: int = 1,
        crops: Literal["all", "one"] = "all",
        tile: bool = False,
        weights: Sequence[float] = (1.0,),
        balance: bool = False,
        report: Callable[[Damaged], None] | None = None,
    ) -> None:
        self.source, self.entries, self.crop_frames = source, list(entries), crop_frames
        self.batch, self.seed, self.block, self.rank, self.world = batch, seed, block, rank, world
        self.cursor = cursor or Cursor()
        self.cutting = Cutting(crop_frames, crops, tile)
        self.damage = DamageLog(len(self.entries), report)
        try:
            self.lengths = [source.length(entry) for entry in self.entries]
            pools, shards = [pool_of(e) for e in self.entries], [e.shard for e in self.entries]
            self._groups = groups_of(pools, shards, [e.label for e in self.entries], weights, balance=balance)
            self._check()
            self._buffers = self._batches_in_work()
            source.allocate(self._buffers * self.share, crop_frames)
        except BaseException:
            source.close()
            raise
        self._rows: dict[int, tuple[Entry, int]] = {}
        self._work: dict[int, _Task] = {}
        self._asked = 0

    @property
    def share(self) -> int:
        """Crops of a batch that this rank gets."""
        return self.batch // self.world

    def __enter__(self) -> "ShardStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.source.close()

    def plan(self, epoch: int) -> Plan:
        """The order of an epoch, the same for every rank."""
        return epoch_plan(self._groups, self.lengths, self.cutting, self.seed, epoch, self.block)

    def __iter__(self) -> Iterator[Crops]:
        while self._work:  # what an abandoned iteration asked for would land in rows of this one
            self._work.pop(self.source.answer()[0].mark)
        filled, epochs = Counter[int](), deque[_Epoch]()
        tasks = self._tasks(epochs)
        task = next(tasks)
        for number in count():
            while task.last < number + self._buffers:
                self._ask(task)
                task = next(tasks)
            while filled[number] < self.share:
                filled.update(self._answer())
            del filled[number]
            while number >= epochs[0].first + epochs[0].batches:
                epochs.popleft()
            self.cursor = Cursor(epochs[0].number, epochs[0].done + number - epochs[0].first + 1)
            yield self._crops(number)

    def _tasks(self, epochs: deque[_Epoch]) -> Iterator[_Task]:
        """What this rank needs, endlessly, in the order of need; epochs are noted as they begin."""
        first, done = 0, self.cursor.batch
        for number in count(self.cursor.epoch):
            plan = self.plan(number)
            whole = len(plan.crops) // self.batch
            if not whole:
                raise NothingError(f"epoch {number} gives {len(plan.crops)} crops, fewer than a batch of {self.batch}")
            epoch = _Epoch(number, plan, done, first, max(0, whole - done))
            epochs.append(epoch)
            needed: dict[int, list[tuple[int, int, int]]] = {}
            for g in range(done * self.batch, whole * self.batch):
                batch, place = divmod(g, self.batch)
                if place // self.share == self.rank:
                    pick, crop = plan.crops[g]
                    needed.setdefault(pick, []).append((crop, first + batch - done, place % self.share))
            for pick, crops in needed.items():
                yield _Task(epoch, pick, tuple(crops))
            first, done = first + epoch.batches, 0

    def _ask(self, task: _Task) -> None:
        pick = task.epoch.plan.picks[task.pick]
        length, pieces = self.lengths[pick.sample], []
        for crop, batch, place in task.crops:
            start = pick.starts[crop % len(pick.starts)]
            pieces.append(Piece(start, min(self.crop_frames, length - start), self._row(batch, place)))
        job = Job(self.entries[pick.sample], tuple(pieces), self.cutting.tile, self._asked)
        self._work[self._asked] = task
        self._asked += 1
        self.source.ask(job)

    def _answer(self) -> list[int]:
        """Wait for a job; the numbers of the batches that got a crop by it."""
        job, trouble = self.source.answer()
        task = self._work.pop(job.mark)
        if trouble is None:
            self._rows.update({piece.row: (job.entry, piece.start) for piece in job.pieces})
            return [batch for _, batch, _ in task.crops]
        if not trouble.damaged:
            raise FatalError(f"{job.entry.shard}: sample {job.entry.key}: {trouble.message}", hint=trouble.hint)
        self.damage.note(job.entry, trouble.message)
        instead, tried = self._instead(task)
        for crop in task.crops:  # one by one: two of them may become the same crop of a shorter sample
            self._ask(_Task(task.epoch, instead, (crop,), tried))
        return []

    def _instead(self, task: _Task) -> tuple[int, int]:
        """The next pick with crops of another sample, and how many were damaged until there."""
        tried = task.tried + 1
        instead = task.epoch.plan.after(task.pick) if tried <= MOST_IN_A_ROW else None
        if instead is None:
            raise self.damage.none_left(tried)
        return instead, tried

    def _row(self, batch: int, place: int) -> int:
        return batch % self._buffers * self.share + place

    def _crops(self, number: int) -> Crops:
        first = self._row(number, 0)
        rows = [self._rows[row] for row in range(first, first + self.share)]
        return Crops(
            tuple(entry.key for entry, _ in rows),
            tuple(entry.label for entry, _ in rows),
            tuple(start for _, start in rows),
            self.source.frames[first : first + self.share],
            self.source.sound[first : first + self.share],
        )

    def _batches_in_work(self) -> int:
        """A sample's crops may lie anywhere in its block, so all of a block's batches are open at once."""
        most = most_crops(self.lengths, self.cutting, self.block)
        spread = 1 if most <= self.block else (most - 1) // self.batch + 2
        return spread + -(-self.source.ahead() // self.share)

    def _check(self) -> None:
        if not 0 <= self.rank < self.world or self.batch % self.world:
            raise UsageError(
                f"a batch of {self.batch} cannot be shared by {self.world} ranks (this is rank {self.rank})",
                hint="choose a batch that is a multiple of the number of processes",
            )
        crops = len(self.plan(self.cursor.epoch).crops)
        if crops < self.batch:
            raise NothingError(
                f"{len(self.entries)} samples give {crops} crops, fewer than a batch of {self.batch}",
                hint="curate and shard more clips, or lower the batch with --set",
            )
