"""The duplicates step: kept clips get a group; groups never cross a split.

Today a group is a video together with every other video whose file has the same bytes.
"""

from v2a_data import schema
from v2a_data.ledger import Ledger


def group_clips(ledger: Ledger, recipe_hash: str) -> int:
    """Give each kept clip without a group one; returns how many got it."""
    sql = (
        "SELECT c.clip_id, (SELECT MIN(twin.video_id) FROM media own JOIN media twin ON twin.sha256 = own.sha256 "
        "WHERE own.video_id = c.video_id) AS group_id FROM clips c "
        "WHERE c.recipe_hash = ? AND c.verdict = 'keep' AND c.clip_id NOT IN (SELECT clip_id FROM groups) ORDER BY 1"
    )
    rows = [dict(row) for row in ledger.rows(sql, (recipe_hash,))]
    with ledger.transaction():
        ledger.insert(schema.GROUPS, rows)
    return len(rows)
