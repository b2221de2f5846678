"""Decoded crops in rows of memory: filled in this process, or by workers in a ring of shared memory.

The rows are allocated once and lie as batches lie: workers decode straight into a batch, so nothing is copied, stacked
or pickled on the way. Workers import no torch.
"""

import multiprocessing
import os
import queue
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from typing import Any, Protocol

import numpy as np

from v2a.reading.fill import Filler, Job, Piece, Trouble
from v2a.reading.form import Form, Grid
from v2a.reading.sets import pool_of
from v2a.reading.spans import Pool
from v2a_data.errors import DiskError, FatalError
from v2a_data.shards.read import Entry

_TIMEOUT_S = 60.0
# How often a waiting worker looks whether the driver still lives; a killed driver cannot end it.
_LOOK_UP_S = 2.0


class SampleSource(Protocol):
    """Fills rows with parts of samples, in the order asked for.

    `frames` (rows, T, …) and `sound` (rows, T · samples per frame) float32 are there after `allocate`.
    """

    samples_per_frame: int
    frames: np.ndarray
    sound: np.ndarray

    def length(self, entry: Entry) -> int:
        """Frames of a sample in this source's form."""
        ...

    def ahead(self) -> int:
        """How many samples are worth asking for before one is needed."""
        ...

    def allocate(self, rows: int, frames: int) -> None:
        """Make the rows; once, before anything is asked for."""
        ...

    def ask(self, job: Job) -> None: ...

    def answer(self) -> tuple[Job, Trouble | None]:
        """A job that is done, or why it could not be: of those asked for, not always the first."""
        ...

    def close(self) -> None: ...


class Here:
    """No workers: each job is done when its answer is waited for."""

    def __init__(self, form: Form, pools: Mapping[int, Pool]) -> None:
        self.form, self.samples_per_frame = form, form.samples_per_frame
        self._grids = {n: Grid(form, pool.fps) for n, pool in pools.items()}
        self._filler = Filler(form, pools)
        self._asked: deque[Job] = deque()

    def length(self, entry: Entry) -> int:
        return self._grids[pool_of(entry)].length(entry.frames)

    def ahead(self) -> int:
        return 0

    def allocate(self, rows: int, frames: int) -> None:
        self.frames = np.empty((rows, *self.form.plane_shape(frames)), np.uint8)
        self.sound = np.empty((rows, frames * self.samples_per_frame), np.float32)

    def ask(self, job: Job) -> None:
        self._asked.append(job)

    def answer(self) -> tuple[Job, Trouble | None]:
        job = self._asked.popleft()
        return job, self._filler.attempt(job, self.frames, self.sound)

    def close(self) -> None:
        self._filler.close()


class Ring:
    """Worker processes and rows in shared memory."""

    def __init__(self, form: Form, pools: Mapping[int, Pool], workers: int) -> None:
        self.form, self.samples_per_frame, self.workers = form, form.samples_per_frame, workers
        self._pools, self._grids = dict(pools), {n: Grid(form, pool.fps) for n, pool in pools.items()}
        self._asked: dict[int, Job] = {}
        self._number = 0
        self._shared: list[_Shared] = []
        self._workers: list[Any] = []

    def length(self, entry: Entry) -> int:
        return self._grids[pool_of(entry)].length(entry.frames)

    def ahead(self) -> int:
        return 2 * self.workers

    def allocate(self, rows: int, frames: int) -> None:
        """Raises `DiskError` where shared memory is too small."""
        assert not self._workers
        planes = (rows, *self.form.plane_shape(frames)), np.dtype(np.uint8)
        sound = (rows, frames * self.samples_per_frame), np.dtype(np.float32)
        self._shared = [_Shared(*planes), _Shared(*sound)]
        self.frames, self.sound = (shared.array for shared in self._shared)
        context = multiprocessing.get_context("spawn")
        self._tasks: Any = context.Queue()
        # What is still asked for when the run ends must not keep the process: nobody reads it any more.
        self._tasks.cancel_join_thread()
        self._done: Any = context.Queue()
        arguments = (self.form, self._pools, [shared.about for shared in self._shared], self._tasks, self._done)
        for _ in range(self.workers):
            worker = context.Process(target=work, args=arguments, daemon=True)
            worker.start()
            self._workers.append(worker)

    def ask(self, job: Job) -> None:
        self._asked[self._number] = job
        self._tasks.put((self._number, job))
        self._number += 1

    def answer(self) -> tuple[Job, Trouble | None]:
        while True:
            try:
                number, trouble = self._done.get(timeout=_TIMEOUT_S if self._alive() else 1.0)
            except queue.Empty:
                if not self._alive():
                    raise FatalError(
                        "a stream worker died", hint="run the command again; it goes on where it was"
                    ) from None
                continue
            return self._asked.pop(number), trouble

    def _alive(self) -> bool:
        return all(worker.is_alive() for worker in self._workers)

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()
            worker.join()
        self.frames = self.sound = np.empty(0)
        while self._shared:
            self._shared.pop().close()


