"""Serves a rendered world on loopback in the list formats of YouTube-8M and AudioSet, media beside them.

/2/j/v/<mid>.js         p("<mid>",["abcd",…]);
/2/j/i/<ab>/<abcd>.js   i("abcd","<11 characters>");  403 with XML for what is "gone"
/us_audioset/youtube_corpus/v1/csv/<list>.csv   eval_segments, balanced_train_segments,
                        unbalanced_train_segments, class_labels_indices
/media/<11 characters>.mp4   whole or by HTTP range, whatever the file's container is

It misbehaves on request, at seeded rates: see `MISDEEDS`.
"""

import base64
import hashlib
import json
import re
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

from v2a_data.errors import FatalError, UsageError
from v2a_data.sources.label_tables import audioset_labels, find, youtube8m_labels
from v2a_data.synthetic.faults import parse_shares
from v2a_data.synthetic.world import WorldRow, read_world

_GONE = (
    b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code><Message>Access denied.</Message>"
    b"<Details>Anonymous caller does not have storage.objects.get access</Details></Error>"
)
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z")
_TYPES = {".mp4": "video/mp4", ".webm": "video/webm", ".mkv": "video/x-matroska"}
# AudioSet's words for labels that it calls otherwise.
_AUDIOSET = {"Airplane": "/m/0cmf2", "Baby crying": "/t/dd00002", "Human snoring": "/m/01d3sd",
             "Water flowing": "/m/0j6m2", "Printers": "/m/01m4t"}  # fmt: skip
# YouTube-8M's words for labels that it calls otherwise; where it has none, ids of the same vocabulary.
_YOUTUBE8M = {"Baby crying": "/m/0463cq4", "Human snoring": "/m/01d3sd", "Water flowing": "/m/0838f",
              "Printers": "/m/01m4t"}  # fmt: skip
_SEGMENTS = re.compile(r"/us_audioset/youtube_corpus/v1/csv/(\w+)\.csv")
_PARTS = ("eval_segments", "balanced_train_segments", "unbalanced_train_segments")
_SEGMENT_S = 10.0

MISDEEDS: dict[str, str] = {
    "403": "forbidden, now and then",
    "404": "not found, for good",
    "410": "gone, for good",
    "429": "too many requests, with Retry-After",
    "500": "internal error",
    "502": "bad gateway",
    "503": "unavailable",
    "stall": "nothing for a while, then the answer",
    "short": "the connection ends in the middle of the body",
    "length": "Content-Length promises more than there is",
    "reset": "the connection is reset in the middle of the body",
}
_FOR_GOOD = ("404", "410")
# A list that cannot be had ends a run: lists are only late, never refused.
_NEVER_FOR_LISTS = ("403", *_FOR_GOOD)


def parse_misbehaviour(spec: str) -> dict[str, float]:
    """Share of requests per misdeed, such as `429:0.1,reset:0.05`. Raises `UsageError`."""
    shares = parse_shares(spec, tuple(MISDEEDS), "--misbehave", "429:0.1,reset:0.05")
    if sum(shares.values()) > 1:
        raise UsageError(f"--misbehave {spec!r}: the shares add up to more than 1")
    return shares


@dataclass
class Misbehaviour:
    """What goes wrong for which request: from seed, path and how often the path was asked for, nothing else.

    What is gone for good is drawn once per path, everything else anew for each request.
    """

    shares: Mapping[str, float]
    seed: int = 0
    retry_after_s: int = 1
    stall_s: float = 35.0
    done: Counter[str] = field(default_factory=Counter)
    _asked: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, path: str) -> str | None:
        """The misdeed for the next request of a path."""
        with self._lock:
            self._asked[path] += 1
            misdeed = self._drawn(path, self._asked[path])
            if misdeed:
                self.done[misdeed] += 1
            return misdeed

    def _drawn(self, path: str, times: int) -> str | None:
        lists = path.startswith(("/2/j/v/", "/us_audioset/"))
        for when, kinds in (("", _FOR_GOOD), (times, [k for k in MISDEEDS if k not in _FOR_GOOD])):
            at = _share(f"{self.seed}/{path}/{when}")
            for kind in kinds:
                at -= self.shares.get(kind, 0.0)
                if at < 0:
                    return None if lists and kind in _NEVER_FOR_LISTS else kind
        return None


