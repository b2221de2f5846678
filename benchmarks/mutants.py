"""Damaged media files through the media child: does any of them crash, hang or swell what reads it?

    python benchmarks/mutants.py [--files 2000] [--seed 0] [--media DIR] [--json]

Small rendered files of every container and codec of the world, or files of your own, are cut short, flipped,
zeroed, shuffled and lied about in their headers. Each goes through probe, the tap of all scorers and the cut, as
`fetch`, `curate` and `shard` do, with one untouched file after every twenty. Limits per file: 30 s and 1.5 GB.
Ends with 1 where a limit is missed, the caller is hurt, or an untouched file does not give what it always gives.
"""

import argparse
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil

from v2a_data.console import table
from v2a_data.engine import SerialEngine
from v2a_data.errors import ItemError
from v2a_data.files import sha256_file
from v2a_data.media.client import MediaChild
from v2a_data.media.spec import CutSpec
from v2a_data.media.tap import TapSpec
from v2a_data.synthetic.world import plan_world, render_world

MOST_S, MOST_BYTES = 30.0, 1_500_000_000
CONTROL_EVERY = 20
CUT = CutSpec(64, 36, Fraction(25), 16000, 1, 30).to_json()
Mutation = Callable[[bytearray, np.random.Generator], bytes | bytearray]


def truncate(body: bytearray, rng: np.random.Generator) -> bytearray:
    return body[: int(rng.integers(1, len(body)))]


def flip(body: bytearray, rng: np.random.Generator) -> bytearray:
    for place in rng.integers(len(body), size=int(rng.integers(1, 200))):
        body[place] ^= int(rng.integers(1, 256))
    return body


def flip_head(body: bytearray, rng: np.random.Generator) -> bytearray:
    for place in rng.integers(min(len(body), 4096), size=int(rng.integers(1, 20))):
        body[place] ^= int(rng.integers(1, 256))
    return body


def zero(body: bytearray, rng: np.random.Generator) -> bytearray:
    first, count = _span(body, rng)
    body[first : first + count] = bytes(count)
    return body


def remove(body: bytearray, rng: np.random.Generator) -> bytearray:
    first, count = _span(body, rng)
    return body[:first] + body[first + count :]


def repeat(body: bytearray, rng: np.random.Generator) -> bytearray:
    first, count = _span(body, rng)
    return body[: first + count] + body[first:]


def swap(body: bytearray, rng: np.random.Generator) -> bytearray:
    first, second = sorted(int(place) for place in rng.integers(1, len(body), size=2))
    return body[second:] + body[first:second] + body[:first]


def noise(body: bytearray, rng: np.random.Generator) -> bytearray:
    first, count = _span(body, rng)
    body[first : first + count] = rng.integers(256, size=count, dtype=np.uint8).tobytes()
    return body


def lie(body: bytearray, rng: np.random.Generator) -> bytearray:
    """Sizes, counts and rates that cannot be: the largest and smallest numbers over four bytes of a header."""
    ends = [len(body) - 4096, 0] if rng.random() < 0.5 else [0, 0]
    for _ in range(int(rng.integers(1, 6))):
        place = max(0, ends[0]) + int(rng.integers(min(4092, len(body) - 4)))
        place = min(place, len(body) - 4)
        body[place : place + 4] = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4), b"\x80\0\0\0")[rng.integers(4)]
    return body


MUTATIONS: dict[str, Mutation] = {
    kind.__name__: kind for kind in (truncate, flip, flip_head, zero, remove, repeat, swap, noise, lie)
}


