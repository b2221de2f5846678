"""From a workspace's votes to a recipe with a promise and its evidence. The statistics are in `calibrate.py`."""

import dataclasses
import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from v2a_data import schema
from v2a_data.curate.calibrate import (
    Judged,
    Outcome,
    Share,
    allowed_confounders,
    choose_and_test,
    choosing,
    combination,
    right_windows,
    share_of,
)
from v2a_data.curate.clips import Stretch, lay
from v2a_data.curate.combine import combined, combined_rules
from v2a_data.curate.rules import Rules
from v2a_data.curate.score import label_of
from v2a_data.curate.stretches import recipe_rules, runs, window_marks, window_strengths
from v2a_data.curate.thresholds import rewritten, thresholds
from v2a_data.errors import NothingError, UsageError
from v2a_data.ledger import Ledger
from v2a_data.media.probe import Probe
from v2a_data.recipe import RIGHT, CalibrationSection, Recipe, digest
from v2a_data.review.grid import Grid
from v2a_data.review.sample import answered_draw, scored_windows
from v2a_data.review.votes import Vote, load_votes
from v2a_data.schema import WINDOW_S
from v2a_data.scorers import SCORERS
from v2a_data.workspace import Workspace

Key = tuple[str, int]


@dataclass(frozen=True)
class Evidence:
    """The votes that count: windows `keys` as `judged`, the hash of the votes, and what was left aside and why.

    `unanswered` is how many windows of the newest draw, if there is one, nobody voted on.
    """

    keys: list[Key]
    judged: Judged
    votes: int
    votes_sha256: str
    drawn: bool
    unanswered: int
    aside: dict[str, int]


@dataclass(frozen=True)
class Promise:
    """What a question brought: its number, the outcome, clips laid by the new rules, the recipe with the evidence."""

    question: int
    outcome: Outcome
    clips: Share | None
    evidence: Evidence
    recipe: Recipe


def ask(workspace: Workspace, recipe: Recipe, precision: float, confidence: float, *, combine: bool = False) -> Promise:
    """Choose an order of thresholds for a precision at a confidence, test them in it until one fails, and note in the
    ledger that it was asked.

    With `combine` the scores are combined first, on the part for choosing. The same question on the same votes has the
    same answer and costs nothing. Raises `NothingError` without votes on scored windows, `UsageError` where the recipe
    has no threshold that votes can move, or nothing to combine.
    """
    rules = recipe_rules(recipe)
    if not thresholds(rules):
        raise UsageError(f"recipe {recipe.name}: no condition of `keep` compares a score that people vote on")
    evidence = gather(workspace, recipe, rules)
    allowed = allowed_confounders(rules, _combined(recipe))
    if combine:
        recipe, evidence = _combine(recipe, rules, evidence)
        rules = recipe_rules(recipe)
    about = digest([evidence.votes_sha256, recipe.decides, precision, confidence])
    question = _number(workspace.ledger, about)
    outcome = choose_and_test(evidence.judged, rules, precision, confidence, question)
    with workspace.ledger.transaction():
        said = {"promised": outcome.promised, "precision": outcome.precision.to_json(), "wanted": precision}
        row = {"question": question, "asked": about, "outcome": {**said, "confidence": confidence}}
        workspace.ledger.insert(schema.TESTED, [row], existing="ignore")
    new = dataclasses.replace(recipe, rules=rewritten(rules, recipe.rules, outcome.values), calibration=None)
    section = _section(new, allowed, evidence, outcome, precision, confidence, question)
    clips = _clips(workspace, new, evidence, confidence)
    return Promise(question, outcome, clips, evidence, dataclasses.replace(new, calibration=section))


def _combined(recipe: Recipe) -> tuple[str, ...]:
    return tuple(recipe.combine.weights) if recipe.combine else ()


