"""The small YouTube-8M on loopback: ranges, list formats, what is gone, and nothing but the world."""

import csv
import http.client
import json
import shutil
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from worlds import RECIPE

from v2a_data.console import Console
from v2a_data.engine import SerialEngine
from v2a_data.errors import FatalError, UsageError
from v2a_data.fetch.stage import fetch
from v2a_data.recipe import load_recipe
from v2a_data.sources.base import Listing
from v2a_data.sources.youtube8m import YouTube8M
from v2a_data.synthetic import server
from v2a_data.synthetic.server import MISDEEDS, Misbehaviour, WorldIndex, parse_misbehaviour, serve_world
from v2a_data.synthetic.world import WorldRow, read_truth, read_world
from v2a_data.workspace import Workspace

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
    status, headers, body = ask(address, f"/media/{row.native_id}.mp4", Range=f"bytes={size + beyond}-")
    assert (status, body, headers["Content-Range"]) == (416, b"", f"bytes */{size}")


@pytest.mark.parametrize("asked", ["bytes=abc", "bytes=0-1,5-6", "bytes=-", "lines=0-1", "bytes=" + "9" * 5000 + "-"])
def test_what_is_no_single_range_gets_the_whole_file(asked: str, address: str, row: WorldRow, world: Path) -> None:
    status, headers, body = ask(address, f"/media/{row.native_id}.mp4", Range=asked)
    assert (status, body) == (200, (world / row.file).read_bytes())
    assert headers.get("Content-Range") is None


