"""Score tables without the rows of removed videos."""

import json
from pathlib import Path

from v2a_data.files import sha256_file, whole_file
from v2a_data.removal.find import Doomed
from v2a_data.workspace import Workspace

# Rows of `scored` that a part holds.
_OF_PART = "(scorer, config, plan, n) IN (SELECT scorer, config, plan, n FROM parts WHERE path = ?)"


def rewrite_parts(workspace: Workspace, doomed: Doomed) -> int:
    """Write the touched parts again and record them; returns their number.

    Killed anywhere, the same call does the rest. Parts that the ledger does not list do not exist; those that a
    stopped run left are deleted, and so are damaged ones: `curate` measures their videos again.
    """
    ledger, root = workspace.ledger, workspace.root
    listed = {row[0] for row in ledger.each("SELECT path FROM parts")}
    for path in (root / "scores").rglob("*.parquet"):
        if path.relative_to(root).as_posix() not in listed:
            path.unlink()
    sql = (
        "SELECT DISTINCT p.path FROM scored s JOIN parts p ON p.scorer = s.scorer AND p.config = s.config "
        "AND p.plan = s.plan AND p.n = s.n WHERE s.video_id IN (SELECT value FROM json_each(?)) ORDER BY 1"
    )
    paths = [row[0] for row in ledger.rows(sql, (json.dumps(sorted(doomed.videos)),))]
    for path in paths:
        rows = without_videos(root / path, doomed)
        with ledger.transaction():
            if not rows:
                ledger.execute(f"DELETE FROM scored WHERE {_OF_PART}", (path,))  # noqa: S608
            if rows:
                about = (rows, sha256_file(root / path), path)
                ledger.execute("UPDATE parts SET rows = ?, sha256 = ? WHERE path = ?", about)
            else:
                ledger.execute("DELETE FROM parts WHERE path = ?", (path,))
        if not rows:
            (root / path).unlink(missing_ok=True)
    return len(paths)


def without_videos(path: Path, doomed: Doomed) -> int:
    """Drop the rows of some videos from a part, all else as it was; returns the rows that stay, 0 of a damaged part."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not path.is_file():
        return 0
    try:
        table = pq.read_table(path, page_checksum_verification=True)
    except (OSError, pa.ArrowException):
        return 0
    gone = pc.is_in(table["video_id"], value_set=pa.array(sorted(doomed.videos), pa.string()))
    kept = table.filter(pc.invert(gone))
    with whole_file(path) as temporary:
        pq.write_table(kept, temporary, write_page_checksum=True)
    return int(kept.num_rows)
