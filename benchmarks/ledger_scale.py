"""A ledger of 1 M kept clips and 40 M window scores: what `status` and the planning of shards take.

The ledger and its score parts are made through the program's own schema and writers, in a temporary folder: four kept
clips per video, half as many spans that were dropped or wait for review, videos that are gone, and for each scorer of
the recipe one row per 2 s window. `status` is the installed command in a process of its own. Planning and the index
run in processes of their own too; their figure is by how much the peak of their memory grew.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

LIMITS = {"status_s": 2.0, "status_mb": 1000.0}
RECIPE, PART_VIDEOS, PER_VIDEO, WINDOWS, SCORERS_OF_RECIPE = "airplane", 1000, 4, 32, 5
HEADER = ("step", "clips", "seconds", "MB", "limit")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=1_000_000, help="kept clips; a tenth of them is planned too")
    parser.add_argument(
        "--folder", type=Path, help="where to make the ledgers (about 6 GB); default: the temporary one"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--workspace", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        with redirect_stdout(sys.stderr):
            found = STEPS[options.step](options.workspace, options.clips)
        print(json.dumps(found))
        return 0
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        return measure(Path(name), options.clips, options.json)


def measure(folder: Path, clips: int, as_json: bool) -> int:
    import inputs

    small, big = folder / "small", folder / "big"
    made = {"small": step("make", small, clips // 10), "big": step("make", big, clips)}
    rows = [("make the ledger", clips, made["big"]["s"], made["big"]["mb"], "-")]
    scores = step("scores", big, clips)
    rows.append((f"{scores['rows']} window scores", clips, scores["s"], scores["mb"], "-"))
    plans = [step("plan", small, clips // 10), step("plan", big, clips)]
    rows += [
        ("plan shards", n, plan["s"], plan["mb"], "-") for n, plan in zip((clips // 10, clips), plans, strict=True)
    ]
    step("fill", big, clips)
    index = step("index", big, clips)
    rows.append(("write the index", clips, index["s"], index["mb"], "-"))
    status = [command(big) for _ in range(3)]
    status_s, status_mb = statistics.median(s for s, _ in status), max(mb for _, mb in status)
    rows.append(("status", clips, round(status_s, 2), round(status_mb), "2 s, 1000 MB"))
    keys = {
        "status_s": round(status_s, 3),
        "status_mb": round(status_mb, 1),
        "planning_mb_100k": plans[0]["mb"],
        "planning_mb_1m": plans[1]["mb"],
        "planning_s": plans[1]["s"],
        "index_mb": index["mb"],
        "ledger_gb": round((big / "ledger.sqlite").stat().st_size / 1e9, 2),
        "window_scores": scores["rows"],
    }
    inputs.show("ledger_scale", HEADER, rows, f"ledger: {keys['ledger_gb']} GB", as_json, **keys)
    # Flat: ten times the clips may take a little more, not several times as much.
    grows = keys["planning_mb_1m"] > 1.5 * keys["planning_mb_100k"] + 20
    return int(grows or any(keys[name] > limit for name, limit in LIMITS.items()))


def step(name: str, workspace: Path, clips: int) -> dict[str, Any]:
    """One step in a process of its own, so that its memory is its own."""
    argv = [sys.executable, __file__, "--step", name, "--workspace", str(workspace), "--clips", str(clips)]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def command(workspace: Path) -> tuple[float, float]:
    """Wall seconds and peak MB of `v2a-data status`."""
    program = Path(sys.executable).with_name("v2a-data")
    started = time.monotonic()
    child = subprocess.Popen([str(program), "status", "-w", str(workspace)], stdout=subprocess.DEVNULL)
    _, code, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(code)
    if child.returncode:
        raise SystemExit(f"status ended with {child.returncode}")
    return time.monotonic() - started, used.ru_maxrss / 1e3


def peak_mb() -> float:
    """The highest memory of this process so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3


def grown(work: Callable[[], object]) -> dict[str, Any]:
    """Seconds of some work, and by how many MB it raised the peak of memory."""
    before, started = peak_mb(), time.monotonic()
    work()
    return {"s": round(time.monotonic() - started, 2), "mb": round(peak_mb() - before, 1)}


def blocks(count: int, size: int) -> Iterator[range]:
    """The numbers below `count`, `size` at a time."""
    return (range(first, min(first + size, count)) for first in range(0, count, size))


def video_id(number: int) -> str:
    return f"yt-{number:011d}"


def clip_ids(number: int) -> Iterator[tuple[str, float]]:
    """Kept clips of a video, with their starts."""
    for i in range(PER_VIDEO):
        yield f"{video_id(number)}_{10_000 * i:09d}", 10.0 * i


