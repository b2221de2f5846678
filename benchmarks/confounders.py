"""What the confounder measures say of clean videos, what they find of planted faults, and whether sound fits picture.

    python benchmarks/confounders.py [--videos 8] [--json]

Prints tables; ends with 1 where a limit is missed. Every number is synthetic: worlds of seed `SEED`, which no threshold
was chosen on, 144 lines, in the views `steady` and `full`. Thresholds are those of the recipe's rules; where a rule has
none yet, those of `PROPOSED`.

- flags on clean windows: per label the share of windows of videos without any fault that each condition turns
  down (limit 0.05 each); a video is flagged whole or not at all, so that few videos say little
- found (view `full`): share of windows all inside a planted fault that its condition turns down; of cuts, the share
  that any window within 0.1 s shows
- together: how often a window (a video: its mean) of Dog, Drum or Fireworks has a higher `together_z` with its
  own sound than one with another label's sound, with the thing out of the picture, or with the sound 0.2 to 1.5 s off
  (area under the curve; limit 0.8 for wrong sound)
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import inputs
import numpy as np
from tiny_models import auc

from v2a_data.curate.score import PartVideo, tap_spec, tap_view
from v2a_data.media.client import shared_child
from v2a_data.recipe import Recipe, load_recipe
from v2a_data.schema import WINDOW_S
from v2a_data.scorers import SCORERS
from v2a_data.scorers.base import Scorer
from v2a_data.synthetic import SUBJECTS
from v2a_data.synthetic.faults import BY_NAME, Fault, plan_fault
from v2a_data.synthetic.plan import VideoPlan, View
from v2a_data.synthetic.render import render_video
from v2a_data.synthetic.world import plan_world
from v2a_data.windows import window_starts

SEED = 10_500
LIMIT, AUC_LIMIT = 0.05, 0.8
SECONDS = (12.0, 18.0)
VIEWS: tuple[View, ...] = ("steady", "full")
EVENTS = ("Dog", "Drum", "Fireworks")
# Highest values that pass, for fields that the recipe's rules do not name yet.
PROPOSED = {"talk": 0.5}
# Fault → the field that has to find it.
FINDS = {
    "still": "still", "slideshow": "slideshow", "cut": "cuts", "black": "black", "silence": "silence",
    "clipping": "clipping", "antiphase": "antiphase", "voice": "voice", "music": "music",
}  # fmt: skip
_BOUND = r"(\w+) <= ([\d.]+)"
MISMATCHES = ("wrong_sound", "offscreen", "shift")


@dataclass(frozen=True)
class Scored:
    """One video: its plan, starts of its windows `(n,)`, and its scores `(n,)` by field."""

    plan: VideoPlan
    start_s: np.ndarray
    fields: dict[str, np.ndarray]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=8, help="clean videos per label and view")
    parser.add_argument("--recipe", default="demo", help="whose models and thresholds")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    recipe = load_recipe(options.recipe)
    limits = {**PROPOSED, **thresholds(recipe)}
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(recipe, Path(name))
        clean = list(bench.scored("", options.videos))
        found = {kind: list(bench.scored(kind, 1, views=("full",))) for kind in FINDS}
        wrong = {kind: list(bench.scored(kind, min(options.videos, 2), EVENTS)) for kind in MISMATCHES}
    flags = clean_rows(clean, limits)
    catches = [(kind, field, f"{caught(found[kind], kind, field, limits[field]):.3f}") for kind, field in FINDS.items()]
    together = together_rows(clean, wrong)
    worst = max(float(value) for row in flags for value in row[2:])
    inputs.show(
        "flags on clean windows", ("label", "windows", *limits), flags, f"worst {worst:.3f}, limit {LIMIT}", False
    )
    print()
    inputs.show("found", ("fault", "field", "found"), catches, "windows all inside the fault", False)
    print()
    more = {"worst_clean_flag": worst, "found": {kind: float(value) for kind, _, value in catches}}
    header = ("sound and picture", "mean z", "auc windows", "auc videos")
    mark = f"{inputs.world_mark()}, seed {SEED}; all figures synthetic"
    inputs.show(
        "confounders",
        header,
        together,
        mark,
        options.json,
        clean=[dict(zip(("label", "windows", *limits), row, strict=True)) for row in flags],
        **more,
    )
    return int(worst > LIMIT or float(together[1][2]) < AUC_LIMIT)


def thresholds(recipe: Recipe) -> dict[str, float]:
    """Highest passing value of every field that the rules bound from above."""
    return {name: float(value) for text in recipe.rules.values() for name, value in re.findall(_BOUND, text)}


class Bench:
    """The recipe's scorers and `together`, opened, and a folder to render into."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        configs = {**recipe.scorers, "together": SCORERS["together"].Config()}
        self.scorers: list[Scorer] = [SCORERS[name](config) for name, config in configs.items()]
        for scorer in self.scorers:
            scorer.open("auto")
        self.folder = folder
        (folder / "videos").mkdir()

    def scored(
        self, kind: str, videos: int, labels: tuple[str, ...] = tuple(SUBJECTS), views: tuple[View, ...] = VIEWS
    ) -> Iterator[Scored]:
        """Videos of each label in each view, clean or with one kind of fault."""
        for view in views:
            for plan in plan_world(SEED, videos * len(SUBJECTS), (), 144, SECONDS, faults={}, view=view):
                if plan.label in labels:
                    yield self._score(with_fault(plan, kind))
        print(f"  {kind or 'clean'}", file=sys.stderr, flush=True)

    def _score(self, plan: VideoPlan) -> Scored:
        render_video(plan, str(self.folder))
        path = self.folder / plan.file
        duration_s = shared_child().probe(path, 3600.0).duration_s
        video = PartVideo(
            plan.video_id, str(path), plan.label, duration_s, tuple(map(float, window_starts(duration_s)))
        )
        spec = tap_spec(video.windows, [scorer.needs for scorer in self.scorers])
        facts = shared_child().tap(path, spec, self.folder, duration_s)
        fields: dict[str, np.ndarray] = {}
        for scorer in self.scorers:
            fields |= scorer.score([tap_view(video, scorer.needs, self.folder, facts["rate_hz"])])[0].fields
        path.unlink()
        for left in self.folder.glob("*.npy"):
            left.unlink()
        return Scored(plan, np.asarray(video.windows), fields)


