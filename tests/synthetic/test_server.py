"""The small YouTube-8M on loopback: ranges, list formats, what is gone, and nothing but the world."""

import http.client
import json
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from v2a_data.errors import FatalError, UsageError
from v2a_data.recipe import load_recipe
from v2a_data.sources.base import Listing
from v2a_data.sources.youtube8m import YouTube8M
from v2a_data.synthetic.server import serve_world
from v2a_data.synthetic.world import WorldRow, read_world

KINDS = {".mp4": "mp4", ".webm": "webm", ".mkv": "x-matroska"}


@pytest.fixture(scope="module")
def address(world: Path) -> Iterator[str]:
    with serve_world(world, gone=1) as found:
        yield found


@pytest.fixture(scope="module")
def row(world: Path) -> WorldRow:
    return read_world(world)[3]


def ask(address: str, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """A request as it stands: http.client does not tidy up paths."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), body


def test_a_whole_file(address: str, row: WorldRow, world: Path) -> None:
    status, headers, body = ask(address, f"/media/{row.native_id}.mp4")
    assert status == 200
    assert body == (world / row.file).read_bytes()
    assert (headers["Content-Type"], headers["Accept-Ranges"]) == (f"video/{KINDS[Path(row.file).suffix]}", "bytes")
    status, headers, body = ask(address, f"/media/{row.native_id}.mp4", "HEAD")
    assert (status, int(headers["Content-Length"]), body) == (200, (world / row.file).stat().st_size, b"")


@pytest.mark.parametrize("asked", ["0-0", "0-99", "100-", "1000-1999", "-50", "5000-99999999"])
def test_ranges_are_the_right_bytes(asked: str, address: str, row: WorldRow, world: Path) -> None:
    whole = (world / row.file).read_bytes()
    low, _, high = asked.partition("-")
    first = int(low) if low else len(whole) - int(high)
    last = min(int(high), len(whole) - 1) if high and low else len(whole) - 1
    status, headers, body = ask(address, f"/media/{row.native_id}.mp4", Range=f"bytes={asked}")
    assert status == 206
    assert body == whole[first : last + 1]
    assert headers["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"


@pytest.mark.parametrize("beyond", [0, 1, 10**9])
def test_beyond_the_end_is_416(beyond: int, address: str, row: WorldRow, world: Path) -> None:
    size = (world / row.file).stat().st_size
    status, _, body = ask(address, f"/media/{row.native_id}.mp4", Range=f"bytes={size + beyond}-")
    assert (status, body) == (416, b"")


def test_every_listed_id_leads_to_its_file(address: str, world: Path, tmp_path: Path) -> None:
    over = {
        "label_url": f"{address}/2/j/v/{{mid}}.js",
        "lookup_url": f"{address}/2/j/i/{{prefix}}/{{id}}.js",
        "watch_url": f"{address}/media/{{id}}.mp4",
    }
    videos = list(YouTube8M().videos(("Airplane", "Drum"), Listing(load_recipe("demo", {"source": over}), tmp_path)))
    files = {r.native_id: (world / r.file, r.label) for r in read_world(world)}
    listed = {v.native_id: v for v in videos if v.state == "listed"}
    assert listed.keys() == files.keys()
    for native_id, video in listed.items():
        path, label = files[native_id]
        assert video.labels == (label,)
        assert ask(address, video.url.removeprefix(address))[2] == path.read_bytes()
    assert [(v.video_id, v.reason) for v in videos if v.state != "listed"] == [("y8-Go00", "lookup_gone")]


def test_lists_and_lookups_are_youtube_8ms_own_scripts(address: str, world: Path) -> None:
    status, headers, body = ask(address, "/2/j/v/026t6.js")
    assert (status, headers["Content-Type"]) == (200, "text/javascript")
    text = body.decode()
    assert text.startswith('p("026t6",[') and text.endswith("]);")
    keys = json.loads(text.removeprefix('p("026t6",').removesuffix(");"))
    assert len(keys) == len(set(keys)) == 7
    key = next(k for k in keys if k != "Go00")
    native = ask(address, f"/2/j/i/{key[:2]}/{key}.js")[2].decode()
    ids = {r.native_id for r in read_world(world) if r.label == "Drum"}
    assert native in {f'i("{key}","{native_id}");' for native_id in ids}


@pytest.mark.parametrize(
    "path", ["/2/j/i/Go/Go00.js", "/2/j/i/zz/zzzz.js", "/2/j/v/0zzzz.js", "/2/j/i/ab/cdef.js", "/"]
)
def test_what_is_gone_answers_403_with_xml(path: str, address: str) -> None:
    status, headers, body = ask(address, path)
    assert (status, headers["Content-Type"]) == (403, "application/xml")
    assert body.startswith(b"<?xml") and b"<Code>AccessDenied</Code>" in body


def test_unknown_media_are_404(address: str) -> None:
    assert ask(address, "/media/AAAAAAAAAAA.mp4")[0] == 404
    assert ask(address, "/media/short.mp4")[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        "/world.json",
        "/truth/videos.parquet",
        "/videos/sy-0-3.mp4",
        "/media/../world.json",
        "/media/../../../../../../etc/passwd",
        "/media/..%2f..%2f..%2fetc%2fpasswd.mp4",
        "/media/%2e%2e/world.json",
        "//etc/passwd",
        "/2/j/v/../../../world.js",
        "/2/j/i/../..%2f.js",
        "http://127.0.0.1/etc/passwd",
        "/media/AAAAAAAAAAA.mp4\x00.mp4",
    ],
)
def test_no_path_leads_to_another_file(path: str, address: str) -> None:
    host, _, port = address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] in (b"400", b"403", b"404")
    assert not any(words in body for words in (b"root:", b"PAR1", b'"plan"', b"ftyp"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the kernel's table of sockets")
def test_only_loopback_is_bound(address: str) -> None:
    port = f"{int(address.rpartition(':')[2]):04X}"
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == "0A" and local.endswith(f":{port}"):
                listening.append((table, local.partition(":")[0]))
    assert listening == [("tcp", "0100007F")]


def test_a_taken_port_says_which_option(address: str, world: Path) -> None:
    port = int(address.rpartition(":")[2])
    with pytest.raises(FatalError, match=f"port {port} on 127.0.0.1") as caught, serve_world(world, port):
        pass
    assert caught.value.hint == "choose another with --port"


def test_only_finished_worlds_are_served(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a finished world"), serve_world(tmp_path):
        pass


def test_clients_that_hang_up_leave_no_traceback(
    address: str, row: WorldRow, capfd: pytest.CaptureFixture[str]
) -> None:
    host, _, port = address.removeprefix("http://").partition(":")
    for request in (b"", f"GET /media/{row.native_id}.mp4 HTTP/1.1\r\nHost: x\r\n\r\n".encode()):
        client = socket.create_connection((host, int(port)), timeout=10)
        client.sendall(request)
        if request:
            assert client.recv(10) == b"HTTP/1.1 2"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # a reset, not an end
    time.sleep(0.5)
    assert ask(address, "/media/AAAAAAAAAAA.mp4")[0] == 404
    assert capfd.readouterr().err == ""
