"""Why a clip was kept or dropped, from the tables alone."""

import json
from typing import Any

import numpy as np

from v2a_data.console import table
from v2a_data.curate.score import scorer_specs
from v2a_data.curate.stretches import recipe_rules, window_columns
from v2a_data.recipe import Recipe
from v2a_data.schema import WINDOW_S
from v2a_data.scorers import SCORERS
from v2a_data.scores import read_scores
from v2a_data.workspace import Workspace

# The column of score tables that says which moment decided.
_EVIDENCE = "evidence_s"


def explain_clip(workspace: Workspace, recipe: Recipe, clip_id: str) -> dict[str, Any] | None:
    """Scores, rules and reasons of one clip; null where it does not exist under this recipe."""
    sql = "SELECT * FROM clips WHERE clip_id = ? AND recipe_hash = ?"
    found = workspace.ledger.rows(sql, (clip_id, recipe.hash))
    if not found:
        return None
    clip = dict(found[0])
    reasons = json.loads(clip["reasons"])
    windows = _windows(workspace, recipe, clip["video_id"], clip["start_s"], clip["stop_s"])
    lines = [
        f"{clip_id}: {clip['verdict']}, {clip['label']}, {clip['start_s']:g} to {clip['stop_s']:g} s",
        f"  recipe {recipe.name} ({recipe.hash})",
    ]
    lines += [f"  not met: {_reason(reason)}" for reason in reasons]
    for name, text in recipe.rules.items():
        lines.append(f"  rule {name} = {text}")
    if recipe.combine is not None:
        terms = [f"{weight:+g} · {name}" for name, weight in recipe.combine.weights.items()]
        lines.append(f"  right = logistic({recipe.combine.intercept:g} {' '.join(terms)})")
    for name, config in recipe.scorers.items():
        model = SCORERS[name](config).model
        lines.append(
            f"  scorer {name} v{SCORERS[name].version}"
            + (f", {model.name} {(model.sha256 or '')[:12]}" if model else "")
        )
    if windows:
        header = list(windows[0])
        lines += ["", table(header, [[_cell(key, row[key]) for key in header] for row in windows])]
    sample = workspace.ledger.rows("SELECT * FROM samples WHERE clip_id = ?", (clip_id,))
    if sample:
        lines += ["", _sample_line(dict(sample[0]))]
    return {"clip": clip_id, "verdict": clip["verdict"], "reasons": reasons, "windows": windows, "lines": lines}


def explain_video(workspace: Workspace, recipe: Recipe, video_id: str) -> dict[str, Any] | None:
    """State, attempts and clips of one video; null where it does not exist."""
    found = workspace.ledger.rows("SELECT * FROM videos WHERE video_id = ?", (video_id,))
    if not found:
        return None
    video = dict(found[0])
    clips = workspace.ledger.rows(
        "SELECT * FROM clips WHERE video_id = ? AND recipe_hash = ? ORDER BY start_s", (video_id, recipe.hash)
    )
    attempts = workspace.ledger.rows("SELECT * FROM attempts WHERE video_id = ? ORDER BY id", (video_id,))
    lines = [
        f"{video_id}: {video['state']}"
        + (f" ({video['reason']})" if video["reason"] else "")
        + f", from {video['source']}"
    ]
    lines += [f"  {row['at']} {row['stage']}: {row['class']} {row['message'] or ''}".rstrip() for row in attempts]
    for row in clips:
        why = "; ".join(_reason(reason) for reason in json.loads(row["reasons"]))
        lines.append(
            f"  {row['clip_id']}  {row['start_s']:g}-{row['stop_s']:g} s  {row['verdict']}"
            + (f"  {why}" if why else "")
        )
    rows = [
        {"clip_id": row["clip_id"], "verdict": row["verdict"], "reasons": json.loads(row["reasons"])} for row in clips
    ]
    return {"video": video_id, "state": video["state"], "reason": video["reason"], "clips": rows, "lines": lines}


def _windows(
    workspace: Workspace, recipe: Recipe, video_id: str, start_s: float, stop_s: float
) -> list[dict[str, Any]]:
    """Scores and rules of each window, and the time that decided, in s of the video, of every scorer that names one."""
    specs = {spec.name: spec.hash for spec in scorer_specs(recipe)}
    scores = read_scores(workspace.ledger, workspace.root, specs, [video_id]).get(video_id, {})
    starts = scores.get("start_s", np.zeros(0))
    columns = window_columns(recipe, scores, len(starts))
    truths = recipe_rules(recipe).evaluate(columns, len(starts))
    inside = np.flatnonzero((starts >= start_s - 1e-6) & (starts + WINDOW_S <= stop_s + 1e-6))
    decided = {name: scores[name] for scorer in specs if (name := f"{scorer}.{_EVIDENCE}") in scores}
    decided = {name: times for name, times in decided.items() if not np.isnan(times[inside]).all()}
    rows = []
    for i in inside:
        row: dict[str, Any] = {"start_s": float(starts[i])}
        row |= {name: None if np.isnan(values[i]) else round(float(values[i]), 4) for name, values in columns.items()}
        row |= {name: None if truth.unknown[i] else bool(truth.true[i]) for name, truth in truths.items()}
        row |= {name: None if np.isnan(times[i]) else round(float(times[i]), 3) for name, times in decided.items()}
        rows.append(row)
    return rows


def _reason(reason: dict[str, Any]) -> str:
    words = str(reason["condition"])
    if "windows" in reason:
        words += f" in {reason['windows']} of {reason['of']} windows"
        if reason.get("unknown"):
            words += f" ({reason['unknown']} not measured)"
    for name, value in (reason.get("mean") or {}).items():
        words += f", mean {name} {_show(value)}"
    for key in ("fps", "seconds", "duration_s"):
        if key in reason:
            words += f", {key} {reason[key]:g}"
    for key in ("kept", "by", "video", "file"):
        words += f", {key} {reason[key]}" if key in reason else ""
    return words


def _cell(name: str, value: Any) -> str:
    """A cell of the table of windows; times keep their fractions, however late."""
    is_time = isinstance(value, float) and name.endswith(("start_s", _EVIDENCE))
    return f"{value:.2f}" if is_time else _show(value)


def _show(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _sample_line(sample: dict[str, Any]) -> str:
    if sample["state"] == "refused":
        return f"refused by shard: {sample['reason']} {sample['message'] or ''}".rstrip()
    lag = sample["sound_error_samples"]
    return (
        f"in {sample['shard']}: {sample['frames']} frames, {sample['audio_samples']} audio samples, "
        f"picture off by at most {sample['picture_error_s'] * 1000:.0f} ms, "
        + ("no sound to compare" if lag is None else f"sound by {lag} samples")
    )
