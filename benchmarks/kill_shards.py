"""Kills `shard` or `repair` alone: fetch and curate once, then lives that each cost only the command itself.

A life is a copy of one workspace. The command is killed (SIGKILL to its whole process group) and typed again until it
ends well. Half of the kills fall at any time from process start; the other half wait for the n-th change of names
among the shards and fall a few milliseconds after it: while a file is written, synced, renamed or recorded. After
each kill every file under a final name has to be whole; at the end all is to be as in an undisturbed run.
"""

import hashlib
import json
import random
import shutil
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kill_harness import RECIPE, Setting, ended_by_kill, finish, kill, killed, orphans, running, scratch_at, snapshot

from v2a_data.workspace import Workspace

LONE_STAGES = ("shard", "repair")
# In the order of a run; `starting` is before the first clip, `ending` when all stands.
PHASES = (
    "starting",
    "cutting",
    "writing a shard",
    "shard named, not recorded",
    "between shards and index",
    "writing the index",
    "writing card or sums",
    "ending",
)
_KILLS_PER_LIFE = 12
# So many lives apart the end of a life is also held to `v2a-data verify --deep`.
_DEEP_EVERY = 5
_SHARE_WITH_WORKERS = 0.1
_SHARE_AIMED = 0.5
_AFTER_CHANGE_S = 0.006
_POLL_S = 0.0005
_TIMED = 3
# A temporary name comes, goes, and the final one comes.
_CHANGES_PER_FILE = 3
_SYNTH = ("--videos", "6", "--labels", "Airplane,Drum", "--view", "steady", "--lines", "72", "--seconds", "4.1-6")
_SETS = ("clips.seconds=2", "splits.test=4", "shard.width=64", "shard.height=36")


@dataclass
class LoneOutcome:
    """What the kills of one command did, over all lives. `troubles` says each difference in words, by life."""

    stage: str
    seconds: float
    samples: int
    changes: int
    lives: int = 0
    deep: int = 0
    phases: list[str] = field(default_factory=list)
    lost: int = 0
    duplicate: int = 0
    different: int = 0
    torn: int = 0
    leftovers: int = 0
    troubles: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return len(self.phases)


@dataclass(frozen=True)
class _Ground:
    """What every life starts from and has to come to; `damaged` holds the bytes that a life starts with."""

    setting: Setting
    stage: str
    start: Path
    expected: dict[str, str]
    keys: Counter[str]
    damaged: dict[str, str]


def lone_run(folder: Path, stage: str, wanted: int, seed: int, say: Callable[[str], None]) -> LoneOutcome:
    """Kill one command `wanted` times, then finish the life at hand. Everything is made below `folder`."""
    rng = random.Random(f"{seed} {stage}")
    ground, outcome = _prepare(folder, stage)
    while outcome.kills < wanted:
        workspace = folder / "life"
        shutil.copytree(ground.start, workspace)
        before = len(outcome.troubles)
        _live(ground, workspace, outcome, wanted, rng)
        _judge(ground, workspace, outcome)
        outcome.lives += 1
        if len(outcome.troubles) > before:
            workspace.rename(folder / f"life-{outcome.lives}")
        else:
            shutil.rmtree(workspace)
        say(f"{stage}: life {outcome.lives}: {outcome.kills} of {wanted} kills, {len(outcome.troubles)} troubles")
    left = [f"process left: {line}" for line in orphans(ground.setting)]
    outcome.leftovers += len(left)
    outcome.troubles += left
    return outcome


def _prepare(folder: Path, stage: str) -> tuple[_Ground, LoneOutcome]:
    """A curated workspace, the same one with its shards, and for `repair` one with damaged shards."""
    setting = Setting(folder, (), samples_per_shard=3)
    curated, whole, start = (folder / name for name in ("curated", "whole", "start"))
    curate_small(setting, curated)
    seconds, changes = _undisturbed(setting, "shard", curated, whole, _TIMED if stage == "shard" else 1)
    expected, keys = snapshot(whole), sample_keys(whole / "shards")
    if stage == "shard":
        start = curated
    else:
        shutil.copytree(whole, start)
        damage(start / "shards")
        mended = folder / "mended"
        seconds, changes = _undisturbed(setting, stage, start, mended, _TIMED)
        if snapshot(mended) != expected:
            raise AssertionError("an undisturbed repair does not bring the shards back")
    ground = _Ground(setting, stage, start, expected, keys, final_files(start / "shards"))
    return ground, LoneOutcome(stage, seconds, keys.total(), changes)


