"""A stand-in for YouTube's hosts on loopback: made-up player answers and media behind the real extractor.

`mapped()` registers a yt-dlp RequestHandler that sends every request for the site's hosts to the
local server. yt-dlp itself, its YouTube extractor included, is not touched.
"""

import json
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from yt_dlp.networking import Request
from yt_dlp.networking._urllib import UrllibRH
from yt_dlp.networking.common import _REQUEST_HANDLERS, _RH_PREFERENCES

PLAYER = "0123abcd"
HOSTS = re.compile(r"(^|\.)(youtube\.com|googlevideo\.com|youtubei\.googleapis\.com)$")


def player_answer(video_id: str, duration_s: float, files: dict[int, Path]) -> dict:
    """A playable answer with one picture and one sound format."""
    base = "https://rr1---sn-test.googlevideo.com/videoplayback"
    common = {"approxDurationMs": str(round(duration_s * 1000)), "lastModified": "1"}
    formats = [
        {
            "itag": 134,
            "mimeType": 'video/mp4; codecs="avc1.4d401e"',
            "width": 640,
            "height": 360,
            "fps": 25,
            "qualityLabel": "360p",
            "quality": "medium",
            "bitrate": 300000,
        },
        {
            "itag": 140,
            "mimeType": 'audio/mp4; codecs="mp4a.40.2"',
            "bitrate": 130000,
            "averageBitrate": 129000,
            "audioQuality": "AUDIO_QUALITY_MEDIUM",
            "audioSampleRate": "44100",
            "audioChannels": 2,
        },
    ]
    for row in formats:
        size = files[row["itag"]].stat().st_size
        row |= {
            **common,
            "contentLength": str(size),
            "url": f"{base}?id={video_id}&itag={row['itag']}&expire=9999999999",
        }
    return {
        "playabilityStatus": {"status": "OK"},
        "videoDetails": {
            "videoId": video_id,
            "title": "made-up video [/b] \x1b[31m",
            "lengthSeconds": str(round(duration_s)),
            "channelId": "UC" + "x" * 22,
            "author": "nobody",
            "isLiveContent": False,
            "viewCount": "1",
        },
        "streamingData": {"expiresInSeconds": "21540", "adaptiveFormats": formats},
    }


def refusal(status: str, reason: str, subreason: str | None = None) -> dict:
    """An answer that refuses to play, in the site's form."""
    screen = {"playerErrorMessageRenderer": {"reason": {"simpleText": reason}}}
    if subreason:
        screen["playerErrorMessageRenderer"]["subreason"] = {"simpleText": subreason}
    return {"playabilityStatus": {"status": status, "reason": reason, "errorScreen": screen}}


# What the extractor turns to where an age is asked for.
_EMBED = b"""<script>ytcfg.set({"INNERTUBE_CONTEXT": {"client": {"clientName": "WEB_EMBEDDED_PLAYER"}}});</script>"""
_LIST = b"""#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=300000,RESOLUTION=640x360,CODECS="avc1.4d401e,mp4a.40.2"
https://manifest.googlevideo.com/hls/pieces.m3u8
"""


@dataclass(frozen=True)
class Trouble:
    """What goes wrong in place of an answer, so many times; everything else is answered with `answer`.

    `at` is `page`, `player` or `media`, `what` a status, `stall` or `reset`.
    """

    at: str
    what: int | str
    answer: dict = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1_000_000


