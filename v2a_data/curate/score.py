"""The score step: one decode of each video for all scorers, models in their own workers.

The work is planned first: which videos make up which part is written to the ledger, so that a run
that was killed makes the same files when it is started again.
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from v2a_data import schema
from v2a_data.console import Console
from v2a_data.engine import Engine, Job, Step
from v2a_data.errors import ItemError, UsageError
from v2a_data.ledger import Ledger
from v2a_data.media.client import shared_child, twice
from v2a_data.media.probe import Probe
from v2a_data.media.tap import MONO_RATE_HZ, TapSpec, frames_name, luma_name
from v2a_data.models.choice import require
from v2a_data.recipe import Recipe, digest
from v2a_data.runs import package_version
from v2a_data.schema import WINDOW_S
from v2a_data.scorers import SCORERS
from v2a_data.scorers.base import Needs, Scorer, VideoTap, WindowScores
from v2a_data.scores import WrittenPart, write_part
from v2a_data.windows import window_starts
from v2a_data.workspace import Workspace

PART_VIDEOS = 16


@dataclass(frozen=True)
class PartVideo:
    """One video of a part."""

    video_id: str
    path: str
    label: str
    duration_s: float
    windows: tuple[float, ...]
    title: str | None = None


@dataclass(frozen=True)
class ScorerSpec:
    """A scorer of the recipe: its name, configuration and the hash of that."""

    name: str
    config: Any
    hash: str


@dataclass(frozen=True)
class Part:
    """What a worker needs to score some videos."""

    plan: str
    n: int
    root: str
    folder: str
    videos: tuple[PartVideo, ...]
    scorers: tuple[ScorerSpec, ...]


@dataclass(frozen=True)
class PartResult:
    """What came of a part: files written, and per video that failed the reason and message."""

    part: Part
    written: tuple[WrittenPart, ...]
    failed: dict[str, tuple[str, str]]
    rates: dict[str, int]


def score(workspace: Workspace, recipe: Recipe, engine: Engine, console: Console) -> int:
    """Measure what is not measured yet; returns the number of videos scored now.

    A video whose decoding fails becomes `unusable` or `quarantined` with its reason. Raises
    `MissingToolError` before any work where a model is missing or damaged.
    """
    specs = scorer_specs(recipe)
    if not specs:
        return 0
    _plan(workspace.ledger, specs)
    total = _planned(workspace.ledger)
    if total:
        require(recipe)
    _same_measures(workspace.ledger, recipe, specs)
    done = 0
    with console.progress("score", total, "videos") as progress:

        def record(_: Job, result: PartResult) -> None:
            nonlocal done
            _record(workspace.ledger, result)
            done += len(result.part.videos)
            progress.step(len(result.part.videos), failed=len(result.failed))

        engine.run(_jobs(workspace, recipe, specs), record)
    return done


def scorer_specs(recipe: Recipe) -> tuple[ScorerSpec, ...]:
    """The recipe's scorers, each with a hash over its version, configuration and model file."""
    specs = []
    for name, config in recipe.scorers.items():
        model = SCORERS[name](config).model
        about = [SCORERS[name].version, recipe.scorer_hash(name), model.sha256 if model else None]
        specs.append(ScorerSpec(name, config, digest(about)))
    return tuple(specs)


def _same_measures(ledger: Ledger, recipe: Recipe, specs: Sequence[ScorerSpec]) -> None:
    """Raise `UsageError` where a scorer or its model changed since clips were judged under this recipe:
    one dataset must not mix two measures."""
    key = f"measures/{recipe.hash}"
    now = {spec.name: spec.hash for spec in specs}
    before = json.loads(ledger.meta(key) or "null")
    if before is None:
        with ledger.transaction():
            ledger.set_meta(key, json.dumps(now, sort_keys=True))
    elif before != now:
        changed = sorted(name for name in now if before.get(name) != now[name])
        pinned = [f"--set scorers.{name}.sha256=…" for name in changed if hasattr(recipe.scorers[name], "sha256")]
        raise UsageError(
            f"{', '.join(changed)}: the scorer or its file is another one than this dataset was judged with",
            hint="put the old one back, or judge again in another workspace (-w)"
            + (f", or pin the new model: {' '.join(pinned)} --force" if pinned else ""),
        )


def label_of(recipe: Recipe, labels: Sequence[str]) -> str:
    """The label that a video is judged by: its first one in the recipe's order."""
    return next((label for label in recipe.labels if label in labels), labels[0] if labels else "")