def test_a_world_that_names_other_files_is_not_served(world: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    for bad in (str(tmp_path / "secret.mp4"), "../secret.mp4", "videos/../truth/videos.parquet", "world.json"):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(world, copy)
        table = read_truth(copy, "videos")
        table.loc[0, "file"] = bad
        table.to_parquet(copy / "truth" / "videos.parquet", index=False)
        with pytest.raises(UsageError, match="none of its videos"):
            WorldIndex(copy)


def test_short_keys_are_never_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [WorldRow(f"sy-0-{n}", f"{n:011d}", "Drum", "videos/a.mp4", 1.0) for n in range(40)]
    monkeypatch.setattr(server, "short_key", lambda text: f"{int(text) % 50:04d}")
    keys = server._short_keys([*rows, WorldRow("sy-0-50", "00000000050", "Drum", "videos/a.mp4", 1.0)])
    assert len(set(keys.values())) == 41
    assert keys["00000000000"] == "0000"


def test_every_listed_id_leads_to_its_file(address: str, world: Path, tmp_path: Path) -> None:
    over = {
        "label_url": f"{address}/2/j/v/{{mid}}.js",
        "lookup_url": f"{address}/2/j/i/{{prefix}}/{{id}}.js",
        "watch_url": f"{address}/media/{{id}}.mp4",
    }
    videos = list(YouTube8M().videos(("Airplane", "Drum"), Listing(load_recipe(RECIPE, {"source": over}), tmp_path)))
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


def test_audiosets_lists_are_its_own_format(address: str, world: Path) -> None:
    rows = {r.native_id: r for r in read_world(world)}
    seen: list[str] = []
    base = "/us_audioset/youtube_corpus/v1/csv"
    for part in ("eval", "balanced_train", "unbalanced_train"):
        status, headers, body = ask(address, f"{base}/{part}_segments.csv")
        assert (status, headers["Content-Type"]) == (200, "text/csv")
        lines = body.decode().splitlines()
        assert [line[0] for line in lines[:3]] == ["#"] * 3
        assert lines[2] == "# YTID, start_seconds, end_seconds, positive_labels"
        segments = list(csv.reader(lines[3:], skipinitialspace=True))
        assert f"num_ytids={len(segments)}, " in lines[1]
        for native_id, start_s, stop_s, mids in segments:
            row = rows[native_id]
            assert mids == {"Airplane": "/m/0cmf2", "Drum": "/m/026t6"}[row.label]
            assert 0 <= float(start_s) < float(stop_s) <= row.duration_s + 0.001
            assert float(stop_s) - float(start_s) == pytest.approx(10, abs=0.002)
            seen.append(native_id)
    assert sorted(seen) == sorted(rows)
    table = list(csv.reader(ask(address, f"{base}/class_labels_indices.csv")[2].decode().splitlines()))
    assert table == [
        ["index", "mid", "display_name"],
        ["0", "/m/026t6", "Drum"],
        ["1", "/m/0cmf2", "Fixed-wing aircraft, airplane"],
    ]
    assert ask(address, f"{base}/other.csv")[0] == 404


def met(address: str, path: str, *, stalls: bool) -> str:
    """What a client sees of one request."""
    started = time.monotonic()
    try:
        status, headers, _ = ask(address, path)
    except ConnectionResetError:
        return "reset"
    except http.client.IncompleteRead as error:
        # Told apart by how much is there: half of the file, or all of it.
        return "short" if error.expected > 2000 else "length"
    if status != 200:
        assert status != 429 or headers["Retry-After"] == "0"
        return str(status)
    # A machine that is busy is slow too: only where nothing else can be meant.
    return "stall" if stalls and time.monotonic() - started > 0.35 else "ok"


@pytest.mark.parametrize("kind", MISDEEDS)
def test_each_misdeed_is_met_at_its_rate_and_again_with_the_same_seed(
    kind: str, world: Path, rows: list[WorldRow]
) -> None:
    found, ends = [], ("mp4", "webm") if kind == "stall" else ("mp4", "webm", "mkv")
    for _ in range(2):
        bad = Misbehaviour({kind: 0.3}, seed=4, retry_after_s=0, stall_s=0.4)
        with serve_world(world, misbehave=bad) as where:
            # What is gone for good is drawn per path, so many paths are asked for.
            answers = [
                met(where, f"/media/{row.native_id}.{end}", stalls=kind == "stall") for row in rows for end in ends
            ]
            assert bad.done[kind] == sum(answer == kind for answer in answers)
        found.append(answers)
    assert found[0] == found[1]
    assert set(found[0]) == {"ok", kind}
    assert np.mean([answer == kind for answer in found[0]]) == pytest.approx(0.3, abs=0.2)


@pytest.fixture(scope="module")
def rows(world: Path) -> list[WorldRow]:
    return read_world(world)


def test_rates_hold_over_many_requests() -> None:
    shares = {"403": 0.05, "404": 0.1, "429": 0.2, "stall": 0.1, "reset": 0.05}
    bad = Misbehaviour(shares, seed=1)
    asked = [bad.next(f"/media/{n}.mp4") for n in range(4000)]
    for kind, share in shares.items():
        assert np.mean([a == kind for a in asked]) == pytest.approx(share, abs=0.03)
    gone = [bad.next("/media/x.mp4") for _ in range(50)]
    assert gone.count("404") in (0, 50)
    always = [path for path in map(str, range(200)) if all(bad.next(path) == "404" for _ in range(5))]
    once = [path for path in map(str, range(200)) if bad.next(path) == "404"]
    assert always == once
    # Lists are late or broken, never refused for good.
    assert {bad.next(f"/2/j/v/{n}.js") for n in range(400)} <= {None, "429", "stall", "reset"}


def test_misbehaviour_specs() -> None:
    assert parse_misbehaviour("429:0.1,reset:0.05") == {"429": 0.1, "reset": 0.05}
    with pytest.raises(UsageError, match="'rest'; did you mean 'reset'"):
        parse_misbehaviour("rest:0.1")
    with pytest.raises(UsageError, match="add up to more than 1"):
        parse_misbehaviour("429:0.8,reset:0.3")


def test_a_fetch_over_a_bad_line_leaves_every_id_with_its_file_or_a_reason(
    world: Path, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("v2a_data.fetch.http.time.sleep", lambda s: None)
    shares = {"429": 0.05, "404": 0.1, "410": 0.1, "503": 0.1, "short": 0.1, "reset": 0.1, "length": 0.05}
    bad = Misbehaviour(shares, seed=3, retry_after_s=0)
    with serve_world(world, gone=2, misbehave=bad) as where:
        over = {
            "label_url": f"{where}/2/j/v/{{mid}}.js",
            "lookup_url": f"{where}/2/j/i/{{prefix}}/{{id}}.js",
            "watch_url": f"{where}/media/{{id}}.mp4",
        }
        recipe = load_recipe(RECIPE, {"source": over, "labels": ["Airplane"]})
        with Workspace.open(tmp_path / "w", "t") as workspace:
            workspace.adopt(recipe, force=False)
            fetch(workspace, recipe, YouTube8M(), SerialEngine(), console, None)
            videos = workspace.ledger.rows("SELECT video_id, state, reason FROM videos")
    assert bad.done.total() >= 3
    assert len(videos) == 8
    assert all(row["state"] == "fetched" or row["reason"] for row in videos), [tuple(row) for row in videos]
    assert {row["state"] for row in videos} >= {"fetched", "gone"}
