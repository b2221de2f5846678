"""The engine: same results whatever runs them, bounded work, stopping, loopback only."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from v2a_data.engine import (
    MOST_IN_BATCH,
    Batches,
    DaskEngine,
    Engine,
    Job,
    SerialEngine,
    Step,
    open_engine,
    pause,
    stop_signals,
)
from v2a_data.errors import InterruptedRunError
from v2a_data.progress import Progress, duration


def add(a: int, b: int) -> int:
    return a + b


def who(value: int) -> tuple[int, int]:
    return value, os.getpid()


@pytest.fixture(scope="module")
def dask():
    engine = open_engine(2, None, models=True)
    yield engine
    engine.close()


def results(engine: Engine, count: int) -> dict[str, tuple[int, int]]:
    out = {}
    jobs = (Job(f"t{time.monotonic_ns()}-{i}", (Step(add, (i, 1)), Step(who, (), "model"))) for i in range(count))
    engine.run(jobs, lambda job, value: out.__setitem__(job.key.split("-")[1], value))
    return out


def test_both_engines_give_the_same(dask: DaskEngine) -> None:
    one, two = results(SerialEngine(), 30), results(dask, 30)
    assert {k: v[0] for k, v in one.items()} == {k: v[0] for k, v in two.items()} == {str(i): i + 1 for i in range(30)}
    assert {v[1] for v in one.values()} == {os.getpid()}
    assert len({v[1] for v in two.values()}) == 1, "second steps belong to the one model worker"


def test_work_in_flight_is_bounded(dask: DaskEngine) -> None:
    asked, done, most = 0, 0, 0

    def jobs():
        nonlocal asked, most
        for i in range(60):
            asked += 1
            most = max(most, asked - done)
            yield Job(f"b{time.monotonic_ns()}-{i}", (Step(add, (i, i)),))

    def finished(job: Job, value: int) -> None:
        nonlocal done
        done += 1

    dask.run(jobs(), finished)
    assert done == 60
    assert most <= 2 * dask.workers * MOST_IN_BATCH
    asked = done = most = 0
    dask.run(jobs(), finished, at_most=1)
    assert most <= 2


def plain(count: int) -> list[Job]:
    return [Job(str(i), (Step(add, (i, 1)),)) for i in range(count)]


def test_short_jobs_travel_together_and_long_ones_alone() -> None:
    batches, sizes = Batches(plain(60), together=True), []
    for seconds in (0.004, 0.04, 0.08, 0.16, 0.16, 12.8, 3.6, 0.4):
        batch = batches.next()
        sizes.append(len(batch))
        batches.note(len(batch), seconds)
    assert sizes == [1, 2, 4, 8, 16, 16, 2, 1]
    assert [job.key for job in batches.next()] == ["50", "51"]


def test_paced_jobs_and_jobs_of_two_steps_travel_alone() -> None:
    paced = Batches(plain(3), together=False)
    two = Job("two", (Step(add, (1, 1)), Step(add, (1,))))
    mixed = Batches([plain(1)[0], *plain(3), two, None, *plain(2)], together=True)
    for batches in (paced, mixed):
        assert len(batches.next()) == 1
        batches.note(1, 1e-9)
    batches.note(1, 1e-9)
    assert len(paced.next()) == 1
    assert [[job.key for job in mixed.next()] for _ in range(4)] == [["0", "1", "2"], ["two"], [], ["0", "1"]]


def test_jobs_in_a_batch_have_their_own_results(dask: DaskEngine) -> None:
    found: dict[str, int] = {}
    dask.run((Job(f"own-{i}", (Step(add, (i, i)),)) for i in range(300)), lambda job, x: found.__setitem__(job.key, x))
    assert found == {f"own-{i}": 2 * i for i in range(300)}


def test_a_null_job_waits_for_a_running_one(dask: DaskEngine) -> None:
    seen: list[int] = []

    def jobs():
        yield Job(f"n{time.monotonic_ns()}", (Step(add, (1, 1)),))
        while not seen:
            yield None
        yield Job(f"n{time.monotonic_ns()}", (Step(add, (2, 2)),))

    dask.run(jobs(), lambda job, value: seen.append(value))
    assert seen == [2, 4]


def test_everything_listens_on_loopback(dask: DaskEngine) -> None:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = {row[9]: row[1] for row in rows if row[3] == "0A"}
    sockets = {os.readlink(f)[8:-1] for f in Path("/proc/self/fd").iterdir() if f.exists() or f.is_symlink()}
    ours = [address for inode, address in listening.items() if inode in sockets]
    assert len(ours) >= 2
    assert all(address.startswith("0100007F:") for address in ours), ours


def test_the_first_signal_keeps_what_runs_and_the_second_interrupts() -> None:
    done = []

    def slow() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)

    jobs = (Job(str(i), (Step(slow, ()),)) for i in range(5))
    with pytest.raises(InterruptedRunError) as caught:
        SerialEngine().run(jobs, lambda job, value: done.append(job.key))
    assert done == ["0"]
    assert caught.value.exit_code == 130
    with stop_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.asked
        assert pause(5.0) is False
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_workers_end_with_a_killed_driver() -> None:
    code = (
        "import sys, time\n"
        "from v2a_data.engine import open_engine, Job, Step\n"
        "import os\n"
        "def main():\n"
        "    e = open_engine(2, None)\n"
        "    out = set()\n"
        "    for i in range(8):\n"
        "        e.run([Job(f'p{i}', (Step(os.getpid, ()),))], lambda j, v: out.add(v))\n"
        "    print(*out, flush=True); time.sleep(60)\n"
        "if __name__ == '__main__': main()\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pids = [int(p) for p in driver.stdout.readline().split()]
    driver.kill()
    driver.wait()
    assert pids
    for _ in range(150):
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return
        time.sleep(0.1)
    pytest.fail("Dask workers outlived their driver")


def test_progress_shows_rate_and_time_left() -> None:
    progress = Progress("fetch", 200, "videos", done=100, quiet=True)
    progress.started -= 10
    progress.step(20, gone=3)
    assert progress.line() == "fetch: 120/200 videos, 2.0/s, 40 s left, 3 gone"
    assert duration(95) == "1 min 35 s"
    assert duration(4600) == "1 h 16 min"