def _plan(ledger: Ledger, specs: Sequence[ScorerSpec]) -> None:
    """Plan parts for videos that lack a score of some scorer; unfinished plans of other scorers go."""
    wanted = sorted((spec.name, spec.hash) for spec in specs)
    name = digest(wanted)
    with ledger.transaction():
        ledger.execute("DELETE FROM plans WHERE stage = 'score' AND name != ?", (name,))
        missing = _missing(ledger, specs, name)
        if missing:
            plan = digest([name, missing])
            rows = [
                {
                    "plan": plan,
                    "stage": "score",
                    "name": name,
                    "n": i // PART_VIDEOS,
                    "position": i % PART_VIDEOS,
                    "item": item,
                }
                for i, item in enumerate(missing)
            ]
            ledger.insert(schema.PLANS, rows)


def _missing(ledger: Ledger, specs: Sequence[ScorerSpec], name: str) -> list[str]:
    """Fetched videos, sorted, that some scorer has not measured and no plan holds."""
    pairs = " OR ".join("(s.scorer = ? AND s.config = ?)" for _ in specs)
    sql = (
        "SELECT v.video_id FROM videos v WHERE v.state = 'fetched' "  # noqa: S608
        f"AND (SELECT COUNT(*) FROM scored s WHERE s.video_id = v.video_id AND ({pairs})) < ? "
        "AND v.video_id NOT IN (SELECT video_id FROM media WHERE deleted IS NOT NULL) "
        "AND v.video_id NOT IN (SELECT item FROM plans WHERE stage = 'score' AND name = ?) ORDER BY 1"
    )
    flat = [value for spec in specs for value in (spec.name, spec.hash)]
    return [row[0] for row in ledger.rows(sql, (*flat, len(specs), name))]


def _planned(ledger: Ledger) -> int:
    return int(ledger.value("SELECT COUNT(*) FROM plans WHERE stage = 'score'"))


def _jobs(workspace: Workspace, recipe: Recipe, specs: tuple[ScorerSpec, ...]) -> Iterator[Job]:
    ledger = workspace.ledger
    parts = ledger.rows("SELECT DISTINCT plan, n FROM plans WHERE stage = 'score' ORDER BY plan, n")
    for plan, n in parts:
        videos = tuple(_part_videos(workspace, recipe, plan, n))
        folder = workspace.tmp.absolute() / f"tap-{plan}-{n}"
        part = Part(plan, n, str(workspace.root.absolute()), str(folder), videos, specs)
        plain = tuple(spec for spec in specs if not SCORERS[spec.name].uses_model)
        models = tuple(spec for spec in specs if SCORERS[spec.name].uses_model)
        steps = [Step(tap_part, (replace(part, scorers=specs), plain))]
        if models:
            steps.append(Step(score_part, (models,), "model"))
        yield Job(f"score-{plan}-{n}", tuple(steps))


def _part_videos(workspace: Workspace, recipe: Recipe, plan: str, n: int) -> Iterator[PartVideo]:
    sql = (
        "SELECT v.*, m.path, m.probe FROM plans p JOIN videos v ON v.video_id = p.item "
        "JOIN media m ON m.video_id = p.item WHERE p.plan = ? AND p.n = ? ORDER BY p.position"
    )
    for row in workspace.ledger.rows(sql, (plan, n)):
        probe = Probe.from_json(json.loads(row["probe"]))
        starts = window_starts(probe.duration_s, row["wanted_start_s"], row["wanted_stop_s"])
        path = str((workspace.root / row["path"]).absolute())
        yield PartVideo(
            row["video_id"],
            path,
            label_of(recipe, json.loads(row["labels"])),
            probe.duration_s,
            tuple(map(float, starts)),
            row["title"],
        )


def tap_part(part: Part, plain: tuple[ScorerSpec, ...]) -> PartResult:
    """Decode the videos of a part once each; scorers without a model measure right here."""
    scorers = {spec.name: _scorer(spec) for spec in part.scorers}
    failed: dict[str, tuple[str, str]] = {}
    rates: dict[str, int] = {}
    scores: dict[str, dict[str, tuple[np.ndarray, WindowScores]]] = {spec.name: {} for spec in plain}
    keep = len(plain) < len(part.scorers)
    shutil.rmtree(part.folder, ignore_errors=True)
    for video in part.videos:
        if not video.windows:
            continue
        folder = Path(part.folder) / video.video_id
        folder.mkdir(parents=True)
        try:
            facts = _tap(video, list(scorers.values()), folder)
        except ItemError as error:
            failed[video.video_id] = (error.reason, error.message)
            continue
        rates[video.video_id] = facts["rate_hz"]
        for spec in plain:
            scorer = scorers[spec.name]
            view = tap_view(video, scorer.needs, folder, facts["rate_hz"])
            scores[spec.name][video.video_id] = (view.window_start_s, scorer.score([view])[0])
        if not keep:
            shutil.rmtree(folder)
    written = tuple(_write(part, spec, scores[spec.name]) for spec in plain if scores[spec.name])
    if not keep:
        shutil.rmtree(part.folder, ignore_errors=True)
    return PartResult(part, written, failed, rates)


