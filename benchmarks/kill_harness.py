"""Kills the real commands at random moments and compares what they make in the end with an undisturbed run.

A life is one workspace: `fetch`, `curate` and `shard` one after the other, each killed (SIGKILL to its whole
process group) some times and typed again until it ends well.
"""

import hashlib
import json
import os
import random
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from v2a_data.workspace import Workspace

STAGES = ("fetch", "curate", "shard")
RECIPE = Path(__file__).parents[1] / "tests" / "world.toml"
WORKERS = (0, 2)
KILLS_PER_STAGE = 4
# More than one score part of 16 videos, several shards, and downloads that take a while.
VIDEOS = 20
_FAULTS = ("--faults", "still:0.1,silence:0.1,voice:0.1")
_FORM = ("--labels", "Airplane,Drum", "--view", "steady", "--lines", "72", "--seconds", "6-9")
_SYNTH = ("--videos", str(VIDEOS), *_FORM, *_FAULTS, "--json", "-q")
_SETS = ("clips.seconds=4", "splits.test=4")
_BYTES_PER_S = 400_000
_PIECE = 8192


@dataclass(frozen=True)
class Kill:
    """One kill that found its command running; `scratch` names the unfinished files that this command left."""

    stage: str
    workers: int
    at_s: float
    scratch: tuple[str, ...]


@dataclass
class Outcome:
    """What the kills did. `troubles` holds every difference from the undisturbed run, by life."""

    seconds: dict[tuple[str, int], float]
    lives: int = 0
    kills: list[Kill] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    samples: int = 0


@dataclass(frozen=True)
class Setting:
    """Where the commands work, and the options that name the served world."""

    folder: Path
    sets: tuple[str, ...]
    samples_per_shard: int = 5

    def command(self, stage: str, workspace: Path, workers: int) -> list[str]:
        """The console command of a stage."""
        more: tuple[str, ...] = ()
        if stage == "fetch":
            more = ("--recipe", str(RECIPE), *(word for item in self.sets for word in ("--set", item)))
        elif stage == "shard":
            more = ("--samples-per-shard", str(self.samples_per_shard))
        own = ["-w", str(workspace), "--workers", str(workers), "-q"]
        return [sys.executable, "-m", "v2a_data", stage, *more, *own]

    @property
    def environment(self) -> dict[str, str]:
        """Temporary files of the commands lie in our folder; its name also tells their processes from others."""
        scratch = self.folder / "tmp"
        scratch.mkdir(exist_ok=True)
        return {**os.environ, "TMPDIR": str(scratch)}


def kill_run(folder: Path, wanted: int, seed: int, say: Callable[[str], None]) -> Outcome:
    """Kill `wanted` times, as often in each stage, then finish the life at hand. All is made below `folder`.

    After as many lives as kills it ends; a stage that was hardly ever caught at work is a trouble by then.
    """
    rng = random.Random(seed)
    quota = {stage: len(range(place, wanted, len(STAGES))) for place, stage in enumerate(STAGES)}
    with served_world(folder) as setting:
        reference = folder / "undisturbed"
        outcome = Outcome(_measure(setting, reference))
        expected = snapshot(reference)
        outcome.samples = sum(name.startswith("ledger/samples/") for name in expected)
        while len(outcome.kills) < wanted and outcome.lives < wanted:
            workspace = folder / f"life-{outcome.lives}"
            _live(setting, workspace, outcome, quota, rng)
            found = troubles(workspace, expected)
            outcome.troubles += [f"life {outcome.lives}: {trouble}" for trouble in found]
            outcome.lives += 1
            say(f"life {outcome.lives}: {len(outcome.kills)} of {wanted} kills, {len(found)} troubles")
        if len(outcome.kills) < wanted:
            outcome.troubles.append(f"{len(outcome.kills)} of {wanted} kills after {outcome.lives} lives")
        outcome.troubles += [f"process left: {line}" for line in orphans(setting)]
    return outcome


def _measure(setting: Setting, reference: Path) -> dict[tuple[str, int], float]:
    """Undisturbed durations by stage and workers; the run in order is the reference."""
    seconds = {}
    for workers in WORKERS:
        workspace = reference if workers == 0 else reference.with_name("undisturbed-workers")
        for stage in STAGES:
            started = time.monotonic()
            finish(setting, setting.command(stage, workspace, workers))
            seconds[stage, workers] = time.monotonic() - started
    return seconds


def _live(setting: Setting, workspace: Path, outcome: Outcome, quota: dict[str, int], rng: random.Random) -> None:
    for stage in STAGES:
        through = False
        for _ in range(min(KILLS_PER_STAGE, quota[stage] - sum(kill.stage == stage for kill in outcome.kills))):
            workers = rng.choice(WORKERS)
            at_s = rng.uniform(0, outcome.seconds[stage, workers])
            before = scratch_at(workspace)
            if through := not killed(setting, setting.command(stage, workspace, workers), at_s):
                break
            left = tuple(sorted(name for name, _ in scratch_at(workspace) - before))
            outcome.kills.append(Kill(stage, workers, at_s, left))
        if not through:
            finish(setting, setting.command(stage, workspace, rng.choice(WORKERS)))


def killed(setting: Setting, command: list[str], at_s: float) -> bool:
    """Start a command and kill its process group after so long; false when it had ended well before."""
    with running(setting, command) as process:
        try:
            process.communicate(timeout=at_s)
        except subprocess.TimeoutExpired:
            kill(process)
        return ended_by_kill(process)


def finish(setting: Setting, command: list[str]) -> None:
    """Run a command to its end."""
    with running(setting, command) as process:
        process.communicate()
        if ended_by_kill(process):
            raise AssertionError(f"{command[3]} was killed by someone else")


