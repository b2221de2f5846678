"""What the tests of manifest, card and rebuilding share: commands as typed, files as hashed, manifests changed by hand."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from typer.testing import CliRunner

from v2a_data.cli import app


def call(*words: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `v2a-data WORDS`."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def run(*words: object) -> str:
    """Stdout of a command that must go well."""
    code, out, err = call(*words)
    assert code == 0, (words, err)
    return out


def at(root: Path) -> tuple[object, ...]:
    """Options that every call here has."""
    return ("-w", root, "--workers", "0")


def hashes(root: Path) -> dict[str, str]:
    """Everything below `shards/`."""
    files = sorted(path for path in (root / "shards").rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def changed(
    source: Path,
    out: Path,
    change: Callable[[list[dict[str, Any]]], object] = lambda rows: None,
    metadata: dict[bytes, bytes | None] | None = None,
) -> Path:
    """A manifest with other rows or other metadata, written as a stranger would."""
    table = pq.read_table(source)
    rows = table.to_pylist()
    change(rows)
    about = {**(table.schema.metadata or {}), **(metadata or {})}
    wanted = table.schema.with_metadata({key: value for key, value in about.items() if value is not None})
    pq.write_table(
        pa.Table.from_pylist(rows, schema=pa.schema([f.with_nullable(True) for f in wanted], wanted.metadata)), out
    )
    return out
