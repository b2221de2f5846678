"""What was kept of a world, held against its truth."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from v2a_data.ids import youtube_video_id
from v2a_data.schema import WINDOW_S
from v2a_data.synthetic.truth import CONFOUNDERS
from v2a_data.synthetic.world import read_truth

if TYPE_CHECKING:
    from v2a_data.workspace import Workspace

# A window is not right where a fault lasts longer than this share of it, or its sound is shifted by more.
_MOST = 0.5
_MOST_SHIFT_S = 0.1


@dataclass(frozen=True)
class Verdicts:
    """`right` of the `kept` clips are seen, heard and without a planted fault in every window.

    `found` of the `findable` videos, those with a row of right windows as long as a clip, were kept from.
    """

    kept: int
    right: int
    findable: int
    found: int

    def to_json(self) -> dict[str, int]:
        return {"kept": self.kept, "right": self.right, "findable": self.findable, "found": self.found}


def judge_kept(workspace: "Workspace", world: Path, clip_s: float) -> Verdicts:
    """Kept clips of a workspace that was made from a world, fetched from its folder or from its server."""
    right, served = right_windows(world), _served_ids(world)
    sql = "SELECT video_id, start_s, stop_s FROM clips WHERE verdict = 'keep' ORDER BY clip_id"
    rows = workspace.ledger.rows(sql)
    kept = [(served.get(row["video_id"], row["video_id"]), row["start_s"], row["stop_s"]) for row in rows]
    good = [_all_right(right.get(video, []), start_s, stop_s) for video, start_s, stop_s in kept]
    needed = round(clip_s / WINDOW_S)
    findable = {video for video, windows in right.items() if _longest(windows) >= needed}
    return Verdicts(len(kept), sum(good), len(findable), len(findable & {video for video, _, _ in kept}))


def right_windows(world: Path) -> dict[str, list[bool]]:
    """Per video, whether each of its windows is seen, heard and without a planted fault, by the truth."""
    windows = read_truth(world, "windows")
    windows["right"] = windows.seen.astype(bool) & windows.heard.astype(bool)
    windows["right"] &= windows.shift_s.abs() <= _MOST_SHIFT_S
    windows["right"] &= windows[list(CONFOUNDERS)].max(axis=1) <= _MOST
    found: dict[str, list[bool]] = {}
    rows: Any = windows.sort_values(["video_id", "window_index"]).itertuples()
    for row in rows:
        found.setdefault(row.video_id, []).append(bool(row.right))
    return found


def _served_ids(world: Path) -> dict[str, str]:
    """The id that a video has when it comes from the world's server → its own."""
    return {youtube_video_id(row.native_id): row.video_id for row in read_truth(world, "videos").itertuples()}


def _all_right(marks: list[bool], start_s: float, stop_s: float) -> bool:
    first, last = round(start_s / WINDOW_S), round(stop_s / WINDOW_S)
    return last <= len(marks) and all(marks[first:last])


def _longest(marks: list[bool]) -> int:
    best = run = 0
    for mark in marks:
        run = run + 1 if mark else 0
        best = max(best, run)
    return best
