"""Shards over HTTP from a loopback server, as from a folder; a cache that keeps to its bound; addresses that are none."""

import pickle
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small import FORM, Seen
from v2a.reading import remote
from v2a.reading.remote import Kept, RemoteShards, RemoteSpans, open_remote
from v2a.reading.source import shard_source
from v2a.stream import ShardStream

from v2a_data.errors import FatalError, UsageError
from v2a_data.shards.read import Entry, ShardSet


@dataclass
class Site:
    """A server of one folder, and what was asked of it."""

    folder: Path
    url: str = ""
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    ranges: bool = True
    failures: int = 0
    silent: int = 0


def _handler(site: Site) -> type[SimpleHTTPRequestHandler]:
    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            path, span = site.folder / self.path.lstrip("/"), self.headers["Range"]
            site.asked.append((self.path, span))
            if site.silent:
                site.silent -= 1
                time.sleep(2)
                return
            if site.failures:
                site.failures -= 1
                self.send_error(503)
                return
            if not path.is_file():
                self.send_error(404)
                return
            body = path.read_bytes()
            part = span is not None and site.ranges
            if part:
                first, last = span.removeprefix("bytes=").split("-")
                body = body[int(first) : int(last) + 1]
            self.send_response(206 if part else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


@pytest.fixture
def site(coded: ShardSet, tmp_path: Path) -> Iterator[Site]:
    """The coded shards with an index, served."""
    folder = tmp_path / "site"
    folder.mkdir()
    shutil.copy(coded.folder / "s.tar", folder / "s.tar")
    write_index(folder, coded.entries)
    with served(folder) as made:
        yield made


@contextmanager
def served(folder: Path) -> Iterator[Site]:
    """A folder on loopback."""
    made = Site(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(made))
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def write_index(folder: Path, entries: list[Entry]) -> None:
    pq.write_table(pa.Table.from_pylist([asdict(entry) for entry in entries]), folder / "index.parquet")


def batches(shards: ShardSet, workers: int = 0, count: int = 8) -> list[Seen]:
    entries = shards.split("train")
    with ShardStream(shard_source(shards, entries, FORM, workers), entries, 8, 4, 3, block=2) as stream:
        return [Seen.of(crops) for crops in islice(stream, count)]


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_the_folder_and_each_sample_is_fetched_once(
    coded: ShardSet, site: Site, tmp_path: Path, workers: int
) -> None:
    shards = open_remote(site.url, tmp_path / "cache")
    assert shards.split("train") == coded.split("train")
    assert batches(shards, workers) == batches(coded)
    spans = [span for path, span in site.asked if path == "/s.tar"]
    assert None not in spans
    # Two workers may meet at one sample; then both fetch it.
    assert len(set(spans)) == 5 and len(spans) <= 5 + workers
    site.asked.clear()
    assert batches(open_remote(site.url, tmp_path / "cache"), workers) == batches(coded)
    assert [path for path, _ in site.asked if path == "/s.tar"] == []


def test_a_file_address_reads_the_same(coded: ShardSet, site: Site, tmp_path: Path) -> None:
    shards = open_remote(f"file://{site.folder}", tmp_path / "cache")
    assert batches(shards) == batches(coded)
    assert shards.only(["x"]).values(shards.entries[1])["key"] == shards.entries[1].key


def test_the_cache_keeps_to_its_bound_and_the_batches_stay_the_same(
    coded: ShardSet, site: Site, tmp_path: Path
) -> None:
    largest = max(entry.mp4_bytes + entry.json_bytes for entry in coded.entries)
    shards = open_remote(site.url, tmp_path / "cache", 2 * largest)
    entries = shards.split("train")
    with ShardStream(shard_source(shards, entries, FORM, 1), entries, 8, 4, 3, block=2) as stream:
        seen = []
        for crops in islice(stream, 8):
            seen.append(Seen.of(crops))
            assert held(tmp_path / "cache") <= 2 * largest
    assert seen == batches(coded)
    assert held(tmp_path / "cache") > 0


def held(cache: Path) -> int:
    """Bytes in the cache; a file may go while they are counted."""
    total = 0
    for path in (cache / "samples").iterdir():
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def test_the_least_recently_used_goes_first_and_many_may_write(tmp_path: Path) -> None:
    kept = Kept(tmp_path, 1000)
    for name in "abc":
        kept.put(name, b"x" * 300)
    assert kept.get("a") == b"x" * 300
    kept.put("d", b"y" * 300)
    assert kept.get("b") is None and kept.get("a") and kept.get("c") and kept.get("d")
    kept.put("e", b"z" * 1001)
    assert kept.get("e") is None
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: Kept(tmp_path, 1000).put(f"n{i}", bytes(90)), range(60)))
    assert 500 < held(tmp_path) <= 1000
    assert (tmp_path / "samples.used").read_text() == str(held(tmp_path))


