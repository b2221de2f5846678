"""Near-duplicates: recall on planted re-uploads, and the time and memory of a million clips.

A synthetic world with re-uploads (other size, crop, bit rate, codec, volume, trimmed) goes through `fetch` and
`curate`; groups are held against the world's truth, also by picture alone and by sound alone. A million clips are
generated fingerprints: sequences that change as those of scenes do, with bits that are not even, frozen and black
clips, and openings that many share; 2 % are copies, shifted, cropped and noisy.

    python benchmarks/duplicates.py [--videos 120] [--clips 1000000] [--seed 10000] [--world DIR] [--json]
"""

import argparse
import itertools
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from inputs import show

from v2a_data.curate.duplicates import load_hashes
from v2a_data.curate.similar import PICTURE, SOUND, Hashes, Rules, Union, same
from v2a_data.curate.splits import assign
from v2a_data.media.fingerprint import CROPS
from v2a_data.recipe import SplitsSection
from v2a_data.synthetic.world import read_truth
from v2a_data.workspace import Workspace

FAULTS = "near_duplicate:0.4,still:0.05,silence:0.05,music:0.1,voice:0.1,black:0.05"
_COPIES, _BLACK, _FROZEN, _OPENINGS = 0.02, 0.03, 0.02, 0.01
_STEPS = {"picture": 31, "sound": 125}
_CHUNK = 20_000


def planted(folder: Path, world: Path | None, videos: int, seed: int) -> tuple[list[list[object]], dict[str, Any]]:
    """Rows and figures of the planted re-uploads."""
    if world is None:
        world = folder / "world"
        words = ["--videos", str(videos), "--seed", str(seed), "--seconds", "8-14", "--faults", FAULTS]
        _run("synth", str(world), *words)
    at = ["-w", str(folder / "w")]
    sets = ["--set", 'clips.length="natural"', "--set", "fetch.sleep_s=[0, 0]", "--set", "splits.test=0.2"]
    _run("fetch", "--source", "synthetic", "--input", str(world), "--recipe", "keep_all", "--limit", "all", *sets, *at)
    _run("curate", *at)
    truth = read_truth(world, "videos").set_index("video_id")
    with Workspace.read(folder / "w") as workspace:
        ledger = workspace.ledger
        sql = "SELECT DISTINCT c.video_id, g.group_id FROM groups g JOIN clips c USING (clip_id)"
        groups = dict(map(tuple, ledger.rows(sql)))
        splits = ledger.rows("SELECT DISTINCT g.group_id, s.split FROM groups g JOIN splits s USING (clip_id)")
        alone = {kind: _alone(ledger, kind, rules) for kind, rules in (("picture", PICTURE), ("sound", SOUND))}
    by = {"all": groups, **alone}
    pairs = list(itertools.combinations(sorted(groups), 2))
    scene = truth.group_id
    copies = [(a, b) for a, b in pairs if scene[a] == scene[b]]
    others = [(a, b) for a, b in pairs if scene[a] != scene[b]]
    alike = [(a, b) for a, b in others if truth.label[a] == truth.label[b]]
    rows: list[list[object]] = []
    for name, found in by.items():
        rows.append(
            [f"synthetic world, by {name}", len(copies), _share(copies, found), len(others), _share(others, found)]
        )
    rows.append(["  of them in scenes of one label", "", "", len(alike), _share(alike, groups)])
    for transform in sorted(set(truth["transform"]) - {""}):
        some = [(a, b) for a, b in copies if (truth.duplicate_of[b] == a and truth["transform"][b] == transform)
                or (truth.duplicate_of[a] == b and truth["transform"][a] == transform)]  # fmt: skip
        rows.append([f"  {transform}", len(some), _share(some, groups), "", ""])
    crossing = sum(count > 1 for count in Counter(group for group, _ in splits).values())
    figures = {"recall": _share(copies, groups), "false_pair_rate": _share(others, groups), "copies": len(copies)}
    return rows, figures | {"groups_across_splits": crossing, "videos": len(groups)}


def _alone(ledger: Any, kind: str, rules: Rules) -> dict[str, str]:
    _, videos, hashes = load_hashes(ledger, kind)
    union = Union()
    for a, b in same(hashes, rules).tolist():
        union.join(videos[a], videos[b])
    return {row[0]: union.find(row[0]) for row in ledger.rows("SELECT DISTINCT video_id FROM fingerprints")}


def _share(pairs: list[tuple[str, str]], groups: dict[str, str]) -> float:
    return round(sum(groups[a] == groups[b] for a, b in pairs) / max(1, len(pairs)), 6)


def _run(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "v2a_data", *words, "-q"], check=True, stdout=subprocess.DEVNULL)


