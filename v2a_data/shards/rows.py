"""Rows of an index from anywhere, read a block at a time within a bound on memory."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from v2a_data.memory import at_most

_BLOCK = 1000
_MAX_ROWS = 100_000_000
_MAX_TEXT = 20_000


def index_rows(path: Path, columns: Sequence[str] | None = None, *, like: Any = None) -> Iterator[dict[str, Any]]:
    """The rows of an `index.parquet`, of some columns or of all; `like` is the Arrow schema that it must have.

    Raises `ValueError` saying what is wrong with the file, after what could be read was given out. However large
    its pages and values claim to be, about 1 GB is allocated at most.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with ExitStack() as stack:
            with at_most():
                file = stack.enter_context(pq.ParquetFile(path, page_checksum_verification=True))
                # Threads have stacks and arenas of their own, which the bound on memory would count.
                blocks = file.iter_batches(_BLOCK, columns=columns, use_threads=False)
            if like is not None and not file.schema_arrow.equals(like):
                raise ValueError("it has other columns than `v2a-data shard` writes")
            if file.metadata.num_rows > _MAX_ROWS:
                raise ValueError(f"{file.metadata.num_rows} rows, at most {_MAX_ROWS}")
            while rows := _next_rows(blocks):
                yield from rows
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise ValueError(f"it cannot be read: {error}") from None


def _next_rows(blocks: Iterator[Any]) -> list[dict[str, Any]]:
    with at_most():
        block = next(blocks, None)
        rows: list[dict[str, Any]] = [] if block is None else block.to_pylist()
    for row in rows:
        for name, value in row.items():
            if isinstance(value, str) and len(value) > _MAX_TEXT:
                raise ValueError(f"column {name} holds a text of {len(value)} characters, at most {_MAX_TEXT}")
    return rows
