"""A dataset made again from its manifest: nothing is judged anew, and every difference is told apart.

`fetch --manifest` makes a workspace follow a manifest; its `curate` lays exactly the clips of it, its `shard`
writes them where they were.
"""

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from v2a_data import schema
from v2a_data.errors import UsageError
from v2a_data.files import whole_file
from v2a_data.ledger import Ledger
from v2a_data.manifest import COPY, EARLIER, META, Manifest, keep_copy, open_manifest, own_manifest
from v2a_data.recipe import Recipe, build_recipe, digest, merge, to_table
from v2a_data.workspace import Workspace

_BATCH = 5_000
REPORT = "rebuild.csv"
# What can have become of a clip of the manifest, best first.
OUTCOMES = ("identical", "other_bytes", "media_differs", "gone", "waiting")
WORDS = {
    "identical": "identical",
    "other_bytes": "rebuilt with other bytes",
    "media_differs": "rebuilt from media that differ",
    "gone": "gone",
    "waiting": "not rebuilt yet",
}


@dataclass
class Comparison:
    """A rebuilt dataset beside its manifest: how many clips ended how, and every one that is gone."""

    counts: Counter[str] = field(default_factory=Counter)
    gone: list[dict[str, str]] = field(default_factory=list)

    @property
    def incomplete(self) -> bool:
        """True while clips of the manifest are not in a shard."""
        return bool(self.counts["gone"] or self.counts["waiting"])

    def to_json(self) -> dict[str, Any]:
        return {"clips": {name: self.counts[name] for name in OUTCOMES}, "gone": self.gone}

    def lines(self, most: int = 20) -> list[str]:
        """For people: counts, then what is gone and why."""
        lines = ["beside the manifest:"]
        lines += [f"  {self.counts[name]:5d}  {WORDS[name]}" for name in OUTCOMES if self.counts[name]]
        lines += [f"  gone: {row['clip_id']}  {row['reason']}" for row in self.gone[:most]]
        if len(self.gone) > most:
            lines.append(f"  and {len(self.gone) - most} more, all in reports/{REPORT}")
        return lines


def choose(workspace: Workspace, file: Path | None) -> Manifest | None:
    """The manifest that `fetch` goes by: the one given, or the workspace's own.

    Raises `UsageError` for another one than the workspace follows, and in a workspace that holds a dataset.
    """
    if file is None:
        return own_manifest(workspace)
    own, given = workspace.ledger.meta(META), open_manifest(file)
    if given.sha256 in json.loads(workspace.ledger.meta(EARLIER) or "[]"):
        # Videos were removed from this workspace since: its own copy has the rest.
        return own_manifest(workspace)
    if own is not None and own != given.sha256:
        raise UsageError(
            f"{workspace.root} is rebuilt from another manifest", hint="rebuild this one in a workspace of its own (-w)"
        )
    if own is None and workspace.ledger.value("SELECT 1 FROM videos LIMIT 1"):
        raise UsageError(
            f"{workspace.root} holds a dataset already", hint="rebuild in an empty workspace: -w another folder"
        )
    return given


def begin(workspace: Workspace, manifest: Manifest) -> None:
    """Make the workspace follow the manifest from now on; a copy that was lost is put back."""
    if manifest.path != workspace.root / COPY:
        keep_copy(workspace, manifest)


def recipe_of(manifest: Manifest, current: Recipe | None, over: Mapping[str, Any]) -> Recipe:
    """The manifest's recipe with what this machine adds: folders, addresses, pacing.

    Raises `UsageError` where an override would make another dataset of it.
    """
    base = current if current is not None else manifest.recipe
    recipe = build_recipe(merge(to_table(base), over), "recipe")
    check_recipe(manifest, recipe)
    return recipe


def check_recipe(manifest: Manifest, recipe: Recipe) -> None:
    """Raise `UsageError` for a recipe that is not the manifest's in what decides the clips."""
    if (recipe.name, recipe.hash) != (manifest.recipe.name, manifest.recipe.hash):
        raise UsageError(
            f"this workspace is rebuilt from a manifest of recipe {manifest.recipe.name} ({manifest.recipe.hash}), "
            f"not {recipe.name} ({recipe.hash})",
            hint="leave out --recipe and --set, or judge anew in another workspace (-w)",
        )


def lay(workspace: Workspace, manifest: Manifest) -> None:
    """Lay the manifest's clips into the videos that are here, with its verdicts, groups and splits."""
    ledger = workspace.ledger
    here = {row[0] for row in ledger.each("SELECT video_id FROM videos WHERE state = 'fetched'")}
    columns = ("key", "video_id", "start_s", "stop_s", "label", "verdict", "group_id", "split")
    for block in _blocks(manifest, columns):
        rows = [
            {**row, "clip_id": row["key"], "recipe_hash": manifest.recipe.hash, "reasons": []}
            for row in block
            if row["video_id"] in here
        ]
        with ledger.transaction():
            for table in (schema.CLIPS, schema.GROUPS, schema.SPLITS):
                ledger.insert(table, rows, existing="ignore")