def _share(text: str) -> float:
    """A number in [0, 1) that is the text's own."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64


def short_key(native_id: str) -> str:
    """The 4 characters under which a video is listed, as YouTube-8M does."""
    return base64.urlsafe_b64encode(hashlib.sha256(native_id.encode()).digest())[:4].decode()


def _short_keys(rows: list[WorldRow]) -> dict[str, str]:
    """Native id → its 4 characters; of two that would have the same, the later one takes the next that is free."""
    keys: dict[str, str] = {}
    taken: set[str] = set()
    for row in rows:
        salt = 0
        while (key := short_key(f"{row.native_id}{salt or ''}")) in taken:
            salt += 1
        taken.add(key)
        keys[row.native_id] = key
    return keys


def _inside(world: Path, file: str) -> Path:
    """A video of the world. Raises `UsageError` for any other file: a world may come from somebody else."""
    path = (world / file).resolve()
    if not path.is_relative_to((world / "videos").resolve()) or path.suffix not in _TYPES:
        raise UsageError(f"{world}: its table names {file[:80]!r}, which is none of its videos")
    return path


def mid_of(label: str) -> str | None:
    """The id under which a label is listed, without `/m/`."""
    found = find(youtube8m_labels(), label)
    mid = _YOUTUBE8M.get(label) or (found.id if found else None)
    return mid.removeprefix("/m/") if mid else None


def audioset_mid(label: str) -> str | None:
    """AudioSet's id of a label of the world."""
    found = find(audioset_labels(), _AUDIOSET.get(label, label))
    return found.id if found else None


