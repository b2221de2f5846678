"""YouTube-8M's lists over HTTP on loopback: real formats, lost ids, caching, resumption."""

import io
import json
import urllib.error
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime
from pathlib import Path

import pytest
from worlds import RECIPE

from v2a_data.console import Console
from v2a_data.engine import SerialEngine
from v2a_data.errors import FatalError, NothingError, SiteStopError, UsageError
from v2a_data.fetch import http
from v2a_data.fetch.listing import list_only
from v2a_data.fetch.stage import fetch
from v2a_data.recipe import SourceSection, load_recipe
from v2a_data.sources.base import Listing
from v2a_data.sources.youtube8m import YouTube8M
from v2a_data.synthetic.server import serve_world, short_key
from v2a_data.synthetic.world import read_world
from v2a_data.workspace import Workspace


def listing(address: str, cache: Path, **more: object) -> Listing:
    over = {
        "source": {
            "label_url": f"{address}/2/j/v/{{mid}}.js",
            "lookup_url": f"{address}/2/j/i/{{prefix}}/{{id}}.js",
            "watch_url": f"{address}/media/{{id}}.mp4",
        }
    }
    return Listing(load_recipe(RECIPE, over), cache, **more)  # type: ignore[arg-type]


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
        YouTube8M().mid("Airplan", SourceSection())
    assert YouTube8M().mid("airplane", SourceSection()) == "/m/05czz6l"
    assert YouTube8M().mid("/m/09ct_", SourceSection()) == "/m/09ct_"


def test_a_recipe_may_bring_ids_of_labels() -> None:
    own = SourceSection(label_ids={"Baby crying": "/m/0463cq4", "Airplane": "/m/other"})
    assert YouTube8M().mid("Baby crying", own) == "/m/0463cq4"
    assert YouTube8M().mid("Airplane", own) == "/m/other"
    with pytest.raises(UsageError, match=r"source.label_ids.Dog: an id such as /m/0cmf2, got '../x'"):
        load_recipe(RECIPE, {"source": {"label_ids": {"Dog": "../x"}}})


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


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (403, b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "gone"),
        (404, b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchKey</Code></Error>", "gone"),
        (403, b"<html>blocked by the proxy of this house</html>", "later"),
        (200, b"<html>please log in</html>", "later"),
        (200, b'i("abcd","not-an-id");', "later"),
        (200, b'i("wxyz","abcdefghijk");', "later"),
    ],
)
def test_only_the_store_itself_can_say_that_a_video_is_lost(
    status: int, body: bytes, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"v": http.Answer(200, b'p("05czz6l",["abcd"]);'), "i": http.Answer(status, body)}
    monkeypatch.setattr("v2a_data.sources.youtube8m.get", lambda url: answers[url.split("/j/")[1][0]])
    (video,) = YouTube8M().videos(("Airplane",), listing("http://127.0.0.1:9", tmp_path))
    assert (video.video_id, video.state) == ("y8-abcd", state)


def test_a_page_in_between_does_not_use_up_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Console
) -> None:
    keys = [f"k{i:03d}" for i in range(20)]
    asked: list[str] = []
    real = False

    def answer(url: str) -> http.Answer:
        if "/j/v/" in url:
            return http.Answer(200, f'p("05czz6l",{json.dumps(keys)});'.encode())
        key = url.removesuffix(".js")[-4:]
        asked.append(key)
        return http.Answer(200, f'i("{key}","id_of__{key}");'.encode() if real else b"<html>please log in</html>")

    monkeypatch.setattr("v2a_data.sources.youtube8m.get", answer)
    recipe = listing("http://127.0.0.1:9", tmp_path).recipe
    recipe = replace(recipe, labels=("Airplane",))
    with Workspace.open(tmp_path / "w", "t") as workspace:
        with pytest.raises(SiteStopError) as caught:
            fetch(workspace, recipe, YouTube8M(), SerialEngine(), console, None)
        assert "8 lookups in a row" in caught.value.message
        assert workspace.ledger.counts("videos", "state") == {"later": 8}
        real = True
        list_only(workspace, recipe, YouTube8M(), None)
        assert workspace.ledger.counts("videos", "state") == {"listed": 20}
        assert asked == keys[:8] + keys
        moved = workspace.ledger.rows("SELECT video_id FROM attempts ORDER BY id")
        assert [row[0] for row in moved] == [f"yt-id_of__{key}" for key in keys[:8]]


def test_a_site_that_says_429_again_and_again_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(http.time, "sleep", waited.append)

    def refuse(url: str) -> http.Answer:
        headers = Message()
        headers["Retry-After"] = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
        raise urllib.error.HTTPError(url, 429, "Too Many Requests", headers, io.BytesIO())

    monkeypatch.setattr(http, "_once", refuse)
    with pytest.raises(SiteStopError, match="HTTP 429 4 times"):
        http.get("http://127.0.0.1:9/x")
    assert sum(25 <= seconds <= 31 for seconds in waited) == 3


def test_a_whole_list_resolves_in_steps_each_id_asked_once_and_paced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"{i:04d}" for i in range(600)]
    asked: list[str] = []
    waits: list[float] = []

    def answer(url: str) -> http.Answer:
        if "/j/v/" in url:
            return http.Answer(200, f'p("05czz6l",{json.dumps(keys)});'.encode())
        key = url.removesuffix(".js")[-4:]
        asked.append(key)
        if int(key) % 4 == 0:
            return http.Answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        return http.Answer(200, f'i("{key}","id_of__{key}");'.encode())

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        return True

    monkeypatch.setattr("v2a_data.sources.youtube8m.get", answer)
    monkeypatch.setattr("v2a_data.sources.youtube8m.pause", wait)
    recipe = replace(load_recipe(RECIPE, {"source": {"lookup_sleep_s": 0.1}}), labels=("Airplane",))
    assert SourceSection().lookup_sleep_s == 0.1
    for limit in (1, 250, 250, None, None):
        with Workspace.open(tmp_path / "w", "t") as workspace:
            list_only(workspace, recipe, YouTube8M(), limit)
            counts = workspace.ledger.counts("videos", "state")
    assert counts == {"gone": 150, "listed": 450}
    assert asked == keys
    assert waits == [0.1] * 600
