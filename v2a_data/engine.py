"""Runs the stages' work: on a Dask cluster, or in order in this process.

A job is one or two steps. Step functions are plain functions of the packages that return results
or write files; only the driver, through `on_result`, touches the ledger. Work in flight is bounded,
so memory stays flat however many jobs there are.
"""

import logging
import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from types import FrameType
from typing import Any, Literal

from v2a_data.errors import FatalError, InterruptedRunError, UsageError
from v2a_data.files import disk_error, is_disk_error

Pool = Literal["decode", "model"]
_PER_WORKER = 2
# Short jobs of one step travel together, as many as take about this long: what a task costs is theirs together.
_BATCH_S = 2.0
MOST_IN_BATCH = 16
# A cluster of one's own may give up on a task whose workers died a few times. Our steps outlive their media, so that
# workers that die are the cluster's affair: the task is handed in again, so often.
_HANDED_IN_AGAIN = 5


@dataclass(frozen=True)
class Step:
    """One function call. In a second step the first one's result comes first in the arguments."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    pool: Pool = "decode"


@dataclass(frozen=True)
class Job:
    """Steps done one after the other; the last one's result is the job's."""

    key: str
    steps: tuple[Step, ...]


OnResult = Callable[[Job, Any], None]


class Engine(ABC):
    """Runs jobs and hands each result to the driver as it comes."""

    workers = 0

    @abstractmethod
    def run(self, jobs: Iterable[Job | None], on_result: OnResult, *, at_most: int | None = None) -> None:
        """Run all jobs; results come in the order they finish, `on_result` runs in this thread.

        A null job means: nothing more until a running one is done. `at_most` bounds the work in flight
        further. Ctrl-C once lets running work finish and be recorded, then raises
        `InterruptedRunError`; twice raises `KeyboardInterrupt` at once.
        """

    def close(self) -> None:  # noqa: B027 (most engines hold nothing)
        """Let go of what the engine holds."""


class SerialEngine(Engine):
    """The same functions in order in this process; media are still decoded in a child."""

    def run(self, jobs: Iterable[Job | None], on_result: OnResult, *, at_most: int | None = None) -> None:
        with stop_signals() as stop:
            for job in jobs:
                if job is None:
                    continue
                result: tuple[Any, ...] = ()
                for step in job.steps:
                    result = (run_step(step.function, *result, *step.args),)
                on_result(job, result[0])
                stop.check()


class DaskEngine(Engine):
    """Jobs on a Dask cluster: an own one on loopback, or one that exists. `tasks` counts what was submitted."""

    def __init__(self, workers: int, scheduler: str | None, *, models: bool) -> None:
        from distributed import Client

        self._cluster: Any = None
        self._client: Any = None
        self.tasks = 0
        try:
            with _interrupts_held():
                self._cluster = None if scheduler else local_cluster(workers, models=models)
                self.address: str = scheduler or self._cluster.scheduler_address
                self._client = _connected(Client, self.address, own=not scheduler)
            found = self._client.scheduler_info(n_workers=-1)["workers"].values()
            self._resources = {name for worker in found for name in worker.get("resources", {})}
            self.workers = max(1, sum("model" not in worker.get("resources", {}) for worker in found) or len(found))
        except BaseException:
            self.close()
            raise

    def run(self, jobs: Iterable[Job | None], on_result: OnResult, *, at_most: int | None = None) -> None:
        from distributed import as_completed
        from distributed.scheduler import KilledWorker

        waiting = Batches(jobs, together=at_most is None)
        room = min(self.workers * _PER_WORKER, at_most or self.workers * _PER_WORKER)
        running: dict[Any, list[Job]] = {}
        deaths: Counter[str] = Counter()
        finished = as_completed(loop=self._client.loop)
        with stop_signals() as stop:
            while True:
                while len(running) < room and not stop.asked and (batch := waiting.next()):
                    future = self._submit(batch)
                    running[future] = batch
                    finished.add(future)
                if not running:
                    break
                future = next(finished)
                batch = running.pop(future)
                try:
                    results, seconds = future.result()
                except KilledWorker as error:
                    deaths[batch[0].key] += 1
                    if deaths[batch[0].key] > _HANDED_IN_AGAIN:
                        raise FatalError(
                            f"workers of the cluster die again and again at {batch[0].key}: {error}",
                            hint="look at the workers' own logs; the same command goes on where it was",
                        ) from None
                    future = self._submit(batch, deaths[batch[0].key])
                    running[future] = batch
                    finished.add(future)
                    continue
                future.release()
                waiting.note(len(batch), seconds)
                for job, result in zip(batch, results, strict=True):
                    on_result(job, result)
            stop.check()

    def _submit(self, batch: Sequence[Job], again: int = 0) -> Any:
        """A task per step; jobs that travel together have one step each. `again` tells tries of a batch apart."""
        future = None
        self.tasks += len(batch[0].steps)
        for number, steps in enumerate(zip(*(job.steps for job in batch), strict=True)):
            pool = steps[0].pool
            future = self._client.submit(
                run_steps,
                [(step.function, step.args) for step in steps],
                future,
                key=f"{batch[0].key}-{number}" + (f"-again{again}" if again else ""),
                pure=False,
                resources={pool: 1} if pool in self._resources else None,
                retries=3,
            )
        return future

    def close(self) -> None:
        # What a cluster says while it is taken down half-way is no news to the user.
        for name in ("distributed", "tornado", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        for part in (self._client, self._cluster):
            if part is not None:
                with suppress(Exception):
                    part.close()


class Batches:
    """Jobs in batches: one at a time, or, `together`, so many short ones as make up a worthwhile task."""

    def __init__(self, jobs: Iterable[Job | None], *, together: bool) -> None:
        self._jobs = iter(jobs)
        self._together = together
        self._size = 1
        self._left: Job | None = None

    def next(self) -> list[Job]:
        """The next jobs; empty at the end, and where nothing more may be started yet."""
        batch: list[Job] = []
        while len(batch) < self._size:
            job = self._left or next(self._jobs, None)
            self._left = None
            if job is None:
                break
            if len(job.steps) > 1 and batch:
                self._left = job
                break
            batch.append(job)
            if len(job.steps) > 1:
                break
        return batch

    def note(self, count: int, seconds: float) -> None:
        """So many jobs took so long: what follows is sized by that, growing step by step."""
        if self._together:
            fitting = int(_BATCH_S * count / max(seconds, 1e-6))
            self._size = max(1, min(fitting, 2 * self._size, MOST_IN_BATCH))


def _connected(client: Any, address: str, *, own: bool) -> Any:
    try:
        # Workers of a cluster elsewhere may be out of reach; one's own hand over their results themselves.
        return client(address, timeout="30s", set_as_default=False, direct_to_workers=own)
    except (OSError, ValueError, TimeoutError) as error:
        raise UsageError(
            f"--scheduler {address}: {error}", hint="start one with `dask scheduler`, or leave --scheduler out"
        ) from None


def run_steps(
    calls: Sequence[tuple[Callable[..., Any], tuple[Any, ...]]], before: tuple[list[Any], float] | None
) -> tuple[list[Any], float]:
    """The results of some calls in order, and the seconds they took; `before` are the results that come first."""
    started = time.monotonic()
    earlier: list[tuple[Any, ...]] = [(result,) for result in before[0]] if before else [()] * len(calls)
    results = [run_step(function, *first, *args) for (function, args), first in zip(calls, earlier, strict=True)]
    return results, time.monotonic() - started


def run_step(function: Callable[..., Any], *args: Any) -> Any:
    """Call a step's function. A full disk is said as such: errors of libraries do not travel between processes."""
    try:
        return function(*args)
    except OSError as error:
        if is_disk_error(error):
            raise disk_error(error) from None
        raise


