"""Curation held against truth, on the synthetic world: what is kept, what is missed, and which scorer does what.

Renders a world with all faults, fetches and curates it with the installed commands, and compares every window with the
world's truth. The thresholds of the recipe come from worlds of seeds below 1,000, the figures from seeds of 10,000 and
above. Everything here is synthetic: it shows that the parts work, not how they do on real video.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import inputs
import numpy as np

from v2a_data.console import table
from v2a_data.curate.rules import Conjunct
from v2a_data.curate.score import scorer_specs
from v2a_data.curate.stretches import recipe_rules, runs, window_columns
from v2a_data.recipe import Recipe
from v2a_data.schema import WINDOW_S
from v2a_data.scorers import SCORERS
from v2a_data.scores import read_scores
from v2a_data.synthetic.truth import CONFOUNDERS
from v2a_data.synthetic.verdicts import right_windows
from v2a_data.synthetic.world import read_truth
from v2a_data.workspace import Workspace

MIN_SEED = 10_000
# About four in ten clips of a label are right: the rate that people found in VGGSound without music, stills and voices.
FAULTS = "all:0.065"
LIMITS = {"precision": 0.95, "recall": 0.85, "window_f1_seen": 0.9, "window_f1_heard": 0.9, "borders": 0.9}
WRONG_SOUND_LIMIT = 0.95
HEADER = ("curation", "clips kept", "right", "precision", "recall")
ABLATION = ("without scorer", "precision", "recall", "windows that change")
CAUGHT = ("fault", "windows", "dropped")


@dataclass(frozen=True)
class Judged:
    """A video: whether each window is right, seen and heard by truth, its faults, and which conditions hold."""

    right: np.ndarray
    seen: np.ndarray
    heard: np.ndarray
    faults: Mapping[str, np.ndarray]
    holds: Mapping[str, np.ndarray]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=330)
    parser.add_argument("--seed", type=int, default=MIN_SEED, help=f"{MIN_SEED} or above")
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--view", default="full", choices=("full", "steady"))
    parser.add_argument("--lines", type=int, default=144)
    parser.add_argument("--faults", default=FAULTS)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, options)
        with Workspace.read(folder / "w") as workspace:
            recipe = workspace.recipe()
            assert recipe is not None
            videos = judge(workspace, recipe, folder / "world")
    rules = recipe_rules(recipe).conjuncts
    size = round(recipe.clips.seconds / WINDOW_S)
    values = figures(videos, rules, size)
    print(table(CAUGHT, caught(videos)), "\n")
    print(table(ABLATION, ablation(videos, recipe, rules, size)), "\n")
    words = f"{inputs.world_mark()}, seed {options.seed}: " + ", ".join(f"{k} {v}" for k, v in values.items())
    inputs.show("curate_world", HEADER, curations(videos, rules, size), words, options.json, **values)
    missed = [name for name, limit in LIMITS.items() if values[name] < limit]
    return 1 if missed or values["wrong_sound_dropped"] < WRONG_SOUND_LIMIT else 0


def make(folder: Path, options: argparse.Namespace) -> None:
    """Render, fetch and curate with the commands that users type."""
    world, at = folder / "world", ["-w", str(folder / "w"), "-q"]
    form = ["--view", options.view, "--lines", str(options.lines), "--seconds", "12-24", "--faults", options.faults]
    recipe = ["--recipe", options.recipe]
    for words in (
        ["synth", str(world), "--videos", str(options.videos), "--seed", str(options.seed), *form, "-q"],
        ["fetch", "--source", "synthetic", "--input", str(world), *recipe, "--limit", "all", *at],
        ["curate", *at],
    ):
        subprocess.run([sys.executable, "-m", "v2a_data", *words], check=True, stdout=subprocess.DEVNULL)


def judge(workspace: Workspace, recipe: Recipe, world: Path) -> list[Judged]:
    """Every video that could be scored, window by window."""
    rules = recipe_rules(recipe)
    specs = {spec.name: spec.hash for spec in scorer_specs(recipe)}
    ids = [row[0] for row in workspace.ledger.rows("SELECT video_id FROM videos WHERE state = 'fetched' ORDER BY 1")]
    scores = read_scores(workspace.ledger, workspace.root, specs, ids)
    right, truth = right_windows(world), dict(list(read_truth(world, "windows").groupby("video_id")))
    found = []
    for video_id in ids:
        rows = truth[video_id].sort_values("window_index") if video_id in truth else None
        windows = min(len(scores.get(video_id, {}).get("start_s", ())), 0 if rows is None else len(rows))
        if rows is None or not windows:
            continue
        columns = window_columns(recipe, scores[video_id], windows)
        holds = {item.text: state.true for item, state in rules.conditions(columns, windows)}
        faults = {name: rows[name].to_numpy()[:windows] > 0.5 for name in CONFOUNDERS}
        faults["shift"] = np.abs(rows["shift_s"].to_numpy()[:windows]) > 0.1
        seen, heard = (rows[name].to_numpy()[:windows].astype(bool) for name in ("seen", "heard"))
        found.append(Judged(np.asarray(right[video_id][:windows]), seen, heard, faults, holds))
    return found


def marked(video: Judged, rules: Sequence[Conjunct]) -> np.ndarray:
    """Windows in which all these conditions hold."""
    return np.logical_and.reduce([video.holds[item.text] for item in rules], initial=True, axis=0) & np.ones(
        len(video.right), bool
    )


def clips(marks: np.ndarray, size: int) -> list[int]:
    """First windows of the clips laid into rows of marked windows, back to back."""
    rows = [(first, last) for first, last in runs(marks.tolist()) if marks[first]]
    return [first + i * size for first, last in rows for i in range((last - first) // size)]


def tally(videos: Sequence[Judged], size: int, marks: Callable[[Judged], np.ndarray]) -> tuple[int, int, float, float]:
    """Clips kept, right ones among them, precision, and recall against the clips that the truth itself lays."""
    kept = right = possible = 0
    for video in videos:
        starts = clips(marks(video), size)
        kept += len(starts)
        right += sum(bool(video.right[first : first + size].all()) for first in starts)
        possible += len(clips(video.right, size))
    return kept, right, right / max(kept, 1), right / max(possible, 1)


def curations(videos: Sequence[Judged], rules: Sequence[Conjunct], size: int) -> list[tuple[object, ...]]:
    """All of the recipe beside less: no judging, picture alone, sound alone, both without the confounders."""
    parts = {
        "labels alone": [],
        "CLIP alone": [item for item in rules if "seen" in item.names],
        "tagger alone": [item for item in rules if "heard" in item.names],
        "CLIP and tagger": [item for item in rules if {"seen", "heard"} & set(item.names)],
        "the recipe": list(rules),
    }
    rows: list[tuple[object, ...]] = []
    for name, chosen in parts.items():
        kept, right, precision, recall = tally(videos, size, lambda video, chosen=chosen: marked(video, chosen))
        rows.append((name, kept, right, f"{precision:.3f}", f"{recall:.3f}"))
    return rows


def ablation(
    videos: Sequence[Judged], recipe: Recipe, rules: Sequence[Conjunct], size: int
) -> list[tuple[object, ...]]:
    """Each scorer's conditions left out in turn."""
    rows: list[tuple[object, ...]] = []
    for name in recipe.scorers:
        fields = {field.name for field in SCORERS[name].writes}
        rest = [item for item in rules if not fields & set(item.names)]
        _, _, precision, recall = tally(videos, size, lambda video, rest=rest: marked(video, rest))
        moved = sum(int(np.sum(marked(video, rest) != marked(video, rules))) for video in videos)
        rows.append((name, f"{precision:.3f}", f"{recall:.3f}", moved))
    return rows


