"""What others left for yt-dlp to find, and a session of the user's own: neither has effects that it should not have.

`v2a-data fetch` as a process of its own, from a loopback server.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SECRET = "s3ss10n-canary-77f0"
PLUGIN = """
from pathlib import Path
Path({canary!r}).write_text("executed")
from yt_dlp.extractor.common import InfoExtractor
class EvilIE(InfoExtractor):
    _VALID_URL = r".*"
"""


@pytest.fixture
def served(media) -> Iterator[tuple[str, list[str]]]:
    """A video on loopback that takes a second to fetch, and the cookies that came with each request."""
    body, cookies = media("a.mp4").read_bytes(), list[str]()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            cookies.append(self.headers.get("Cookie") or "")
            self.send_response(200)
            self.send_header("Content-Type", "video/mp4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body[:1000])
                time.sleep(0.4)
                self.wfile.write(body[1000:])

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", cookies
    server.shutdown()
    thread.join()
    server.server_close()


def fetch_command(address: str, root: Path, *more: str) -> list[str]:
    sets = (
        f"source.watch_url={address}/{{id}}.mp4",
        'fetch.hosts=["127.0.0.1"]',
        'fetch.extractors=["generic"]',
        "fetch.sleep_s=[0,0]",
        "fetch.sleep_requests_s=0",
    )
    words = [word for item in sets for word in ("--set", item)]
    ids = ("--url", "https://youtu.be/-0DdlOuIFUI", "--source", "ids", "--label", "Dog", "--recipe", "keep_all")
    return [sys.executable, "-m", "v2a_data", "fetch", *ids, *words, "-w", str(root), *more]


def plant(home: Path, canary: Path) -> dict[str, str]:
    """A configuration and a plug-in in every place in which yt-dlp looks; gives the environment that points there."""
    options = f"--exec 'touch {canary}'\n--output {home}/elsewhere.%(ext)s\n--write-info-json\n"
    for place in ("yt-dlp.conf", ".yt-dlp.conf", "yt-dlp.conf.txt", ".config/yt-dlp/config", ".config/yt-dlp.conf",
                  ".yt-dlp/config", "yt-dlp/config", "yt-dlp.config"):  # fmt: skip
        path = home / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(options)
    for place in (".", ".yt-dlp/plugins/evil", ".config/yt-dlp/plugins/evil", "yt-dlp-plugins/evil", "path"):
        folder = home / place / "yt_dlp_plugins" / "extractor"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "evil.py").write_text(PLUGIN.format(canary=str(canary)))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("YTDLP")}
    return {
        **environment,
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(home / "path"), environment.get("PYTHONPATH")))),
    }


def test_a_planted_configuration_and_plug_in_have_no_effect(served, tmp_path: Path) -> None:
    address, _ = served
    home, canary = tmp_path / "home", tmp_path / "canary"
    home.mkdir()
    environment = plant(home, canary)
    before = {path for path in home.rglob("*") if path.is_file()}
    done = subprocess.run(
        fetch_command(address, tmp_path / "w", "--workers", "0"),
        cwd=home, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "fetched 1" in done.stdout
    assert not canary.exists()
    made = {path for path in home.rglob("*") if path.is_file()} - before
    assert not [path for path in made if path.suffix != ".pyc"], made
    # The same plants do work on yt-dlp's own command line: the test would notice.
    control = [sys.executable, "-m", "yt_dlp", "--simulate", "--quiet", f"{address}/x.mp4"]
    subprocess.run(control, cwd=home, env=environment, capture_output=True, check=False)
    assert canary.exists()


def test_a_session_is_sent_to_the_site_and_stands_nowhere(served, tmp_path: Path) -> None:
    address, sent = served
    cookies = tmp_path / "own" / "cookies.txt"
    cookies.parent.mkdir()
    cookies.write_text(f"# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsid\t{SECRET}\n")
    cookies.chmod(0o600)
    before = cookies.read_bytes(), cookies.stat().st_mtime_ns
    root, listings = tmp_path / "w", list[bytes]()
    command = fetch_command(address, root, "--cookies", str(cookies), "--workers", "1", "-v", "--debug")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        while process.poll() is None:
            listings.append(b"".join(map(command_line, Path("/proc").glob("[0-9]*"))))
            time.sleep(0.02)
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert f"sid={SECRET}" in sent, "the site did not get it"
    assert any(b"--cookies" in listing for listing in listings), "the process was not seen"
    assert not any(SECRET.encode() in text for text in (out, err, *listings))
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path != cookies]
    assert len(files) > 5
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    assert (cookies.read_bytes(), cookies.stat().st_mtime_ns) == before
    # Nor does what is made of it later.
    for words in (["status", "--json"], ["status", "--availability"]):
        done = subprocess.run(
            [sys.executable, "-m", "v2a_data", *words, "-w", str(root)], capture_output=True, check=True
        )
        assert SECRET.encode() not in done.stdout + done.stderr


def command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def test_a_session_that_others_may_read_is_refused(served, tmp_path: Path) -> None:
    address, sent = served
    cookies = tmp_path / "cookies.txt"
    cookies.write_text(f"# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\tsid\t{SECRET}\n")
    cookies.chmod(0o644)
    command = fetch_command(address, tmp_path / "w", "--cookies", str(cookies), "--workers", "0")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, sent) == (2, [])
    assert "chmod 600" in done.stderr
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    "line", ["127.0.0.1 FALSE / FALSE 0 sid {}", "127.0.0.1\tFALSE\t/\tFALSE\tnever\tsid\t{}", "#HttpOnly_x\t{}"]
)
def test_a_line_that_is_no_cookie_is_named_by_its_number_alone(line: str, served, tmp_path: Path) -> None:
    """yt-dlp would print such a line, secret and all, and go on without a session."""
    address, sent = served
    cookies, before = tmp_path / "cookies.txt", len(sent)
    cookies.write_text(f"# Netscape HTTP Cookie File\n{line.format(SECRET)}\n")
    cookies.chmod(0o600)
    command = fetch_command(address, tmp_path / "w", "--cookies", str(cookies), "--workers", "0", "--debug")
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert "line 2: not 7 columns" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert len(sent) == before
