"""Values of samples that are given and not made here: texts by `--text`, and all that a manifest says.

What is given stays given: the workspace keeps a copy, so that a resumed or repaired shard has the same bytes.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from v2a_data.errors import FatalError, UsageError, nearest
from v2a_data.files import sha256_file, whole_file
from v2a_data.ids import check_video_id, clean_text, split_clip_id
from v2a_data.manifest import Manifest, own_manifest
from v2a_data.removal.refused import Refused
from v2a_data.workspace import Workspace

_META = "texts"
_MAX_TEXT = 2000
_MAX_FILE_BYTES = 2_000_000_000
_COLUMNS = ("clip_id", "video_id", "text")
_FROM_MANIFEST = ("text", "seen", "heard", "models", "not_for_use", "licence", "v2a_data")


@dataclass(frozen=True)
class Texts:
    """A table of captions, by clip or by video."""

    path: Path
    sha256: str
    by_id: Mapping[str, str]

    def of(self, clip_id: str) -> str | None:
        """The caption of a clip: its own, else its video's."""
        return self.by_id.get(clip_id) or self.by_id.get(clip_id.rpartition("_")[0])


class Given:
    """What a workspace was given."""

    def __init__(self, manifest: Manifest | None, texts: Texts | None) -> None:
        self.manifest = manifest
        self.texts = texts

    def values(self, clip_ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Fields of samples that are given, by clip."""
        ids = list(clip_ids)
        if self.manifest is not None:
            rows = self.manifest.lookup(ids, _FROM_MANIFEST)
            return {
                key: {name: row[name] for name in _FROM_MANIFEST} | {"not_for_use": bool(row["not_for_use"])}
                for key, row in rows.items()
            }
        if self.texts is None:
            return {}
        found = ((clip_id, self.texts.of(clip_id)) for clip_id in ids)
        return {clip_id: {"text": text} for clip_id, text in found if text is not None}


def given_values(workspace: Workspace) -> Given:
    """What the workspace was given so far."""
    about = _kept(workspace)
    texts = None
    if about is not None:
        path = workspace.root / about["file"]
        if not path.is_file() or sha256_file(path) != about["sha256"]:
            raise FatalError(f"{path} is missing or damaged", hint="give the same file again with --text")
        texts = read_texts(path)
    return Given(own_manifest(workspace), texts)


def same_texts(workspace: Workspace, texts: Texts) -> bool:
    """Whether the texts are those that the workspace has."""
    about = _kept(workspace)
    return about is not None and about["sha256"] == texts.sha256


def refuse_texts(workspace: Workspace, texts: Texts) -> None:
    """Raise `UsageError` for texts about a video that was removed from the workspace."""
    removed = Refused(workspace.ledger)
    rows = [item for item in texts.by_id if removed.has(item) or removed.has(item.rpartition("_")[0])]
    if rows:
        raise UsageError(
            f"--text {texts.path}: {len(rows)} rows are about videos that were removed, the first one is {rows[0]}",
            hint="take these rows out of the file",
        )


def keep_texts(workspace: Workspace, texts: Texts) -> None:
    """Make a table of texts the workspace's own."""
    name = f"texts{texts.path.suffix.lower()}"
    with whole_file(workspace.root / name) as temporary:
        temporary.write_bytes(texts.path.read_bytes())
        if sha256_file(temporary) != texts.sha256:
            raise FatalError(f"{texts.path} changed while it was read", hint="run the command again")
    with workspace.ledger.transaction():
        workspace.ledger.set_meta(_META, json.dumps({"file": name, "sha256": texts.sha256}))


def _kept(workspace: Workspace) -> dict[str, str] | None:
    about: dict[str, str] | None = json.loads(workspace.ledger.meta(_META) or "null")
    return about


def read_texts(path: Path) -> Texts:
    """A CSV or Parquet file with `text` and `video_id` or `clip_id` (or both columns, one of them filled per row).

    Control characters are cleaned away. Raises `UsageError` naming row and column of what does not fit.
    """
    if not path.is_file():
        raise UsageError(f"--text {path}: no such file")
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise UsageError(f"--text {path}: {path.stat().st_size} bytes, at most {_MAX_FILE_BYTES}")
    readers = {".csv": _csv_rows, ".parquet": _parquet_rows}
    if path.suffix.lower() not in readers:
        raise UsageError(f"--text {path}: expected a .csv or .parquet file")
    by_id: dict[str, str] = {}
    for number, row in readers[path.suffix.lower()](path):
        item, text = _row(f"--text {path}: row {number}", row)
        if item in by_id:
            raise UsageError(f"--text {path}: row {number}: a second text for {item}")
        by_id[item] = text
    if not by_id:
        raise UsageError(f"--text {path}: a table without rows")
    return Texts(path, sha256_file(path), by_id)


def _row(where: str, row: Mapping[str, Any]) -> tuple[str, str]:
    ids = {name: row[name] for name in ("clip_id", "video_id") if row.get(name)}
    if len(ids) != 1:
        raise UsageError(f"{where}: expected either a clip_id or a video_id")
    name, item = next(iter(ids.items()))
    try:
        split_clip_id(item) if name == "clip_id" else check_video_id(item)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{where}, column {name!r}: {error}") from None
    text = row.get("text")
    if not isinstance(text, str) or len(text) > _MAX_TEXT:
        size = f"{len(text)} characters" if isinstance(text, str) else "no text"
        raise UsageError(f"{where}, column 'text': {size}, expected 1 to {_MAX_TEXT}")
    cleaned = clean_text(text, _MAX_TEXT)
    if not cleaned:
        raise UsageError(f"{where}, column 'text': nothing that can be printed")
    return item, cleaned


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, [])
            _check_header(path, header)
            for number, cells in enumerate(reader, start=2):
                if cells and len(cells) != len(header):
                    raise UsageError(f"--text {path}: row {number}: {len(cells)} cells, expected {len(header)}")
                if cells:
                    yield number, dict(zip(header, cells, strict=True))
        except (csv.Error, UnicodeDecodeError) as error:
            raise UsageError(f"--text {path}: not a CSV file in UTF-8: {error}") from None


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        _check_header(path, file.schema_arrow.names)
        number = 0
        for batch in file.iter_batches(1000):
            for row in batch.to_pylist():
                yield number, row
                number += 1
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--text {path}: not a Parquet file: {clean_text(str(error), 200)}") from None


def _check_header(path: Path, names: Sequence[str]) -> None:
    for name in names:
        if name not in _COLUMNS:
            raise UsageError(
                f"--text {path}: unknown column {clean_text(name, 60)!r}; {nearest(name[:60], list(_COLUMNS))}"
            )
    if len(set(names)) != len(names) or "text" not in names or len(names) < 2:
        raise UsageError(f"--text {path}: expected the columns text and video_id or clip_id, got {', '.join(names)}")
