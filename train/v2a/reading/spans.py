"""Samples out of shards as bytes, compared with the hash of the index."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, Protocol

from v2a.reading.form import DamagedError
from v2a_data.errors import FatalError
from v2a_data.shards.read import MAX_JSON, Entry, ShardSet

_OPEN_FILES = 8
_TRIED = 20
MAX_MEDIA = 2_000_000_000


class Spans(Protocol):
    """Gives samples as bytes; goes to worker processes."""

    def read(self, entry: Entry) -> tuple[bytes, bytes]:
        """Media and JSON. Raises `DamagedError` where they are not what the index says."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Pool:
    """One set of shards: where its media come from, and its frames per second."""

    spans: Spans
    fps: Fraction


class LocalSpans:
    """Samples of a local folder of shards. The last few shards stay open."""

    def __init__(self, folder: Path) -> None:
        self._shards = ShardSet(folder, ())
        self._files: OrderedDict[str, IO[bytes]] = OrderedDict()

    def read(self, entry: Entry) -> tuple[bytes, bytes]:
        check_sizes(entry)
        file = self._open(entry.shard)
        media = _slice(file, entry.mp4_offset, entry.mp4_bytes)
        body = _slice(file, entry.json_offset, entry.json_bytes)
        check_hash(entry, media, body)
        return media, body

    def close(self) -> None:
        """Close what is open."""
        while self._files:
            self._files.popitem()[1].close()

    def _open(self, name: str) -> IO[bytes]:
        file = self._files.pop(name, None) or self._shards.path(name).open("rb", buffering=0)
        self._files[name] = file
        if len(self._files) > _OPEN_FILES:
            self._files.popitem(last=False)[1].close()
        return file


def shard_fps(spans: Spans, entries: Sequence[Entry]) -> Fraction:
    """Frames per second of a set of shards, out of its first undamaged sample.

    Raises `FatalError` where none of the first is, or shards cannot be read.
    """
    reasons = []
    for entry in entries[:_TRIED]:
        try:
            return Fraction(json.loads(spans.read(entry)[1])["fps"])
        except (DamagedError, ValueError, KeyError, TypeError, ZeroDivisionError) as error:
            reasons.append(f"{entry.shard}: sample {entry.key}: {error}")
        except OSError as error:
            raise FatalError(f"{entry.shard}: {error}") from None
        finally:
            spans.close()
    raise FatalError(f"{len(reasons)} samples in a row are damaged: {'; '.join(reasons[:5])}")


def check_sizes(entry: Entry) -> None:
    """Raises `DamagedError` for sizes that no sample has."""
    fits = 0 <= entry.json_bytes <= MAX_JSON and 0 < entry.mp4_bytes <= MAX_MEDIA
    if not fits or entry.mp4_offset < 0 or entry.json_offset < 0:
        raise DamagedError(f"the index gives it {entry.mp4_bytes} and {entry.json_bytes} bytes")


def check_hash(entry: Entry, media: bytes, body: bytes) -> None:
    """Raises `DamagedError` where media and JSON are not those of the index: decoders hide most damage."""
    digest = hashlib.sha256(media)
    digest.update(body)
    if digest.hexdigest() != entry.sha256:
        raise DamagedError("its hash is not that of the index")


def _slice(file: IO[bytes], offset: int, size: int) -> bytes:
    if file.seek(0, 2) < offset + size:
        raise DamagedError("the shard ends inside it")
    file.seek(offset)
    body: Any = file.read(size)
    if len(body) != size:
        raise DamagedError("the shard ends inside it")
    return bytes(body)
