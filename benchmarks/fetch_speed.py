"""CPU per video of `v2a-data fetch` with 8 downloads at a time from loopback, beside yt-dlp's own command line.

Both fetch the same list from the same server in the same run, twice: few videos and many. The difference of the two
is what one more video costs, without what starting up costs.
"""

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from inputs import show
from kill_harness import RECIPE

from v2a_data.media.ffmpeg import ffmpeg_path
from v2a_data.workspace import Workspace

LIMIT_MS = 60.0
AT_ONCE = 8
HEADER = ("side", "videos", "CPU s", "wall s", "CPU ms per further video", "videos/s")


@contextmanager
def served(body: bytes) -> Iterator[str]:
    """The same media file under every id, from a process of its own: its time is nobody's."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "media.mp4").write_bytes(body)
        words = [sys.executable, __file__, "--serve", folder]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
            finally:
                process.terminate()


def serve(folder: Path) -> None:
    """Answer GETs until terminated; the first line says the port."""
    body = (folder / "media.mp4").read_bytes()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            first = 0
            asked = self.headers.get("Range", "")
            if asked.startswith("bytes="):
                first = int(asked.removeprefix("bytes=").partition("-")[0])
            self.send_response(206 if asked else 200)
            self.send_header("Content-Type", "video/mp4")
            self.send_header("Content-Length", str(len(body) - first))
            if asked:
                self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
            self.end_headers()
            self.wfile.write(body[first:])

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


def ids(count: int) -> list[str]:
    """As many ids as wanted, in the form of YouTube's."""
    return [hashlib.sha256(str(n).encode()).hexdigest()[:11] for n in range(count)]


def measured(commands: list[list[str]]) -> tuple[float, float]:
    """CPU seconds of the commands and of all that they start, and wall seconds; they run at the same time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = [subprocess.Popen(words, stdout=subprocess.DEVNULL, env=environment) for words in commands]
    codes = [process.wait() for process in running]
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if any(codes):
        raise AssertionError(f"{commands[0][:4]} ended with {codes}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def ours(folder: Path, where: str, names: list[str]) -> tuple[float, float]:
    """`v2a-data fetch` with 8 workers."""
    (folder / "ids.txt").write_text("\n".join(names))
    sets = ["--set", f"source.watch_url={where}/media/{{id}}.mp4"]
    words = ["fetch", "--ids-file", str(folder / "ids.txt"), "--label", "Drum", "--recipe", str(RECIPE), *sets]
    at = ["-w", str(folder / "w"), "--workers", str(AT_ONCE), "--limit", "all", "-q"]
    cost = measured([[sys.executable, "-m", "v2a_data", *words, *at]])
    with Workspace.read(folder / "w") as workspace:
        found = workspace.ledger.value("SELECT COUNT(*) FROM videos WHERE state = 'fetched'")
    if found != len(names):
        raise AssertionError(f"{found} of {len(names)} were fetched")
    return cost


def plain(folder: Path, where: str, names: list[str]) -> tuple[float, float]:
    """yt-dlp's own command line, 8 of them with a share of the list each, with the options that ours amount to."""
    commands = []
    for part in range(AT_ONCE):
        urls = folder / f"urls-{part}.txt"
        urls.write_text("\n".join(f"{where}/media/{name}.mp4" for name in names[part::AT_ONCE]))
        options = [
            "--ignore-config",
            "--no-update",
            "--no-cache-dir",
            "-q",
            "--no-progress",
            "--no-mtime",
            "-S",
            "res:144",
        ]
        places = ["--ffmpeg-location", ffmpeg_path(), "-o", str(folder / "out" / "%(id)s.%(ext)s"), "-a", str(urls)]
        commands.append([sys.executable, "-m", "yt_dlp", *options, *places])
    cost = measured(commands)
    found = len([*(folder / "out").glob("*.mp4")])
    if found != len(names):
        raise AssertionError(f"{found} of {len(names)} were fetched")
    return cost


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=80)
    parser.add_argument("--many", type=int, default=480)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.serve:
        threading.stack_size(1 << 18)
        serve(options.serve)
        return 0
    rows, per_video = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with served(_media(folder)) as where:
            for side, run in (("yt-dlp's command line", plain), ("v2a-data fetch", ours)):
                costs = {}
                for count in (options.few, options.many):
                    at = folder / f"{run.__name__}-{count}"
                    at.mkdir()
                    costs[count] = run(at, where, ids(count))
                further = options.many - options.few
                per_video[side] = 1e3 * (costs[options.many][0] - costs[options.few][0]) / further
                rate = further / (costs[options.many][1] - costs[options.few][1])
                for count, (cpu, wall) in costs.items():
                    last = count == options.many
                    figures = (round(per_video[side], 1), round(rate, 1)) if last else ("", "")
                    rows.append((side, count, round(cpu, 1), round(wall, 1), *figures))
    theirs, own = per_video.values()
    words = f"ours beyond yt-dlp's own: {own - theirs:.1f} ms of CPU per video; limit {LIMIT_MS:.0f} ms"
    good = own - theirs <= LIMIT_MS
    show("fetch_speed", HEADER, rows, words, options.json, beyond_ms=round(own - theirs, 1), good=good)
    return 0 if good else 1


def _media(folder: Path) -> bytes:
    """One short video of the synthetic world, as small as they come."""
    synth = [sys.executable, "-m", "v2a_data", "synth", str(folder / "world"), "--videos", "1", "--labels", "Drum"]
    form = ["--view", "small", "--seconds", "10-10", "-q", "--workers", "0"]
    subprocess.run([*synth, *form], check=True, stdout=subprocess.DEVNULL)
    return next((folder / "world" / "videos").iterdir()).read_bytes()


if __name__ == "__main__":
    sys.exit(main())
