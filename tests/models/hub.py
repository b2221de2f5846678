"""A model hub on loopback: what the hub client asks of huggingface.co to download a file, and its bad days."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" + 34 * "0"
_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)\Z")
_API = re.compile(r"/api/models/([^/]+/[^/]+)/revision/([^/]+)\Z")
_RANGE = re.compile(r"bytes=(\d+)-\Z")


@dataclass
class Hub:
    """Files by (repository, name), and what goes wrong with which file.

    `refuse`: status and headers; `announced`: size and sha256 told instead of the true ones; `cut_at`: the
    connection is closed there, as often as `cuts` says; `storage`: base address of the host that has the bytes;
    `xet`: large files are offered by the hub's own protocol too, as huggingface.co does.
    """

    files: dict[tuple[str, str], bytes] = field(default_factory=dict)
    commit: str = COMMIT
    refuse: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    announced: dict[str, tuple[int | None, str | None]] = field(default_factory=dict)
    cut_at: dict[str, int] = field(default_factory=dict)
    cuts: int = 1
    storage: str | None = None
    xet: bool = True
    address: str = ""
    log: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def put(self, repo: str, name: str, body: bytes) -> None:
        self.files[repo, name] = body

    def asked(self, method: str, part: str) -> list[dict[str, str]]:
        """Headers of the requests whose path holds `part`."""
        return [headers for verb, path, headers in self.log if verb == method and part in path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub = self.hub
        hub.log.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        if match := _API.match(self.path):
            listed = [{"rfilename": name} for repo, name in hub.files if repo == match[1]]
            self._send(200, json.dumps({"id": match[1], "sha": hub.commit, "siblings": listed}).encode(), {})
            return
        match = _RESOLVE.match(self.path.split("?")[0])
        body = hub.files.get((match[1], match[3])) if match else None
        if match and match[3] in hub.refuse:
            status, headers = hub.refuse[match[3]]
            self._send(status, b"", headers)
        elif match is None or body is None:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": hub.commit})
        else:
            self._file(match[2], match[3], body)

    def _file(self, revision: str, name: str, body: bytes) -> None:
        hub = self.hub
        if revision not in (hub.commit, "main"):
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
            return
        size, sha256 = hub.announced.get(name, (None, None))
        about = {
            "X-Repo-Commit": hub.commit,
            "ETag": f'"{sha256 or hashlib.sha256(body).hexdigest()}"',
            "X-Linked-Size": str(size or len(body)),
            "Accept-Ranges": "bytes",
        }
        if hub.xet:
            about |= {"X-Xet-Hash": "f" * 64, "X-Xet-Refresh-Route": "/api/models/x/y/xet-read-token/main"}
        if hub.storage:
            self._send(302, b"", {**about, "Location": f"{hub.storage}{self.path}?Signature=secret"})
            return
        asked = _RANGE.match(self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        if asked:
            about["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
        self._send(206 if asked else 200, body[first:], about, self._stop(name, first))

    def _stop(self, name: str, first: int) -> int | None:
        """After how many bytes of this answer the connection is closed, null for none."""
        hub = self.hub
        if self.command == "HEAD" or name not in hub.cut_at or hub.cuts <= 0:
            return None
        hub.cuts -= 1
        return max(0, hub.cut_at[name] - first)

    def _send(self, status: int, body: bytes, headers: dict[str, str], stop: int | None = None) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body if stop is None else body[:stop])
        if stop is not None:
            self.wfile.flush()
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Serve on 127.0.0.1 while inside; `hub.address` is the endpoint."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
