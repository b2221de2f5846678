"""`v2a demo`: the whole job on a synthetic world, driven through the installed commands.

The one place that drives both packages. Every step is a child process, printed before it runs; typing
the same commands gives the same workspace.
"""

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from v2a_data.cli.common import Common
from v2a_data.console import Console, table
from v2a_data.engine import DaskEngine, stop_signals
from v2a_data.errors import ExitCode, FatalError, InterruptedRunError, MissingToolError, UsageError
from v2a_data.files import write_text
from v2a_data.progress import duration

PORT = 8988
LITERAL = (
    "--set", "train.form=literal",
    "--set", "train.decoder.options.hidden=64",
    "--set", "train.decoder.optimisation.steps=300",
)  # fmt: skip
SILENT_VIDEOS = 4
# Of 35 videos seven of each label that is trained and judged, one of each other.
TRAINED = ("Airplane", "Dog", "Drum", "Fireworks")
CURATED = (
    "Baby crying", "Human snoring", "Water flowing", "Rail transport", "Printers", "Helicopter", "Chainsaw",
)  # fmt: skip
TURNS = 7
# Each in two of a hundred videos.
FAULTS = (
    "still", "black", "silence", "clipping", "voice", "music", "other_thing", "offscreen", "unheard", "wrong_label",
)  # fmt: skip
SHARE = 0.02


@dataclass
class DemoRun:
    """What the commands of one demo answered, and how long they took."""

    out: Path
    commands: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def workspace(self) -> Path:
        return self.out / "workspace"

    @property
    def world(self) -> Path:
        return self.out / "world"

    @property
    def silent(self) -> Path:
        return self.out / "silent"

    @property
    def sounded(self) -> Path:
        return self.out / "sounded"


def run_demo(common: Common, out: Path, videos: int, seed: int) -> int:
    """Run every step in `out`; a demo that was stopped goes on where it was."""
    started = time.monotonic()
    console = common.console
    out.mkdir(parents=True, exist_ok=True)
    run = DemoRun(out)
    if common.recipe or common.sets:
        raise UsageError(
            "the demo brings its own recipe", hint="type the commands of its commands.txt with another one"
        )
    workers = common.workers if common.workers is not None else os.cpu_count() or 1
    console.say(f"demo in {out}: {videos} rendered videos, no network but loopback, about 6 minutes on 2 cores")
    with _cluster(workers, common.scheduler) as cluster:
        _steps(run, console, cluster, videos, seed)
    run.seconds["all"] = time.monotonic() - started
    write_text(out / "commands.txt", "\n".join(run.commands) + "\n")
    from v2a.demo_report import write_report

    report = write_report(run, out / "report.html")
    console.result(_values(run, report), _summary(run, report))
    return ExitCode.OK


def _steps(run: DemoRun, console: Console, cluster: list[str], videos: int, seed: int) -> None:
    form = ["--lines", "144", "--seconds", "10.1-11.9", "--view", "steady"]
    at = ["-w", str(run.workspace)]
    labels = ",".join([*(f"{label}:{TURNS}" for label in TRAINED), *CURATED])
    faults = ",".join(f"{kind}:{SHARE}" for kind in FAULTS)
    world = ["v2a-data", "synth", str(run.world), "--videos", str(videos), "--seed", str(seed), *form]
    _call(run, console, "render", [*world, "--labels", labels, "--faults", faults, *cluster])
    silent = ["v2a-data", "synth", str(run.silent), "--videos", str(SILENT_VIDEOS), "--seed", str(seed + 1_000_000)]
    unheard = [*silent, *form, "--labels", ",".join(TRAINED), "--faults", "none", "--no-sound"]
    _call(run, console, "render silent", [*unheard, *cluster])
    with _served(run, console) as addresses:
        _call(run, console, "fetch", ["v2a-data", "fetch", *at, "--recipe", "demo", *addresses, *cluster])
    _call(run, console, "curate", ["v2a-data", "curate", *at, *cluster])
    _call(run, console, "shard", ["v2a-data", "shard", *at, *cluster])
    _call(run, console, "train vqvae", ["v2a", "train", "vqvae", *at])
    _call(run, console, "train decoder", ["v2a", "train", "decoder", *at])
    _call(run, console, "train literal decoder", ["v2a", "train", "decoder", *at, *LITERAL])
    _call(
        run,
        console,
        "generate",
        ["v2a", "generate", str(run.silent / "videos"), "-o", str(run.sounded), *at, "--force"],
    )
    _call(run, console, "evaluate", ["v2a", "evaluate", *at])
    run.answers["status"] = _ask(["v2a-data", "status", *at])
    run.answers["truth"] = _truth(run)


def _call(run: DemoRun, console: Console, name: str, command: Sequence[str]) -> None:
    """Run one command as a child, its progress on our stderr, and keep what it answers."""
    shown = _without_cluster(command)
    run.commands.append(shlex.join(shown))
    console.say(f"\n$ {shlex.join(shown)}")
    started = time.monotonic()
    quiet = ["-q"] if console.quiet else []
    run.answers[name] = _ask([*command, *quiet])
    run.seconds[name] = time.monotonic() - started


def _truth(run: DemoRun) -> dict[str, Any]:
    from v2a_data.synthetic.verdicts import judge_kept
    from v2a_data.workspace import Workspace

    with Workspace.read(run.workspace) as workspace:
        recipe = workspace.recipe()
        assert recipe is not None
        return judge_kept(workspace, run.world, recipe.clips.seconds).to_json()