def score_part(tapped: PartResult, models: tuple[ScorerSpec, ...]) -> PartResult:
    """Scorers with a model, over all videos of the part at once; the taps are removed after."""
    part = tapped.part
    videos = [v for v in part.videos if v.windows and v.video_id not in tapped.failed]
    written = list(tapped.written)
    for spec in models:
        scorer = _opened(spec)
        views = [tap_view(v, scorer.needs, Path(part.folder) / v.video_id, tapped.rates[v.video_id]) for v in videos]
        found = scorer.score(views) if views else []
        scores = {view.video_id: (view.window_start_s, result) for view, result in zip(views, found, strict=True)}
        if scores:
            written.append(_write(part, spec, scores))
    shutil.rmtree(part.folder, ignore_errors=True)
    return replace(tapped, written=tuple(written))


def tap_spec(windows: Sequence[float], needs: Sequence[Needs]) -> TapSpec:
    """What one decode has to yield for all of some needs, each form once."""
    return TapSpec(
        tuple(windows),
        WINDOW_S,
        tuple(sorted({(n.frames_per_window, n.frame_px) for n in needs if n.frames_per_window})),
        tuple(sorted({n.luma for n in needs if n.luma})),
        tuple(sorted({n.sound for n in needs if n.sound != "none"})),
    )


def _tap(video: PartVideo, scorers: Sequence[Scorer], folder: Path) -> dict[str, Any]:
    spec = tap_spec(video.windows, [scorer.needs for scorer in scorers])
    return dict(twice(lambda: shared_child().tap(Path(video.path), spec, folder, video.duration_s)))


def tap_view(video: PartVideo, needs: Needs, folder: Path, rate_hz: int) -> VideoTap:
    """What one scorer gets of a tapped video; big arrays stay on disk until they are read."""

    def load(stem: str) -> np.ndarray | None:
        path = folder / f"{stem}.npy"
        return np.load(path, mmap_mode="r", allow_pickle=False) if path.is_file() else None

    frames = frames_name(needs.frames_per_window, needs.frame_px) if needs.frames_per_window else ""
    luma = luma_name(*needs.luma) if needs.luma else ""
    sound = load(f"sound-{needs.sound}") if needs.sound != "none" else None
    return VideoTap(
        video.video_id,
        video.label,
        np.asarray(video.windows),
        load(frames) if frames else None,
        load(f"{frames}-s") if frames else None,
        load(luma) if luma else None,
        load(f"{luma}-s") if luma else None,
        sound.T if sound is not None else None,
        MONO_RATE_HZ if needs.sound == "mono16k" else rate_hz,
        video.windows[0],
        video.title,
    )


def _write(part: Part, spec: ScorerSpec, scores: dict[str, tuple[np.ndarray, WindowScores]]) -> WrittenPart:
    kind = SCORERS[spec.name]
    return write_part(Path(part.root), spec.name, kind.version, spec.hash, part.plan, part.n, kind.writes, scores)


def _scorer(spec: ScorerSpec) -> Scorer:
    scorer: Scorer = SCORERS[spec.name](spec.config)
    return scorer


_open_scorers: dict[tuple[str, str], Scorer] = {}


def _opened(spec: ScorerSpec) -> Scorer:
    """The scorer, its model loaded once in this worker."""
    key = (spec.name, spec.hash)
    if key not in _open_scorers:
        scorer = _scorer(spec)
        scorer.open("auto")
        _open_scorers[key] = scorer
    return _open_scorers[key]


def _record(ledger: Ledger, result: PartResult) -> None:
    part = result.part
    with ledger.transaction():
        ledger.insert(schema.PARTS, [written.__dict__ for written in result.written], existing="replace")
        rows = []
        measured = {written.scorer: written.windows for written in result.written}
        for spec in part.scorers:
            for video in part.videos:
                reason = result.failed.get(video.video_id, (None if video.windows else "no_window",))[0]
                windows = measured.get(spec.name, {}).get(video.video_id, 0)
                rows.append(
                    {
                        "video_id": video.video_id,
                        "scorer": spec.name,
                        "config": spec.hash,
                        "plan": part.plan,
                        "n": part.n,
                        "windows": windows,
                        "reason": reason,
                    }
                )
        ledger.insert(schema.SCORED, rows, existing="replace")
        for video_id, (reason, message) in sorted(result.failed.items()):
            state = "quarantined" if reason == "quarantined" else "unusable"
            ledger.execute("UPDATE videos SET state = ?, reason = ? WHERE video_id = ?", (state, reason, video_id))
            ledger.attempt(video_id, "score", reason, message, f"PyAV {package_version('av')}")
        ledger.execute("DELETE FROM plans WHERE plan = ? AND n = ?", (part.plan, part.n))
