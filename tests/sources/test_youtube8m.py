"""YouTube-8M's lists over HTTP on loopback: real formats, lost ids, caching, resumption."""

from pathlib import Path

import pytest

from v2a_data.errors import FatalError, NothingError, SiteStopError, UsageError
from v2a_data.fetch import http
from v2a_data.recipe import load_recipe
from v2a_data.sources.base import Listing
from v2a_data.sources.youtube8m import YouTube8M
from v2a_data.synthetic.server import serve_world, short_key
from v2a_data.synthetic.world import read_world


def listing(address: str, cache: Path, **more: object) -> Listing:
    over = {
        "source": {
            "label_url": f"{address}/2/j/v/{{mid}}.js",
            "lookup_url": f"{address}/2/j/i/{{prefix}}/{{id}}.js",
            "watch_url": f"{address}/media/{{id}}.mp4",
        }
    }
    return Listing(load_recipe("demo", over), cache, **more)  # type: ignore[arg-type]


def test_ids_resolve_and_lost_ones_are_gone_never_ids(world: Path, tmp_path: Path) -> None:
    with serve_world(world, gone=2) as address:
        videos = list(YouTube8M().videos(("Airplane", "Drum"), listing(address, tmp_path)))
    listed = [v for v in videos if v.state == "listed"]
    gone = [v for v in videos if v.state == "gone"]
    assert {v.video_id for v in listed} == {f"yt-{row.native_id}" for row in read_world(world)}
    assert {(v.video_id, v.reason) for v in gone} == {("y8-Go00", "lookup_gone"), ("y8-Go01", "lookup_gone")}
    assert not any("AccessDenie" in v.video_id for v in videos)
    assert [v.position for v in videos] == list(range(len(videos)))
    assert all(v.url == f"{address}/media/{v.native_id}.mp4" for v in listed)
    assert {v.labels for v in gone} == {("Airplane", "Drum")}


def test_known_ids_are_passed_over_and_resolved_ones_not_asked_again(world: Path, tmp_path: Path) -> None:
    rows = read_world(world)
    done, waiting = short_key(rows[0].native_id), short_key(rows[2].native_id)
    with serve_world(world) as address:
        first = list(YouTube8M().videos(("Airplane",), listing(address, tmp_path)))
    # The server is gone: only what needs no request can still be listed.
    again = listing(
        address,
        tmp_path,
        known=frozenset(v.source_key for v in first) - {waiting},
        resolved={waiting: rows[2].native_id},
    )
    assert [v.native_id for v in YouTube8M().videos(("Airplane",), again)] == [rows[2].native_id]
    assert done in {v.source_key for v in first}


@pytest.mark.parametrize(
    "body",
    [
        b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        b'p("026t6",["abcd"]);',
        b'p("05czz6l",[abcd]);',
        b"",
    ],
)
def test_a_list_that_is_none_stops_with_advice(body: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("v2a_data.sources.youtube8m.get", lambda url: http.Answer(200, body))
    with pytest.raises(FatalError) as caught:
        list(YouTube8M().videos(("Airplane",), listing("http://127.0.0.1:9", tmp_path)))
    assert "not a list of YouTube-8M ids" in caught.value.message
    assert not list(tmp_path.iterdir())


def test_unknown_labels_name_the_nearest() -> None:
    with pytest.raises(NothingError, match="did you mean 'Airplane'"):
        YouTube8M().mid("Airplan")
    assert YouTube8M().mid("airplane") == "/m/05czz6l"
    assert YouTube8M().mid("/m/09ct_") == "/m/09ct_"


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x", "data:text/plain,x", "/etc/passwd"]
)
def test_only_http_is_fetched(url: str) -> None:
    with pytest.raises(UsageError, match="only http and https"):
        http.get(url)


def test_redirects_are_answers_and_a_long_wait_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/away":
                self.send_response(302)
                self.send_header("Location", "http://169.254.169.254/secret")
            else:
                self.send_response(429)
                self.send_header("Retry-After", "3600")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    try:
        assert http.get(f"{base}/away").status == 302
        with pytest.raises(SiteStopError, match="asks to wait 3600 s"):
            http.get(f"{base}/busy")
    finally:
        server.shutdown()
        server.server_close()
