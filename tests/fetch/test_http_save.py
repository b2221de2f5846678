"""Files over HTTP: whole or not there, gone on with by range where a checksum holds them, bounded, refused in time."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from v2a_data.errors import FatalError, UsageError
from v2a_data.fetch import http

BODY = bytes(range(256)) * 40
MD5 = hashlib.md5(BODY).hexdigest()


class Site:
    """What the next requests get: "whole", "short" (ends early), "other" (another body), "ignore" (no ranges), a status."""

    def __init__(self, *answers: str | int) -> None:
        self.answers = list(answers)
        self.ranges: list[str | None] = []


@contextmanager
def served(site: Site) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = site.answers.pop(0)
            asked = self.headers.get("Range")
            site.ranges.append(asked)
            body = b"x" * len(BODY) if answer == "other" else BODY
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and answer != "ignore" else 0
            if isinstance(answer, int) or start >= len(body):
                self.send_response(answer if isinstance(answer, int) else 416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            self.wfile.write(body[start : start + 3000] if answer == "short" else body[start:])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/x"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http.time, "sleep", lambda seconds: None)


@pytest.mark.parametrize(
    ("answers", "md5", "ranges"),
    [
        (["whole"], None, [None]),
        ([503, "short", "whole"], None, [None, None, None]),
        (["short", "short", "whole"], MD5, [None, "bytes=3000-", "bytes=6000-"]),
        (["short", "ignore"], MD5, [None, "bytes=3000-"]),
        (["other", "whole"], MD5, [None, None]),
    ],
)
def test_what_is_kept_is_the_file(answers: list, md5: str | None, ranges: list, tmp_path: Path) -> None:
    site = Site(*answers)
    with served(site) as url:
        http.save(url, tmp_path / "cache" / "f", 100_000, md5)
    assert (tmp_path / "cache" / "f").read_bytes() == BODY
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["f"]
    assert site.ranges == ranges


def test_a_killed_download_goes_on_where_it_was(tmp_path: Path) -> None:
    site = Site("short", 500, 500, 500, "whole", "whole")
    with served(site) as url:
        with pytest.raises(FatalError, match="HTTP 500 after 4 tries"):
            http.save(url, tmp_path / "f", 100_000, MD5)
        assert not (tmp_path / "f").exists()
        http.save(url, tmp_path / "f", 100_000, MD5)
    assert site.ranges[-1] == "bytes=3000-"
    assert (tmp_path / "f").read_bytes() == BODY


def test_a_whole_part_that_was_not_published_is_taken_anew(tmp_path: Path) -> None:
    (tmp_path / ".tmp-f.part").write_bytes(BODY)
    site = Site("whole", "whole")
    with served(site) as url:
        http.save(url, tmp_path / "f", 100_000, MD5)
    assert site.ranges == [f"bytes={len(BODY)}-", None]


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([404], "HTTP 404"),
        ([302], "HTTP 302"),
        (["other", "other"], f"its md5 is not {MD5}, twice"),
    ],
)
def test_what_is_not_the_file_is_not_kept(answers: list, words: str, tmp_path: Path) -> None:
    with served(Site(*answers)) as url, pytest.raises(FatalError, match=words):
        http.save(url, tmp_path / "f", 100_000, MD5)
    assert list(tmp_path.iterdir()) == []


def test_size_and_scheme_are_bounded(tmp_path: Path) -> None:
    with served(Site("whole")) as url, pytest.raises(FatalError, match="larger than 5000 bytes"):
        http.save(url, tmp_path / "f", 5000)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="only http and https"):
        http.save("file:///etc/passwd", tmp_path / "f", 5000)
