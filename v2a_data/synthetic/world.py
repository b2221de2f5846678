"""A world: videos rendered by seed, and truth tables beside them (columns: `truth.py`).

OUT/videos/<video_id>.mp4, .webm or .mkv
OUT/truth/videos.parquet   label, faults, form, physical parameters, hash of the file, per video
OUT/truth/events.parquet   hits and closest passes: when they are seen and heard
OUT/truth/windows.parquet  seen, heard, shares of each confounder; per 2 s window
OUT/truth/groups.parquet   near-duplicates
OUT/world.json             version, options, number of videos, hash over all files; written last
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from v2a_data.engine import Engine, Job, Step
from v2a_data.errors import UsageError
from v2a_data.files import whole_file, write_text
from v2a_data.recipe import digest
from v2a_data.synthetic import SUBJECTS, WORLD_VERSION
from v2a_data.synthetic.plan import VideoPlan, View, plan_video

WORLD_LABELS = tuple(SUBJECTS)


@dataclass(frozen=True)
class WorldRow:
    """One rendered video as the source and the server need it."""

    video_id: str
    native_id: str
    label: str
    file: str
    duration_s: float


def parse_turns(spec: str) -> tuple[str, ...]:
    """`Airplane:2,Drum` → the labels in the order of their turns: Airplane, Drum, Airplane.

    Raises `UsageError` for a label that the world does not have, or turns that are no number from 1 to 99.
    """
    turns: dict[str, int] = {}
    for part in spec.split(","):
        match = re.fullmatch(r"([^:]*)(?::([1-9]\d?))?", part.strip())
        if match is None:
            raise UsageError(f"--labels {part!r}: turns are a number from 1 to 99, for example Airplane:3")
        SUBJECTS[match[1]]
        if match[1] in turns:
            raise UsageError(f"--labels {spec!r}: {match[1]} stands there twice")
        turns[match[1]] = int(match[2] or 1)
    rounds = range(max(turns.values()))
    return tuple(name for turn in rounds for name, wanted in turns.items() if turn < wanted)


def plan_world(
    seed: int,
    videos: int,
    labels: tuple[str, ...],
    lines: int | None,
    seconds: tuple[float, float],
    *,
    faults: Mapping[str, float] | None = None,
    sound: bool = True,
    ood: bool = False,
    view: View = "full",
) -> list[VideoPlan]:
    """The videos of a world: `labels` take turns, `faults` is the share of videos per kind.

    Raises `UsageError` for an unknown label.
    """
    for label in labels:
        SUBJECTS[label]
    names = labels or WORLD_LABELS
    return [
        plan_video(seed, n, names, lines, seconds, faults=faults, sound=sound, ood=ood, view=view)
        for n in range(videos)
    ]


def render_world(
    plans: list[VideoPlan],
    out: Path,
    engine: Engine,
    step: Callable[[], None],
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Render all videos and write the truth; `step` is called after each. Returns `world.json`'s content.

    `options` are noted there: what the world was asked for.

    Videos that are there already are kept, so a stopped run goes on where it was.
    """
    from v2a_data.synthetic.render import render_video
    from v2a_data.synthetic.truth import TABLES, Truth, group_rows

    _check_same(plans, out)
    truths: dict[str, Truth] = {}

    def keep(job: Job, truth: Truth) -> None:
        truths[job.key] = truth
        step()

    jobs = [Job(f"render-{plan.video_id}", (Step(render_video, (plan, str(out.resolve()))),)) for plan in plans]
    engine.run(jobs, keep)
    ordered = [truths[job.key] for job in jobs]
    videos = [truth.video for truth in ordered]
    rows = {
        "videos": videos,
        "events": [row for truth in ordered for row in truth.events],
        "windows": [row for truth in ordered for row in truth.windows],
        "groups": group_rows(videos),
    }
    for table in TABLES:
        _write_table(out / "truth" / f"{table.name}.parquet", rows[table.name], table.names)
    about = {
        "version": WORLD_VERSION,
        "synthetic": True,
        "seed": plans[0].seed,
        "videos": len(plans),
        "seconds": round(sum(plan.duration_s for plan in plans), 2),
        "options": dict(options or {}),
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


def _write_table(path: Path, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    import pandas as pd

    with whole_file(path) as temporary:
        pd.DataFrame(rows, columns=list(columns)).to_parquet(temporary, index=False)


def read_world(folder: Path) -> list[WorldRow]:
    """The videos of a rendered world. Raises `UsageError` where the folder holds no finished world."""
    import pandas as pd

    if not (folder / "world.json").is_file():
        raise UsageError(f"{folder} is not a finished world", hint="`v2a-data synth DIR` renders one")
    table = pd.read_parquet(folder / "truth" / "videos.parquet", columns=list(WorldRow.__annotations__))
    return [WorldRow(*row) for row in table.itertuples(index=False, name=None)]


def read_truth(folder: Path, table: str) -> Any:
    """A truth table (`videos`, `events`, `windows` or `groups`) as a pandas frame."""
    import pandas as pd

    return pd.read_parquet(folder / "truth" / f"{table}.parquet")
