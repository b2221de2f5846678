"""Serves a rendered world on loopback as a small YouTube-8M: label lists, id lookups, media.

/2/j/v/<mid>.js         p("<mid>",["abcd",…]);
/2/j/i/<ab>/<abcd>.js   i("abcd","<11 characters>");  403 with XML for what is "gone"
/media/<11 characters>.mp4   whole or by HTTP range
"""

import base64
import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

from v2a_data.errors import FatalError
from v2a_data.sources.label_tables import find, youtube8m_labels
from v2a_data.synthetic.world import WorldRow, read_world

_GONE = (
    b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code><Message>Access denied.</Message>"
    b"<Details>Anonymous caller does not have storage.objects.get access</Details></Error>"
)
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z")


def short_key(native_id: str) -> str:
    """The 4 characters under which a video is listed, as YouTube-8M does."""
    return base64.urlsafe_b64encode(hashlib.sha256(native_id.encode()).digest())[:4].decode()


def mid_of(label: str) -> str:
    """YouTube-8M's id of a label, without `/m/`."""
    found = find(youtube8m_labels(), label)
    if found is None:
        raise FatalError(f"YouTube-8M has no label {label!r}")
    return found.id.removeprefix("/m/")


class WorldIndex:
    """What the server answers, made once from the world's table."""

    def __init__(self, world: Path, gone: int = 0) -> None:
        rows = read_world(world)
        self.media: dict[str, Path] = {row.native_id: (world / row.file).resolve() for row in rows}
        self.native: dict[str, str] = {short_key(row.native_id): row.native_id for row in rows}
        # Ids that are listed and no longer resolve, spread over the labels' lists.
        self.lost = [f"Go{n:02d}" for n in range(gone)]
        listed = [label for label in sorted({row.label for row in rows}) if find(youtube8m_labels(), label)]
        self.lists = {mid_of(label): self._keys(rows, label) for label in listed}

    def _keys(self, rows: list[WorldRow], label: str) -> list[str]:
        keys = [short_key(row.native_id) for row in rows if row.label == label]
        for place, lost in enumerate(self.lost):
            keys.insert((place * 7 + 3) % (len(keys) + 1), lost)
        return keys

    def script(self, path: str) -> bytes | None:
        """Body of a list or lookup file, null for what is gone."""
        if match := re.fullmatch(r"/2/j/v/([A-Za-z0-9_]+)\.js", path):
            keys = self.lists.get(match[1])
            return f'p("{match[1]}",{json.dumps(keys, separators=(",", ":"))});'.encode() if keys is not None else None
        if match := re.fullmatch(r"/2/j/i/([A-Za-z0-9_-]{2})/(\1[A-Za-z0-9_-]{2})\.js", path):
            native = self.native.get(match[2])
            return f'i("{match[2]}","{native}");'.encode() if native else None
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    index: WorldIndex

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if match := re.fullmatch(r"/media/([A-Za-z0-9_-]{11})\.mp4", self.path):
            self._media(self.index.media.get(match[1]))
            return
        body = self.index.script(self.path)
        kind = "text/javascript" if body is not None else "application/xml"
        self._send(200 if body is not None else 403, body if body is not None else _GONE, kind)

    def _media(self, path: Path | None) -> None:
        if path is None:
            self._send(404, b"", "text/plain")
            return
        size = path.stat().st_size
        first, last = self._range(size)
        if first > last:
            self._send(416, b"", "text/plain")
            return
        partial = "Range" in self.headers
        self.send_response(206 if partial else 200)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        if partial:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if self.command == "GET":
            with path.open("rb") as file:
                file.seek(first)
                self._copy(file, last - first + 1)

    def _copy(self, file: BinaryIO, size: int) -> None:
        try:
            while size > 0 and (piece := file.read(min(size, 1 << 20))):
                self.wfile.write(piece)
                size -= len(piece)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _range(self, size: int) -> tuple[int, int]:
        match = _RANGE.match(self.headers.get("Range", ""))
        if not match or match.groups() == ("", ""):
            return 0, size - 1
        first, last = match.groups()
        if not first:
            return max(0, size - int(last)), size - 1
        return int(first), min(int(last), size - 1) if last else size - 1

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged: the output belongs to the command that started the server."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may hang up whenever they like; a traceback for it would land in the command's output."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serve_world(world: Path, port: int = 0, gone: int = 0) -> Iterator[str]:
    """Serve a world on 127.0.0.1 while inside; yields the base address.

    `gone` ids are listed that no longer resolve. Raises `FatalError` where the port is taken.
    """
    handler = type("WorldHandler", (_Handler,), {"index": WorldIndex(world, gone)})
    try:
        server = _Server(("127.0.0.1", port), handler)
    except OSError as error:
        raise FatalError(f"port {port} on 127.0.0.1: {error.strerror}", hint="choose another with --port") from None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