class WorldIndex:
    """What the server answers, made once from the world's table."""

    def __init__(self, world: Path, gone: int = 0) -> None:
        rows = read_world(world)
        self.media: dict[str, Path] = {row.native_id: _inside(world, row.file) for row in rows}
        self.keys = _short_keys(rows)
        self.native: dict[str, str] = {key: native for native, key in self.keys.items()}
        # Ids that are listed and no longer resolve, spread over the labels' lists.
        self.lost = [f"Go{n:02d}" for n in range(gone)]
        listed = {label: mid_of(label) for label in sorted({row.label for row in rows})}
        self.lists = {mid: self._keys(rows, label) for label, mid in listed.items() if mid}
        self.tables = self._segments(rows)

    def _segments(self, rows: list[WorldRow]) -> dict[str, bytes]:
        """AudioSet's files by name: its three lists, a quarter, a quarter and half, and its label table."""
        lines: dict[str, list[str]] = {part: [] for part in _PARTS}
        mids: dict[str, set[str]] = {part: set() for part in _PARTS}
        for number, row in enumerate(rows):
            mid, part = audioset_mid(row.label), _PARTS[min(number % 4, 2)]
            if mid is None:
                continue
            latest = max(0.0, row.duration_s - _SEGMENT_S)
            start_s = _share(row.native_id) * latest
            stop_s = min(start_s + _SEGMENT_S, row.duration_s)
            lines[part].append(f'{row.native_id}, {start_s:.3f}, {stop_s:.3f}, "{mid}"')
            mids[part].add(mid)
        made = {}
        for part in _PARTS:
            count = len(lines[part])
            head = (
                "# Segments csv created by v2a-data, synthetic world",
                f"# num_ytids={count}, num_segs={count}, num_unique_labels={len(mids[part])}, "
                f"num_positive_labels={count}",
                "# YTID, start_seconds, end_seconds, positive_labels",
            )
            made[part] = ("\n".join([*head, *lines[part]]) + "\n").encode()
        names = {label.id: label.name for label in audioset_labels()}
        table = [
            f'{index},{mid},"{names.get(mid, mid)}"' for index, mid in enumerate(sorted(set.union(*mids.values())))
        ]
        made["class_labels_indices"] = ("\n".join(["index,mid,display_name", *table]) + "\n").encode()
        return made

    def _keys(self, rows: list[WorldRow], label: str) -> list[str]:
        keys = [self.keys[row.native_id] for row in rows if row.label == label]
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
    misbehaviour: Misbehaviour | None = None
    misdeed: str | None = None

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.misdeed = self.misbehaviour.next(self.path) if self.misbehaviour else None
        if self.misdeed and self.misdeed.isdecimal():
            self._refuse(int(self.misdeed))
            return
        if self.misdeed == "stall":
            assert self.misbehaviour is not None
            threading.Event().wait(self.misbehaviour.stall_s)
        if match := re.fullmatch(r"/media/([A-Za-z0-9_-]{11})\.(?:mp4|webm|mkv)", self.path):
            self._media(self.index.media.get(match[1]))
        elif match := _SEGMENTS.fullmatch(self.path):
            body = self.index.tables.get(match[1])
            self._send(200 if body is not None else 404, body or b"", "text/csv")
        else:
            body = self.index.script(self.path)
            kind = "text/javascript" if body is not None else "application/xml"
            self._send(200 if body is not None else 403, body if body is not None else _GONE, kind)

    def _refuse(self, status: int) -> None:
        """An error of the server's own. A lookup that is gone says so in the store's words."""
        lookup = self.path.startswith("/2/j/i/") and status in (404, 410)
        self.send_response(status)
        self.send_header("Content-Type", "application/xml" if lookup else "text/plain")
        if status == 429 and self.misbehaviour:
            self.send_header("Retry-After", str(self.misbehaviour.retry_after_s))
        body = _GONE if lookup else b"no\n"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _media(self, path: Path | None) -> None:
        if path is None:
            self._send(404, b"", "text/plain")
            return
        size = path.stat().st_size
        asked = self._range(size)
        partial = asked is not None
        first, last = asked or (0, size - 1)
        if first > last:
            self._send(416, b"", "text/plain", {"Content-Range": f"bytes */{size}"})
            return
        self.send_response(206 if partial else 200)
        self.send_header("Content-Type", _TYPES[path.suffix])
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1 + self._beyond))
        if partial:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if self.command == "GET":
            with path.open("rb") as file:
                file.seek(first)
                self._copy(file, last - first + 1)

    @property
    def _beyond(self) -> int:
        """Bytes promised that are not there."""
        return 1000 if self.misdeed == "length" else 0

    def _copy(self, file: BinaryIO, size: int) -> None:
        self._body(iter(lambda: file.read(1 << 20), b""), size)

    def _body(self, pieces: Iterator[bytes], size: int) -> None:
        """Write `size` bytes, or as many as the misdeed lets through."""
        left = size // 2 if self.misdeed in ("short", "reset") else size
        try:
            for piece in pieces:
                self.wfile.write(piece[:left])
                left -= len(piece)
                if left <= 0:
                    break
            self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        if self.misdeed == "reset":
            # Closed with no time to linger: the other side gets a reset, not an end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        if self.misdeed in ("short", "reset", "length"):
            self.close_connection = True

    def _range(self, size: int) -> tuple[int, int] | None:
        """First and last byte asked for, null where no single range is."""
        match = _RANGE.match(self.headers.get("Range", ""))
        if not match or match.groups() == ("", ""):
            return None
        first, last = match.groups()
        if not first:
            return max(0, size - int(last)), size - 1
        return int(first), min(int(last), size - 1) if last else size - 1

    def _send(self, status: int, body: bytes, kind: str, more: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in (more or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) + self._beyond))
        self.end_headers()
        if self.command == "GET":
            self._body(iter([body]), len(body))

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged: the output belongs to the command that started the server."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may hang up whenever they like; a traceback for it would land in the command's output."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def serve_world(world: Path, port: int = 0, gone: int = 0, misbehave: Misbehaviour | None = None) -> Iterator[str]:
    """Serve a world on 127.0.0.1 while inside; yields the base address.

    `gone` ids are listed that no longer resolve. Raises `FatalError` where the port is taken.
    """
    handler = type("WorldHandler", (_Handler,), {"index": WorldIndex(world, gone), "misbehaviour": misbehave})
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
