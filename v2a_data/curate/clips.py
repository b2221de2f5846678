"""The clips step: spans laid into stretches, each with a verdict and its reasons."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from v2a_data import schema
from v2a_data.console import Console
from v2a_data.curate.score import label_of
from v2a_data.ids import clip_id
from v2a_data.ledger import Ledger, Row
from v2a_data.media.probe import Probe
from v2a_data.recipe import ClipsSection, Recipe
from v2a_data.schema import WINDOW_S

_BATCH = 500


@dataclass
class Laid:
    """Clips laid in one step, by verdict, and why the rest was dropped."""

    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Stretch:
    """A stretch as the ledger holds it."""

    start_s: float
    stop_s: float
    mark: str
    reasons: list[dict[str, Any]]
    strengths: list[float | None]


def lay_clips(ledger: Ledger, recipe: Recipe, console: Console) -> Laid:
    """Lay clips into the stretches of every video that has none yet under this recipe."""
    sql = (
        "SELECT v.video_id, v.labels, m.probe FROM videos v JOIN media m USING (video_id) "
        "WHERE EXISTS (SELECT 1 FROM stretches t WHERE t.video_id = v.video_id AND t.recipe_hash = ?1) "
        "AND NOT EXISTS (SELECT 1 FROM clips c WHERE c.video_id = v.video_id AND c.recipe_hash = ?1) ORDER BY 1"
    )
    todo = ledger.rows(sql, (recipe.hash,))
    laid = Laid()
    with console.progress("clips", len(todo), "videos") as progress:
        for first in range(0, len(todo), _BATCH):
            batch = todo[first : first + _BATCH]
            rows = [row for video in batch for row in _video_rows(ledger, video, recipe)]
            with ledger.transaction():
                ledger.insert(schema.CLIPS, rows)
            for row in rows:
                laid.verdicts[row["verdict"]] += 1
                if row["verdict"] != "keep":
                    laid.reasons.update(reason["condition"] for reason in row["reasons"])
            progress.step(len(batch))
    return laid


def _video_rows(ledger: Ledger, video: Row, recipe: Recipe) -> list[dict[str, Any]]:
    sql = "SELECT * FROM stretches WHERE video_id = ? AND recipe_hash = ? ORDER BY start_s"
    stretches = [_stretch(row) for row in ledger.rows(sql, (video["video_id"], recipe.hash))]
    probe = Probe.from_json(json.loads(video["probe"]))
    label = label_of(recipe, json.loads(video["labels"]))
    base = {"video_id": video["video_id"], "recipe_hash": recipe.hash, "label": label}
    spans = lay(stretches, recipe.clips, label, probe.picture.fps)
    return [{**base, "clip_id": clip_id(video["video_id"], span["start_s"]), **span} for span in spans]


def _stretch(row: Row) -> Stretch:
    return Stretch(row["start_s"], row["stop_s"], row["mark"], json.loads(row["reasons"]), json.loads(row["strengths"]))


def lay(stretches: Sequence[Stretch], rules: ClipsSection, label: str, source_fps: float) -> Iterator[dict[str, Any]]:
    """Spans with verdicts for one video, judged by `label`: every second of every stretch ends in exactly one of them.

    `fixed`: clips of the label's length back to back from a stretch's start; `natural`: a stretch as it is,
    long ones in equal parts. What is left over, and what is above `max_per_video`, is dropped with
    that as its reason. Dropped stretches stay whole.
    """
    rules = dataclasses.replace(rules, seconds=rules.seconds_of(label))
    too_slow = rules.min_source_fps is not None and source_fps < rules.min_source_fps - 0.01
    clips, rest = [], []
    for stretch in stretches:
        if stretch.mark == "drop" or too_slow:
            reason = (
                {"condition": f"source fps >= {rules.min_source_fps:g}", "fps": round(source_fps, 3)}
                if too_slow
                else None
            )
            rest.append(_span(stretch.start_s, stretch.stop_s, "drop", [reason] if reason else stretch.reasons))
            continue
        for start_s, stop_s, whole in _parts(stretch, rules):
            if whole:
                clips.append(
                    (_strength(stretch, start_s, stop_s), _span(start_s, stop_s, stretch.mark, stretch.reasons))
                )
            else:
                reason = {"condition": f"stretch >= {_shortest(rules):g} s", "seconds": stop_s - start_s}
                rest.append(_span(start_s, stop_s, "drop", [*stretch.reasons, reason]))
    for verdict in ("keep", "review"):
        ranked = sorted((c for c in clips if c[1]["verdict"] == verdict), key=lambda c: (-c[0], c[1]["start_s"]))
        for _, span in ranked[rules.max_per_video :] if rules.max_per_video is not None else []:
            reason = {"condition": f"at most {rules.max_per_video} per video"}
            span.update(verdict="drop", reasons=[*span["reasons"], reason])
    yield from sorted([span for _, span in clips] + rest, key=lambda span: span["start_s"])


def _span(start_s: float, stop_s: float, verdict: str, reasons: list[dict[str, Any]]) -> dict[str, Any]:
    return {"start_s": start_s, "stop_s": stop_s, "verdict": verdict, "reasons": list(reasons)}


def _shortest(rules: ClipsSection) -> float:
    return rules.seconds if rules.length == "fixed" else rules.min_seconds


def _parts(stretch: Stretch, rules: ClipsSection) -> Iterator[tuple[float, float, bool]]:
    """`(start_s, stop_s, long enough)` of the parts of a stretch, on window borders."""
    windows = round((stretch.stop_s - stretch.start_s) / WINDOW_S)
    per_clip = round(rules.seconds / WINDOW_S)

    def at(window: int) -> float:
        return stretch.start_s + window * WINDOW_S

    if rules.length == "fixed":
        whole = windows // per_clip
        for i in range(whole):
            yield at(i * per_clip), at((i + 1) * per_clip), True
        if windows % per_clip:
            yield at(whole * per_clip), stretch.stop_s, False
        return
    count = -(-windows // per_clip)
    edges = [round(i * windows / count) for i in range(count + 1)]
    for first, last in pairwise(edges):
        yield at(first), at(last), (last - first) * WINDOW_S >= rules.min_seconds


def _strength(stretch: Stretch, start_s: float, stop_s: float) -> float:
    first, last = round((start_s - stretch.start_s) / WINDOW_S), round((stop_s - stretch.start_s) / WINDOW_S)
    known = [value for value in stretch.strengths[first:last] if value is not None]
    return sum(known) / len(known) if known else 0.0


def strength(ledger: Ledger, recipe_hash: str, video_id: str, start_s: float, stop_s: float) -> float:
    """Mean of min(seen, heard) over a clip's windows as its stretch has them; 0 where not measured."""
    holds = "video_id = ? AND recipe_hash = ? AND start_s <= ? AND stop_s > ?"
    sql = f"SELECT * FROM stretches WHERE {holds} ORDER BY start_s LIMIT 1"  # noqa: S608
    for row in ledger.rows(sql, (video_id, recipe_hash, start_s, start_s)):
        return _strength(_stretch(row), start_s, stop_s)
    return 0.0


def drop(ledger: Ledger, recipe_hash: str, clip_id: str, reason: dict[str, Any]) -> None:
    """Turn a kept clip into a dropped one, the reason beside those it has."""
    ledger.execute(
        "UPDATE clips SET verdict = 'drop', reasons = json_insert(reasons, '$[#]', json(?)) "
        "WHERE clip_id = ? AND recipe_hash = ? AND verdict = 'keep'",
        (json.dumps(reason, sort_keys=True, separators=(",", ":")), clip_id, recipe_hash),
    )
