"""The rules step: windows get marks, neighbours with one mark become stretches."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from v2a_data import schema
from v2a_data.console import Console
from v2a_data.curate.combine import combined
from v2a_data.curate.rules import Rules, parse_rules
from v2a_data.curate.score import scorer_specs
from v2a_data.ledger import Ledger, Row
from v2a_data.media.probe import Probe
from v2a_data.recipe import RIGHT, Recipe
from v2a_data.schema import WINDOW_S
from v2a_data.scorers import SCORERS
from v2a_data.scores import read_scores
from v2a_data.windows import window_starts
from v2a_data.workspace import Workspace

_BATCH = 200
_ALARM_SHARE = 0.02
_ALARM_WINDOWS = 100


@dataclass
class Marked:
    """Counts over the windows of one rules step."""

    videos: int = 0
    windows: Counter[str] = field(default_factory=Counter)
    failing: Counter[str] = field(default_factory=Counter)
    measured: Counter[str] = field(default_factory=Counter)


def recipe_rules(recipe: Recipe) -> Rules:
    """The recipe's rules, parsed against the fields that its scorers write."""
    return parse_rules(recipe.rules, recipe.fields, where="rules")


def mark(workspace: Workspace, recipe: Recipe, console: Console) -> Marked:
    """Mark the windows of every video that is scored and not yet marked under this recipe."""
    ledger, rules = workspace.ledger, recipe_rules(recipe)
    specs = {spec.name: spec.hash for spec in scorer_specs(recipe)}
    todo = _unmarked(ledger, recipe, specs)
    counts = Marked()
    with console.progress("rules", len(todo), "videos") as progress:
        for first in range(0, len(todo), _BATCH):
            batch = todo[first : first + _BATCH]
            scores = read_scores(ledger, workspace.root, specs, [row["video_id"] for row in batch])
            rows = [
                stretch
                for row in batch
                for stretch in _stretches(row, recipe, rules, scores.get(row["video_id"], {}), counts)
            ]
            with ledger.transaction():
                ledger.insert(schema.STRETCHES, rows)
            counts.videos += len(batch)
            progress.step(len(batch))
    _alarm(counts, recipe, console)
    return counts


def _unmarked(ledger: Ledger, recipe: Recipe, specs: Mapping[str, str]) -> list[Row]:
    pairs = " OR ".join("(s.scorer = ? AND s.config = ?)" for _ in specs) or "0"
    sql = (
        "SELECT v.video_id, v.wanted_start_s, v.wanted_stop_s, m.probe FROM videos v JOIN media m USING (video_id) "  # noqa: S608
        "WHERE v.state = 'fetched' "
        "AND NOT EXISTS (SELECT 1 FROM stretches t WHERE t.video_id = v.video_id AND t.recipe_hash = ?) "
        f"AND (SELECT COUNT(*) FROM scored s WHERE s.video_id = v.video_id AND ({pairs})) = ? ORDER BY v.video_id"
    )
    flat = [value for pair in specs.items() for value in pair]
    return ledger.rows(sql, (recipe.hash, *flat, len(specs)))


def _stretches(
    row: Row, recipe: Recipe, rules: Rules, scores: Mapping[str, np.ndarray], counts: Marked
) -> Iterator[dict[str, Any]]:
    """Stretches of one video. One without a whole window is a single dropped stretch."""
    probe = Probe.from_json(json.loads(row["probe"]))
    starts = window_starts(probe.duration_s, row["wanted_start_s"], row["wanted_stop_s"])
    base = {"video_id": row["video_id"], "recipe_hash": recipe.hash}
    if len(starts) == 0:
        start_s = row["wanted_start_s"] or 0.0
        too_short = {"condition": "one whole window", "duration_s": round(probe.duration_s - start_s, 3)}
        yield {
            **base,
            "start_s": start_s,
            "stop_s": max(start_s, probe.duration_s),
            "mark": "drop",
            "reasons": [too_short],
            "strengths": [],
        }
        return
    columns = window_columns(recipe, scores, len(starts))
    marks = window_marks(rules, columns, len(starts))
    strengths = window_strengths(columns, len(starts))
    conditions = rules.conditions(columns, len(starts))
    for name, values in columns.items():
        counts.measured[name] += int(np.sum(~np.isnan(values)))
    for first, last in runs(marks):
        name = marks[first]
        counts.windows[name] += last - first
        reasons: list[dict[str, Any]] = [] if name == "keep" else list(_reasons(conditions, columns, first, last))
        for reason in reasons:
            counts.failing[reason["condition"]] += reason["windows"]
        yield {
            **base,
            "start_s": float(starts[first]),
            "stop_s": float(starts[last - 1] + WINDOW_S),
            "mark": name,
            "reasons": reasons,
            "strengths": strengths[first:last],
        }


