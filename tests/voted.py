"""A workspace with made-up scores whose truth is known: nothing is rendered and no model runs."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from v2a_data import schema
from v2a_data.console import Console
from v2a_data.curate.clips import lay_clips
from v2a_data.curate.duplicates import group_clips
from v2a_data.curate.score import scorer_specs
from v2a_data.curate.splits import split_clips
from v2a_data.curate.stretches import mark
from v2a_data.recipe import Recipe, build_recipe
from v2a_data.review.votes import Vote
from v2a_data.scorers import SCORERS
from v2a_data.scorers.base import WindowScores
from v2a_data.scores import write_part
from v2a_data.workspace import Workspace

LABEL = "Drum"
QUIET = Console("test", quiet=True)
TABLE = {
    "name": "voted",
    "labels": [LABEL],
    "source": {"name": "synthetic"},
    "scorers": {
        "clip_topic": {"model": "v2a-tiny-clip", "on": ["a drum"], "off": ["a wall"], "image_px": 64},
        "audio_tags": {"model": "v2a-tiny-tagger", "classes": ["/m/026t6"]},
        "speech": {},
    },
    "rules": {"grounded": "seen >= 0.5 and heard >= 0.5", "keep": "grounded and voice <= 0.5"},
    "clips": {"length": "natural", "seconds": 10, "min_seconds": 2},
}
RECIPE: Recipe = build_recipe(TABLE, "voted")
_PROBE = {
    "container": "mp4",
    "duration_s": 0.0,
    "picture": {"codec": "h264", "width": 64, "height": 36, "rotation": 0, "fps": 25.0, "start_s": 0.0,
                "stop_s": 0.0, "frames": 1, "keyframes": 1},
    "sound": {"codec": "aac", "rate_hz": 16000, "channels": 1, "start_s": 0.0, "stop_s": 0.0},
}  # fmt: skip


@dataclass(frozen=True)
class Made:
    """`truth` holds `(n,)` booleans per property, `keys` the windows they belong to."""

    root: Path
    keys: list[tuple[str, int]]
    truth: dict[str, np.ndarray]
    scores: dict[str, np.ndarray]

    def votes(self, rater: str = "a") -> list[Vote]:
        """What a rater says who is never wrong."""
        return [
            Vote(video, index, rater, bool(self.truth["seen"][i]), bool(self.truth["heard"][i]),
                 ("voice",) if self.truth["voice"][i] else (), LABEL)
            for i, (video, index) in enumerate(self.keys)
        ]  # fmt: skip


def make(root: Path, *, videos: int = 300, windows: int = 4, separation: float = 6.0, seed: int = 0) -> Made:
    """A curated-looking workspace: `separation` is the distance of right and wrong scores in noise deviations."""
    rng = np.random.default_rng(seed)
    ids = [f"sy-{seed}-{n}" for n in range(videos)]
    keys = [(video, index) for video in ids for index in range(windows)]
    truth = {name: rng.random(len(keys)) < share for name, share in (("seen", 0.7), ("heard", 0.7), ("voice", 0.2))}
    scores = {
        name: 1 / (1 + np.exp(-separation * (there - 0.5) - rng.standard_normal(len(keys))))
        for name, there in truth.items()
    }
    with Workspace.open(root, "test") as workspace:
        workspace.adopt(RECIPE, force=True)
        _list(workspace, ids, windows)
        _score(workspace, ids, windows, scores)
    return Made(root, keys, truth, scores)


def curated(workspace: Workspace, recipe: Recipe) -> Counter[str]:
    """`curate` from the rules to the splits on made-up scores; the sizes of the splits."""
    mark(workspace, recipe, QUIET)
    lay_clips(workspace.ledger, recipe, QUIET)
    group_clips(workspace.ledger, recipe)
    return split_clips(workspace.ledger, recipe)


def _list(workspace: Workspace, ids: list[str], windows: int) -> None:
    rows = [
        {"video_id": video, "source": "synthetic", "labels": [LABEL], "position": n, "state": "fetched"}
        for n, video in enumerate(ids)
    ]
    media = [
        {"video_id": video, "path": f"media/{video}.mp4", "bytes": 1, "sha256": video,
         "probe": {**_PROBE, "duration_s": windows * 2.0}}
        for video in ids
    ]  # fmt: skip
    with workspace.ledger.transaction():
        workspace.ledger.insert(schema.VIDEOS, rows)
        workspace.ledger.insert(schema.MEDIA, media)


def _score(workspace: Workspace, ids: list[str], windows: int, scores: dict[str, np.ndarray]) -> None:
    starts = np.arange(windows) * 2.0
    for spec in scorer_specs(RECIPE):
        fields = SCORERS[spec.name].writes
        values = {f.name: scores.get(f.name, np.full(len(ids) * windows, np.nan)).reshape(-1, windows) for f in fields}
        found = {
            video: (starts, WindowScores({name: rows[n] for name, rows in values.items()}, np.full(windows, np.nan)))
            for n, video in enumerate(ids)
        }
        version = SCORERS[spec.name].version
        part = write_part(workspace.root, spec.name, version, spec.hash, "plan", 0, fields, found)
        rows = [
            {"video_id": video, "scorer": spec.name, "config": spec.hash, "plan": "plan", "n": 0, "windows": windows}
            for video in ids
        ]
        with workspace.ledger.transaction():
            workspace.ledger.insert(schema.PARTS, [part.__dict__])
            workspace.ledger.insert(schema.SCORED, rows)
