"""The duplicates step: kept clips get a group; groups never cross a split.

Today a group is a video together with every other video whose file has the same bytes.
"""

from v2a_data import schema
from v2a_data.ledger import Ledger


def group_clips(ledger: Ledger, recipe_hash: str) -> int:
    """Give each kept clip without a group one; returns how many got it. A group that stands is joined."""
    standing = _pairs(
        ledger,
        "SELECT m.sha256, MIN(g.group_id) FROM groups g JOIN clips c USING (clip_id) "
        "JOIN media m ON m.video_id = c.video_id GROUP BY 1",
    )
    first = _pairs(ledger, "SELECT sha256, MIN(video_id) FROM media GROUP BY 1")
    sql = (
        "SELECT c.clip_id, m.sha256 FROM clips c JOIN media m USING (video_id) WHERE c.recipe_hash = ? "
        "AND c.verdict = 'keep' AND c.clip_id NOT IN (SELECT clip_id FROM groups) ORDER BY 1"
    )
    rows = [
        {"clip_id": clip_id, "group_id": standing.get(sha256, first[sha256])}
        for clip_id, sha256 in ledger.rows(sql, (recipe_hash,))
    ]
    with ledger.transaction():
        ledger.insert(schema.GROUPS, rows)
    return len(rows)


def _pairs(ledger: Ledger, sql: str) -> dict[str, str]:
    return {row[0]: row[1] for row in ledger.each(sql)}
