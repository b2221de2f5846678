"""Media that are done with: deleted once the clips of a video are in shards, where the user wants that.

The row stays, with the hash that a later fetch of the same bytes is held to. A video goes when every clip that the
recipe keeps of it stands in a shard whose bytes are those that were written; one with refused clips, with clips to
review, or not yet curated, keeps its file.
"""

import json
from dataclasses import dataclass

from v2a_data.files import sha256_file
from v2a_data.ledger import Ledger
from v2a_data.recipe import Recipe
from v2a_data.workspace import Workspace

SHARDED = "sharded"
_BLOCK = 1000


@dataclass(frozen=True)
class LetGo:
    """What was deleted now. `damaged` are the shards whose videos kept their files for that."""

    files: int = 0
    bytes: int = 0
    damaged: tuple[str, ...] = ()


def let_go(workspace: Workspace, recipe: Recipe) -> LetGo:
    """Delete the media of videos whose clips are all sharded. Killed anywhere, the next call does the rest."""
    ledger = workspace.ledger
    sql = (
        "SELECT m.video_id, m.bytes FROM media m JOIN videos v USING (video_id) "
        "WHERE m.deleted IS NULL AND v.state = 'fetched' "
        "AND EXISTS (SELECT 1 FROM clips c WHERE c.video_id = m.video_id AND c.recipe_hash = ?1) "
        "AND NOT EXISTS (SELECT 1 FROM clips c WHERE c.video_id = m.video_id AND c.recipe_hash = ?1 AND "
        "(c.verdict = 'review' OR c.verdict = 'keep' AND "
        "c.clip_id NOT IN (SELECT clip_id FROM samples WHERE state = 'written'))) "
        "AND NOT EXISTS (SELECT 1 FROM plans p WHERE p.item = m.video_id) ORDER BY 1"
    )
    rows = ledger.rows(sql, (recipe.hash,))
    damaged, kept = _damaged(workspace, [row["video_id"] for row in rows])
    rows = [row for row in rows if row["video_id"] not in kept]
    for first in range(0, len(rows), _BLOCK):
        with ledger.transaction():
            for row in rows[first : first + _BLOCK]:
                ledger.execute("UPDATE media SET deleted = ? WHERE video_id = ?", (SHARDED, row["video_id"]))
    delete_marked(workspace)
    return LetGo(len(rows), sum(row["bytes"] for row in rows), damaged)


def _damaged(workspace: Workspace, video_ids: list[str]) -> tuple[tuple[str, ...], set[str]]:
    """Shards of these videos that are not there as they were written, and the videos with a clip in one of them."""
    sql = (
        "SELECT DISTINCT s.shard, h.bytes, h.sha256 FROM json_each(?) w JOIN clips c ON c.video_id = w.value "
        "JOIN samples s ON s.clip_id = c.clip_id AND s.state = 'written' LEFT JOIN shards h ON h.shard = s.shard"
    )
    bad = []
    for shard, size, sha256 in workspace.ledger.rows(sql, (json.dumps(video_ids),)):
        path = workspace.root / "shards" / shard
        if not path.is_file() or path.stat().st_size != size or sha256_file(path) != sha256:
            bad.append(shard)
    sql = (
        "SELECT DISTINCT c.video_id FROM samples s JOIN clips c USING (clip_id) "
        "WHERE s.shard IN (SELECT value FROM json_each(?))"
    )
    return tuple(sorted(bad)), {row[0] for row in workspace.ledger.rows(sql, (json.dumps(bad),))}


def delete_marked(workspace: Workspace) -> None:
    """Delete the files of media that the ledger has as deleted."""
    for (path,) in workspace.ledger.each("SELECT path FROM media WHERE deleted IS NOT NULL"):
        (workspace.root / path).unlink(missing_ok=True)


def not_cut(ledger: Ledger, recipe: Recipe) -> int:
    """Kept clips that are in no shard and that nothing is left to cut from."""
    sql = (
        "SELECT COUNT(*) FROM media m JOIN clips c USING (video_id) WHERE m.deleted IS NOT NULL "
        "AND c.recipe_hash = ? AND c.verdict = 'keep' AND c.clip_id NOT IN (SELECT clip_id FROM samples)"
    )
    return int(ledger.value(sql, (recipe.hash,)))


def standing(ledger: Ledger) -> dict[str, dict[str, int]]:
    """Files and bytes of media that are here, and of those that were deleted."""
    sql = "SELECT deleted IS NULL, COUNT(*), COALESCE(SUM(bytes), 0) FROM media GROUP BY 1"
    found = {bool(row[0]): {"files": row[1], "bytes": row[2]} for row in ledger.rows(sql)}
    none = {"files": 0, "bytes": 0}
    return {"here": found.get(True, none), "deleted": found.get(False, none)}