def generated(kind: str, clips: int, rng: np.random.Generator) -> tuple[Hashes, np.ndarray]:
    """Fingerprints of `clips` clips, and the planted pairs `(m, 2)`: the last clips copy earlier ones."""
    steps, forms = _STEPS[kind], len(CROPS) if kind == "picture" else 1
    rows = np.empty((clips, steps, forms), np.uint64)
    even = np.clip(rng.normal(0.5, 0.12, 64), 0.15, 0.85)
    openings = rng.integers(1, 2**63, (20, steps // 4), dtype=np.uint64)
    for first in range(0, clips, _CHUNK):
        part = rows[first : first + _CHUNK]
        _scenes(part, even, rng)
        chance = rng.random(len(part))
        opened = np.flatnonzero(chance < _OPENINGS)
        part[opened, : steps // 4, :] = openings[rng.integers(len(openings), size=len(opened)), :, None]
        part[(chance >= _OPENINGS) & (chance < _OPENINGS + _BLACK)] = 0
    count = round(clips * _COPIES)
    sources = rng.choice(clips - count, count, replace=False)
    for copy, source in zip(range(clips - count, clips), sources.tolist(), strict=True):
        rows[copy] = _copied(rows[source], int(rng.integers(forms)), rng)
    full = rows[sources].any(axis=(1, 2))
    pairs = np.stack([sources, np.arange(clips - count, clips)], axis=1)[full]
    starts = np.arange(clips + 1, dtype=np.int64) * steps
    return Hashes(rows.reshape(-1, forms), starts, np.arange(clips)), pairs


def _scenes(rows: np.ndarray, even: np.ndarray, rng: np.random.Generator) -> None:
    """Sequences of signs that change from step to step, each clip at its own pace; crops differ by a few bits."""
    count, steps, forms = rows.shape
    now = rng.random((count, 64), np.float32) < even
    pace = rng.beta(0.6, 3, count).astype(np.float32)[:, None] * 0.3 + 0.005
    pace[rng.random(count) < _FROZEN] = 0
    for step in range(steps):
        change = rng.random((count, 64), np.float32) < pace
        now = np.where(change, rng.random((count, 64), np.float32) < even, now)
        shown = now
        for form in range(forms):
            rows[:, step, form] = _pack(shown)
            shown = shown ^ (rng.random((count, 64), np.float32) < 0.06)


def _copied(source: np.ndarray, form: int, rng: np.random.Generator) -> np.ndarray:
    """A re-upload of a clip: cropped as much as one of its forms, up to 40 % trimmed off, 4 % of the bits wrong."""
    steps, forms = source.shape
    trimmed = int(rng.integers(-int(0.4 * steps), int(0.4 * steps) + 1))
    noise = _pack(rng.random((steps, forms, 64), np.float32) < 0.04)
    copy = np.roll(source, trimmed, axis=0)
    copy[:, 0] = copy[:, form]
    copy = np.where(copy == 0, np.uint64(0), copy ^ noise)
    lost = slice(0, trimmed) if trimmed > 0 else slice(steps + trimmed, steps)
    copy[lost] = rng.integers(1, 2**63, copy[lost].shape, dtype=np.uint64)
    return copy


def _pack(bits: np.ndarray) -> np.ndarray:
    packed: np.ndarray = np.packbits(bits, axis=-1, bitorder="little").view("<u8")[..., 0]
    return packed


def million(clips: int, seed: int) -> tuple[list[list[object]], dict[str, Any]]:
    """Rows and figures of many generated clips: picture, then sound, then groups and splits over both."""
    rng = np.random.default_rng(seed)
    rows: list[list[object]] = []
    union, seconds, cpu = Union(), 0.0, 0.0
    figures: dict[str, Any] = {}
    for kind, rules in (("picture", PICTURE), ("sound", SOUND)):
        hashes, pairs = generated(kind, clips, rng)
        started, used = time.monotonic(), time.process_time()
        found = same(hashes, rules)
        for a, b in found.tolist():
            union.join(f"{a:09d}", f"{b:09d}")
        seconds, cpu = seconds + time.monotonic() - started, cpu + time.process_time() - used
        names = {(int(a) << 32) + int(b) for a, b in found}
        right = sum((int(a) << 32) + int(b) in names for a, b in pairs)
        recall, others = right / len(pairs), clips * (clips - 1) // 2 - len(pairs)
        wrong = (len(found) - right) / others
        rows.append([f"{clips} generated clips, by {kind}", len(pairs), round(recall, 4), others, f"{wrong:.1e}"])
        figures |= {f"million_{kind}_recall": round(recall, 4), f"million_{kind}_false_pair_rate": wrong}
        del hashes
    started = time.monotonic()
    labels: dict[str, list[str]] = {}
    for n in range(clips):
        labels.setdefault(union.find(f"{n:09d}"), []).append(str(n % 10))
    splits = Counter(assign(labels, {}, SplitsSection()).values())
    seconds += time.monotonic() - started
    mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    figures |= {
        "million_s": round(seconds, 1),
        "million_cpu_s": round(cpu, 1),
        "million_mb": round(mb),
        "million_clips": clips,
    }
    largest = max(map(len, labels.values()))
    return rows, figures | {"million_groups": len(labels), "million_largest": largest, "million_splits": dict(splits)}


def main() -> None:
    """Both parts; the first renders its world unless one is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=120, help="0: leave the world out")
    parser.add_argument("--clips", type=int, default=1_000_000, help="0: leave the generated clips out")
    parser.add_argument("--seed", type=int, default=10_000)
    parser.add_argument("--world", type=Path, help="a rendered world with near-duplicates")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: list[list[object]] = []
    figures: dict[str, Any] = {}
    # The million first: its memory is the peak of the process.
    if options.clips:
        rows, figures = million(options.clips, options.seed)
    if options.videos or options.world:
        with tempfile.TemporaryDirectory() as folder:
            more, values = planted(Path(folder), options.world, options.videos, options.seed)
        rows, figures = more + rows, values | figures
    words = ", ".join(
        f"{name} {figures[name]}" for name in ("million_s", "million_mb", "groups_across_splits") if name in figures
    )
    header = ("what", "duplicate pairs", "recall", "other pairs", "of them joined")
    show("duplicates", header, rows, f"synthetic; {words}", options.json, synthetic=True, **figures)


if __name__ == "__main__":
    main()