def make(root: Path, clips: int) -> dict[str, Any]:
    """A workspace in which everything is curated and nothing is in a shard yet."""
    from v2a_data import schema
    from v2a_data.recipe import load_recipe
    from v2a_data.workspace import Workspace

    def work() -> None:
        with Workspace.open(root, "benchmark", create=True) as workspace:
            recipe = load_recipe(RECIPE)
            workspace.adopt(recipe, force=False)
            for numbers in blocks(clips // PER_VIDEO, 5000):
                with workspace.ledger.transaction():
                    for table, rows in curated(recipe.hash):
                        workspace.ledger.insert(table, (row for number in numbers for row in rows(number)))
                    gone = (listed(clips + number, "gone", "removed") for number in numbers if number % 4 == 0)
                    workspace.ledger.insert(schema.VIDEOS, gone)

    return grown(work)


def listed(number: int, state: str, reason: str | None) -> dict[str, Any]:
    native = video_id(number)[3:]
    url = f"https://www.youtube.com/watch?v={native}"
    named = {"video_id": video_id(number), "source": "youtube8m", "native_id": native, "url": url}
    return {**named, "labels": ["Airplane"], "position": number, "state": state, "reason": reason}


def curated(recipe_hash: str) -> list[tuple[Any, Callable[[int], Iterator[dict[str, Any]]]]]:
    """Each table with the rows that one video has in it."""
    from v2a_data import schema

    reasons = [
        {"condition": text, "windows": 3, "of": 4, "unknown": 0, "mean": {text.split()[0]: 0.25}}
        for text in ("seen >= 0.6", "heard >= 0.4", "voice <= 0.3", "music <= 0.4", "still <= 0.5")
    ]

    def videos(number: int) -> Iterator[dict[str, Any]]:
        yield listed(number, "fetched", None)

    def attempts(number: int) -> Iterator[dict[str, Any]]:
        about = {"stage": "fetch", "class": "ok", "at": "2026-11-20T00:00:00Z", "host": "host", "seconds": 8.0}
        yield {"video_id": video_id(number), **about}

    def media(number: int) -> Iterator[dict[str, Any]]:
        stream = {"codec": "h264", "start_s": 0.0, "stop_s": 64.0}
        picture = {**stream, "width": 640, "height": 360, "rotation": 0, "fps": 30.0, "frames": 1920, "keyframes": 13}
        sound = {**stream, "codec": "aac", "rate_hz": 44100, "channels": 2}
        probe = {"container": "mov", "duration_s": 64.0, "picture": picture, "sound": sound}
        path = f"media/{number % 256:02x}/{video_id(number)}.mp4"
        yield {"video_id": video_id(number), "path": path, "bytes": 10**7, "sha256": f"{number:064x}", "probe": probe}

    def spans(number: int) -> Iterator[tuple[float, float, str, list[dict[str, Any]]]]:
        yield 0.0, 10.0 * PER_VIDEO, "keep", []
        yield 40.0, 52.0, "drop", [reasons[number % 5], reasons[(number + 1 + number // 5 % 4) % 5]]
        yield 52.0, 64.0, "review" if number % 3 else "drop", [reasons[number // 2 % 5]]

    def stretches(number: int) -> Iterator[dict[str, Any]]:
        for start_s, stop_s, verdict, why in spans(number):
            row = {"start_s": start_s, "stop_s": stop_s, "mark": verdict, "reasons": why}
            strengths = [0.512345] * round((stop_s - start_s) / 2)
            yield {"video_id": video_id(number), "recipe_hash": recipe_hash, "strengths": strengths, **row}

    def clips(number: int) -> Iterator[dict[str, Any]]:
        base = {"video_id": video_id(number), "recipe_hash": recipe_hash, "label": "Airplane"}
        for clip_id, start_s in clip_ids(number):
            span = {"clip_id": clip_id, "start_s": start_s, "stop_s": start_s + 10.0}
            yield {**base, **span, "verdict": "keep", "reasons": []}
        for start_s, stop_s, verdict, why in list(spans(number))[1:]:
            span = {"clip_id": f"{video_id(number)}_{round(start_s * 1000):09d}", "start_s": start_s, "stop_s": stop_s}
            yield {**base, **span, "verdict": verdict, "reasons": why}

    def groups(number: int) -> Iterator[dict[str, Any]]:
        for clip_id, _ in clip_ids(number):
            yield {"clip_id": clip_id, "group_id": video_id(number)}

    def splits(number: int) -> Iterator[dict[str, Any]]:
        split = "test" if number % 20 == 0 else "validation" if number % 20 == 1 else "train"
        for clip_id, _ in clip_ids(number):
            yield {"clip_id": clip_id, "split": split}

    return [
        (schema.VIDEOS, videos),
        (schema.ATTEMPTS, attempts),
        (schema.MEDIA, media),
        (schema.STRETCHES, stretches),
        (schema.CLIPS, clips),
        (schema.GROUPS, groups),
        (schema.SPLITS, splits),
    ]


def scores(root: Path, clips: int) -> dict[str, Any]:
    """Score parts of all scorers of the recipe. They hold more videos than those of `curate`, to be fewer files."""
    import numpy as np

    from v2a_data import schema
    from v2a_data.scorers import SCORERS
    from v2a_data.scorers.base import WindowScores
    from v2a_data.scores import write_part
    from v2a_data.workspace import Workspace

    rng = np.random.default_rng(0)
    starts = np.arange(WINDOWS) * 2.0
    rows = 0

    def work() -> None:
        nonlocal rows
        with Workspace.open(root, "benchmark") as workspace:
            recipe = workspace.recipe()
            assert recipe is not None and len(recipe.scorers) == SCORERS_OF_RECIPE
            for n, numbers in enumerate(blocks(clips // PER_VIDEO, PART_VIDEOS)):
                for name in recipe.scorers:
                    kind, config = SCORERS[name], recipe.scorer_hash(name)
                    found = {}
                    for number in numbers:
                        values = rng.random((len(kind.writes), WINDOWS), np.float32)
                        fields = {field.name: row for field, row in zip(kind.writes, values, strict=True)}
                        found[video_id(number)] = (starts, WindowScores(fields, starts))
                    part = write_part(root, name, kind.version, config, "plan", n, kind.writes, found)
                    base = {"scorer": name, "config": config, "plan": "plan", "n": n, "windows": WINDOWS}
                    with workspace.ledger.transaction():
                        workspace.ledger.insert(schema.PARTS, [part.__dict__])
                        workspace.ledger.insert(schema.SCORED, ({"video_id": video, **base} for video in found))
                    rows += part.rows

    return {**grown(work), "rows": rows}


def plan(root: Path, clips: int) -> dict[str, Any]:
    """Plan all shards, as `shard` does before it cuts."""
    from v2a_data.shards.plan import plan_new
    from v2a_data.workspace import Workspace

    with Workspace.open(root, "benchmark") as workspace:
        recipe = workspace.recipe()
        assert recipe is not None
        found = grown(lambda: plan_new(workspace.ledger, recipe, recipe.shard.samples_per_shard))
        planned = workspace.ledger.value("SELECT COUNT(*) FROM plans WHERE stage = 'shard'")
    assert planned == clips // PER_VIDEO * PER_VIDEO
    return found


def fill(root: Path, clips: int) -> dict[str, Any]:
    """All planned shards as if written; one clip in 50 was refused."""
    from v2a_data import schema
    from v2a_data.workspace import Workspace

    with Workspace.open(root, "benchmark") as workspace:
        ledger, recipe = workspace.ledger, workspace.recipe()
        assert recipe is not None
        for (name,) in ledger.rows("SELECT DISTINCT name FROM plans WHERE stage = 'shard' ORDER BY 1"):
            items = [
                row[0] for row in ledger.rows("SELECT item FROM plans WHERE stage = 'shard' AND name = ?", (name,))
            ]
            samples = [sample(recipe.hash, name, i, clip_id) for i, clip_id in enumerate(items)]
            split = name.partition("/")[0]
            shard = {"shard": name, "split": split, "recipe_hash": recipe.hash, "samples": len(items)}
            with ledger.transaction():
                ledger.insert(schema.SAMPLES, samples)
                ledger.insert(schema.SHARDS, [{**shard, "bytes": 10**8, "sha256": "0" * 64}])
                ledger.execute("DELETE FROM plans WHERE stage = 'shard' AND name = ?", (name,))
    return {}


def sample(recipe_hash: str, shard: str, position: int, clip_id: str) -> dict[str, Any]:
    if position % 50 == 0:
        return {"clip_id": clip_id, "recipe_hash": recipe_hash, "state": "refused", "reason": "short"}
    counts = {"frames": 250, "audio_samples": 160_000, "picture_error_s": 0.006667, "sound_error_samples": 0}
    index_row = {
        "key": clip_id,
        "shard": shard,
        "mp4_offset": position * 10**5,
        "mp4_bytes": 99_000,
        "json_offset": 1,
        "json_bytes": 900,
        "sha256": "0" * 64,
        "duration_s": 10.0,
        "label": "Airplane",
        **counts,
        "split": shard.partition("/")[0],
        "group_id": clip_id.rpartition("_")[0],
    }
    base = {"clip_id": clip_id, "recipe_hash": recipe_hash, "state": "written", "shard": shard}
    return {**base, **counts, "index_row": index_row}


def index(root: Path, clips: int) -> dict[str, Any]:
    """Write `index.parquet`, as `shard` does at its end."""
    import pyarrow.parquet  # noqa: F401 - its own memory is not the index's

    from v2a_data.shards.index import write_index
    from v2a_data.workspace import Workspace

    with Workspace.open(root, "benchmark") as workspace:
        recipe = workspace.recipe()
        assert recipe is not None
        return grown(lambda: write_index(workspace, recipe))


STEPS = {"make": make, "scores": scores, "plan": plan, "fill": fill, "index": index}

if __name__ == "__main__":
    sys.exit(main())
