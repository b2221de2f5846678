"""Files made to cost much, through the media child: does each end soon, small, and with a reason?

    python benchmarks/bombs.py [--only WORD] [--json]

Each of the files of `tests/bombs_made.py` (huge headers, 10^5 streams, a day of silence, pictures that grow, data that
unpack to gigabytes …) goes through probe, the tap of all scorers and the cut in a media child of its own, as `fetch`,
`curate` and `shard` do with downloads. Limits per file: 10 s and 1 GB resident at once. Ends with 1 where one is
missed, where the child crashes, or where a file that cannot be used gives no reason.
"""

import argparse
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import inputs
import psutil
from bombs_made import BOMBS

from v2a_data.errors import ItemError
from v2a_data.media.client import MediaChild
from v2a_data.media.spec import CutSpec
from v2a_data.media.tap import TapSpec

MOST_S, MOST_BYTES = 10.0, 1_000_000_000
MAX_DURATION_S = 3600.0
CUT = CutSpec(64, 36, Fraction(25), 16000, 1, 30).to_json()


@dataclass(frozen=True)
class Outcome:
    """What came of one file. `reason` is `cut` where it was read to the end, empty where nobody said why not."""

    name: str
    size: int
    reason: str
    message: str
    seconds: float
    peak_bytes: int

    @property
    def hurts(self) -> bool:
        """Whether it crashed the child, gave no reason or took too much memory."""
        return self.reason in ("", "crashed", "internal") or self.peak_bytes > MOST_BYTES

    @property
    def broken(self) -> bool:
        """Whether it missed any limit."""
        return self.hurts or self.seconds > MOST_S


def explode(name: str, folder: Path) -> Outcome:
    """Make one file, send it through a fresh child, and remove it."""
    suffix, made = BOMBS[name]
    path = folder / f"bomb.{suffix}"
    path.write_bytes(made())
    with MediaChild() as child:
        child.build()
        with Watched(child) as watched:
            begun = time.monotonic()
            reason, message = through(child, path, folder)
            took_s = time.monotonic() - begun
    size = path.stat().st_size
    path.unlink()
    return Outcome(name, size, reason, message, took_s, watched.peak_bytes)


class Watched:
    """Looks often at how much memory a child has had, since one that ends takes that with it."""

    def __init__(self, child: MediaChild) -> None:
        self.child, self.peak_bytes, self.over = child, 0, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Watched":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def _watch(self) -> None:
        while True:
            process = self.child._process
            if process is not None:
                self.peak_bytes = max(self.peak_bytes, peak_bytes(process.pid))
            if self.over.wait(0.01):
                return


def through(child: MediaChild, path: Path, folder: Path) -> tuple[str, str]:
    """The reason why a file is refused and its details, or `cut`. `timed_out` is one: a file that unpacks for ever."""
    try:
        found = child.probe(path, MAX_DURATION_S)
        starts = tuple(2.0 * n for n in range(max(1, int(found.duration_s / 2))))
        child.tap(
            path, TapSpec(starts, 2.0, ((1, 64),), ((64, 36, 12.5),), ("source", "mono16k")), folder, found.duration_s
        )
        (cut,) = child.cut(path, [(0.0, 2.0)], CUT, folder, found.duration_s)
    except ItemError as error:
        return error.reason, error.message
    except Exception as error:  # whatever reaches the caller would end a run
        return "", f"{type(error).__name__}: {error}"
    return cut["reason"] or "cut", cut["message"]


def peak_bytes(pid: int) -> int:
    """The most memory that a process had resident at once (Linux; elsewhere what it has now, 0 when it is gone)."""
    try:
        words = Path(f"/proc/{pid}/status").read_text()
        return 1024 * int(words.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        pass
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="bombs whose name holds this")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory() as name:
        for bomb in (bomb for bomb in BOMBS if options.only in bomb):
            outcomes.append(explode(bomb, Path(name)))
            print(outcomes[-1], file=sys.stderr)
    rows = [
        (
            o.name,
            o.size,
            f"{o.reason}{': ' if o.message else ''}{o.message}"[:60],
            f"{o.seconds:.2f}",
            o.peak_bytes // 10**6,
        )
        for o in outcomes
    ]
    broken = [o.name for o in outcomes if o.broken]
    slowest, most = max(o.seconds for o in outcomes), max(o.peak_bytes for o in outcomes) / 1e6
    inputs.show(
        "bombs",
        ("bomb", "bytes", "reason", "seconds", "MB"),
        rows,
        f"{len(outcomes)} bombs, slowest {slowest:.1f} s, most {most:.0f} MB; {len(broken)} broken: {broken}",
        options.json,
        bombs=len(outcomes),
        slowest_s=round(slowest, 2),
        most_mb=round(most),
        without_reason=sum(o.reason == "" for o in outcomes),
        broken=broken,
    )
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