def _combine(recipe: Recipe, rules: Rules, evidence: Evidence) -> tuple[Recipe, Evidence]:
    """The recipe with a combination fitted on the part for choosing, and the evidence with its field."""
    if recipe.combine is not None:
        raise UsageError(
            f"recipe {recipe.name} combines its scores already", hint="without --combine the threshold on it is moved"
        )
    judged = evidence.judged
    section = combination(judged, rules)
    if section is None:
        names = ", ".join(dict.fromkeys(item.field for item in thresholds(rules)))
        raise UsageError(f"recipe {recipe.name}: the votes do not tell how to combine {names}")
    new = dataclasses.replace(recipe, combine=section, rules=combined_rules(recipe.rules), calibration=None)
    columns = {**judged.columns, RIGHT: combined(section, judged.columns)}
    return new, dataclasses.replace(evidence, judged=dataclasses.replace(judged, columns=columns))


def _number(ledger: Ledger, about: str) -> int:
    known = ledger.value("SELECT question FROM tested WHERE asked = ?", (about,))
    return int(ledger.value("SELECT COUNT(*) FROM tested") if known is None else known)


def gather(workspace: Workspace, recipe: Recipe, rules: Rules) -> Evidence:
    """The votes that count, one judgement per window. Where windows were drawn, only votes on those count.

    Raises `NothingError` where there are too few, `UsageError` where too many drawn windows have none.
    """
    grid, votes, aside = Grid(workspace.ledger, recipe), load_votes(workspace.ledger), defaultdict[str, int](int)
    by_window: dict[Key, list[Vote]] = defaultdict(list)
    for vote in votes:
        if vote.video_id not in grid or grid.label(vote.video_id) != vote.label:
            aside["about another label"] += 1
        elif vote.topic_alone:
            aside["on the topic alone"] += 1
        else:
            by_window[vote.video_id, vote.window_index].append(vote)
    draw = answered_draw(workspace.ledger, by_window)
    weights = draw.weights if draw else {}
    for key in [key for key in by_window if draw and key not in weights]:
        why = "of a larger draw that is not answered yet" if draw and key in draw.newest else "that were not drawn"
        aside[f"on windows {why}"] += len(by_window.pop(key))
    scored, columns = scored_windows(workspace, recipe, sorted({video_id for video_id, _ in by_window}))
    place = {key: i for i, key in enumerate(scored)}
    keys = sorted(key for key in by_window if key in place)
    aside["on windows without scores"] += sum(len(found) for key, found in by_window.items() if key not in place)
    counted = [vote for key in keys for vote in by_window[key]]
    rows = np.asarray([place[key] for key in keys], dtype=int)
    parts = [choosing(video_id) for video_id, _ in keys]
    if not any(parts) or all(parts):
        raise NothingError(
            f"{workspace.root} holds votes on {len(keys)} scored windows: too few to choose on some and test on others",
            hint="v2a-data votes --sample 400 --seed 0 --out sheet.csv; fill it in; v2a-data votes --import sheet.csv",
        )
    chosen = {name: values[rows] for name, values in columns.items()}
    allowed = allowed_confounders(rules, _combined(recipe))
    aspects = {item.aspect for item in thresholds(rules)} | set(_combined(recipe))
    judged = _judged(keys, by_window, chosen, aspects - {"seen", "heard", RIGHT}, allowed, weights)
    said = [[*key, v.rater, v.seen, v.heard, v.confounders, weights.get(key)] for key in keys for v in by_window[key]]
    left = {why: count for why, count in aside.items() if count}
    unanswered = draw.unanswered if draw else 0
    return Evidence(keys, judged, len(counted), digest(said), draw is not None, unanswered, left)