@contextmanager
def running(setting: Setting, command: list[str]) -> Iterator["subprocess.Popen[str]"]:
    """A command in a process group of its own, which never outlives the block."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, start_new_session=True, env=setting.environment, text=True, stdout=pipe, stderr=pipe
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            kill(process)


def kill(process: "subprocess.Popen[str]") -> None:
    """SIGKILL to the whole process group, then wait for its end."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def ended_by_kill(process: "subprocess.Popen[str]") -> bool:
    """Whether a process that is over was killed; false where it ended well. Raises for any other end."""
    if process.returncode not in (0, -signal.SIGKILL):
        raise AssertionError(f"`{process.args}` ended with {process.returncode}")
    return process.returncode != 0


def snapshot(workspace: Path) -> dict[str, str]:
    """Everything that two equal runs have in common: ledger rows and the bytes of media, scores and shards."""
    found = {}
    with Workspace.read(workspace) as opened:
        for table, rows in opened.ledger.dump().items():
            found[f"ledger/{table}"] = str(len(rows))
            for row in rows:
                body = json.dumps(row, sort_keys=True, default=bytes.hex)
                found[f"ledger/{table}/{hashlib.sha256(body.encode()).hexdigest()[:16]}"] = body
    for name in ("media", "scores", "shards"):
        for path in sorted((workspace / name).rglob("*")):
            if path.is_file():
                found[path.relative_to(workspace).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def troubles(workspace: Path, expected: dict[str, str]) -> list[str]:
    """Differences from the undisturbed run, leftovers, and videos that were fetched more than once."""
    found = snapshot(workspace)
    out = [f"missing {name}" for name in sorted(expected.keys() - found.keys())]
    out += [f"extra {name}" for name in sorted(found.keys() - expected.keys())]
    out += [
        f"other bytes in {name}" for name in sorted(expected.keys() & found.keys()) if expected[name] != found[name]
    ]
    out += [f"left {name}" for name in scratch(workspace)]
    with Workspace.read(workspace) as opened:
        sql = "SELECT video_id, COUNT(*) FROM attempts WHERE stage = 'fetch' AND class = 'ok' GROUP BY 1"
        counts: dict[str, int] = {row[0]: row[1] for row in opened.ledger.rows(sql)}
    out += [f"{video_id} was fetched {count} times" for video_id, count in counts.items() if count != 1]
    return out if len(counts) == VIDEOS else [*out, f"{len(counts)} of {VIDEOS} videos were fetched"]


def scratch(workspace: Path) -> list[str]:
    """Unfinished files and scratch folders in a workspace."""
    return sorted(name for name, _ in scratch_at(workspace))


def scratch_at(workspace: Path) -> set[tuple[str, int]]:
    """The same with times of change, which tell a new one from an old one of the same name."""
    paths = [path for pattern in (".tmp-*", "*.part", "*.ytdl") for path in workspace.rglob(pattern)]
    paths += (workspace / "tmp").glob("*")
    return {(path.relative_to(workspace).as_posix(), path.stat().st_mtime_ns) for path in paths}


def orphans(setting: Setting) -> list[str]:
    """Processes of our commands that still live; decoders have a moment to notice that their parent died."""
    stop = time.monotonic() + 10.0
    while (found := _processes(setting)) and time.monotonic() < stop:
        time.sleep(0.2)
    return found


def _processes(setting: Setting) -> list[str]:
    mark = f"TMPDIR={setting.environment['TMPDIR']}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0") and folder.name != str(os.getpid()):
                found.append(f"{folder.name} {(folder / 'cmdline').read_bytes().replace(bytes(1), b' ').decode()}")
    return found


@contextmanager
def served_world(folder: Path) -> Iterator[Setting]:
    """A rendered world, served by `v2a-data synth --serve` as a small YouTube-8M, media at a bounded rate."""
    world = folder / "world"
    synth = [sys.executable, "-m", "v2a_data", "synth", str(world)]
    subprocess.run([*synth, *_SYNTH], check=True, stdout=subprocess.DEVNULL)
    server = subprocess.Popen([*synth, "--serve", "--port", "0", "--json"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address: str = json.loads(server.stdout.readline())["address"]
        with slowly(address) as slow:
            paths = {
                "label_url": f"{address}/2/j/v/{{mid}}.js",
                "lookup_url": f"{address}/2/j/i/{{prefix}}/{{id}}.js",
                "watch_url": f"{slow}/media/{{id}}.mp4",
            }
            yield Setting(folder, (*_SETS, *(f"source.{key}={value}" for key, value in paths.items())))
    finally:
        server.terminate()
        server.wait()


@contextmanager
def slowly(address: str) -> Iterator[str]:
    """Passes bytes on slowly, so that a kill finds downloads under way."""
    host, _, port = address.removeprefix("http://").partition(":")
    handler = type("Relay", (_Relay,), {"upstream": (host, int(port))})
    with _RelayServer((host, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://{host}:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class _RelayServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


class _Relay(socketserver.BaseRequestHandler):
    upstream: tuple[str, int]

    def handle(self) -> None:
        client: Any = self.request
        with suppress(OSError), socket.create_connection(self.upstream) as up:
            threading.Thread(target=_requests, args=(client, up), daemon=True).start()
            while piece := up.recv(_PIECE):
                client.sendall(piece)
                time.sleep(len(piece) / _BYTES_PER_S)


def _requests(client: socket.socket, up: socket.socket) -> None:
    with suppress(OSError):
        while piece := client.recv(_PIECE):
            up.sendall(piece)
        up.shutdown(socket.SHUT_RDWR)
