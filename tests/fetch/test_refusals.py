"""Addresses that lead elsewhere and files that are lists of addresses: refused, and not a byte of a canary is read.

The real yt-dlp through our own fetch. An allowed server (127.0.0.1) tries to send it to a canary server on another
loopback address, to addresses of private networks, and to a file; the file is a pipe that notices who opens it.
"""

import os
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from v2a_data.fetch.download import FetchRequest, fetch_video
from v2a_data.fetch.pacing import Clock
from v2a_data.recipe import FetchSection

SECRET = b"canary-4f1c9a"


class Canaries:
    """A server and a file that nobody may touch; `hits` says who did."""

    def __init__(self, folder: Path) -> None:
        self.hits: list[str] = []
        self.pipe = folder / "canary.ts"
        os.mkfifo(self.pipe)
        canaries = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                canaries.hits.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", str(len(SECRET)))
                self.end_headers()
                self.wfile.write(SECRET)

            do_HEAD = do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.2", 0), Handler)
        self.address = f"http://127.0.0.2:{self.server.server_port}"
        self.done = threading.Event()
        self.threads = [
            threading.Thread(target=self.server.serve_forever, args=(0.01,)),
            threading.Thread(target=self._watch),
        ]
        for thread in self.threads:
            thread.start()

    def _watch(self) -> None:
        """Whoever opens a pipe to read waits for a writer, and so is found here."""
        while not self.done.is_set():
            try:
                handle = os.open(self.pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                time.sleep(0.002)
                continue
            self.hits.append("file")
            with suppress(OSError):
                os.write(handle, SECRET)
            os.close(handle)

    def close(self) -> None:
        self.server.shutdown()
        self.done.set()
        for thread in self.threads:
            thread.join()
        self.server.server_close()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries and their number stay; the pauses between them do not."""

    class Now(Clock):
        def wait(self, seconds: float) -> bool:
            return True

    monkeypatch.setattr("v2a_data.fetch.pacing.CLOCK", Now())
    monkeypatch.setattr("v2a_data.fetch.ytdlp.Downloader._before_retry", lambda self, n: 0.0)


@pytest.fixture
def canaries(tmp_path: Path) -> Iterator[Canaries]:
    found = Canaries(tmp_path)
    yield found
    found.close()


class Site:
    """The allowed server: paths with what they answer, as (status, type, body, Location)."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str, bytes, str | None]] = {}
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, kind, body, location = site.answers[self.path]
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                if location:
                    self.send_header("Location", location)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    found = Site()
    yield found
    found.close()


def ask(url: str, folder: Path, hosts: tuple[str, ...] = ("127.0.0.1",)):
    """What our fetch makes of an address, with the extractor that takes anything."""
    tmp = folder / "w" / "tmp"
    tmp.mkdir(parents=True, exist_ok=True)
    options = FetchSection(sleep_s=(0, 0), sleep_requests_s=0, extractors=("generic", "html5"), hosts=hosts)
    return fetch_video(
        FetchRequest("yt-abcdefghijk", None, url, None, str(tmp), str(folder / "w" / "yt-abcdefghijk"), options)
    )


def assert_refused(url: str, folder: Path, canaries: Canaries) -> None:
    outcome = ask(url, folder)
    time.sleep(0.01)
    assert outcome.failure is not None, url
    assert canaries.hits == [], url
    assert SECRET not in outcome.message.encode()
    assert not [p for p in (folder / "w").rglob("*") if p.is_file() and SECRET in p.read_bytes()]


ADDRESSES = [
    "file://{pipe}",
    "file:{pipe}",
    "FILE://localhost{pipe}",
    "{pipe}",
    "{canary}/x.mp4",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/x.mp4",
    "http://192.168.1.1/x.mp4",
    "http://[::1]:{port}/x.mp4",
    "http://2130706434:{port}/x.mp4",
    "http://0x7f000002:{port}/x.mp4",
    "http://0177.0.0.2:{port}/x.mp4",
    "http://0.0.0.0:{port}/x.mp4",
    "http://127.0.0.1@127.0.0.2:{port}/x.mp4",
    "http://127.0.0.1.nip.io:{port}/x.mp4",
    "ftp://127.0.0.1/x.mp4",
    "gopher://127.0.0.1:{port}/x",
    "data:video/mp4;base64,AAAA",
    "concat:{pipe}",
    "pipe:{pipe}",
    "subfile,,start,0,end,0,,:{pipe}",
    "-o/tmp/x",
    "--exec=touch {pipe}",
    "ytsearch:cat",
]


@pytest.mark.parametrize("template", ADDRESSES)
def test_addresses_that_lead_elsewhere(template: str, canaries: Canaries, tmp_path: Path) -> None:
    port = canaries.server.server_port
    assert_refused(template.format(pipe=canaries.pipe, canary=canaries.address, port=port), tmp_path, canaries)


REDIRECTS = [
    "{canary}/x.mp4",
    "http://127.0.0.1@127.0.0.2:{port}/x.mp4",
    "//127.0.0.2:{port}/x.mp4",
    "http://2130706434:{port}/x.mp4",
    "file://{pipe}",
    "ftp://127.0.0.2/x.mp4",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/x.mp4",
    "https://evil.example/x.mp4",
]


@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("template", REDIRECTS)
def test_redirects_that_lead_elsewhere(
    template: str, status: int, site: Site, canaries: Canaries, tmp_path: Path
) -> None:
    port = canaries.server.server_port
    target = template.format(pipe=canaries.pipe, canary=canaries.address, port=port)
    site.answers["/x.mp4"] = (status, "video/mp4", b"", target)
    site.answers["/start.mp4"] = (302, "video/mp4", b"", "/x.mp4")
    assert_refused(f"{site.address}/start.mp4", tmp_path, canaries)


HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n"
MASTER = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=64x36\n{target}\n"
KEYED = '#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF:10,\n/seg.ts\n#EXT-X-ENDLIST\n'
DASH = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT10S"><Period>'
    '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1" width="64" height="36" codecs="avc1.4d401e">'
    "<BaseURL>{target}</BaseURL></Representation></AdaptationSet></Period></MPD>"
)
PAGE = (
    '<html><head><meta property="og:video" content="{target}"></head><body><video src="{target}"></video></body></html>'
)
LISTS = {
    "m3u8": (HLS, "application/vnd.apple.mpegurl"),
    "m3u8 as mp4": (HLS, "video/mp4"),
    "m3u8 as octets": (HLS, "application/octet-stream"),
    "master": (MASTER, "application/vnd.apple.mpegurl"),
    "key": (KEYED, "application/vnd.apple.mpegurl"),
    "ffconcat": ("ffconcat version 1.0\nfile '{target}'\n", "video/mp4"),
    "dash": (DASH, "application/dash+xml"),
    "dash as mp4": (DASH, "video/mp4"),
    "sdp": ("v=0\no=- 0 0 IN IP4 127.0.0.2\ns=x\nc=IN IP4 127.0.0.2\nt=0 0\na=control:{target}\nm=video 9 RTP/AVP 96\n", "video/mp4"),
    "pls": ("[playlist]\nFile1={target}\nNumberOfEntries=1\n", "audio/x-scpls"),
    "page": (PAGE, "text/html"),
    "rss": ("<rss><channel><item><enclosure url='{target}' type='video/mp4'/></item></channel></rss>", "application/rss+xml"),
}  # fmt: skip


