"""The cap per channel: the strongest stay, what has a split stays first, unknown channels are left alone."""

import json
from pathlib import Path

import pytest

from v2a_data import schema
from v2a_data.curate.channels import cap_channels
from v2a_data.ledger import Ledger
from v2a_data.recipe import ClipsSection, Recipe
from v2a_data.workspace import Workspace

RECIPE = Recipe(name="r", clips=ClipsSection(max_per_channel=2))
# Strength of each clip by video and channel; every clip is a window of its own.
STRENGTHS = {"a": [0.9, 0.2, 0.5], "b": [0.8], "c": [0.1], "d": [0.3, 0.4, 0.6]}
CHANNELS = {"a": "Youtube/one", "b": "Youtube/one", "c": "Youtube/two"}


@pytest.fixture
def ledger(tmp_path: Path):
    with Workspace.open(tmp_path / "w", "test") as workspace:
        ledger = workspace.ledger
        with ledger.transaction():
            for video_id, values in STRENGTHS.items():
                ledger.insert(schema.VIDEOS, [{"video_id": video_id, "source": "ids", "labels": ["L"], "position": 0,
                                               "source_key": video_id, "state": "fetched"}])  # fmt: skip
                base = {"video_id": video_id, "recipe_hash": RECIPE.hash}
                ledger.insert(
                    schema.STRETCHES,
                    [
                        {
                            **base,
                            "start_s": 0.0,
                            "stop_s": 2.0 * len(values),
                            "mark": "keep",
                            "reasons": [],
                            "strengths": values,
                        }
                    ],
                )
                ledger.insert(
                    schema.CLIPS,
                    [
                        {
                            **base,
                            "clip_id": f"{video_id}{n}",
                            "start_s": 2.0 * n,
                            "stop_s": 2.0 * n + 2,
                            "label": "L",
                            "verdict": "keep",
                            "reasons": [],
                        }
                        for n in range(len(values))
                    ],
                )
            ledger.insert(schema.CHANNELS, [{"video_id": v, "channel": c} for v, c in CHANNELS.items()])
        yield ledger


def kept(ledger: Ledger) -> list[str]:
    return [row[0] for row in ledger.rows("SELECT clip_id FROM clips WHERE verdict = 'keep' ORDER BY 1")]


def test_the_strongest_of_a_channel_stay(ledger: Ledger) -> None:
    assert cap_channels(ledger, RECIPE) == 2
    assert kept(ledger) == ["a0", "b0", "c0", "d0", "d1", "d2"]
    (reasons,) = ledger.rows("SELECT DISTINCT reasons FROM clips WHERE verdict = 'drop'")
    assert json.loads(reasons[0]) == [{"condition": "at most 2 per channel"}]
    assert cap_channels(ledger, RECIPE) == 0


def test_what_has_a_split_stays_before_what_is_stronger(ledger: Ledger) -> None:
    with ledger.transaction():
        ledger.insert(schema.SPLITS, [{"clip_id": "a1", "split": "train"}])
    assert cap_channels(ledger, RECIPE) == 2
    assert kept(ledger) == ["a0", "a1", "c0", "d0", "d1", "d2"]


def test_without_a_cap_nothing_is_dropped(ledger: Ledger) -> None:
    assert cap_channels(ledger, Recipe(name="r")) == 0
    assert len(kept(ledger)) == 8