def local_cluster(workers: int, *, models: bool) -> Any:
    """A cluster of worker processes on loopback, with one more for models where they are needed."""
    import dask
    from distributed import Nanny, Scheduler, SpecCluster

    dask.config.set(
        {
            "distributed.scheduler.allowed-failures": 20,
            "distributed.worker.daemon": True,
            "distributed.logging.distributed": "error",
            "distributed.comm.timeouts.connect": "60s",
            # Nobody looks at these, and at their usual pace each process spends 2 % of a core on them.
            "distributed.worker.profile.enabled": False,
            "distributed.admin.tick.interval": "1s",
            "distributed.admin.system-monitor.interval": "10s",
            # Dask's own low threshold gives every freed frame back to the system and faults it in again.
            "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 256_000_000,
            "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 256_000_000,
        }
    )
    common = {"host": "127.0.0.1", "dashboard_address": None, "nthreads": 1, "memory_limit": 0, "silence_logs": 50}
    specification = {
        f"decode-{i}": {"cls": Nanny, "options": {**common, "resources": {"decode": 1}}} for i in range(workers)
    }
    if models:
        specification["model"] = {"cls": Nanny, "options": {**common, "resources": {"model": 1}}}
    scheduler = {
        "cls": Scheduler,
        "options": {"host": "127.0.0.1", "port": 0, "dashboard": False, "dashboard_address": "127.0.0.1:0"},
    }
    before = dict(os.environ)
    try:
        return SpecCluster(workers=specification, scheduler=scheduler, silence_logs=50)
    finally:
        # Nannies leave their workers' thread limits here, where every command started later would inherit them.
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while inside; the threads and processes started here never see it.

    A terminal sends it to the whole process group, and a worker that dies of it would take its
    finished work along.
    """
    resource_tracker.ensure_running()  # it unblocks the signal in the thread that starts it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def open_engine(workers: int, scheduler: str | None, *, models: bool = False) -> Engine:
    """The engine for `--workers` and `--scheduler`. `models` asks for a model worker."""
    if scheduler or workers:
        return DaskEngine(workers, scheduler, models=models)
    return SerialEngine()


class StopSignal:
    """Whether the user asked to stop."""

    def __init__(self) -> None:
        self.asked = False

    def check(self) -> None:
        """Raise `InterruptedRunError` when asked to stop."""
        if self.asked:
            raise InterruptedRunError("stopped; what was done is kept", hint="run the same command again to go on")


_current: StopSignal | None = None


def pause(seconds: float) -> bool:
    """Wait, unless the user asks to stop meanwhile; false when that happened."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if _current is not None and _current.asked:
            return False
        time.sleep(min(left, 0.2))
    return True


@contextmanager
def stop_signals() -> Iterator[StopSignal]:
    """While inside, the first Ctrl-C or SIGTERM only sets the flag; the second one interrupts."""
    global _current
    stop = StopSignal()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handle(number: int, _: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    _current, outer = stop, _current
    try:
        yield stop
    finally:
        _current = outer
        for number, handler in before.items():
            signal.signal(number, handler)