@pytest.mark.parametrize("where", ["file", "server"])
@pytest.mark.parametrize("name", LISTS)
def test_lists_of_addresses_in_disguise(name: str, where: str, site: Site, canaries: Canaries, tmp_path: Path) -> None:
    text, kind = LISTS[name]
    target = f"file://{canaries.pipe}" if where == "file" else f"{canaries.address}/seg.ts"
    body = text.format(target=target).encode()
    for path in ("/x.mp4", "/x.m3u8", "/x.mpd", "/x"):
        site.answers[path] = (200, kind, body, None)
    site.answers["/seg.ts"] = (200, "video/mp2t", bytes(188 * 4), None)
    for path in ("/x.mp4", "/x"):
        assert_refused(f"{site.address}{path}", tmp_path, canaries)


def test_the_canaries_sing(canaries: Canaries) -> None:
    """Whoever does come is noticed."""
    urllib.request.urlopen(f"{canaries.address}/y").read()
    assert canaries.pipe.read_bytes().startswith(SECRET)
    assert canaries.hits[:2] == ["/y", "file"]


def test_what_is_allowed_is_fetched(site: Site, media, tmp_path: Path) -> None:
    body = media("a.mp4").read_bytes()
    site.answers["/x.mp4"] = (200, "video/mp4", body, None)
    site.answers["/start.mp4"] = (302, "video/mp4", b"", "/x.mp4")
    outcome = ask(f"{site.address}/start.mp4", tmp_path)
    assert (outcome.failure, outcome.bytes) == (None, len(body))
