"""`shards/index.parquet`: where every sample is. Written from the ledger, read in pieces."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from v2a_data import schema
from v2a_data.files import whole_file
from v2a_data.ledger import Ledger
from v2a_data.recipe import Recipe, digest
from v2a_data.shards.format import INDEX_FILE, KEY
from v2a_data.shards.read import Entry
from v2a_data.shards.rows import index_rows
from v2a_data.shards.sums import Known
from v2a_data.workspace import Workspace

_BLOCK = 10_000
_COLUMNS = "index_row, picture_error_s, sound_error_samples"
_MAX_ROWS_OF_ONE_SHARD = 1_000_000
_FROM_SAMPLE = (
    "key",
    "frames",
    "audio_samples",
    "label",
    "split",
    "group_id",
    "picture_error_s",
    "sound_error_samples",
)


def index_row(name: str, place: dict[str, Any], sample: dict[str, Any]) -> dict[str, Any]:
    """The row of a sample: its place in the shard, and the JSON's fields that the index repeats."""
    return {
        **place,
        **{key: sample[key] for key in _FROM_SAMPLE},
        "shard": name,
        "duration_s": sample["stop_s"] - sample["start_s"],
    }


def ledger_shards(ledger: Ledger) -> dict[str, Known]:
    """Every finished shard, by name."""
    rows = ledger.rows("SELECT shard, samples, bytes, sha256 FROM shards ORDER BY 1")
    return {row["shard"]: Known(row["samples"], row["bytes"], row["sha256"]) for row in rows}


def ledger_rows(ledger: Ledger, shard: str) -> list[Entry]:
    """The index rows of one shard."""
    sql = f"SELECT {_COLUMNS} FROM samples WHERE state = 'written' AND shard = ? ORDER BY clip_id"  # noqa: S608
    return [Entry(**_row(row)) for row in ledger.each(sql, (shard,))]


def write_index(workspace: Workspace, recipe: Recipe) -> None:
    """Write `index.parquet` from the ledger. Same ledger, same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, ledger = workspace.shards / INDEX_FILE, workspace.ledger
    stands_for = digest([[name, known.sha256] for name, known in ledger_shards(ledger).items()])
    wanted = schema.arrow_schema(
        schema.INDEX.columns, {"shards": stands_for, "recipe": recipe.name, "recipe_hash": recipe.hash}
    )
    with whole_file(path) as temporary, pq.ParquetWriter(temporary, wanted, write_page_checksum=True) as writer:
        for block in _blocks(ledger):
            writer.write_table(pa.Table.from_pylist(block, schema=wanted))


def _row(row: Any) -> dict[str, Any]:
    # Rows written before the index had the two errors lack them; the ledger has them beside.
    picture_s = row["picture_error_s"]
    errors = {
        "picture_error_s": None if picture_s is None else round(picture_s, 6),
        "sound_error_samples": row["sound_error_samples"],
    }
    return errors | json.loads(row["index_row"])


def _blocks(ledger: Ledger) -> Iterator[Sequence[dict[str, Any]]]:
    block: list[dict[str, Any]] = []
    sql = f"SELECT {_COLUMNS} FROM samples WHERE state = 'written' ORDER BY shard, clip_id"  # noqa: S608
    for row in ledger.each(sql):
        block.append(_row(row))
        if len(block) == _BLOCK:
            yield block
            block = []
    if block:
        yield block


def index_by_shard(path: Path) -> Iterator[tuple[str, list[Entry]]]:
    """The rows of an index shard by shard, in rising order, one shard in memory at a time.

    Raises `ValueError` saying what is wrong with it, after what could be read was given out.
    """
    name, entries = "", list[Entry]()
    for entry in _entries(path):
        if entry.shard != name:
            if entries:
                yield name, entries
            if entry.shard < name:
                raise ValueError(f"rows of {entry.shard[:100]!r} come after rows of {name[:100]!r}")
            name, entries = entry.shard, []
        elif entry.key <= entries[-1].key:
            raise ValueError(f"{name[:100]!r}: {entry.key} comes after {entries[-1].key}")
        entries.append(entry)
        if len(entries) > _MAX_ROWS_OF_ONE_SHARD:
            raise ValueError(f"more than {_MAX_ROWS_OF_ONE_SHARD} rows of {name[:100]!r}")
    if entries:
        yield name, entries


def _entries(path: Path) -> Iterator[Entry]:
    for row in index_rows(path, like=schema.arrow_schema(schema.INDEX.columns)):
        for column in schema.INDEX.columns:
            if not _fits(column, row[column.name]):
                raise ValueError(f"column {column.name} holds {row[column.name]}")
        if not KEY.match(row["key"]):
            raise ValueError(f"{row['key'][:60]!r} is not a key")
        yield Entry(**row)


def _fits(column: schema.Column, value: Any) -> bool:
    if value is None:
        return column.null
    # A lag may be negative; places and counts may not.
    return column.kind != "int" or column.name == "sound_error_samples" or value >= 0
