"""The cap per channel: of one uploader's clips only the strongest stay, so that no channel makes up a dataset."""

from collections import defaultdict

from v2a_data.curate.clips import drop, strength
from v2a_data.ledger import Ledger, Row
from v2a_data.recipe import Recipe


def cap_channels(ledger: Ledger, recipe: Recipe) -> int:
    """Drop the kept clips of a channel above `clips.max_per_channel`; returns how many."""
    found = above_cap(ledger, recipe)
    with ledger.transaction():
        for clip_id in found:
            reason = {"condition": f"at most {recipe.clips.max_per_channel} per channel"}
            drop(ledger, recipe.hash, clip_id, reason)
    return len(found)


def above_cap(ledger: Ledger, recipe: Recipe) -> list[str]:
    """The kept clips of channels above `clips.max_per_channel`.

    Those that have a split stay, then those with the highest mean of min(seen, heard). Videos whose channel is not
    known are left alone.
    """
    most = recipe.clips.max_per_channel
    if most is None:
        return []
    sql = (
        "SELECT h.channel, c.clip_id, c.video_id, c.start_s, c.stop_s, s.split FROM clips c "
        "JOIN channels h USING (video_id) LEFT JOIN splits s USING (clip_id) "
        "WHERE c.recipe_hash = ? AND c.verdict = 'keep' ORDER BY 1, 2"
    )
    channels: dict[str, list[Row]] = defaultdict(list)
    for row in ledger.rows(sql, (recipe.hash,)):
        channels[row["channel"]].append(row)
    ranked = [_ranked(ledger, recipe.hash, rows) for rows in channels.values() if len(rows) > most]
    return [row["clip_id"] for rows in ranked for row in rows[most:] if row["split"] is None]


def _ranked(ledger: Ledger, recipe_hash: str, rows: list[Row]) -> list[Row]:
    """Clips in the order in which they stay."""

    def place(row: Row) -> tuple[bool, float, str]:
        strong = strength(ledger, recipe_hash, row["video_id"], row["start_s"], row["stop_s"])
        return row["split"] is None, -strong, row["clip_id"]

    return sorted(rows, key=place)