def plan_shards(ledger: Ledger, manifest: Manifest) -> None:
    """Plan every shard of the manifest that lacks clips which are here; one that is written is written again whole.

    Shards with clips whose media were deleted stay as they are.
    """
    places: dict[str, list[str]] = defaultdict(list)
    deleted = {row[0] for row in ledger.each("SELECT video_id FROM media WHERE deleted IS NOT NULL")}
    for row in manifest.rows(("key", "shard")):
        places[row["shard"]].append(row["key"])
    done = {row[0] for row in ledger.each("SELECT clip_id FROM samples")}
    here = {row[0] for row in ledger.each("SELECT clip_id FROM clips WHERE recipe_hash = ?", (manifest.recipe.hash,))}
    for name, keys in sorted(places.items()):
        if not any(key in here and key not in done for key in keys):
            continue
        if any(key.rpartition("_")[0] in deleted for key in keys):
            continue  # its other clips could not be cut again
        plan = digest([manifest.recipe.hash, name])
        rows = [
            {"plan": plan, "stage": "shard", "name": name, "n": 0, "position": position, "item": key}
            for position, key in enumerate(keys)
            if key in here
        ]
        with ledger.transaction():
            ledger.execute("DELETE FROM samples WHERE shard = ?", (name,))
            ledger.execute("DELETE FROM shards WHERE shard = ?", (name,))
            ledger.insert(schema.PLANS, rows, existing="replace")


def compare(workspace: Workspace, manifest: Manifest, report: Path | None = None) -> Comparison:
    """What became of each clip of the manifest; `report` gets one line per clip."""
    found = Comparison()
    if report is None:
        for _, outcome, reason, clip_id in _outcomes(workspace.ledger, manifest):
            _count(found, outcome, reason, clip_id)
        return found
    with whole_file(report) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("clip_id", "video_id", "outcome", "reason"))
        for video_id, outcome, reason, clip_id in _outcomes(workspace.ledger, manifest):
            writer.writerow((clip_id, video_id, outcome, reason))
            _count(found, outcome, reason, clip_id)
    return found


def _count(found: Comparison, outcome: str, reason: str, clip_id: str) -> None:
    found.counts[outcome] += 1
    if outcome == "gone":
        found.gone.append({"clip_id": clip_id, "reason": reason})


def _outcomes(ledger: Ledger, manifest: Manifest) -> Iterator[tuple[str, str, str, str]]:
    """`(video_id, outcome, reason, clip_id)` per row of the manifest."""
    sql = (
        "SELECT p.value AS key, s.state, s.reason, json_extract(s.index_row, '$.sha256') AS sha256 "
        "FROM json_each(?) p JOIN samples s ON s.clip_id = p.value"
    )
    videos_sql = (
        "SELECT v.video_id, v.state, v.reason, m.sha256 FROM json_each(?) p JOIN videos v ON v.video_id = p.value "
        "LEFT JOIN media m USING (video_id)"
    )
    for block in _blocks(manifest, ("key", "video_id", "sha256", "media_sha256")):
        keys = json.dumps([row["key"] for row in block])
        ids = json.dumps(sorted({row["video_id"] for row in block}))
        samples = {row["key"]: row for row in ledger.each(sql, (keys,))}
        videos = {row["video_id"]: row for row in ledger.each(videos_sql, (ids,))}
        for row in block:
            outcome, reason = _outcome(row, videos.get(row["video_id"]), samples.get(row["key"]))
            yield row["video_id"], outcome, reason, row["key"]


def _outcome(row: Mapping[str, Any], video: Any, sample: Any) -> tuple[str, str]:
    if sample is not None and sample["state"] == "written":
        if video is None or video["sha256"] != row["media_sha256"]:
            return "media_differs", "the video's file has another sha256"
        return ("identical", "") if sample["sha256"] == row["sha256"] else ("other_bytes", "")
    if sample is not None:
        return "gone", f"cut: {sample['reason']}"
    if video is not None and video["state"] not in ("listed", "fetched"):
        return "gone", f"{video['state']}: {video['reason']}"
    return "waiting", ""


def missing_videos(workspace: Workspace) -> list[dict[str, str]]:
    """Videos that were looked for and are not here, each with its state and reason."""
    sql = "SELECT video_id, state, reason FROM videos WHERE state NOT IN ('listed', 'fetched') ORDER BY 1"
    return [{name: row[name] for name in ("video_id", "state", "reason")} for row in workspace.ledger.rows(sql)]


def _blocks(manifest: Manifest, columns: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    rows = manifest.rows(columns)
    while block := list(islice(rows, _BATCH)):
        yield block
