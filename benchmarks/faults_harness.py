"""Kills `fetch` while the server that it fetches from misbehaves, and holds what it wrote against what was served.

A life is one workspace: `fetch` is killed some times, a few requests after its start, and typed again until it ends.
The server runs in this process and writes down every request with its misdeed.
"""

import hashlib
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kill_harness import Setting, kill, running, slowly

from v2a_data.synthetic.server import Misbehaviour, parse_misbehaviour, serve_world
from v2a_data.synthetic.world import read_world
from v2a_data.workspace import Workspace

# 33 %: lists are never answered with 403 or 404, and 30 % of all requests have to be left.
SHARES = "403:0.03,404:0.02,410:0.01,429:0.05,500:0.02,502:0.03,503:0.05,stall:0.04,short:0.03,length:0.02,reset:0.03"
RETRY_AFTER_S = 1
VIDEOS = 40
KILLS_PER_LIFE = 9
_MOST_RUNS = 12
_SHARE_WITH_WORKERS = 0.15
_FORM = ("--labels", "Airplane,Drum", "--view", "small", "--seconds", "2-4")
_MEDIA = re.compile(r"/media/([A-Za-z0-9_-]{11})\.mp4")
_LOOKUP = re.compile(r"/2/j/i/../(.{4})\.js")
# What a server has to have done to a video in a run for its attempt to have a class.
_CAUSES = {
    "http_403": {"403"},
    "http_gone": {"404", "410"},
    "http_429": {"429"},
    "transport": {"500", "502", "503", "short", "length", "reset", "stall"},
}
# What a run may end with: done, later ones are left, a streak of failures, the site's wish.
_ENDS = (0, 1, 3, 6)


@dataclass(frozen=True)
class Asked:
    """One request as the server saw it."""

    at: float
    path: str
    misdeed: str | None


class Watched(Misbehaviour):
    """Misbehaves, and writes down what it was asked."""

    def __init__(self, shares: dict[str, float], seed: int) -> None:
        super().__init__(shares, seed, retry_after_s=RETRY_AFTER_S, stall_s=0.4)
        self.log: list[Asked] = []
        self.news = threading.Condition()

    def next(self, path: str) -> str | None:
        """The misdeed for the next request of a path."""
        misdeed = super().next(path)
        with self.news:
            self.log.append(Asked(time.monotonic(), path, misdeed))
            self.news.notify_all()
        return misdeed


@dataclass
class Findings:
    """What the runs came to; all but the first three have to be 0."""

    requests: int = 0
    kills: int = 0
    lives: int = 0
    partial_marked_done: int = 0
    refetched: int = 0
    without_row: int = 0
    wrong_class: int = 0
    asked_too_early: int = 0
    unfinished: int = 0
    misdeeds: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    words: list[str] = field(default_factory=list)

    def add(self, kind: str, words: str) -> None:
        """One more finding."""
        setattr(self, kind, getattr(self, kind) + 1)
        self.words.append(f"life {self.lives}: {kind}: {words}")


@dataclass
class _Life:
    """One workspace, and what is known of it so far: whole files, in how many runs each was asked for, the last row."""

    workspace: Path
    served: dict[str, str]
    done: set[str] = field(default_factory=set)
    asked_in: Counter[str] = field(default_factory=Counter)
    row: int = 0


def faults_run(
    folder: Path, kills: int, requests: int, seed: int, say: Callable[[str], None], shares: str = SHARES
) -> Findings:
    """Kill and misbehave until both numbers are reached, then finish the life at hand."""
    rng = random.Random(seed)
    findings = Findings()
    world = folder / "world"
    synth = [sys.executable, "-m", "v2a_data", "synth", str(world), "--videos", str(VIDEOS), *_FORM, "-q", "--json"]
    subprocess.run(synth, check=True, stdout=subprocess.DEVNULL)
    served = {row.native_id: _sha256(world / row.file) for row in read_world(world)}
    watch = Watched(parse_misbehaviour(shares), seed)
    with serve_world(world, misbehave=watch) as address, slowly(address) as slow:
        paths = {
            "label_url": f"{address}/2/j/v/{{mid}}.js",
            "lookup_url": f"{address}/2/j/i/{{prefix}}/{{id}}.js",
            "watch_url": f"{slow}/media/{{id}}.mp4",
        }
        setting = Setting(folder, tuple(f"source.{key}={value}" for key, value in paths.items()))
        while findings.kills < kills or len(watch.log) < requests:
            life = _Life(folder / f"life-{findings.lives}", served)
            _live(setting, life, watch, findings, kills, rng)
            findings.lives += 1
            findings.requests = len(watch.log)
            words = f"{findings.kills} kills, {findings.requests} requests, {len(findings.words)} found"
            say(f"life {findings.lives}: {words}")
    findings.misdeeds = watch.done
    return findings


def _live(setting: Setting, life: _Life, watch: Watched, findings: Findings, kills: int, rng: random.Random) -> None:
    for _ in range(KILLS_PER_LIFE):
        if findings.kills >= kills:
            break
        workers = 2 if rng.random() < _SHARE_WITH_WORKERS else 0
        with _observed(life, watch, findings, alone=workers == 0):
            command = setting.command("fetch", life.workspace, workers)
            findings.kills += _killed_after(setting, command, watch, rng.randrange(1, 14), rng.uniform(0, 0.08))
    for _ in range(_MOST_RUNS):
        with (
            _observed(life, watch, findings, alone=True),
            running(setting, setting.command("fetch", life.workspace, 0)) as process,
        ):
            _, errors = process.communicate()
            if process.returncode not in _ENDS:
                findings.add("unfinished", f"ended with {process.returncode}: {errors[-300:]}")
        if not _waiting(life.workspace):
            break
    _judge_end(life, watch, findings)