def _ask(command: Sequence[str]) -> dict[str, Any]:
    with stop_signals() as stop:
        child = subprocess.Popen([_script(command[0]), *command[1:], "--json"], stdout=subprocess.PIPE)
        body, _ = child.communicate()
    if child.returncode == ExitCode.INTERRUPTED or stop.asked:
        raise InterruptedRunError("the demo was stopped", hint="run it again to go on where it was")
    if child.returncode not in (ExitCode.OK, ExitCode.PARTIAL):
        raise FatalError(
            f"`{shlex.join(command)}` ended with exit code {child.returncode}", hint="its message stands above"
        )
    return dict(json.loads(body))


def _script(name: str) -> str:
    """The installed console script, beside this Python first."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.is_file() else shutil.which(name)
    if not found:
        raise MissingToolError(f"the command {name} is not installed", hint="pip install . in the project's folder")
    return found


def _without_cluster(command: Sequence[str]) -> list[str]:
    shown = list(command)
    for option in ("--scheduler", "--workers"):
        if option in shown:
            place = shown.index(option)
            del shown[place : place + 2]
    return shown


@contextmanager
def _cluster(workers: int, scheduler: str | None) -> Iterator[list[str]]:
    """One local cluster for all steps, the one that was given, or none; yields the commands' options."""
    if scheduler or workers == 0:
        yield ["--scheduler", scheduler] if scheduler else ["--workers", "0"]
        return
    engine = DaskEngine(workers, None, models=True)
    try:
        yield ["--scheduler", engine.address]
    finally:
        engine.close()


@contextmanager
def _served(run: DemoRun, console: Console) -> Iterator[list[str]]:
    """The world as a small YouTube-8M on loopback, by a child; yields the options that name its addresses."""
    port = PORT if _free(PORT) else _any_port()
    command = ["v2a-data", "synth", str(run.world), "--serve", "--port", str(port)]
    run.commands.append(shlex.join(command) + " &")
    console.say(f"\n$ {shlex.join(command)} &")
    server = subprocess.Popen([_script(command[0]), *command[1:], "--json"], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line:
            raise FatalError("the world could not be served", hint="its message stands above")
        address = json.loads(line)["address"]
        names = {"label_url": "2/j/v/{mid}.js", "lookup_url": "2/j/i/{prefix}/{id}.js", "watch_url": "media/{id}.mp4"}
        sets = [item for key, path in names.items() for item in ("--set", f"source.{key}={address}/{path}")]
        yield [] if port == PORT else sets
    finally:
        server.terminate()
        server.wait()


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _values(run: DemoRun, report: Path) -> dict[str, Any]:
    status = run.answers["status"]
    return {
        "report": str(report),
        "workspace": str(run.workspace),
        "seconds": {name: round(value, 1) for name, value in run.seconds.items()},
        "world": run.answers["render"],
        "videos": status["videos"],
        "clips": status["clips"],
        "truth": run.answers["truth"],
        "samples": status["samples"],
        "trained": [
            t
            for name in ("train vqvae", "train decoder", "train literal decoder")
            for t in run.answers[name]["trained"]
        ],
        "evaluation": {
            key: value for key, value in run.answers["evaluate"].items() if key in ("clips", "videos", "rows")
        },
    }


def funnel_rows(run: DemoRun) -> list[tuple[str, str, str]]:
    """`(step, what came of it, how fast)` for the table at the end."""
    status, seconds = run.answers["status"], run.seconds
    world, truth = run.answers["render"], run.answers["truth"]
    kept = status["clips"]["by_verdict"].get("keep", 0)
    samples = status["samples"]["total"]
    rows = [
        (
            "render",
            f"{world['videos']} videos, {world['seconds']:.0f} s",
            f"{world['seconds'] / seconds['render']:.0f}x real time",
        ),
        (
            "fetch",
            f"{status['videos']['by_state'].get('fetched', 0)} videos",
            f"{world['videos'] / seconds['fetch']:.1f} videos/s",
        ),
        ("curate", f"{kept} clips kept", f"{world['seconds'] / seconds['curate']:.0f}x real time"),
        (
            "  by the truth",
            f"{truth['right']} of {truth['kept']} kept clips are right; "
            f"{truth['found']} of {truth['findable']} videos with a right clip were found",
            "",
        ),
        ("shard", f"{samples} samples", f"{samples / seconds['shard']:.1f} clips/s"),
    ]
    rows += [
        (f"  dropped: not {text}", f"{dropped:.0f} s", "") for text, dropped in status["clips"]["reasons_s"].items()
    ]
    for name in ("train vqvae", "train decoder", "train literal decoder"):
        for trained in run.answers[name]["trained"]:
            parts = ", ".join(f"{key} {value:.3g}" for key, value in trained.items() if isinstance(value, float))
            rows.append((name, parts, f"{trained['steps'] / seconds[name]:.0f} steps/s"))
    rows.append(("all", duration(seconds["all"]), ""))
    return rows


def _summary(run: DemoRun, report: Path) -> str:
    from v2a.evaluate import evaluation_text

    made = run.answers["generate"]["written"]
    lines = [
        "",
        "synthetic world: what follows says nothing about real video",
        table(("step", "result", "speed"), funnel_rows(run)),
        "",
        evaluation_text(run.answers["evaluate"]),
        "",
        f"{len(made)} silent videos of no split got their sound in {run.sounded}",
        f"report: {report}",
        f"the same by hand: {run.out / 'commands.txt'}",
    ]
    return "\n".join(lines)