def test_a_damaged_file_in_the_cache_is_fetched_again(coded: ShardSet, site: Site, tmp_path: Path) -> None:
    shards = open_remote(site.url, tmp_path / "cache")
    entry = shards.entries[0]
    media, body = shards.spans.read(entry)
    path = tmp_path / "cache" / "samples" / entry.sha256
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert shards.spans.read(entry) == (media, body) == (coded.read(entry).mp4, body)
    assert path.read_bytes() == media + body


def test_a_damaged_sample_there_is_replaced_as_one_here(coded: ShardSet, site: Site, tmp_path: Path) -> None:
    data = bytearray((site.folder / "s.tar").read_bytes())
    data[coded.entries[2].mp4_offset + 50] ^= 1
    (site.folder / "s.tar").write_bytes(data)
    there = batches(open_remote(site.url, tmp_path / "cache"))
    assert there == batches(ShardSet(site.folder, coded.entries))
    assert coded.entries[2].key not in {key for batch in there for key in batch.keys}


def test_what_breaks_once_is_tried_again_and_what_stays_broken_ends_the_run(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_PAUSE_S", 0.0)
    shards = open_remote(site.url, tmp_path / "cache")
    site.failures = 2
    assert shards.spans.read(shards.entries[0])
    site.failures = 1000
    with pytest.raises(FatalError, match=r"s\.tar cannot be fetched"):
        shards.spans.read(shards.entries[1])
    site.failures, site.ranges = 0, False
    with pytest.raises(FatalError, match="gives whole files where parts were asked for"):
        shards.spans.read(shards.entries[1])


@pytest.mark.parametrize(
    "url",
    [
        "/tmp/x",
        "x",
        "http://",
        "ftp://h/x",
        "memory://x",
        "simplecache::http://h/x",
        "http://h/x::file:///etc",
        "github://a/b",
    ],
)
def test_only_known_protocols(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no address of shards"):
        open_remote(url, tmp_path)


@pytest.mark.parametrize(
    "shard",
    ["../s.tar", "/etc/passwd", "a/../../s.tar", "http://h/s.tar", "a//s.tar", "s.tar?x", "a\\s.tar", "s.tar\n"],
)
def test_names_in_an_index_lead_nowhere_else(site: Site, tmp_path: Path, coded: ShardSet, shard: str) -> None:
    write_index(site.folder, [replace(coded.entries[0], shard=shard)])
    shards = open_remote(site.url, tmp_path / "cache")
    site.asked.clear()
    with pytest.raises(FatalError, match="the index names"):
        shards.spans.read(shards.entries[0])
    with pytest.raises(FatalError, match="the index names"):
        shards.spans.read(replace(coded.entries[0], sha256="../x"))
    assert site.asked == []


def test_an_address_without_an_index(site: Site, tmp_path: Path) -> None:
    with pytest.raises(FatalError, match=r"index\.parquet cannot be fetched"):
        open_remote(f"{site.url}/nothing", tmp_path / "cache")


def test_spans_go_to_workers_without_their_connection(site: Site, tmp_path: Path) -> None:
    shards = open_remote(site.url, tmp_path / "cache")
    shards.spans.close()
    again: RemoteSpans = pickle.loads(pickle.dumps(shards.spans))
    assert again.read(shards.entries[0]) == shards.spans.read(shards.entries[0])
    assert isinstance(shards, RemoteShards)


def test_a_server_that_stops_answering_is_a_broken_connection(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_STALL_S", 0.3)
    monkeypatch.setattr(remote, "_PAUSE_S", 0.0)
    shards = open_remote(site.url, tmp_path / "cache")
    site.silent = 1
    assert shards.read(shards.entries[0]).mp4  # the second try is answered
    site.silent = 99
    with pytest.raises(FatalError, match="cannot be fetched"):
        shards.read(shards.entries[1])
