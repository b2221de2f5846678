"""The ledger without removed videos: their rows go, rows that mention them are cleaned, free pages are given back."""

import json
from collections.abc import Iterable

from v2a_data import schema
from v2a_data.ledger import Ledger
from v2a_data.removal.find import UNDER_WAY, Doomed

# In an order that keys allow.
BY_VIDEO = (
    *("attempts", "channels", "scored", "stretches", "fingerprints"),
    *("votes", "asked", "media", "clips", "videos"),
)
BY_CLIP = ("groups", "splits", "samples")
# Words about one video in which another one may be named.
_MENTIONS = (
    ("attempts", "id", "message"),
    ("clips", "rowid", "reasons"),
    ("samples", "rowid", "message"),
    ("votes", "id", "note"),
)


def delete_rows(ledger: Ledger, doomed: Doomed) -> dict[str, int]:
    """Delete every row of the doomed videos, in one transaction; returns how many of each table.

    What is under way says no more which videos it was about.
    """
    chosen = (json.dumps(sorted(doomed.videos)),)
    among = "IN (SELECT value FROM json_each(?))"
    video = "substr(clip_id, 1, length(clip_id) - 10)"
    counts: dict[str, int] = {}
    # Table and column names come from this module.
    ledger.execute("PRAGMA secure_delete = ON")
    with ledger.transaction():
        _clean(ledger, doomed)
        for table in BY_CLIP:
            counts[table] = ledger.execute(f"DELETE FROM {table} WHERE {video} {among}", chosen)  # noqa: S608
        for table in BY_VIDEO:
            counts[table] = ledger.execute(f"DELETE FROM {table} WHERE video_id {among}", chosen)  # noqa: S608
        # That something was asked for stays, for the day's budget.
        ledger.execute(f"UPDATE starts SET video_id = NULL WHERE video_id {among}", chosen)  # noqa: S608
        item = f"(item {among} OR substr(item, 1, length(item) - 10) {among})"
        counts["plans"] = ledger.execute(f"DELETE FROM plans WHERE {item}", chosen * 2)  # noqa: S608
        ledger.set_meta(UNDER_WAY, "")
    return counts


def _clean(ledger: Ledger, doomed: Doomed) -> None:
    for was, new in doomed.renamed.items():
        ledger.execute("UPDATE groups SET group_id = ? WHERE group_id = ?", (new, was))
    for table, key, column in _MENTIONS:
        for row_key, text in _naming(ledger, doomed, table, key, column):
            ledger.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (text, row_key))  # noqa: S608


def _naming(ledger: Ledger, doomed: Doomed, table: str, key: str, column: str) -> Iterable[tuple[int, str]]:
    """Rows of other videos that name a doomed one, with the text as it is to be."""
    owner = "clip_id" if "clip_id" in {t.name: t for t in schema.TABLES}[table].names else "video_id"
    rows = ledger.each(f"SELECT {key}, {owner}, {column} FROM {table} WHERE {column} IS NOT NULL")  # noqa: S608
    named = (row for row in rows if not doomed.has_item(row[1]) and doomed.traces.inside(row[2]))
    return [(row[0], doomed.traces.out_of(row[2])) for row in named]


def give_back(ledger: Ledger) -> bool:
    """Write the ledger anew without its free pages and empty its journal; false while someone reads it."""
    ledger.execute("VACUUM")
    busy = ledger.rows("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]
    return not busy
