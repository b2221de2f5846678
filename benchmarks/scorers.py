"""Does each scorer order a pair of videos as it should?

The synthetic pairs are rendered here and judged with the tiny models of the package, which know that world only.
With `--media DIR` pairs of real files, `<scorer>-high.*` and `<scorer>-low.*`, are judged with the recipe's models.
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import inputs
import numpy as np

from v2a_data.curate.score import PartVideo, tap_spec, tap_view
from v2a_data.engine import SerialEngine
from v2a_data.errors import MissingToolError
from v2a_data.media.client import shared_child
from v2a_data.models.choice import with_models
from v2a_data.recipe import Recipe, load_recipe
from v2a_data.scorers import SCORERS
from v2a_data.scorers.base import Scorer
from v2a_data.synthetic.plan import Fault
from v2a_data.synthetic.world import plan_world, render_world
from v2a_data.windows import window_starts

HEADER = ("scorer", "pair", "field", "high", "low", "verdict")
SECONDS = 10.0
# Scorer → field, label and fault of the video that has to score high, label and fault of the other one.
PAIRS: dict[str, tuple[str, tuple[str, str], tuple[str, str]]] = {
    "clip_topic": ("seen", ("Airplane", ""), ("Drum", "")),
    "audio_tags": ("heard", ("Airplane", ""), ("Drum", "")),
    "speech": ("voice", ("Airplane", "voice"), ("Airplane", "")),
    "motion": ("motion", ("Airplane", ""), ("Airplane", "still")),
    "loudness": ("loudness_lufs", ("Drum", "voice"), ("Drum", "")),
    "together": ("together_z", ("Drum", ""), ("Drum", "wrong_sound")),
}
OTHER = "Printers"  # whose sound is the wrong one
Row = tuple[str, str, str, str, str, str]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--media", type=Path, metavar="DIR", help="real files: <scorer>-high.*, <scorer>-low.*")
    parser.add_argument("--recipe", default="airplane", help="whose prompts, classes and models; its first label")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    recipe = load_recipe(options.recipe)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = render(folder / "world")
        rows = []
        judged = [scorer for scorer in recipe.scorers if scorer in PAIRS]
        for scorer in judged:
            _, high, low = PAIRS[scorer]
            rows.append(row(scorer, "synthetic", recipe, made[high], made[low], folder))
        for scorer in judged if options.media else ():
            found = [next(iter(sorted(options.media.glob(f"{scorer}-{end}.*"))), None) for end in ("high", "low")]
            if found[0] and found[1]:
                rows.append(row(scorer, "real", recipe, found[0], found[1], folder))
    wrong = sum(row[-1] == "WRONG" for row in rows)
    inputs.show("scorers", HEADER, rows, f"{len(rows)} pairs, {wrong} in the wrong order", options.json)
    return 1 if wrong else 0


def render(folder: Path) -> dict[tuple[str, str], Path]:
    """A video of each kind that the pairs name."""
    kinds = sorted({kind for _, high, low in PAIRS.values() for kind in (high, low)})
    base = plan_world(7, len(kinds), ("Airplane",), 144, (SECONDS, SECONDS), faults={})
    plans = [
        replace(plan, label=label, subject=label).with_faults(*([Fault(fault, 0.0, SECONDS, OTHER)] if fault else []))
        for plan, (label, fault) in zip(base, kinds, strict=True)
    ]
    render_world(plans, folder, SerialEngine(), lambda: None)
    return {kind: folder / plan.file for kind, plan in zip(kinds, plans, strict=True)}


def row(scorer: str, pair: str, recipe: Recipe, high: Path, low: Path, folder: Path) -> Row:
    """One line: the two values and whether they stand in order."""
    field = PAIRS[scorer][0]
    try:
        if pair == "synthetic":
            recipe = with_models(replace(recipe, scorers={scorer: recipe.scorers[scorer]}), "tiny")
        opened: Scorer = SCORERS[scorer](recipe.scorers[scorer])
        opened.open("auto")
    except MissingToolError as error:
        return scorer, pair, field, "-", "-", f"not judged: {error.message}"
    values = [
        mean(opened, recipe.labels[0], path, field, folder / f"{scorer}-{pair}-{path.stem}") for path in (high, low)
    ]
    return scorer, pair, field, f"{values[0]:.4f}", f"{values[1]:.4f}", "ok" if values[0] > values[1] else "WRONG"


def mean(scorer: Scorer, label: str, path: Path, field: str, folder: Path) -> float:
    """A field over the windows of a file, decoded in the media child as `curate` does it."""
    duration_s = shared_child().probe(path, 3600.0).duration_s
    video = PartVideo("lo-0", str(path), label, duration_s, tuple(map(float, window_starts(duration_s))))
    needs = scorer.needs
    spec = tap_spec(video.windows, [needs])
    folder.mkdir()
    facts = shared_child().tap(path, spec, folder, duration_s)
    (found,) = scorer.score([tap_view(video, needs, folder, facts["rate_hz"])])
    return float(np.nanmean(found.fields[field]))


if __name__ == "__main__":
    sys.exit(main())
