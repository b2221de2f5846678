"""Samples to training crops, in an order that can be taken up anywhere.

Order is a pure function of (seed, epoch): samples are permuted and taken in blocks, and the crops of
a block are permuted again. The cursor is (epoch, batches taken); a stream opened with it gives the very
next batch, whatever the number of workers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType

import numpy as np

from v2a.decode import Form
from v2a.ring import InOrder, Place, Ring, SampleSource
from v2a_data.errors import NothingError
from v2a_data.shards.read import Entry, ShardSet

# Samples whose crops are shuffled together.
BLOCK = 16


@dataclass(frozen=True)
class Crops:
    """One batch on the host: what the source gives per frame, stacked to (B, T, …), and sound (B, samples)."""

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
class _Block:
    """Samples decoded together, their crops `(sample, first frame)` in order, and the crops before them."""

    samples: list[int]
    crops: list[tuple[int, int]]
    before: int


class ShardStream:
    """Batches of crops of `crop_frames` frames, endlessly. Use as a context manager.

    Every sample is read whole once per epoch and gives as many crops as fit; their common phase is drawn
    per epoch and sample. The last, partial batch of an epoch is left out. Raises `NothingError` for an
    empty split or fewer crops than a batch.
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
    ) -> None:
        self.source, self.entries, self.crop_frames = source, list(entries), crop_frames
        self.batch, self.seed, self.block = batch, seed, block
        self.cursor = cursor or Cursor()
        self.lengths = [source.length(entry) for entry in self.entries]
        per_epoch = sum(length // crop_frames for length in self.lengths)
        if per_epoch < batch:
            source.close()
            raise NothingError(
                f"{len(self.entries)} samples give {per_epoch} crops, fewer than a batch of {batch}",
                hint="curate and shard more clips, or lower the batch with --set",
            )

    def __enter__(self) -> "ShardStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.source.close()

    def __iter__(self) -> Iterator[Crops]:
        while True:
            for crops in self._epoch(self.cursor.epoch, self.cursor.batch):
                self.cursor.batch += 1
                yield crops
            self.cursor = Cursor(self.cursor.epoch + 1, 0)

    def _epoch(self, epoch: int, done: int) -> Iterator[Crops]:
        """The batches of an epoch after the first `done`; blocks that lie before them are not read."""
        skip = done * self.batch
        blocks = [block for block in self._plan(epoch) if block.before + len(block.crops) > skip]
        read = self.source.read(self.entries[sample] for block in blocks for sample in block.samples)
        waiting: list[tuple[Entry, int, np.ndarray, np.ndarray]] = []
        for block in blocks:
            places = {sample: next(read) for sample in block.samples}
            for sample, start in block.crops[max(0, skip - block.before) :]:
                waiting.append((self.entries[sample], start, *self._crop(places[sample], start)))
                if len(waiting) == self.batch:
                    yield _stacked(waiting)
                    waiting = []
            for place in places.values():
                self.source.release(place)

    def _crop(self, place: Place, start: int) -> tuple[np.ndarray, np.ndarray]:
        """Copies of one crop: the sample's place may be used again soon."""
        stop, audio = start + self.crop_frames, self.source.samples_per_frame
        return place.frames[start:stop].copy(), place.sound[start * audio : stop * audio].copy()

    def _plan(self, epoch: int) -> list[_Block]:
        rng = np.random.default_rng([self.seed, epoch])
        order = rng.permutation(len(self.entries))
        blocks, before = [], 0
        for first in range(0, len(order), self.block):
            samples = [int(i) for i in order[first : first + self.block]]
            crops = []
            for sample in samples:
                count, rest = divmod(self.lengths[sample], self.crop_frames)
                phase = int(rng.integers(0, rest + 1))
                crops += [(sample, phase + i * self.crop_frames) for i in range(count)]
            shuffled = [crops[int(i)] for i in rng.permutation(len(crops))]
            blocks.append(_Block(samples, shuffled, before))
            before += len(shuffled)
        return blocks


def _stacked(rows: Sequence[tuple[Entry, int, np.ndarray, np.ndarray]]) -> Crops:
    return Crops(
        tuple(entry.key for entry, *_ in rows),
        tuple(entry.label for entry, *_ in rows),
        tuple(start for _, start, *_ in rows),
        np.stack([frames for *_, frames, _ in rows]),
        np.stack([sound for *_, sound in rows]),
    )


def shard_source(shards: ShardSet, entries: Sequence[Entry], form: Form, workers: int) -> SampleSource:
    """Decoded samples of a split: by `workers` processes, or in this one with 0.

    Raises `NothingError` for an empty split.
    """
    if not entries:
        raise NothingError(f"{shards.folder} has no samples of this split", hint="curate and shard more clips")
    shard_fps = Fraction(shards.read(entries[0]).values["fps"])
    if workers == 0:
        return InOrder(shards.folder, form, shard_fps)
    longest = max(entry.frames for entry in entries)
    return Ring(shards.folder, form, shard_fps, longest, workers, 2 * BLOCK)
