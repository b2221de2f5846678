"""The tables of a workspace as pandas frames."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from v2a_data import schema
from v2a_data.shards.format import INDEX_FILE
from v2a_data.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd


def load_table(workspace: Path, table: str) -> "pd.DataFrame":
    """A ledger table (`videos`, `clips`, `samples`, …) with JSON columns decoded."""
    import pandas as pd

    columns = {item.name: item for item in schema.TABLES}[table].columns
    with Workspace.read(workspace) as opened:
        rows = opened.ledger.rows(f"SELECT * FROM {table}")  # noqa: S608  a name of schema.py
    decoded = {
        column.name: [
            json.loads(row[column.name]) if column.kind == "json" and row[column.name] is not None else row[column.name]
            for row in rows
        ]
        for column in columns
    }
    return pd.DataFrame(decoded)


def load_index(shards: Path) -> "pd.DataFrame":
    """`index.parquet` of a folder of shards."""
    import pandas as pd

    return pd.read_parquet(shards / INDEX_FILE)


def load_manifest(workspace: Path) -> "pd.DataFrame":
    """One row per clip of the workspace's recipe: ids, times, labels, verdict, reasons, split, sample
    counts, media hash. `not_for_use` is true where tiny models judged.

    A file from `v2a-data export` works too: one row per sample, columns of `schema.MANIFEST`, every value checked.
    """
    from v2a_data.manifest import read_manifest
    from v2a_data.models.choice import not_for_use

    if workspace.is_file():
        return read_manifest(workspace)  # type: ignore[no-any-return]
    with Workspace.read(workspace) as opened:
        recipe = opened.recipe()
    stamp, recipe_hash = not_for_use(recipe), recipe.hash if recipe else ""
    clips, videos, media = (load_table(workspace, name) for name in ("clips", "videos", "media"))
    splits, groups, samples = (load_table(workspace, name) for name in ("splits", "groups", "samples"))
    clips, samples = (table[table.recipe_hash == recipe_hash] for table in (clips, samples))
    frame = clips.merge(videos[["video_id", "source", "native_id", "url", "labels"]], on="video_id", how="left")
    frame = frame.merge(media[["video_id", "sha256"]], on="video_id", how="left")
    for more in (splits, groups, samples.drop(columns=["recipe_hash", "index_row", "reason", "message"])):
        frame = frame.merge(more, on="clip_id", how="left")
    return frame.sort_values("clip_id", ignore_index=True).assign(not_for_use=stamp)