def window_columns(recipe: Recipe, scores: Mapping[str, np.ndarray], windows: int) -> dict[str, np.ndarray]:
    """Every field of the recipe's scorers over the windows, and their combination; NaN where nothing was measured."""
    names = [item.name for name in recipe.scorers for item in SCORERS[name].writes]
    columns = {name: np.full(windows, np.nan) for name in names}
    for name, values in columns.items():
        found = scores.get(name)
        if found is not None:
            values[: len(found)] = found[:windows]
    if recipe.combine is not None:
        columns[RIGHT] = combined(recipe.combine, columns)
    return columns


def window_marks(rules: Rules, columns: Mapping[str, np.ndarray], windows: int) -> list[str]:
    """keep, review or drop per window: keep where the rule holds; review where `keep` cannot be decided, or the rule
    `review` holds or cannot be decided."""
    if not rules.nodes:
        return ["keep"] * windows
    truths = rules.evaluate(columns, windows)
    keep = truths["keep"]
    review = keep.unknown | (~truths["review"].false if "review" in truths else False)
    return np.where(keep.true, "keep", np.where(review, "review", "drop")).tolist()


def runs(marks: Sequence[str]) -> Iterator[tuple[int, int]]:
    """`[first, last)` of each maximal row of equal marks."""
    first = 0
    for i in range(1, len(marks) + 1):
        if i == len(marks) or marks[i] != marks[first]:
            yield first, i
            first = i


def window_strengths(columns: Mapping[str, np.ndarray], windows: int) -> list[float | None]:
    """min(seen, heard) per window, null where one of them was not measured."""
    pair = [columns[name] for name in ("seen", "heard") if name in columns]
    if len(pair) < 2:
        return [None] * windows
    return [None if np.isnan(value) else round(float(value), 6) for value in np.minimum(*pair)]


def _reasons(conditions: Any, columns: Mapping[str, np.ndarray], first: int, last: int) -> Iterator[dict[str, Any]]:
    """Conditions of `keep` that fail or cannot be decided in a row of windows, with the worst value."""
    for conjunct, truth in conditions:
        failed = int(truth.false[first:last].sum())
        unknown = int(truth.unknown[first:last].sum())
        if failed or unknown:
            means = {name: _mean(columns[name][first:last]) for name in conjunct.names}
            yield {
                "condition": conjunct.text,
                "windows": failed + unknown,
                "of": last - first,
                "unknown": unknown,
                "mean": means,
            }


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return round(float(known.mean()), 4) if len(known) else None


def _alarm(counts: Marked, recipe: Recipe, console: Console) -> None:
    """Say so when the rules drop nearly everything, or a score was never measured."""
    total = sum(counts.windows.values())
    if total < _ALARM_WINDOWS:
        return
    if counts.windows["keep"] < _ALARM_SHARE * total:
        worst = ", ".join(f"{text} in {n} of {total} windows" for text, n in counts.failing.most_common(3))
        console.warn(f"the rules keep {counts.windows['keep']} of {total} windows; not met: {worst}")
    for name in (item.name for scorer in recipe.scorers for item in SCORERS[scorer].writes):
        if counts.measured[name] == 0:
            console.warn(f"{name!r} was measured in none of {total} windows: rules that read it give review")