class _Handler(BaseHTTPRequestHandler):
    answers: dict[str, dict | Trouble]
    files: dict[int, Path]
    requests: "Noted"
    lock: threading.Lock
    troubled: Counter[str]
    stopped: threading.Event
    player_js: bytes

    def _take(self) -> None:
        self.requests.append(self.path)
        self.requests.clients.add(self.client_address[0])
        self.requests.cookies.add(self.headers.get("Cookie", ""))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._take()
        if "/youtubei/v1/player" in self.path:
            asked = json.loads(body)["videoId"]
            if self._troubled("player", asked):
                return
            answer = self.answers[asked]
            found = answer.answer if isinstance(answer, Trouble) else answer
            self._send(json.dumps(found).encode(), "application/json")
        else:
            self._send(b"{}", "application/json")

    def do_GET(self) -> None:
        self._take()
        query = parse_qs(urlsplit(self.path).query)
        if "/videoplayback" in self.path:
            if self._troubled("media", query["id"][0]):
                return
            self._media(self.files[int(query["itag"][0])])
        elif "/embed/" in self.path:
            self._send(_EMBED, "text/html")
        elif self.path.startswith("/hls/list.m3u8"):
            self._send(_LIST, "application/vnd.apple.mpegurl")
        elif "/watch" in self.path:
            if self._troubled("page", query["v"][0]):
                return
            data = json.dumps(self._page(query["v"][0]))
            self._send(f"<html><script>var ytInitialData = {data};</script></html>".encode(), "text/html")
        elif "/iframe_api" in self.path:
            named = f"player\\/{PLAYER}\\/" if self.player_js else "names no player"
            self._send(f"/* made-up, {named} */".encode(), "text/javascript")
        elif f"/s/player/{PLAYER}/" in self.path:
            self._send(self.player_js, "text/javascript")
        else:
            self.send_error(404)

    def _page(self, asked: str) -> dict:
        """The page's own data, which names the licence."""
        answer = self.answers[asked]
        found = answer.answer if isinstance(answer, Trouble) else answer
        licence = {"title": {"simpleText": "License"}, "contents": [{"simpleText": found.get("licence", "")}]}
        rows = {"metadataRowContainerRenderer": {"rows": [{"metadataRowRenderer": licence}]}}
        about = [{"videoPrimaryInfoRenderer": {}}, {"videoSecondaryInfoRenderer": {"metadataRowContainer": rows}}]
        return {"contents": {"twoColumnWatchNextResults": {"results": {"results": {"contents": about}}}}}

    def _troubled(self, at: str, asked: str) -> bool:
        trouble = self.answers.get(asked)
        if not isinstance(trouble, Trouble) or trouble.at != at:
            return False
        with self.lock:
            self.troubled[asked] += 1
            if self.troubled[asked] > trouble.times:
                return False
        if trouble.what == "stall":
            self.stopped.wait(20)
        elif trouble.what == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        else:
            self.send_response(int(trouble.what))
            for name, value in trouble.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
        return True

    def _media(self, path: Path) -> None:
        body = path.read_bytes()
        match = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first = int(match[1]) if match else 0
        last = min(int(match[2]) if match and match[2] else len(body) - 1, len(body) - 1)
        self.send_response(206 if match else 200)
        self.send_header("Content-Length", str(last - first + 1))
        if match:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
        self.end_headers()
        self.wfile.write(body[first : last + 1])

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Noted(list[str]):
    """Requests as they come, the addresses that they came from, and their cookies."""

    def __init__(self, note: Callable[[str], None] | None) -> None:
        super().__init__()
        self.note = note
        self.clients: set[str] = set()
        self.cookies: set[str] = set()

    def append(self, path: str) -> None:
        super().append(path)
        if self.note is not None:
            self.note(path)


@contextmanager
def mapped(
    answers: dict[str, dict | Trouble],
    files: dict[int, Path],
    note: Callable[[str], None] | None = None,
    player_js: bytes = b"",
) -> Iterator["Noted"]:
    """Serve the answers while inside; yields the list of requests as they come. `note` is called with each.

    With `player_js` a player is named, whose script it is.
    """
    requests = Noted(note)
    stopped = threading.Event()
    state = {"lock": threading.Lock(), "troubled": Counter(), "stopped": stopped}
    handler = type(
        "H", (_Handler,), {"answers": answers, "files": files, "requests": requests, "player_js": player_js, **state}
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    class LoopbackRH(UrllibRH):
        RH_NAME = "loopback"

        def _send(self, request: Request):  # type: ignore[no-untyped-def]
            parts = urlsplit(request.url)
            if not HOSTS.search(parts.hostname or ""):
                raise AssertionError(f"left the mapped hosts: {request.url}")
            local = request.copy()
            local.url = f"http://127.0.0.1:{server.server_port}{parts.path}?{parts.query}"
            # What would be sent to the site itself.
            cookies = self._get_cookiejar(request).get_cookie_header(request.url)
            if cookies:
                local.headers["Cookie"] = cookies
            response = super()._send(local)
            response.url = request.url
            return response

    def first(handler: object, request: object) -> int:
        return 10_000 if isinstance(handler, LoopbackRH) else 0

    _REQUEST_HANDLERS[LoopbackRH.RH_KEY] = LoopbackRH
    _RH_PREFERENCES.add(first)
    try:
        yield requests
    finally:
        _RH_PREFERENCES.discard(first)
        _REQUEST_HANDLERS.pop(LoopbackRH.RH_KEY)
        stopped.set()
        server.shutdown()
        server.server_close()
