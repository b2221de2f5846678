"""Reading shards by index: no unpickling, no shell, no network; members come as bytes.

A shard opens by path below the folder of its index and nowhere else.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from v2a_data.errors import FatalError, UsageError, nearest
from v2a_data.shards.format import INDEX_FILE, KEY
from v2a_data.shards.rows import index_rows

MAX_JSON = 1_000_000


@dataclass(frozen=True)
class Entry:
    """One row of the index."""

    key: str
    shard: str
    mp4_offset: int
    mp4_bytes: int
    json_offset: int
    json_bytes: int
    sha256: str
    frames: int
    audio_samples: int
    duration_s: float
    label: str
    split: str
    group_id: str
    picture_error_s: float | None = None
    sound_error_samples: int | None = None


@dataclass(frozen=True)
class Sample:
    """One sample as read: its JSON and its media file's bytes."""

    entry: Entry
    values: dict[str, Any]
    mp4: bytes


class ShardSet:
    """A folder of shards with its index."""

    def __init__(self, folder: Path, entries: Sequence[Entry]) -> None:
        self.folder = folder
        self.entries = list(entries)

    @property
    def place(self) -> str:
        """Where it lies, for messages."""
        return str(self.folder)

    def with_entries(self, entries: Sequence[Entry]) -> "ShardSet":
        """The same set with these of its samples."""
        return ShardSet(self.folder, entries)

    def split(self, name: str) -> list[Entry]:
        """The samples of a split, in the order of shards and keys."""
        return [entry for entry in self.entries if entry.split == name]

    def only(self, labels: Sequence[str]) -> "ShardSet":
        """The samples of these labels; all of them without any. Raises `UsageError` for one that is not there."""
        known = {entry.label for entry in self.entries}
        for label in labels:
            if label not in known:
                raise UsageError(f"{self.place} has no samples of {label!r}; {nearest(label, sorted(known))}")
        return self.with_entries([entry for entry in self.entries if not labels or entry.label in labels])

    def read(self, entry: Entry, *, verify: bool = False) -> Sample:
        """Read one sample; `verify` compares its hash with the index."""
        path = self.path(entry.shard)
        if entry.json_bytes > MAX_JSON:
            raise FatalError(f"{entry.shard}: {entry.key}.json has {entry.json_bytes} bytes")
        with path.open("rb") as file:
            mp4 = _slice(file, entry.mp4_offset, entry.mp4_bytes, path, entry.key)
            body = _slice(file, entry.json_offset, entry.json_bytes, path, entry.key)
        if verify and hashlib.sha256(mp4 + body).hexdigest() != entry.sha256:
            raise FatalError(
                f"{entry.shard}: sample {entry.key} is damaged", hint="write the shard again from its media"
            )
        values = json.loads(body)
        if values.get("key") != entry.key:
            raise FatalError(f"{entry.shard}: {entry.key} holds the JSON of {values.get('key')!r}")
        return Sample(entry, values, mp4)

    def values(self, entry: Entry) -> dict[str, Any]:
        """The JSON of one sample alone; its hash, which covers the media too, is not compared."""
        if entry.json_bytes > MAX_JSON:
            raise FatalError(f"{entry.shard}: {entry.key}.json has {entry.json_bytes} bytes")
        path = self.path(entry.shard)
        with path.open("rb") as file:
            body = _slice(file, entry.json_offset, entry.json_bytes, path, entry.key)
        try:
            values = json.loads(body)
        except ValueError:
            values = None
        if not isinstance(values, dict) or values.get("key") != entry.key:
            raise FatalError(f"{entry.shard}: the JSON of {entry.key} is damaged")
        return values

    def path(self, name: str) -> Path:
        """Where a shard lies. Raises `FatalError` for a name that leads out of the folder."""
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise FatalError(f"the index names {name!r}, outside {self.folder}")
        return path


def _slice(file: Any, offset: int, size: int, path: Path, key: str) -> bytes:
    file.seek(offset)
    body: bytes = file.read(size)
    if len(body) != size:
        raise FatalError(
            f"{path}: ends inside sample {key}", hint="the shard is truncated; write it again from its media"
        )
    return body


def open_shards(folder: Path) -> ShardSet:
    """The shards below a folder. Raises `UsageError` where there is no index, `FatalError` where it is damaged."""
    path = folder / INDEX_FILE
    if not path.is_file():
        raise UsageError(f"{folder} holds no {INDEX_FILE}", hint="run `v2a-data shard`, or name a folder of shards")
    try:
        # Columns that are not there are passed over: earlier versions wrote fewer.
        entries = [Entry(**row) for row in index_rows(path, tuple(Entry.__dataclass_fields__))]
    except (ValueError, TypeError) as error:
        raise FatalError(f"{path}: {error}", hint="`v2a-data repair` in its workspace writes it again") from None
    for entry in entries:
        if not KEY.match(entry.key):
            raise FatalError(f"{path}: {entry.key[:60]!r} is not a key")
    return ShardSet(folder, entries)
