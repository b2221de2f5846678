"""What a minute of source costs from files to shards: fetch (local) → curate → shard, and what the engine adds to it.

A rendered world of 360 lines is fetched from a folder, judged by all scorers of the demo's recipe with the tiny models,
and cut. Each run is a fresh workspace on an engine whose workers are up: what starting them and their media children
and models takes is shown apart, as it belongs to a command and not to its videos. CPU time is that of this process
and all its descendants. Runs with one and with two workers take turns.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import inputs
import psutil

from v2a_data.console import Console
from v2a_data.curate.stage import curate
from v2a_data.engine import DaskEngine, Engine, Job, SerialEngine, Step, open_engine
from v2a_data.fetch import stage
from v2a_data.recipe import Recipe, load_recipe
from v2a_data.shards.write import shard
from v2a_data.sources import SOURCES
from v2a_data.synthetic.world import plan_world, render_world
from v2a_data.workspace import Workspace

STEPS = ("fetch", "curate", "shard")
LIMITS = {"cpu_ratio_2_workers": 1.10, "engine_ms_per_video": 5.0}
MOST_WORKERS = 8
HEADER = ("workers", "fetch", "curate", "shard", "CPU s per source minute", "start-up CPU s", "wall s")
ENGINE_HEADER = ("empty jobs", "CPU ms per job", "wall ms per job")


@dataclass(frozen=True)
class Used:
    """CPU and wall seconds."""

    cpu_s: float
    wall_s: float


@dataclass(frozen=True)
class Started:
    """An engine whose workers are warm, and what starting them took."""

    engine: DaskEngine
    start_cpu_s: float


def main() -> int:
    cores = os.cpu_count() or 1
    most = min(cores, MOST_WORKERS)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=22 * max(2, most), help="how many to render")
    parser.add_argument("--pairs", type=int, default=5, help="runs with one and with two workers each")
    parser.add_argument("--jobs", type=int, default=2000, help="empty jobs of the engine's own figure")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    more = [n for n in (4, MOST_WORKERS) if n <= cores]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        minutes = render(folder / "files", options.videos, most) / 60.0
        recipe = load_recipe("demo", {"source": {"name": "local", "input": str(folder / "files")}})
        runs = (folder / f"run-{i}" for i in count())
        engines = {n: start(n, recipe, runs, stack) for n in (1, 2)}
        before = engines[1].engine.tasks
        taken = [{n: run(recipe, next(runs), engines[n].engine) for n in (1, 2)} for _ in range(options.pairs)]
        tasks = (engines[1].engine.tasks - before) / options.pairs / options.videos
        rows = [row(n, [pair[n] for pair in taken], minutes, engines[n].start_cpu_s) for n in (1, 2)]
        empty = engine_costs(engines[1].engine, options.jobs)
        for n in more:
            started = start(n, recipe, runs, stack)
            rows.append(row(n, [run(recipe, next(runs), started.engine)], minutes, started.start_cpu_s))
    ratio = statistics.median(cpu_s(pair[2]) / cpu_s(pair[1]) for pair in taken)
    share = {step: statistics.median(pair[1][step].cpu_s / cpu_s(pair[1]) for pair in taken) for step in STEPS}
    # What the tasks cost that the videos of these runs really took: short jobs travel together.
    per_video = {kind: tasks * getattr(empty["alone"], kind) for kind in ("cpu_s", "wall_s")}
    print(inputs.table(ENGINE_HEADER, [(words, ms(empty[key].cpu_s), ms(empty[key].wall_s)) for key, words in EMPTY]))
    print()
    keys = {
        "cpu_s_per_source_minute": rows[0][4],
        "share": {step: round(value, 3) for step, value in share.items()},
        "cpu_ratio_2_workers": round(ratio, 3),
        "tasks_per_video": round(tasks, 2),
        "engine_ms_per_video": ms(per_video["cpu_s"]),
        "engine_wall_ms_per_video": ms(per_video["wall_s"]),
        "start_cpu_s": {str(n): round(engines[n].start_cpu_s, 1) for n in (1, 2)},
        "wall_s": {str(each[0]): each[6] for each in rows},
    }
    words = (
        f"{options.videos} videos, {minutes:.1f} source minutes; CPU with 2 workers {ratio:.3f} x that with 1 "
        f"(limit 1.10); {tasks:.2f} tasks per video, engine {keys['engine_ms_per_video']} ms of CPU per video (limit 5)"
    )
    inputs.show("pipeline", HEADER, rows, words, options.json, **keys)
    return int(any(keys[name] > limit for name, limit in LIMITS.items()))


def ms(seconds: float) -> float:
    return round(seconds * 1e3, 2)


def row(workers: int, runs: list[dict[str, Used]], minutes: float, start_cpu_s: float) -> tuple[object, ...]:
    """Medians over some runs with as many workers: share of each step, CPU per minute of source, wall."""
    whole = statistics.median(cpu_s(each) for each in runs)
    shares = [f"{statistics.median(each[step].cpu_s / cpu_s(each) for each in runs):.0%}" for step in STEPS]
    wall_s = statistics.median(sum(used.wall_s for used in each.values()) for each in runs)
    return workers, *shares, round(whole / minutes, 2), round(start_cpu_s, 1), round(wall_s, 1)


def cpu_s(steps: dict[str, Used]) -> float:
    return sum(used.cpu_s for used in steps.values())


def render(folder: Path, videos: int, workers: int) -> float:
    """A world whose files lie in folders named by their labels; gives the seconds of all of it."""
    plans = plan_world(0, videos, (), 360, (11.0, 13.0))
    with closing(open_engine(workers, None)) as engine:
        render_world(plans, folder / ".world", engine, lambda: None)
    for plan in plans:
        target = folder / plan.label / Path(plan.file).name
        target.parent.mkdir(exist_ok=True)
        (folder / ".world" / plan.file).rename(target)
    return sum(plan.duration_s for plan in plans)


def start(workers: int, recipe: Recipe, runs: Iterator[Path], stack: ExitStack) -> Started:
    """An engine after its first run; what that took more than a second one is its start."""
    before = tree_cpu_s()
    engine = stack.enter_context(closing(DaskEngine(workers, None, models=True)))
    run(recipe, next(runs), engine)
    first = tree_cpu_s() - before
    return Started(engine, first - cpu_s(run(recipe, next(runs), engine)))


def run(recipe: Recipe, root: Path, engine: Engine) -> dict[str, Used]:
    """All three steps in a fresh workspace."""
    console = Console("benchmark", quiet=True)
    with Workspace.open(root, "benchmark", create=True) as workspace:
        workspace.adopt(recipe, force=False)
        source = SOURCES["local"]()
        return {
            "fetch": used(lambda: stage.fetch(workspace, recipe, source, engine, console, None)),
            "curate": used(lambda: curate(workspace, recipe, engine, console)),
            "shard": used(lambda: shard(workspace, recipe, engine, console)),
        }


def used(work: Callable[[], object]) -> Used:
    cpu, wall = tree_cpu_s(), time.monotonic()
    work()
    return Used(tree_cpu_s() - cpu, time.monotonic() - wall)


def tree_cpu_s() -> float:
    """CPU seconds of this process and of all that it started, those that ended among them."""
    this = psutil.Process()
    return sum(sum(process.cpu_times()[:4]) for process in (this, *this.children(recursive=True)))


EMPTY = (
    ("serial", "in order, without workers"),
    ("together", "one step, 1 worker, as many together as fit"),
    ("alone", "one step, 1 worker, each a task of its own"),
    ("two", "two steps, 1 worker and 1 model worker"),
)


def engine_costs(engine: Engine, jobs: int) -> dict[str, Used]:
    """CPU and wall per job that does nothing: driver, scheduler and workers."""
    two = (Step(nothing, ()), Step(nothing, (), "model"))
    return {
        "serial": per_job(SerialEngine(), jobs, two[:1]),
        "together": per_job(engine, jobs, two[:1]),
        "alone": per_job(engine, jobs, two[:1], at_most=2),
        "two": per_job(engine, jobs, two),
    }


def nothing(*_: object) -> None:
    pass


def per_job(engine: Engine, jobs: int, steps: tuple[Step, ...], at_most: int | None = None) -> Used:
    mark = time.monotonic_ns()
    found = used(
        lambda: engine.run((Job(f"{mark}-{i}", steps) for i in range(jobs)), lambda job, result: None, at_most=at_most)
    )
    return Used(found.cpu_s / jobs, found.wall_s / jobs)


if __name__ == "__main__":
    sys.exit(main())
