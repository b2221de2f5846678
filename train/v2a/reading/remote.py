"""Shards elsewhere, through fsspec: samples are fetched by range and kept in a folder that never outgrows its bound.

CACHE/<set>/index.parquet    the index as it was when the set was opened
CACHE/samples/<sha256>       media and JSON of one sample; the least recently used go first
CACHE/samples.used           bytes of the samples; its lock is held while they change
"""

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from v2a.reading.address import check_place
from v2a.reading.form import DamagedError
from v2a.reading.spans import check_hash, check_sizes
from v2a_data.errors import FatalError, MissingToolError, UsageError
from v2a_data.files import whole_file
from v2a_data.shards.format import INDEX_FILE
from v2a_data.shards.read import Entry, Sample, ShardSet, open_shards

PROTOCOLS = ("http", "https", "s3", "gs", "hf", "file")
CACHE_BYTES = 20_000_000_000
_MAX_INDEX = 1_000_000_000
_TRIES, _PAUSE_S = 3, 1.0
# A server that says nothing for so long has lost the connection.
_STALL_S = 30.0
# After an eviction so much of the bound is in use.
_KEPT = 0.9
# Between JSON and media lies a tar header.
_BETWEEN = 4096
_SHARD = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*/)*[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class RemoteShards(ShardSet):
    """A set of shards elsewhere with its index."""

    def __init__(self, spans: "RemoteSpans", folder: Path, entries: Sequence[Entry]) -> None:
        super().__init__(folder, entries)
        self.spans = spans

    @property
    def place(self) -> str:
        return self.spans.url

    def with_entries(self, entries: Sequence[Entry]) -> "RemoteShards":
        return RemoteShards(self.spans, self.folder, entries)

    def read(self, entry: Entry, *, verify: bool = False) -> Sample:
        """Read one sample; its hash is always compared. Raises `FatalError` where it is damaged."""
        try:
            media, body = self.spans.read(entry)
        except DamagedError as error:
            raise FatalError(f"{entry.shard}: sample {entry.key}: {error}") from None
        return Sample(entry, json.loads(body), media)

    def values(self, entry: Entry) -> dict[str, Any]:
        return self.read(entry).values


def open_remote(url: str, cache: Path, max_bytes: int = CACHE_BYTES) -> RemoteShards:
    """The shards below an address, with at most `max_bytes` of samples kept in `cache`.

    Raises `UsageError` for another protocol, `FatalError` where the index cannot be fetched or read.
    """
    spans = RemoteSpans(url, cache, max_bytes)
    folder = cache / hashlib.sha256(url.encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / INDEX_FILE) as temporary:
        temporary.write_bytes(spans.index())
    return RemoteShards(spans, folder, open_shards(folder).entries)


class RemoteSpans:
    """Samples of a set elsewhere. Goes to worker processes; each opens its own connection."""

    def __init__(self, url: str, cache: Path, max_bytes: int) -> None:
        check_place(url)
        protocol, _, rest = url.partition("://")
        if protocol not in PROTOCOLS or not rest or "://" in rest or "::" in url:
            raise UsageError(f"{url[:200]!r} is no address of shards", hint="known: " + ", ".join(PROTOCOLS))
        self.url, self._samples = url.rstrip("/"), Kept(cache, max_bytes)
        self._opened: tuple[Any, str] | None = None

    def index(self) -> bytes:
        """The index as bytes. Raises `FatalError` where it is not there or too large."""
        size = self._try(lambda fs, root: fs.info(f"{root}/{INDEX_FILE}").get("size"), INDEX_FILE)
        if size is not None and size > _MAX_INDEX:
            raise FatalError(f"{self.url}/{INDEX_FILE} has {size} bytes")
        body: bytes = self._try(lambda fs, root: fs.cat_file(f"{root}/{INDEX_FILE}"), INDEX_FILE)
        return body

    def read(self, entry: Entry) -> tuple[bytes, bytes]:
        """Media and JSON, from the cache or from there."""
        check_sizes(entry)
        if not _SHARD.match(entry.shard) or not _SHA256.match(entry.sha256):
            raise FatalError(f"the index names {entry.shard[:200]!r} with the hash {entry.sha256[:64]!r}")
        kept = self._samples.get(entry.sha256)
        if kept is not None and len(kept) == entry.mp4_bytes + entry.json_bytes:
            media, body = kept[: entry.mp4_bytes], kept[entry.mp4_bytes :]
            try:
                check_hash(entry, media, body)
                return media, body
            except DamagedError:
                pass  # here, not there: fetched again
        media, body = self._fetched(entry)
        check_hash(entry, media, body)
        self._samples.put(entry.sha256, media + body)
        return media, body

    def close(self) -> None:
        """Forget the connection."""
        self._opened = None

    def _fetched(self, entry: Entry) -> tuple[bytes, bytes]:
        first = min(entry.mp4_offset, entry.json_offset)
        last = max(entry.mp4_offset + entry.mp4_bytes, entry.json_offset + entry.json_bytes)
        if last - first > entry.mp4_bytes + entry.json_bytes + _BETWEEN:
            raise DamagedError("the index puts its parts far from each other")
        span: bytes = self._try(lambda fs, root: fs.cat_file(f"{root}/{entry.shard}", first, last), entry.shard)
        if len(span) > last - first:
            raise FatalError(f"{self.url}: the server gives whole files where parts were asked for")
        if len(span) < last - first:
            raise DamagedError("the shard ends inside it")
        media, body = entry.mp4_offset - first, entry.json_offset - first
        return span[media : media + entry.mp4_bytes], span[body : body + entry.json_bytes]

    def _try(self, act: Any, name: str) -> Any:
        """What `act` gives; connections break, so it is tried again. Raises `FatalError` after the last time."""
        for tries in range(1, _TRIES + 1):
            try:
                return act(*self._open())
            except (FatalError, MemoryError):
                raise
            except Exception as error:  # every protocol has errors of its own
                self._opened = None
                if tries == _TRIES or isinstance(error, FileNotFoundError):
                    words = str(error) or type(error).__name__
                    raise FatalError(f"{self.url}/{name} cannot be fetched: {words}") from None
                time.sleep(_PAUSE_S * tries)
        raise AssertionError

    def _open(self) -> tuple[Any, str]:
        if self._opened is None:
            try:
                from fsspec.core import url_to_fs

                # Listings kept from earlier would hide what changed.
                self._opened = url_to_fs(self.url, skip_instance_cache=True, **_timeouts(self.url))
            except ImportError as error:
                raise MissingToolError(
                    f"{self.url.partition(':')[0]} addresses need another package: {error}",
                    hint="pip install 'v2a-data[remote]' for http, s3fs for s3, gcsfs for gs",
                ) from None
        return self._opened


def _timeouts(url: str) -> dict[str, Any]:
    """How long a connection may be silent, where the protocol leaves that to us."""
    if not url.startswith(("http://", "https://")):
        return {}
    from aiohttp import ClientTimeout

    return {"client_kwargs": {"timeout": ClientTimeout(total=None, sock_connect=_STALL_S, sock_read=_STALL_S)}}


class Kept:
    """Files by name in `cache/samples`, together never more than `max_bytes`; for any number of processes."""

    def __init__(self, cache: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = cache / "samples", max_bytes
        self.folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str) -> bytes | None:
        """A file's bytes; it counts as just used."""
        path = self.folder / name
        try:
            body = path.read_bytes()
            os.utime(path)
        except FileNotFoundError:
            return None
        return body

    def put(self, name: str, body: bytes) -> None:
        """Keep a file, and let others go for it; one larger than the bound is not kept."""
        if len(body) > self.max_bytes:
            return
        with self._locked() as file:
            count = file.read().strip()
            # Who was killed while writing it leaves none: then what is there is counted.
            used = (int(count) if count.isdecimal() else self._let_go(self.max_bytes)) + len(body)
            if used > self.max_bytes:
                used = self._let_go(int(self.max_bytes * _KEPT) - len(body)) + len(body)
            # Counted first: who is killed in between leaves too high a count, and the next to let go counts again.
            file.seek(0)
            file.truncate()
            file.write(str(used))
            file.flush()
            temporary = self.folder / f".{name}"
            temporary.write_bytes(body)  # not synced: what a crash tears has another hash
            temporary.replace(self.folder / name)

    def _let_go(self, most: int) -> int:
        """Remove the least recently used until at most so many bytes are left; returns how many are."""
        found = [(item, item.stat()) for item in self.folder.iterdir()]
        left = sum(about.st_size for _, about in found)
        for item, about in sorted(found, key=lambda pair: pair[1].st_mtime_ns):
            if left <= most:
                break
            item.unlink()
            left -= about.st_size
        return left

    @contextmanager
    def _locked(self) -> Iterator[IO[str]]:
        with open(self.folder.with_suffix(".used"), "a+", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            yield file