def caught(videos: Sequence[Judged], rules: Sequence[Conjunct] | None = None) -> list[tuple[object, ...]]:
    """Per fault, the windows that have it for more than half, and the share of them that the recipe drops."""
    rows: list[tuple[object, ...]] = []
    for name in videos[0].faults:
        dropped = [~np.logical_and.reduce(list(video.holds.values()), axis=0)[video.faults[name]] for video in videos]
        all_of_them = np.concatenate(dropped)
        rows.append((name, len(all_of_them), f"{all_of_them.mean():.3f}" if len(all_of_them) else ""))
    return rows


def figures(videos: Sequence[Judged], rules: Sequence[Conjunct], size: int) -> dict[str, float]:
    """The figures with limits, and the rate of right clips among all."""
    _, _, precision, recall = tally(videos, size, lambda video: marked(video, rules))
    _, _, base, _ = tally(videos, size, lambda video: np.ones(len(video.right), bool))
    wrong = np.concatenate([~marked(video, rules)[video.faults["wrong_sound"]] for video in videos])
    values = {
        "base_precision": base,
        "precision": precision,
        "recall": recall,
        "window_f1_seen": f1(videos, [item for item in rules if "seen" in item.names], lambda video: video.seen),
        "window_f1_heard": f1(videos, [item for item in rules if "heard" in item.names], lambda video: video.heard),
        "borders": borders(videos, rules),
        "wrong_sound_dropped": float(wrong.mean()) if len(wrong) else float("nan"),
    }
    return {name: round(value, 3) for name, value in values.items()}


def f1(videos: Sequence[Judged], rules: Sequence[Conjunct], truth: Callable[[Judged], np.ndarray]) -> float:
    """Harmonic mean of precision and recall over windows."""
    said = np.concatenate([marked(video, rules) for video in videos])
    true = np.concatenate([truth(video) for video in videos])
    return float(2 * np.sum(said & true) / max(int(np.sum(said)) + int(np.sum(true)), 1))


def borders(videos: Sequence[Judged], rules: Sequence[Conjunct]) -> float:
    """Share of the borders of right stretches with a border of a kept one within one window."""
    near = total = 0
    for video in videos:
        kept = edges(marked(video, rules))
        for place in edges(video.right):
            total += 1
            near += bool(len(kept)) and int(np.abs(kept - place).min()) <= 1
    return near / max(total, 1)


def edges(marks: np.ndarray) -> np.ndarray:
    """Windows at which a row of marked windows begins or has ended."""
    return np.flatnonzero(np.diff(np.concatenate([[0], marks.astype(np.int8), [0]])))


if __name__ == "__main__":
    sys.exit(main())