def _span(body: bytearray, rng: np.random.Generator) -> tuple[int, int]:
    first = int(rng.integers(len(body)))
    return first, int(rng.integers(1, max(2, (len(body) - first) // 2 + 1)))


@dataclass
class Outcome:
    """What came of all files. `troubles` is everything that must not be."""

    reasons: Counter[str] = field(default_factory=Counter)
    by_kind: Counter[tuple[str, str]] = field(default_factory=Counter)
    slowest_s: float = 0.0
    slowest: str = ""
    most_bytes: int = 0
    controls: int = 0
    troubles: list[str] = field(default_factory=list)


class Bench:
    """One child, and what an untouched file gives."""

    def __init__(self, folder: Path, control: Path) -> None:
        self.folder, self.control, self.child = folder, control, MediaChild()
        self.expected = self.through(control)

    def through(self, path: Path) -> str:
        """What reading a file gives: the reason why it is refused, or what was cut of it."""
        try:
            found = self.child.probe(path, 3600.0)
            starts = tuple(2.0 * n for n in range(max(1, int(min(found.duration_s, 20) / 2))))
            spec = TapSpec(starts, 2.0, ((1, 64),), ((64, 36, 12.5),), ("source", "mono16k"))
            self.child.tap(path, spec, self.folder, found.duration_s)
            (cut,) = self.child.cut(path, [(0.0, 2.0)], CUT, self.folder, found.duration_s)
        except ItemError as error:
            return error.reason
        return cut["reason"] or f"cut {sha256_file(Path(cut['path']))}"

    def memory(self) -> int:
        """The most memory that this child had at once so far (Linux; elsewhere what it has now)."""
        process = self.child._process
        if process is None:
            return 0
        status = Path(f"/proc/{process.pid}/status")
        try:
            if status.is_file():
                return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1])  # type: ignore[index]
            return int(psutil.Process(process.pid).memory_info().rss)
        except (psutil.NoSuchProcess, OSError, TypeError):
            return 0


def run(files: int, seed: int, folder: Path, sources: list[Path], say: Callable[[str], None]) -> Outcome:
    """Send `files` mutants through a child. Same seed, same files."""
    (folder / "out").mkdir()
    bench, outcome = Bench(folder / "out", sources[0]), Outcome()
    if not bench.expected.startswith("cut "):
        outcome.troubles.append(f"the untouched file is refused: {bench.expected}")
    kinds = list(MUTATIONS)
    try:
        for number in range(files):
            rng = np.random.default_rng([seed, number])
            kind, source = kinds[number % len(kinds)], sources[number // len(kinds) % len(sources)]
            path = folder / f"mutant{source.suffix}"
            path.write_bytes(MUTATIONS[kind](bytearray(source.read_bytes()), rng))
            _one(bench, outcome, path, f"{number} ({kind} of {source.name})", kind)
            if number % CONTROL_EVERY == CONTROL_EVERY - 1:
                outcome.controls += 1
                if bench.through(bench.control) != bench.expected:
                    outcome.troubles.append(f"after {number} the untouched file gives something else")
            if number % 100 == 99:
                say(f"{number + 1} of {files} files, {len(outcome.troubles)} troubles")
    finally:
        bench.child.close()
    return outcome


def _one(bench: Bench, outcome: Outcome, path: Path, name: str, kind: str) -> None:
    begun = time.monotonic()
    try:
        found = bench.through(path)
    except Exception as error:  # whatever reaches the caller would end a run
        found = f"hurt the caller: {type(error).__name__}"
        outcome.troubles.append(f"{name}: {found}: {error}")
    took_s = time.monotonic() - begun
    reason = "cut" if found.startswith("cut ") else found
    outcome.reasons[reason] += 1
    outcome.by_kind[kind, "cut" if reason == "cut" else "refused"] += 1
    outcome.most_bytes = max(outcome.most_bytes, bench.memory())
    if took_s > outcome.slowest_s:
        outcome.slowest_s, outcome.slowest = took_s, name
    if took_s > MOST_S:
        outcome.troubles.append(f"{name}: took {took_s:.1f} s")
    if outcome.most_bytes > MOST_BYTES:
        outcome.troubles.append(f"{name}: {outcome.most_bytes / 1e9:.2f} GB")


def rendered(folder: Path) -> list[Path]:
    """Small files of every container and codec of the world; the first one is of the plainest kind."""
    plain = plan_world(1, 1, ("Drum",), 72, (4.0, 4.0), view="steady")
    mixed = plan_world(2, 24, (), 72, (2.5, 4.0))
    render_world(plain, folder / "plain", SerialEngine(), lambda: None)
    render_world(mixed, folder / "mixed", SerialEngine(), lambda: None)
    return [folder / "plain" / plain[0].file, *(folder / "mixed" / plan.file for plan in mixed)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--media", type=Path, help="a folder of files to damage; the first one is the control")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = sorted(options.media.iterdir()) if options.media else rendered(folder)
        outcome = run(options.files, options.seed, folder, sources, lambda text: print(text, file=sys.stderr))
    rows = [(kind, outcome.by_kind[kind, "refused"], outcome.by_kind[kind, "cut"]) for kind in MUTATIONS]
    print(table(("damage", "refused", "still cut"), rows))
    print("\n" + table(("outcome", "files"), outcome.reasons.most_common()))
    print(f"\n{options.files} files of {len(sources)}; slowest {outcome.slowest_s:.1f} s: {outcome.slowest};")
    print(f"most memory of the child {outcome.most_bytes / 1e9:.2f} GB; {outcome.controls} untouched files between;")
    print(f"{len(outcome.troubles)} troubles")
    print("\n".join(outcome.troubles))
    if options.json:
        more = {"slowest_s": round(outcome.slowest_s, 2), "most_bytes": outcome.most_bytes, "seed": options.seed}
        print(json.dumps({"benchmark": "mutants", "files": options.files, "reasons": outcome.reasons, **more}))
    return 1 if outcome.troubles else 0


if __name__ == "__main__":
    raise SystemExit(main())
