"""Everything else in a workspace that may name a removed video: cached lists, captions, manifest, logs, reports."""

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal, TextIO

from v2a_data.files import sha256_file, whole_file
from v2a_data.manifest import COPY, EARLIER, META
from v2a_data.removal.find import Doomed
from v2a_data.workspace import Workspace

_TEXTS = "texts"
_BATCH = 5_000
_KEPT_ELSEWHERE = ("media", "scores", "shards", "tmp")
_PIECE = 1 << 24
_LONGEST_NAME = 256


@dataclass
class Swept:
    """What was done: files that were changed, files and folders that were deleted, files that still name a video."""

    edited: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


def sweep(workspace: Workspace, doomed: Doomed) -> Swept:
    """Take the doomed videos out of every file that is no table, media or shard. Safe to be done again."""
    done, root = Swept(), workspace.root
    _manifest(workspace, doomed, done)
    _texts(workspace, doomed, done)
    _codes(workspace, doomed, done)
    for path in _files(root):
        name = path.relative_to(root).as_posix()
        if name in (COPY, ".lock") or name.startswith("ledger.sqlite") or name.partition("/")[0] in _KEPT_ELSEWHERE:
            continue
        if name.startswith("cache/") and path.suffix in (".json", ".txt"):
            _keys(path, name, doomed, done)
        if not path.exists():
            continue
        if doomed.traces.inside(path.name):
            path.unlink()
            done.deleted.append(name)
        elif names(path, doomed):
            _one(path, name, doomed, done)
    return done


def _one(path: Path, name: str, doomed: Doomed, done: Swept) -> None:
    """A file that names a doomed video: lists lose lines, logs lose words, what can be made again is deleted."""
    if name.startswith(("cache/", "reports/")) and path.suffix in (".csv", ".tsv", ".txt"):
        _edit(path, lambda line: None if doomed.traces.inside(line) else line)
    elif name.startswith("runs/"):
        _edit(path, doomed.traces.out_of)
    elif name.startswith(("cache/", "reports/")):
        path.unlink()
        done.deleted.append(name)
        return
    else:
        done.left.append(name)
        return
    done.edited.append(name)


def _edit(path: Path, change: Callable[[str], str | None]) -> None:
    """Write a text file again line by line; null drops a line. Bytes that are no UTF-8 stay as they are."""
    with whole_file(path) as temporary, _text(path, "r", "utf-8") as old, _text(temporary, "w", "utf-8") as new:
        for line in old:
            changed = change(line)
            if changed is not None:
                new.write(changed)


def _text(path: Path, mode: Literal["r", "w"], encoding: str) -> TextIO:
    return path.open(mode, encoding=encoding, errors="surrogateescape", newline="")


def names(path: Path, doomed: Doomed) -> bool:
    """Whether a file of any kind names a doomed video, read in pieces."""
    before = b""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            body = before + piece
            if doomed.traces.in_bytes(body):
                return True
            before = body[-_LONGEST_NAME:]
    return False


def _keys(path: Path, name: str, doomed: Doomed, done: Swept) -> None:
    """YouTube-8M's own lists: 4 characters are looked for where nothing but such keys stand."""
    if not doomed.keys or not name.startswith("cache/youtube8m/"):
        return
    if path.suffix == ".json" and not path.name.startswith("plan-"):
        try:
            keys = json.loads(path.read_text())
        except ValueError:  # cut short: what it may name cannot be told, and it is downloaded again
            path.unlink()
            done.deleted.append(name)
            return
        if doomed.keys.isdisjoint(keys):
            return
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps([key for key in keys if key not in doomed.keys]))
    elif path.parent.name == "records":
        with path.open(encoding="ascii", errors="replace") as file:
            if not any(line[:4] in doomed.keys for line in file):
                return
        _edit(path, lambda line: None if line[:4] in doomed.keys else line)
    else:
        return
    done.edited.append(name)


def _manifest(workspace: Workspace, doomed: Doomed, done: Swept) -> None:
    """The copy of the manifest that the workspace is rebuilt from, without the rows of doomed videos."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ledger, path = workspace.ledger, workspace.root / COPY
    if ledger.meta(META) is None or not path.is_file():
        return
    if sha256_file(path) == ledger.meta(META):
        file = pq.ParquetFile(path, page_checksum_verification=True)
        rows = [row for batch in file.iter_batches(_BATCH) for row in batch.to_pylist()]
        kept = [row for row in rows if not doomed.has_clip(row["key"]) and not doomed.traces.inside(row["key"])]
        renamed = _groups_of(kept, doomed)
        if len(kept) == len(rows) and not renamed:
            return
        blocks = iter([{**row, "group_id": renamed.get(row["group_id"], row["group_id"])} for row in kept])
        with whole_file(path) as temporary:
            wanted = file.schema_arrow
            with pq.ParquetWriter(temporary, wanted, compression="zstd", write_page_checksum=True) as writer:
                while block := list(islice(blocks, _BATCH)):
                    writer.write_table(pa.Table.from_pylist(block, schema=wanted))
    # A run that was killed in between finds a copy that its hash does not fit yet.
    with ledger.transaction():
        earlier = [*json.loads(ledger.meta(EARLIER) or "[]"), ledger.meta(META)]
        ledger.set_meta(EARLIER, json.dumps(earlier))
        ledger.set_meta(META, sha256_file(path))
    done.edited.append(COPY)


def _groups_of(rows: list[dict[str, object]], doomed: Doomed) -> dict[str, str]:
    left = dict(doomed.renamed)
    for row in rows:
        group, video = str(row["group_id"]), str(row["video_id"])
        if (group in doomed.videos or doomed.traces.inside(group)) and group not in doomed.renamed:
            left[group] = min(left.get(group, video), video)
    return {group: name for group, name in left.items() if any(row["group_id"] == group for row in rows)}


def _texts(workspace: Workspace, doomed: Doomed, done: Swept) -> None:
    """The workspace's captions without those of doomed videos."""
    about = json.loads(workspace.ledger.meta(_TEXTS) or "null")
    path = workspace.root / about["file"] if about else workspace.root
    if not path.is_file():
        return
    if sha256_file(path) == about["sha256"]:
        if not names(path, doomed) and path.suffix == ".csv":
            return
        (_csv_without if path.suffix == ".csv" else _parquet_without)(path, doomed)
    if sha256_file(path) != about["sha256"]:
        with workspace.ledger.transaction():
            workspace.ledger.set_meta(_TEXTS, json.dumps({**about, "sha256": sha256_file(path)}))
        done.edited.append(about["file"])


def _csv_without(path: Path, doomed: Doomed) -> None:
    with whole_file(path) as temporary, _text(path, "r", "utf-8-sig") as old, _text(temporary, "w", "utf-8") as new:
        rows = csv.reader(old)
        csv.writer(new).writerows(row for row in rows if not any(map(doomed.traces.inside, row)))


def _parquet_without(path: Path, doomed: Doomed) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    gone = [any(isinstance(v, str) and doomed.traces.inside(v) for v in row.values()) for row in table.to_pylist()]
    if any(gone):
        with whole_file(path) as temporary:
            pq.write_table(table.filter([not this for this in gone]), temporary)


def _codes(workspace: Workspace, doomed: Doomed, done: Swept) -> None:
    """Codes and sound of training clips, kept beside checkpoints; `v2a train` makes them again."""
    for folder in sorted(workspace.checkpoints.rglob("codes-*")):
        about = folder / "done.json"
        if folder.is_dir() and (not about.is_file() or names(about, doomed)):
            shutil.rmtree(folder)
            done.deleted.append(folder.relative_to(workspace.root).as_posix())


def _files(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path
