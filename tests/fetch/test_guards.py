"""Addresses that are refused before they are asked, and a session that stays with the user."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from youtube_loopback import mapped, player_answer
from yt_dlp.networking.common import _REQUEST_HANDLERS

from v2a_data.console import Console
from v2a_data.engine import SerialEngine
from v2a_data.errors import UsageError
from v2a_data.fetch import hosts
from v2a_data.fetch.cookies import read_cookies
from v2a_data.fetch.download import FetchRequest, fetch_video
from v2a_data.fetch.hosts import HostCheck
from v2a_data.fetch.stage import fetch
from v2a_data.fetch.wishes import Wishes
from v2a_data.recipe import FetchSection, load_recipe
from v2a_data.sources.ids import Ids
from v2a_data.workspace import Workspace

ID = "abcdefghi-_"
SECRET = "canary-9f2c41d7"


@contextmanager
def server(location: str = "", body: bytes = b"") -> Iterator[tuple[str, list[str]]]:
    """Redirects to `location`, or answers with `body`; its port, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302 if location else 200)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    try:
        yield str(made.server_port), asked
    finally:
        made.shutdown()
        made.server_close()


def generic(url: str, folder: Path) -> Any:
    options = FetchSection(extractors=("generic",), hosts=("127.0.0.1",), sleep_s=(0, 0), sleep_requests_s=0)
    return fetch_video(FetchRequest("yt-" + ID, None, url, None, str(folder), str(folder / ID), options))


@pytest.mark.parametrize("handler", ["Urllib", "Requests"])
@pytest.mark.parametrize(
    "to", ["http://localhost:{port}/canary", "http://127.0.0.2:{port}/canary", "file:///etc/passwd"]
)
def test_a_redirect_elsewhere_is_never_followed(to: str, handler: str, tmp_path: Path, monkeypatch) -> None:
    for name in [name for name in _REQUEST_HANDLERS if name != handler]:
        monkeypatch.delitem(_REQUEST_HANDLERS, name)
    with server(body=b"canary") as (port, asked), server(location=to.format(port=port)) as (first, _):
        outcome = generic(f"http://127.0.0.1:{first}/a.mp4", tmp_path)
    assert outcome.failure in ("host_refused", "transport", "unknown")
    assert asked == []
    assert not [*tmp_path.glob(f"{ID}*")]


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "169.254.169.254", "127.0.0.1", "::1", "fd00::1", "100.64.0.1", "0.0.0.0"]
)
def test_names_of_private_addresses_are_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("142.250.1.1", 0)),
        (family, socket.SOCK_STREAM, 6, "", (address, 0)),
    ])  # fmt: skip
    monkeypatch.setattr(hosts, "_KNOWN", {})
    check = HostCheck(FetchSection().hosts)
    assert not check("https://inside.youtube.com/x")
    assert check.refused == "https://inside.youtube.com is an address inside a private network"


def test_public_names_and_names_that_nobody_knows_may_be_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("142.250.1.1", 0))]
    monkeypatch.setattr(hosts, "_KNOWN", {})
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert HostCheck(FetchSection().hosts)("https://www.youtube.com/x")

    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert HostCheck(FetchSection().hosts)("https://www2.youtube.com/x")


def jar(folder: Path, mode: int = 0o600) -> Path:
    path = folder / "jar.txt"
    line = "\t".join([".youtube.com", "TRUE", "/", "TRUE", "2147483647", "SID", SECRET])
    path.write_text(f"# Netscape HTTP Cookie File\n{line}\n")
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_session_that_others_may_read_is_refused(mode: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"other users may read it .mode {mode:04o}") as caught:
        read_cookies(str(jar(tmp_path, mode)))
    assert str(caught.value.hint).startswith("chmod 600")


@pytest.mark.parametrize("text", ["", "SID=1", '{"a": 1}'])
def test_what_is_no_cookies_file_is_refused(text: str, tmp_path: Path) -> None:
    path = jar(tmp_path)
    path.write_text(text)
    with pytest.raises(UsageError, match="not a cookies file"):
        read_cookies(str(path))
    with pytest.raises(UsageError, match="No such file"):
        read_cookies(str(tmp_path / "none"))


def test_a_session_is_sent_and_stays_where_it_is(files, tmp_path: Path, console: Console, clock) -> None:
    path = jar(tmp_path)
    before = path.read_bytes(), path.stat().st_mtime_ns
    recipe = load_recipe("airplane", {"fetch": {"sleep_s": [0, 0]}})
    root = tmp_path / "w"
    with mapped({ID: player_answer(ID, 11.0, files)}, files) as requests, Workspace.open(root, "t") as workspace:
        fetch(workspace, recipe, Ids([ID]), SerialEngine(), console, Wishes(cookies=str(path)))
        assert workspace.ledger.value("SELECT state FROM videos") == "fetched"
        text = json.dumps([[*map(str, row)] for row in workspace.ledger.rows("SELECT * FROM attempts")])
    assert any(SECRET in cookies for cookies in requests.cookies)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert SECRET not in text
    assert not [item for item in root.rglob("*") if item.is_file() and SECRET.encode() in item.read_bytes()]