def curate_small(setting: Setting, workspace: Path) -> None:
    """A workspace of 6 small videos, ready for `shard`: 12 samples in 5 shards of at most 3."""
    world = setting.folder / "world"
    synth = [sys.executable, "-m", "v2a_data", "synth", str(world), *_SYNTH, "-q"]
    subprocess.run(synth, check=True, stdout=subprocess.DEVNULL)
    fetch = ["fetch", "--source", "synthetic", "--input", str(world), "--recipe", str(RECIPE)]
    for words in ([*fetch, *(w for item in _SETS for w in ("--set", item))], ["curate"]):
        finish(setting, [sys.executable, "-m", "v2a_data", *words, "-w", str(workspace), "--workers", "0", "-q"])


def damage(shards: Path) -> None:
    """One shard is flipped, one cut short, one gone; the index is flipped too, and the card gone."""
    flipped, short, gone = sorted(shards.rglob("*.tar"))[:3]
    for path in (flipped, shards / "index.parquet"):
        body = bytearray(path.read_bytes())
        body[len(body) // 2] ^= 1
        path.write_bytes(body)
    short.write_bytes(short.read_bytes()[:20_000])
    gone.unlink()
    (shards / "README.md").unlink()


def _undisturbed(setting: Setting, stage: str, start: Path, workspace: Path, times: int) -> tuple[float, int]:
    """Seconds of the fastest of some runs in order, and how many changes of names among the shards were seen."""
    runs = []
    for _ in range(times):
        shutil.rmtree(workspace, ignore_errors=True)
        shutil.copytree(start, workspace)
        started = time.monotonic()
        with running(setting, setting.command(stage, workspace, 0)) as process:
            changes = _changes(process, workspace / "shards", sys.maxsize)
            if ended_by_kill(process):
                raise AssertionError("killed by someone else")
        runs.append((time.monotonic() - started, changes))
    return min(runs)


def _changes(process: "subprocess.Popen[str]", shards: Path, enough: int) -> int:
    """Watch the names among the shards until so many came or went, or the process ended."""
    seen, changes = _names(shards), 0
    while changes < enough and process.poll() is None:
        now = _names(shards)
        changes += len(now ^ seen)
        seen = now
        time.sleep(_POLL_S)
    process.poll()
    return changes


def _names(shards: Path) -> set[str]:
    found = set()
    for folder in (shards, *(shards / split for split in ("train", "validation", "test"))):
        with suppress(OSError):
            found |= {path.as_posix() for path in folder.iterdir()}
    return found


def _live(ground: _Ground, workspace: Path, outcome: LoneOutcome, wanted: int, rng: random.Random) -> None:
    setting, through = ground.setting, False
    names, left = _names(workspace / "shards"), outcome.changes
    for _ in range(_KILLS_PER_LIFE):
        if outcome.kills == wanted:
            break
        before = scratch_at(workspace)
        if through := not _one_kill(ground, workspace, outcome, left, rng):
            break
        left = max(1, outcome.changes - len(_names(workspace / "shards") - names) * _CHANGES_PER_FILE)
        standing = final_files(workspace / "shards")
        outcome.phases.append(phase(workspace, ground.expected, standing, scratch_at(workspace) - before))
        torn = torn_files(standing, ground.expected, ground.damaged)
        outcome.torn += len(torn)
        outcome.troubles += [f"life {outcome.lives}, kill {outcome.kills}: torn {name}" for name in torn]
    if not through:
        finish(setting, setting.command(ground.stage, workspace, 0))


def _one_kill(ground: _Ground, workspace: Path, outcome: LoneOutcome, left: int, rng: random.Random) -> bool:
    """Start the command and kill it somewhere; false when it had ended well before. `left` changes are to come."""
    workers = 2 if rng.random() < _SHARE_WITH_WORKERS else 0
    command = ground.setting.command(ground.stage, workspace, workers)
    if rng.random() >= _SHARE_AIMED:
        return killed(ground.setting, command, rng.uniform(0, outcome.seconds + 3 * (workers > 0)))
    with running(ground.setting, command) as process:
        # Sooner rather than later, so that a life takes many kills.
        _changes(process, workspace / "shards", 1 + int(left * rng.random() ** 2))
        time.sleep(rng.uniform(0, _AFTER_CHANGE_S))
        if process.poll() is None:
            kill(process)
        return ended_by_kill(process)


def phase(workspace: Path, expected: dict[str, str], standing: dict[str, str], scratch: set[tuple[str, int]]) -> str:
    """Where a command was killed, by what stands on disk; `scratch` is what it left unfinished."""
    unfinished = [name for name, _ in scratch if Path(name).name.startswith(".tmp-")]
    if any(name.endswith(".tar") for name in unfinished):
        return "writing a shard"
    if any(name.endswith(".parquet") for name in unfinished):
        return "writing the index"
    if unfinished:
        return "writing card or sums"
    wrong = {name for name, sha256 in expected.items() if name.startswith("shards/") and standing.get(name) != sha256}
    unknown = {f"shards/{name}" for name in _unrecorded(workspace)}
    if unknown - wrong:
        return "shard named, not recorded"
    if any(name.endswith(".tar") for name in wrong):
        return "cutting" if scratch else "starting"
    if "shards/index.parquet" in wrong:
        return "between shards and index"
    return "writing card or sums" if wrong else "ending"


def _unrecorded(workspace: Path) -> set[str]:
    """Shards on disk that the ledger does not have. A copy is asked: the next command finds it as the kill left it."""
    copy = workspace.with_name("ledger-copy")
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for path in workspace.glob("ledger.sqlite*"):
        shutil.copy(path, copy)
    with Workspace.read(copy) as opened:
        known = {row[0] for row in opened.ledger.rows("SELECT shard FROM shards")}
    shards = workspace / "shards"
    return {path.relative_to(shards).as_posix() for path in shards.rglob("*.tar") if path.name[0] != "."} - known


def final_files(shards: Path) -> dict[str, str]:
    """Hashes of all files among the shards that are not marked as unfinished."""
    paths = [path for path in sorted(shards.rglob("*")) if path.is_file() and not path.name.startswith(".tmp-")]
    return {f"shards/{path.relative_to(shards).as_posix()}": hash_of(path) for path in paths}


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def torn_files(standing: dict[str, str], expected: dict[str, str], damaged: dict[str, str]) -> list[str]:
    """Files under a final name that are neither what they were at the start nor what they are to be."""
    return [name for name, sha256 in standing.items() if sha256 not in (expected.get(name), damaged.get(name))]


def sample_keys(shards: Path) -> Counter[str]:
    """How often each sample is in the shards, as stock tarfile reads them; a sample is its JSON with its mp4."""
    found: Counter[str] = Counter()
    for path in sorted(shards.rglob("*.tar")):
        with tarfile.open(path) as tar:
            names = Counter(tar.getnames())
        for name, count in names.items():
            key, _, kind = name.partition(".")
            if kind == "json":
                found[key] += min(count, names[f"{key}.mp4"])
    return found


def _judge(ground: _Ground, workspace: Path, outcome: LoneOutcome) -> None:
    """The end of a life beside the undisturbed run."""
    keys, found = sample_keys(workspace / "shards"), snapshot(workspace)
    lost = [f"lost {key}" for key in sorted((ground.keys - keys).elements())]
    duplicate = [f"duplicate {key}" for key in sorted((keys - ground.keys).elements())]
    names = sorted(ground.expected.keys() | found.keys())
    different = [f"differs: {name}" for name in names if ground.expected.get(name) != found.get(name)]
    leftovers = [f"left {name}" for name, _ in sorted(scratch_at(workspace))]
    outcome.lost += len(lost)
    outcome.duplicate += len(duplicate)
    outcome.different += len(different)
    outcome.leftovers += len(leftovers)
    deep = []
    if outcome.lives % _DEEP_EVERY == 0:
        outcome.deep += 1
        deep = [f"verify --deep: {line}" for line in deep_findings(ground.setting, workspace)]
        outcome.different += len(deep)
    outcome.troubles += [f"life {outcome.lives}: {t}" for t in (*lost, *duplicate, *different, *leftovers, *deep)]


def deep_findings(setting: Setting, workspace: Path) -> list[str]:
    """What `v2a-data verify --deep` finds."""
    command = [sys.executable, "-m", "v2a_data", "verify", "-w", str(workspace), "--deep", "--workers", "0", "--json"]
    done = subprocess.run([*command, "-q"], env=setting.environment, text=True, capture_output=True, check=False)
    values: dict[str, Any] = json.loads(done.stdout)
    if values["decoded"] != values["samples"]:
        return [f"{values['decoded']} of {values['samples']} samples were decoded"]
    return [str(finding) for finding in values["findings"]]
