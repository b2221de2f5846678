"""The cap per channel: of one uploader's clips only the strongest stay, so that no channel makes up a dataset."""

from collections import defaultdict

from v2a_data.curate.clips import strength
from v2a_data.curate.duplicates import drop
from v2a_data.ledger import Ledger, Row
from v2a_data.recipe import Recipe


def cap_channels(ledger: Ledger, recipe: Recipe) -> int:
    """Drop the kept clips of a channel above `clips.max_per_channel`; returns how many.

    Those that have a split stay, then those with the highest mean of min(seen, heard). Videos whose channel is not
    known are left alone.
    """
    most = recipe.clips.max_per_channel
    if most is None:
        return 0
    sql = (
        "SELECT h.channel, c.clip_id, c.video_id, c.start_s, c.stop_s, s.split FROM clips c "
        "JOIN channels h USING (video_id) LEFT JOIN splits s USING (clip_id) "
        "WHERE c.recipe_hash = ? AND c.verdict = 'keep' ORDER BY 1, 2"
    )
    channels: dict[str, list[Row]] = defaultdict(list)
    for row in ledger.rows(sql, (recipe.hash,)):
        channels[row["channel"]].append(row)
    dropped = 0
    with ledger.transaction():
        for rows in channels.values():
            for row in _ranked(ledger, recipe.hash, rows)[most:] if len(rows) > most else []:
                if row["split"] is None:
                    drop(ledger, recipe.hash, row["clip_id"], {"condition": f"at most {most} per channel"})
                    dropped += 1
    return dropped


def _ranked(ledger: Ledger, recipe_hash: str, rows: list[Row]) -> list[Row]:
    """Clips in the order in which they stay."""

    def place(row: Row) -> tuple[bool, float, str]:
        strong = strength(ledger, recipe_hash, row["video_id"], row["start_s"], row["stop_s"])
        return row["split"] is None, -strong, row["clip_id"]

    return sorted(rows, key=place)
