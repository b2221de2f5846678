"""A stand-in for YouTube's hosts on loopback: made-up player answers and media behind the real extractor.

`mapped()` registers a yt-dlp RequestHandler that sends every request for the site's hosts to the
local server. yt-dlp itself, its YouTube extractor included, is not touched.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from yt_dlp.networking import Request
from yt_dlp.networking._urllib import UrllibRH
from yt_dlp.networking.common import _REQUEST_HANDLERS, _RH_PREFERENCES

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


class _Handler(BaseHTTPRequestHandler):
    answers: dict[str, dict]
    files: dict[int, Path]
    requests: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.requests.append(self.path)
        if "/youtubei/v1/player" in self.path:
            asked = json.loads(body)["videoId"]
            self._send(json.dumps(self.answers[asked]).encode(), "application/json")
        else:
            self._send(b"{}", "application/json")

    def do_GET(self) -> None:
        self.requests.append(self.path)
        query = parse_qs(urlsplit(self.path).query)
        if "/videoplayback" in self.path:
            self._media(self.files[int(query["itag"][0])])
        elif "/watch" in self.path:
            data = json.dumps({"contents": {"twoColumnWatchNextResults": {"results": {}}}})
            self._send(f"<html><script>var ytInitialData = {data};</script></html>".encode(), "text/html")
        elif "/iframe_api" in self.path:
            self._send(b"/* made-up, names no player */", "text/javascript")
        else:
            self.send_error(404)

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


@contextmanager
def mapped(answers: dict[str, dict], files: dict[int, Path]) -> Iterator[list[str]]:
    """Serve the answers while inside; yields the list of requests as they come."""
    requests: list[str] = []
    handler = type("H", (_Handler,), {"answers": answers, "files": files, "requests": requests})
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
        server.shutdown()
        server.server_close()