class _Shared:
    """An array in shared memory that this process owns."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        size = int(np.prod(shape)) * dtype.itemsize
        self._memory = SharedMemory(create=True, size=size)
        _reserve(self._memory, size)
        self.array: np.ndarray = np.ndarray(shape, dtype, self._memory.buf)
        self.about = (self._memory.name, shape, dtype.str)

    def close(self) -> None:
        self.array = np.empty(0)
        self._memory.unlink()
        try:
            self._memory.close()
        except BufferError:
            # Someone still holds a batch; its memory goes with it.
            self._memory._buf = self._memory._mmap = None  # type: ignore[attr-defined]


def _reserve(memory: SharedMemory, size: int) -> None:
    """Take all of it now: memory that is not there would end the process when it is first touched."""
    try:
        os.posix_fallocate(memory._fd, 0, size)  # type: ignore[attr-defined]
    except OSError as error:
        memory.close()
        memory.unlink()
        raise DiskError(
            f"the stream needs {size / 1e9:.2f} GB more of shared memory than there is: {error.strerror}",
            hint="lower the batch or the view, use --workers 0, or give the container more (--shm-size)",
        ) from None
    except AttributeError:
        return  # a system without it


def work(form: Form, pools: Mapping[int, Pool], abouts: Sequence[tuple[str, Any, str]], tasks: Any, done: Any) -> None:
    """A worker: decode what the queue names into its rows, until killed or left alone."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    memories = [SharedMemory(name=name) for name, _, _ in abouts]
    frames, sound = (
        np.ndarray(shape, np.dtype(kind), memory.buf) for (_, shape, kind), memory in zip(abouts, memories, strict=True)
    )
    filler = Filler(form, pools)
    driver = multiprocessing.parent_process()
    while driver is None or driver.is_alive():
        try:
            number, job = tasks.get(timeout=_LOOK_UP_S)
        except queue.Empty:
            continue
        done.put((number, filler.attempt(job, frames, sound)))


@dataclass(frozen=True)
class Whole:
    """A whole sample: frames (T, …) and sound (samples,) float32, until the next one is asked for; or why not."""

    entry: Entry
    frames: np.ndarray
    sound: np.ndarray
    trouble: Trouble | None


def whole_samples(source: SampleSource, entries: Sequence[Entry]) -> Iterator[Whole]:
    """Whole samples in order, without crops. Raises `FatalError` where the run cannot go on."""
    if not entries:
        return
    rows = source.ahead() + 1
    lengths = [source.length(entry) for entry in entries]
    source.allocate(rows, max(lengths))
    done: dict[int, Trouble | None] = {}
    asked = 0
    for i, entry in enumerate(entries):
        while asked < min(len(entries), i + rows):
            source.ask(Job(entries[asked], (Piece(0, lengths[asked], asked % rows),)))
            asked += 1
        row = i % rows
        while row not in done:
            job, trouble = source.answer()
            done[job.pieces[0].row] = trouble
        trouble = done.pop(row)
        if trouble is not None and not trouble.damaged:
            raise FatalError(f"{entry.shard}: sample {entry.key}: {trouble.message}", hint=trouble.hint)
        sound = source.sound[row, : lengths[i] * source.samples_per_frame]
        yield Whole(entry, source.frames[row, : lengths[i]], sound, trouble)