def _killed_after(setting: Setting, command: list[str], watch: Watched, requests: int, then_s: float) -> int:
    """Kill a command so many requests after its start; 0 when it had ended before."""
    goal = len(watch.log) + requests
    with running(setting, command) as process:
        # Somebody has to read what it says, or it stops at a full pipe.
        reader = threading.Thread(target=process.stderr.read, daemon=True)  # type: ignore[union-attr]
        reader.start()
        with watch.news:
            while len(watch.log) < goal and process.poll() is None:
                watch.news.wait(0.1)
        time.sleep(then_s)
        alive = process.poll() is None
        if alive:
            kill(process)
        reader.join(5)
        return int(alive)


@contextmanager
def _observed(life: _Life, watch: Watched, findings: Findings, *, alone: bool) -> Any:
    """One run of the command: what it asked, and what it wrote."""
    first = len(watch.log)
    yield
    time.sleep(0.3)  # what was on its way when the command died still arrives
    log = watch.log[first:]
    asked = {match[1] for item in log if (match := _MEDIA.fullmatch(item.path))}
    for native in asked & life.done:
        findings.add("refetched", native)
    life.asked_in.update(asked)
    _look_for_early(watch.log, first, findings, alone=alone)
    if (life.workspace / "ledger.sqlite").is_file():
        _judge_rows(life, log, findings)
        _judge_files(life, findings)


def _look_for_early(log: list[Asked], first: int, findings: Findings, *, alone: bool) -> None:
    """Requests made while a wish of the server was open: of the same file, or of any where one goes after the other."""
    for place in range(max(0, first - 50), len(log)):
        if log[place].misdeed != "429":
            continue
        until = log[place].at + RETRY_AFTER_S
        for later in log[max(place + 1, first) :]:
            if later.at >= until:
                break
            if later.path == log[place].path or (alone and place >= first):
                findings.add("asked_too_early", f"{later.path} {until - later.at:.2f} s early, after {log[place].path}")


def _judge_rows(life: _Life, log: list[Asked], findings: Findings) -> None:
    """Each failure that this run wrote down has to have happened to that video in this run."""
    done_to: dict[str, set[str | None]] = {}
    for item in log:
        if match := _MEDIA.fullmatch(item.path):
            done_to.setdefault(match[1], set()).add(item.misdeed)
    with Workspace.read(life.workspace) as workspace:
        sql = "SELECT id, video_id, class FROM attempts WHERE id > ? AND tries IS NOT NULL ORDER BY id"
        rows = [tuple(row) for row in workspace.ledger.rows(sql, (life.row,))]
    for number, video_id, name in rows:
        life.row = number
        findings.classes[name] += 1
        if name in ("ok", "interrupted"):
            continue
        seen = done_to.get(video_id.removeprefix("yt-"), set())
        if not _CAUSES.get(name, set()) & seen:
            findings.add("wrong_class", f"{video_id}: {name}, the server did {sorted(map(str, seen))}")


def _judge_files(life: _Life, findings: Findings) -> None:
    """Whatever has a final name is whole; what is whole is not to be asked for again."""
    with Workspace.read(life.workspace) as workspace:
        rows = workspace.ledger.rows("SELECT video_id, path FROM media")
    recorded = {row["path"]: row["video_id"] for row in rows}
    files = {
        path.relative_to(life.workspace).as_posix()
        for path in (life.workspace / "media").glob("*/*")
        if path.suffix != ".json" and not path.name.startswith(".")
    }
    for path in sorted(recorded.keys() | files):
        native = Path(path).stem.removeprefix("yt-")
        if path in files and _sha256(life.workspace / path) == life.served[native]:
            life.done.add(native)
        else:
            findings.add("partial_marked_done", path)


def _judge_end(life: _Life, watch: Watched, findings: Findings) -> None:
    """Every video that was asked for has as many attempts as runs asked for it, and the end that the server gave it."""
    with Workspace.read(life.workspace) as workspace:
        ledger = workspace.ledger
        sql = "SELECT video_id, COUNT(*) FROM attempts WHERE tries IS NOT NULL GROUP BY 1"
        rows = {row[0].removeprefix("yt-"): row[1] for row in ledger.rows(sql)}
        videos = [tuple(r) for r in ledger.rows("SELECT native_id, source_key, state, reason FROM videos")]
    for native, runs in life.asked_in.items():
        if rows.get(native, 0) < runs:
            findings.add("without_row", f"{native}: asked for in {runs} runs, {rows.get(native, 0)} attempts")
    keys = {match[1] for item in watch.log if (match := _LOOKUP.fullmatch(item.path))}
    for key in keys - {row[1] for row in videos}:
        findings.add("without_row", f"{key} was looked up")
    lost = {item.path for item in watch.log if item.misdeed in ("404", "410")}
    for native, key, state, reason in videos:
        path = f"/2/j/i/{key[:2]}/{key}.js" if native is None else f"/media/{native}.mp4"
        # A list's word is final; media that are not found are believed to be gone on another day only.
        expected = "fetched" if path not in lost else "gone" if native is None else "later: http_gone"
        found = f"{state}: {reason}" if state == "later" else state
        if found != expected:
            kind = "unfinished" if state == "later" else "wrong_class"
            findings.add(kind, f"{native or key}: {state} ({reason}), expected {expected}")


def _waiting(workspace: Path) -> int:
    with Workspace.read(workspace) as opened:
        return int(opened.ledger.value("SELECT COUNT(*) FROM videos WHERE state IN ('listed', 'later')"))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