def with_fault(plan: VideoPlan, kind: str) -> VideoPlan:
    """The video with a fault from end to end; a cut, where it is drawn."""
    if not kind:
        return plan
    drawn = plan_fault(BY_NAME[kind], np.random.default_rng([plan.seed, plan.n]), plan.duration_s, plan.label)
    whole = drawn if kind == "cut" else Fault(kind, 0.0, plan.duration_s, drawn.what, drawn.value)
    return plan.with_faults(whole)


def turned_down(values: np.ndarray, limit: float) -> np.ndarray:
    """Where a condition does not hold; null counts, as it keeps a window from being kept."""
    return ~(values <= limit)


def clean_rows(clean: list[Scored], limits: dict[str, float]) -> list[tuple[str, ...]]:
    rows = []
    for label in SUBJECTS:
        some = [video.fields for video in clean if video.plan.label == label]
        columns = {name: np.concatenate([fields[name] for fields in some]) for name in limits}
        count = len(next(iter(columns.values())))
        shares = (f"{turned_down(values, limits[name]).mean():.3f}" for name, values in columns.items())
        rows.append((label, str(count), *shares))
    return rows


def caught(videos: list[Scored], kind: str, field: str, limit: float) -> float:
    """Share of windows inside the fault that are turned down."""
    hits = []
    for video in videos:
        (fault,) = video.plan.faults
        down = turned_down(video.fields[field], limit)
        if kind == "cut":
            near = (video.start_s <= fault.start_s + 0.1) & (video.start_s + WINDOW_S > fault.start_s - 0.1)
            hits.append(bool(down[near].any()))
        else:
            inside = (video.start_s >= fault.start_s) & (video.start_s + WINDOW_S <= fault.stop_s)
            hits += down[inside].tolist()
    return float(np.mean(hits))


def together_rows(clean: list[Scored], wrong: dict[str, list[Scored]]) -> list[tuple[str, ...]]:
    own = [video.fields["together_z"] for video in clean if video.plan.label in EVENTS]
    rows = [("own sound", f"{measured(own).mean():.2f}", "", "")]
    for kind, videos in wrong.items():
        other = [video.fields["together_z"] for video in videos]
        means = [[float(np.nanmean(z)) for z in some if np.isfinite(z).any()] for some in (own, other)]
        windows = auc(measured(own), measured(other))
        rows.append((kind, f"{measured(other).mean():.2f}", f"{windows:.3f}", f"{auc(*means):.3f}"))
    return rows


def measured(values: list[np.ndarray]) -> np.ndarray:
    """All values that are not null."""
    joined = np.concatenate(values)
    return joined[np.isfinite(joined)]


if __name__ == "__main__":
    sys.exit(main())
