"""Kills workers of a Dask cluster that `curate` was pointed at, and compares what it makes with one process.

    python benchmarks/dask_kills.py [--kills 50] [--seed 0] [--json]

A scheduler and four workers run as the user would start them (`dask scheduler`, `dask worker`), each worker a process
of its own. `v2a-data curate --scheduler` works on a fresh copy of one fetched workspace while workers are killed
(SIGKILL) at random moments and others take their place; lives follow one another until there were enough kills. One
video is poison: whatever decodes it dies of SIGSEGV at once, in every run. In the end ledger, scores and fingerprints
must be those of `--workers 0`, and the poison `quarantined`. Exit code 1 where anything differs. The scheduler gives
up on a task at the first death of its worker (Dask's default is the fourth), so that such a task has to be handed in
again.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import inputs
from kill_harness import RECIPE, snapshot

from v2a_data.workspace import Workspace

WORKERS = 4
VIDEOS = 40
_SYNTH = ("--labels", "Airplane,Drum", "--view", "steady", "--lines", "72", "--seconds", "6-9", "--faults", "still:0.2")
_SETS = ("--set", "clips.seconds=4", "--set", "splits.test=4")
_EVERY_S = (0.3, 2.0)
_POISON_LOOK_S = 0.002
_MOST_S = 900.0


@dataclass
class Found:
    """What the kills did; `troubles` holds every difference from the run in one process, by life."""

    lives: int = 0
    kills: int = 0
    quarantined: int = 0
    videos: int = 0
    scores: int = 0
    troubles: list[str] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = run(Path(name), options.kills, options.seed)
    rows = [(found.lives, found.kills, found.videos, found.quarantined, found.scores, len(found.troubles))]
    header = ("lives", "workers killed", "videos", "quarantined", "score files", "differences")
    inputs.show("dask_kills", header, rows, "against --workers 0", options.json, **found.__dict__)
    print("\n".join(found.troubles))
    return 1 if found.troubles or found.quarantined != 1 else 0


def run(folder: Path, kills: int, seed: int) -> Found:
    """Kill so many workers over as many lives as it takes. Everything is made below `folder`."""
    rng, found = random.Random(seed), Found()
    fetched = _fetched(folder, seed)
    with Workspace.read(fetched) as workspace:
        path = workspace.ledger.value("SELECT path FROM media ORDER BY video_id LIMIT 1 OFFSET 7")
    reference = shutil.copytree(fetched, folder / "reference")
    with poisoned(str(path)):
        _call("curate", "-w", str(reference), "--workers", "0")
        expected = snapshot(reference)
        found.videos, found.scores = VIDEOS, sum(name.startswith("scores/") for name in expected)
        found.quarantined = _quarantined(reference)
        while found.kills < kills:
            life = shutil.copytree(fetched, folder / f"life-{found.lives}")
            with Cluster(folder) as cluster:
                _live(life, cluster, found, kills, rng)
            got = snapshot(life)
            for name in sorted(expected.keys() | got.keys()):
                if expected.get(name) != got.get(name):
                    found.troubles.append(f"life {found.lives}: {name}: {got.get(name)} is not {expected.get(name)}")
            found.lives += 1
            print(f"life {found.lives}: {found.kills} of {kills} kills", file=sys.stderr, flush=True)
            shutil.rmtree(life)
    return found


def _fetched(folder: Path, seed: int) -> Path:
    world, workspace = folder / "world", folder / "fetched"
    _call("synth", str(world), "--videos", str(VIDEOS), "--seed", str(seed), *_SYNTH)
    source = ("--source", "synthetic", "--input", str(world), "--limit", "all")
    _call("fetch", *source, "--recipe", str(RECIPE), *_SETS, "-w", str(workspace), "--workers", "0")
    return workspace


def _quarantined(workspace: Path) -> int:
    with Workspace.read(workspace) as opened:
        return int(opened.ledger.value("SELECT COUNT(*) FROM videos WHERE state = 'quarantined'"))


def _live(workspace: Path, cluster: "Cluster", found: Found, wanted: int, rng: random.Random) -> None:
    """One `curate` on the cluster, workers dying meanwhile."""
    with subprocess.Popen(
        [sys.executable, "-m", "v2a_data", "curate", "-w", str(workspace), "--scheduler", cluster.address, "-q"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        until = time.monotonic() + _MOST_S
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(*_EVERY_S))
            if process.poll() is None and found.kills < wanted:
                cluster.kill_one(rng)
                found.kills += 1
            if time.monotonic() > until:
                process.kill()
        said = process.stderr.read() if process.stderr else ""
        if process.returncode:
            found.troubles.append(f"life {found.lives}: curate ended with {process.returncode}: {said[-2000:]}")


class Cluster:
    """A scheduler and its workers, as separate processes on loopback. Use as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.workers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Cluster":
        where = self.folder / f"scheduler-{time.monotonic_ns()}.json"
        words = ("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(where))
        self.scheduler = self._start(*words)
        while not where.exists():
            time.sleep(0.1)
        time.sleep(0.5)
        self.address: str = json.loads(where.read_text())["address"]
        self.workers = [self._worker() for _ in range(WORKERS)]
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()

    def kill_one(self, rng: random.Random) -> None:
        """SIGKILL to one worker; another one takes its place."""
        place = rng.randrange(WORKERS)
        self.workers[place].kill()
        self.workers[place].wait()
        self.workers[place] = self._worker()

    def _worker(self) -> subprocess.Popen[bytes]:
        form = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0")
        scratch = ("--local-directory", str(self.folder / "dask"))
        return self._start("worker", self.address, "--host", "127.0.0.1", *form, *scratch)

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        strict = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
        return subprocess.Popen([sys.executable, "-m", "dask", *words], stdout=quiet, stderr=quiet, env=strict)


@contextmanager
def poisoned(path: str) -> Iterator[None]:
    """While inside, every media child that opens a file of this name dies of it."""
    name, over = Path(path).name, threading.Event()

    def watch() -> None:
        while not over.wait(_POISON_LOOK_S):
            for folder in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    if b"v2a_data.media.child" in (folder / "cmdline").read_bytes() and _holds(folder, name):
                        os.kill(int(folder.name), signal.SIGSEGV)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _holds(process: Path, name: str) -> bool:
    """Whether a process has a file of this name open."""
    for link in (process / "fd").iterdir():
        with suppress(OSError):
            if Path(os.readlink(link)).name == name:
                return True
    return False


def _call(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "v2a_data", *words, "-q"], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
