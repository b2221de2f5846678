"""Tables of votes from anywhere: text and Parquet, read within bounds, and refused with file and reason."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from v2a_data.errors import UsageError
from v2a_data.memory import at_most
from v2a_data.shards.rows import index_rows

_MOST_BYTES = 1_000_000_000
_MOST_ROWS = 10_000_000


def read_text(path: Path) -> str:
    """A table of text as it is. Raises `UsageError` where it is missing, huge or not UTF-8."""
    _check_file(path)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text: {error}") from None


def parquet_columns(path: Path) -> list[str]:
    """The names of a table's columns. Raises `UsageError` where there is none, or one of more than 10 M rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    _check_file(path)
    try:
        with at_most(), pq.ParquetFile(path) as file:
            rows, names = file.metadata.num_rows, list(file.schema_arrow.names)
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise UsageError(f"{path}: not a Parquet file: {error}") from None
    # A few bytes can stand for any number of equal rows.
    if rows > _MOST_ROWS:
        raise UsageError(f"{path}: {rows:,} rows, at most {_MOST_ROWS:,}")
    return names


def parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of some columns, a block at a time. Raises `UsageError` for what is damaged or too large."""
    try:
        yield from index_rows(path, columns)
    except ValueError as error:
        raise UsageError(f"{path}: {error}") from None


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise UsageError(f"{path} does not exist")
    if path.stat().st_size > _MOST_BYTES:
        raise UsageError(f"{path}: larger than {_MOST_BYTES:,} bytes")
