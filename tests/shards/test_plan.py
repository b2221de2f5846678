"""Planning: every waiting clip once, by id, in shards of its split; the same whatever the size of a block."""

from collections.abc import Iterator

import pytest

from v2a_data import schema
from v2a_data.ledger import Ledger
from v2a_data.recipe import Recipe, digest, load_recipe
from v2a_data.shards import plan

RECIPE: Recipe = load_recipe("keep_all")


def add(ledger: Ledger, numbers: Iterator[int] | range, recipe_hash: str = RECIPE.hash, verdict: str = "keep") -> None:
    """Clips of 10 s, a video each; every fifth is test, every sixth validation."""
    rows = []
    for n in numbers:
        video = {"video_id": f"sy-0-{n:03d}", "source": "synthetic", "labels": [], "position": n, "state": "fetched"}
        split = "test" if n % 5 == 0 else "validation" if n % 6 == 0 else "train"
        clip = {"clip_id": f"sy-0-{n:03d}_000000000", "recipe_hash": recipe_hash, "start_s": 0.0, "stop_s": 10.0}
        rows.append({**video, **clip, "label": "A", "verdict": verdict, "reasons": [], "split": split})
    with ledger.transaction():
        for table in (schema.VIDEOS, schema.CLIPS, schema.SPLITS):
            ledger.insert(table, rows)


def planned(ledger: Ledger) -> list[tuple[str, int, int]]:
    rows = ledger.rows("SELECT name, position, item, plan FROM plans WHERE stage = 'shard' ORDER BY name, position")
    assert all(row["plan"] == digest([RECIPE.hash, row["name"]]) for row in rows)
    return [(row["name"], row["position"], int(row["item"][5:8])) for row in rows]


def expected(numbers: list[int], per_shard: int, first: int = 0) -> list[tuple[str, int, int]]:
    out = []
    for split in ("train", "validation", "test"):
        of_split = [n for n in numbers if ("test" if n % 5 == 0 else "validation" if n % 6 == 0 else "train") == split]
        for i, n in enumerate(sorted(of_split)):
            out.append((f"{split}/keep_all-{split}-{first + i // per_shard:06d}.tar", i % per_shard, n))
    return sorted(out)


@pytest.mark.parametrize("block", [1, 4, 10_000])
def test_clips_are_planned_by_id_in_shards_of_their_split(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_BLOCK", block)
    with Ledger(None) as ledger:
        add(ledger, range(39, -1, -1))
        add(ledger, range(40, 45), verdict="drop")
        add(ledger, range(45, 50), recipe_hash="other")
        plan.plan_new(ledger, RECIPE, 3)
        assert planned(ledger) == expected(list(range(40)), 3)
        plan.plan_new(ledger, RECIPE, 3)
        assert planned(ledger) == expected(list(range(40)), 3), "what is planned stays as it is"


def test_new_clips_go_to_new_shards_after_those_that_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_BLOCK", 4)
    about = {"recipe_hash": RECIPE.hash, "samples": 1, "bytes": 1, "sha256": "0"}
    with Ledger(None) as ledger:
        add(ledger, range(30))
        with ledger.transaction():
            for split in ("train", "validation", "test"):
                ledger.insert(
                    schema.SHARDS, [{"shard": f"{split}/keep_all-{split}-000006.tar", "split": split, **about}]
                )
            done = {"clip_id": "sy-0-001_000000000", "recipe_hash": RECIPE.hash, "state": "refused", "reason": "short"}
            ledger.insert(schema.SAMPLES, [done])
            stale = {"plan": "0" * 16, "stage": "shard", "name": "train/other-train-000009.tar", "n": 0}
            ledger.insert(schema.PLANS, [{**stale, "position": 0, "item": "sy-0-002_000000000"}])
        plan.plan_new(ledger, RECIPE, 4)
        assert planned(ledger) == expected([n for n in range(30) if n != 1], 4, first=7)
