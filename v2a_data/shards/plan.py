"""Which kept clips go into which shard: fixed in the ledger first, so that a resumed run makes the same files."""

from collections.abc import Iterator

from v2a_data import schema
from v2a_data.ledger import Ledger, Row
from v2a_data.recipe import Recipe, digest
from v2a_data.shards.format import SPLITS, shard_name, shard_number

_BLOCK = 10_000


def plan_new(ledger: Ledger, recipe: Recipe, per_shard: int) -> None:
    """Assign kept clips that are in no plan and no shard to new shards of their split, in the order of their ids.

    Unfinished plans of another recipe go: its verdicts are not this one's. Memory is that of a block of clips.
    """
    counts = dict.fromkeys(SPLITS, 0)
    with ledger.transaction():
        for plan, name in ledger.rows("SELECT DISTINCT plan, name FROM plans WHERE stage = 'shard'"):
            if plan != digest([recipe.hash, name]):
                ledger.execute("DELETE FROM plans WHERE plan = ?", (plan,))
        first = _first_numbers(ledger)
        for block in _waiting(ledger, recipe):
            rows = []
            for clip_id, split in block:
                number, position = divmod(counts[split], per_shard)
                counts[split] += 1
                name = shard_name(recipe.name, split, first[split] + number)
                rows.append({"stage": "shard", "name": name, "n": 0, "position": position, "item": clip_id})
            plans = {name: digest([recipe.hash, name]) for name in {row["name"] for row in rows}}
            ledger.insert(schema.PLANS, [row | {"plan": plans[row["name"]]} for row in rows])


def _first_numbers(ledger: Ledger) -> dict[str, int]:
    """The number of the first new shard of each split."""
    sql = "SELECT shard FROM shards UNION SELECT name FROM plans WHERE stage = 'shard'"
    first = dict.fromkeys(SPLITS, 0)
    for (name,) in ledger.each(sql):
        split = name.partition("/")[0]
        first[split] = max(first[split], shard_number(name) + 1)
    return first


def _waiting(ledger: Ledger, recipe: Recipe) -> Iterator[list[Row]]:
    """Kept clips that are in no plan and no shard, by id; a block is planned before the next one is read."""
    # The pluses keep SQLite from another index than that of the ids, which would sort all clips for each block.
    sql = (
        "SELECT c.clip_id, s.split FROM clips c JOIN splits s ON s.clip_id = c.clip_id "
        "WHERE c.clip_id > ? AND +c.recipe_hash = ? AND +c.verdict = 'keep' "
        "AND NOT EXISTS (SELECT 1 FROM samples d WHERE d.clip_id = c.clip_id) "
        "AND c.video_id NOT IN (SELECT video_id FROM media WHERE deleted IS NOT NULL) "
        "AND NOT EXISTS (SELECT 1 FROM plans p WHERE p.item = c.clip_id AND p.stage = 'shard') "
        "ORDER BY c.clip_id LIMIT ?"
    )
    last = ""
    while block := ledger.rows(sql, (last, recipe.hash, _BLOCK)):
        yield block
        last = block[-1]["clip_id"]