def _judged(
    keys: Sequence[Key],
    votes: Mapping[Key, Sequence[Vote]],
    columns: Mapping[str, np.ndarray],
    asked: Collection[str],
    allowed: Sequence[str],
    weights: Mapping[Key, float],
) -> Judged:
    """`asked` are the confounders that rules go by, `allowed` those that do not count."""
    named = {name for key in keys for vote in votes[key] for name in vote.confounders}
    aspects = {name: np.asarray([_majority([getattr(v, name) for v in votes[key]]) for key in keys])
               for name in ("seen", "heard")}  # fmt: skip
    for name in sorted(named | set(asked)):
        aspects[name] = np.asarray([_majority([name in v.confounders for v in votes[key]]) for key in keys])
    videos = np.asarray([video_id for video_id, _ in keys])
    size = np.asarray([weights.get(key, 1.0) for key in keys])
    return Judged(videos, columns, aspects, right_windows(aspects, allowed), size)


def _majority(answers: Sequence[bool | None]) -> float:
    """1 or 0 by what more raters say; NaN where they are unsure or divided."""
    yes, no = sum(a is True for a in answers), sum(a is False for a in answers)
    return float("nan") if yes == no else float(yes > no)


def _section(
    new: Recipe,
    allowed: tuple[str, ...],
    evidence: Evidence,
    outcome: Outcome,
    precision: float,
    confidence: float,
    question: int,
) -> CalibrationSection:
    def triple(share: Share) -> tuple[float, float, float]:
        return round(share.value, 4), round(share.low, 4), round(share.high, 4)

    models = {name: SCORERS[name](config).model for name, config in new.scorers.items()}
    return CalibrationSection(
        precision=precision,
        confidence=confidence,
        bound=round(outcome.bound, 4),
        question=question,
        decides=new.decides,
        votes_sha256=evidence.votes_sha256,
        votes=evidence.votes,
        choosing=outcome.choosing,
        testing=outcome.testing,
        kept=outcome.kept,
        drawn=evidence.drawn,
        measured_precision=triple(outcome.precision),
        measured_recall=triple(outcome.recall),
        measured_yield=triple(outcome.yields),
        allowed=allowed,
        models={name: model.sha256 or "" for name, model in models.items() if model},
    )


def _clips(workspace: Workspace, new: Recipe, evidence: Evidence, confidence: float) -> Share | None:
    """Precision of whole clips of the test part, over those of which every window has a vote; null without any."""
    rules = recipe_rules(new)
    right = dict(zip(evidence.keys, evidence.judged.right.tolist(), strict=True))
    videos = sorted({video_id for video_id, _ in evidence.keys if not choosing(video_id)})
    scored, columns = scored_windows(workspace, new, videos)
    places = defaultdict[str, list[int]](list)
    for i, (video_id, _) in enumerate(scored):
        places[video_id].append(i)
    found: list[bool] = []
    owners: list[str] = []
    for video_id, rows in places.items():
        part = {name: values[rows] for name, values in columns.items()}
        for first, last in _kept_clips(workspace, new, rules, video_id, part, len(rows)):
            judged = [right.get((video_id, index)) for index in range(first, last)]
            if None not in judged:
                found.append(all(judged))
                owners.append(video_id)
    if not found:
        return None
    return share_of(np.asarray(found), np.ones(len(found)), np.asarray(owners), confidence)


def _kept_clips(
    workspace: Workspace, new: Recipe, rules: Rules, video_id: str, columns: Mapping[str, np.ndarray], windows: int
) -> list[tuple[int, int]]:
    """`[first, last)` windows of every clip of a video that the new rules keep."""
    marks, strengths = window_marks(rules, columns, windows), window_strengths(columns, windows)
    stretches = [
        Stretch(first * WINDOW_S, last * WINDOW_S, marks[first], [], strengths[first:last])
        for first, last in runs(marks)
    ]
    sql = "SELECT v.labels, m.probe FROM videos v JOIN media m USING (video_id) WHERE video_id = ?"
    ((labels, probe),) = workspace.ledger.rows(sql, (video_id,))
    label = label_of(new, json.loads(labels))
    spans = lay(stretches, new.clips, label, Probe.from_json(json.loads(probe)).picture.fps)
    return [
        (round(span["start_s"] / WINDOW_S), round(span["stop_s"] / WINDOW_S))
        for span in spans
        if span["verdict"] == "keep"
    ]
