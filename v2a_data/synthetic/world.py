"""A world: videos rendered by seed, and truth tables beside them.

OUT/videos/<video_id>.mp4
OUT/truth/videos.parquet   label, faults, physical parameters, hash of the file, per video
OUT/truth/events.parquet   hits and closest passes: video_id, time_s
OUT/truth/windows.parquet  seen, heard; share of still, silence, voice; per 2 s window
OUT/world.json             version, seed, number of videos, hash over all files; written last
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from v2a_data.engine import Engine, Job, Step
from v2a_data.errors import UsageError
from v2a_data.files import whole_file, write_text
from v2a_data.recipe import digest
from v2a_data.synthetic import SUBJECTS, WORLD_VERSION
from v2a_data.synthetic.plan import VideoPlan, plan_video

WORLD_LABELS = tuple(SUBJECTS)


@dataclass(frozen=True)
class WorldRow:
    """One rendered video as the source and the server need it."""

    video_id: str
    native_id: str
    label: str
    file: str


def plan_world(
    seed: int,
    videos: int,
    labels: tuple[str, ...],
    lines: int | None,
    seconds: tuple[float, float],
    *,
    faults: bool = True,
    sound: bool = True,
) -> list[VideoPlan]:
    """The videos of a world. Raises `UsageError` for a label that is not drawn here."""
    for label in labels:
        SUBJECTS[label]
    return [
        plan_video(seed, n, labels or WORLD_LABELS, lines, seconds, faults=faults, sound=sound) for n in range(videos)
    ]


def render_world(plans: list[VideoPlan], out: Path, engine: Engine, step: Callable[[], None]) -> dict[str, Any]:
    """Render all videos and write the truth; `step` is called after each. Returns `world.json`'s content.

    Videos that are there already are kept, so a stopped run goes on where it was.
    """
    from v2a_data.synthetic.render import Truth, render_video

    _check_same(plans, out)
    truths: dict[str, Truth] = {}

    def keep(job: Job, truth: Truth) -> None:
        truths[job.key] = truth
        step()

    jobs = [Job(f"render-{plan.video_id}", (Step(render_video, (plan, str(out.resolve()))),)) for plan in plans]
    engine.run(jobs, keep)
    ordered = [truths[job.key] for job in jobs]
    _write_table(out / "truth" / "videos.parquet", [_flat(t.video) for t in ordered])
    _write_table(out / "truth" / "events.parquet", [row for t in ordered for row in t.events])
    _write_table(out / "truth" / "windows.parquet", [row for t in ordered for row in t.windows])
    about = {
        "version": WORLD_VERSION,
        "synthetic": True,
        "seed": plans[0].seed,
        "videos": len(plans),
        "seconds": round(sum(plan.duration_s for plan in plans), 2),
        "plan": _plan_hash(plans),
        "hash": digest([t.video["sha256"] for t in ordered]),
    }
    write_text(out / "world.json", json.dumps(about, indent=1) + "\n")
    return about


def _plan_hash(plans: list[VideoPlan]) -> str:
    return digest([WORLD_VERSION, [[plan.video_id, plan.to_json()] for plan in plans]])


def _check_same(plans: list[VideoPlan], out: Path) -> None:
    """One folder holds one world: a mark of the plan is written before the first video."""
    mark = out / "plan.txt"
    wanted = _plan_hash(plans)
    if mark.is_file() and mark.read_text().strip() != wanted:
        raise UsageError(f"{out} holds another world", hint="name an empty folder")
    write_text(mark, wanted + "\n")


def _flat(video: dict[str, Any]) -> dict[str, Any]:
    return {**video, "faults": json.dumps(video["faults"]), "parameters": json.dumps(video["parameters"])}


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    import pandas as pd

    with whole_file(path) as temporary:
        pd.DataFrame(rows).to_parquet(temporary, index=False)


def read_world(folder: Path) -> list[WorldRow]:
    """The videos of a rendered world. Raises `UsageError` where the folder holds no finished world."""
    import pandas as pd

    if not (folder / "world.json").is_file():
        raise UsageError(f"{folder} is not a finished world", hint="`v2a-data synth DIR` renders one")
    table = pd.read_parquet(folder / "truth" / "videos.parquet", columns=["video_id", "native_id", "label", "file"])
    return [WorldRow(*row) for row in table.itertuples(index=False, name=None)]


def read_truth(folder: Path, table: str) -> Any:
    """A truth table (`videos`, `events` or `windows`) as a pandas frame."""
    import pandas as pd

    return pd.read_parquet(folder / "truth" / f"{table}.parquet")
