"""What two datasets have in common: by id, by bytes, by picture, by sound. Counted exactly, nothing estimated.

A dataset is a manifest, or a folder of shards. Shards are decoded and fingerprinted here; a manifest has ids, times
and hashes of files alone. What one side does not have cannot be compared, and is said.
"""

import hashlib
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, islice
from pathlib import Path
from typing import Any

import numpy as np

from v2a_data.console import Console
from v2a_data.curate.fingerprints import Prints, measure_spans
from v2a_data.curate.similar import PICTURE, SOUND, Hashes, same
from v2a_data.engine import Engine, Job, Step
from v2a_data.errors import ItemError
from v2a_data.ids import split_clip_id
from v2a_data.manifest import open_manifest
from v2a_data.media.client import shared_child, twice
from v2a_data.shards.format import INDEX_FILE, SPLITS
from v2a_data.shards.read import Entry, ShardSet, open_shards

KINDS = ("video", "time", "bytes", "picture", "sound")
WORDS = {
    "video": "of a video that is on the other side",
    "time": "of the same seconds of the same video",
    "bytes": "of equal files",
    "picture": "with the same picture",
    "sound": "with the same sound",
}
_EXAMPLES = 20


@dataclass(frozen=True)
class Item:
    """One clip. `side` is what it is compared across: dataset 0 or 1, or its split. `sha256` is of the video's file
    (manifest) or of the sample's mp4 (shards); null where it is not known."""

    key: str
    video_id: str
    start_s: float
    stop_s: float
    side: int
    sha256: str | None = None
    prints: Prints | None = None

    @property
    def place(self) -> tuple[int, str]:
        return self.side, self.key


@dataclass(frozen=True)
class Overlap:
    """Clips of each side that have a counterpart on another, the number of pairs, and the first pairs."""

    left: int
    right: int
    pairs: int
    examples: list[tuple[str, str]]


@dataclass
class _Found:
    """An overlap that is being counted."""

    left: set[tuple[int, str]] = field(default_factory=set)
    right: set[tuple[int, str]] = field(default_factory=set)
    pairs: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)

    def show(self, pairs: Iterator[tuple[Item, Item]]) -> None:
        """Take of some pairs as many as examples are wanted."""
        room = _EXAMPLES - len(self.examples)
        self.examples += [(a.key, b.key) for a, b in islice(pairs, room)]

    @property
    def overlap(self) -> Overlap:
        return Overlap(len(self.left), len(self.right), self.pairs, sorted(self.examples))


@dataclass
class Leaks:
    """What was found, by kind; kinds that could not be compared are absent and named in `not_compared`."""

    clips: list[int]
    found: dict[str, Overlap] = field(default_factory=dict)
    not_compared: list[str] = field(default_factory=list)

    @property
    def any(self) -> bool:
        """Whether anything leaks."""
        return any(overlap.pairs for overlap in self.found.values())

    def to_json(self) -> dict[str, Any]:
        found = {
            kind: {"clips_a": o.left, "clips_b": o.right, "pairs": o.pairs, "examples": o.examples}
            for kind, o in self.found.items()
        }
        return {"clips": self.clips, "leaks": self.any, "by": found, "not_compared": self.not_compared}


def find_leaks(paths: Sequence[Path], engine: Engine, console: Console) -> Leaks:
    """Compare two datasets, or the splits of one. Raises `UsageError` for what is neither manifest nor shards."""
    sets = [_read(path, engine, console) for path in paths]
    alone = len(sets) == 1
    items = [replace(item, side=item.side if alone else n) for n, (found, _, _) in enumerate(sets) for item in found]
    sides = [SPLITS[n] for n in range(len(SPLITS))] if alone else [str(path) for path in paths]
    result = Leaks([sum(item.side == n for item in items) for n in range(len(sides))])
    result.found["video"] = _across(items, lambda item: item.video_id)
    result.found["time"] = _in_time(items)
    kinds = {kind for _, kind, _ in sets}
    if len(kinds) == 1:
        result.found["bytes"] = _across([item for item in items if item.sha256], lambda item: item.sha256)
    else:
        result.not_compared.append("bytes: a manifest has hashes of videos, shards have samples")
    if kinds == {"shards"}:
        for kind, rules in (("picture", PICTURE), ("sound", SOUND)):
            result.found[kind] = _alike(items, kind, rules)
    else:
        result.not_compared.append("picture and sound: a manifest holds no fingerprints; give folders of shards")
    result.not_compared += [trouble for _, _, troubles in sets for trouble in troubles]
    return result


def _read(path: Path, engine: Engine, console: Console) -> tuple[list[Item], str, list[str]]:
    """Its clips, "manifest" or "shards", and what could not be measured. `side` is the split's number."""
    if not path.is_dir():
        rows = open_manifest(path).rows(("key", "video_id", "start_s", "stop_s", "split", "media_sha256"))
        items = [
            Item(r["key"], r["video_id"], r["start_s"], r["stop_s"], SPLITS.index(r["split"]), r["media_sha256"])
            for r in rows
        ]
        return items, "manifest", []
    folder = path if (path / INDEX_FILE).is_file() or not (path / "shards" / INDEX_FILE).is_file() else path / "shards"
    shards = open_shards(folder)
    measured = _measured(shards, engine, console)
    items = []
    for entry in sorted(shards.entries, key=lambda entry: entry.key):
        video_id, start_s = split_clip_id(entry.key)
        sha256, prints, _ = measured[entry.key]
        items.append(
            Item(entry.key, video_id, start_s, start_s + entry.duration_s, SPLITS.index(entry.split), sha256, prints)
        )
    return items, "shards", list(_troubles(path, measured))


def _troubles(path: Path, measured: dict[str, tuple[str, Prints, str | None]]) -> Iterator[str]:
    broken = sum(reason is not None for _, _, reason in measured.values())
    if broken:
        yield f"{path}: {broken} samples do not decode"
    for kind in ("picture", "sound"):
        empty = sum(not getattr(prints, kind).any() for _, prints, reason in measured.values() if reason is None)
        if empty:
            yield f"{path}: {kind} of {empty} samples has nothing to go by (black, still, silent)"


def _measured(shards: ShardSet, engine: Engine, console: Console) -> dict[str, tuple[str, Prints, str | None]]:
    """Per key: sha256 of its mp4, fingerprints, and why there are none."""
    by_shard: dict[str, list[Entry]] = defaultdict(list)
    for entry in shards.entries:
        by_shard[entry.shard].append(entry)
    jobs = [
        Job(f"leaks-{n}", (Step(_measure_shard, (str(shards.folder.absolute()), entries)),))
        for n, (_, entries) in enumerate(sorted(by_shard.items()))
    ]
    found: dict[str, tuple[str, Prints, str | None]] = {}
    with console.progress("fingerprints", len(shards.entries), "samples") as progress:

        def record(_: Job, answer: dict[str, tuple[str, Prints, str | None]]) -> None:
            found.update(answer)
            progress.step(len(answer))

        engine.run(jobs, record)
    return found


def _measure_shard(folder: str, entries: list[Entry]) -> dict[str, tuple[str, Prints, str | None]]:
    """Fingerprint the samples of one shard; runs in a worker, decodes in its child."""
    shards, found = ShardSet(Path(folder), entries), {}
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "sample.mp4"
        for entry in entries:
            mp4 = shards.read(entry).mp4
            file.write_bytes(mp4)
            prints, reason = _prints(file, entry.duration_s, Path(scratch))
            found[entry.key] = hashlib.sha256(mp4).hexdigest(), prints, reason
    return found


def _prints(file: Path, duration_s: float, scratch: Path) -> tuple[Prints, str | None]:
    try:
        return twice(lambda: measure_spans(shared_child(), file, [(0.0, duration_s)], duration_s, scratch))[0], None
    except ItemError as error:
        return Prints.from_row(None, None), error.reason


def _across(items: Sequence[Item], name: Callable[[Item], str | None]) -> Overlap:
    """Clips that have the same name on different sides; counted per name and side, as one video can have very many."""
    by_name: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_name[str(name(item))].append(item)
    found = _Found()
    for group in by_name.values():
        sizes = Counter(item.side for item in group)
        found.left.update(item.place for item in group if item.side < max(sizes))
        found.right.update(item.place for item in group if item.side > min(sizes))
        found.pairs += (len(group) ** 2 - sum(size**2 for size in sizes.values())) // 2
        for low, high in combinations(_by_side(group).values(), 2):
            found.show((a, b) for a in low for b in high)
    return found.overlap


def _in_time(items: Sequence[Item]) -> Overlap:
    """Clips of the same seconds of one video on different sides."""
    by_video: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        if item.stop_s > item.start_s:
            by_video[item.video_id].append(item)
    found = _Found()
    for group in by_video.values():
        for low, high in combinations(_by_side(group).values(), 2):
            low_hits, high_hits = _hits(low, high), _hits(high, low)
            found.left.update(item.place for item, hits in zip(low, low_hits, strict=True) if hits)
            found.right.update(item.place for item, hits in zip(high, high_hits, strict=True) if hits)
            found.pairs += sum(low_hits)
            met = (item for item, hits in zip(low, low_hits, strict=True) if hits)
            found.show((a, b) for a in met for b in high if min(a.stop_s, b.stop_s) > max(a.start_s, b.start_s))
    return found.overlap


def _by_side(items: Sequence[Item]) -> dict[int, list[Item]]:
    """Clips by side, the lowest first."""
    sides: dict[int, list[Item]] = {}
    for item in sorted(items, key=lambda item: item.side):
        sides.setdefault(item.side, []).append(item)
    return sides


def _hits(clips: Sequence[Item], others: Sequence[Item]) -> list[int]:
    """How many of `others` each clip shares time with: those begun before its end, less those over by its start."""
    starts, stops = (np.sort([getattr(other, name) for other in others]) for name in ("start_s", "stop_s"))
    begun = np.searchsorted(starts, [clip.stop_s for clip in clips], side="left")
    over = np.searchsorted(stops, [clip.start_s for clip in clips], side="right")
    hits: list[int] = (begun - over).tolist()
    return hits


def _alike(items: Sequence[Item], kind: str, rules: Any) -> Overlap:
    prints = [np.zeros((0, 1), np.uint64) if item.prints is None else getattr(item.prints, kind) for item in items]
    found = same(Hashes.of(prints, [item.side for item in items]), rules)
    pairs = (sorted((items[a], items[b]), key=lambda item: item.side) for a, b in found.tolist())
    return _overlap((a, b) for a, b in pairs)


def _overlap(pairs: Iterator[tuple[Item, Item]]) -> Overlap:
    found = _Found()
    for a, b in pairs:
        found.left.add(a.place)
        found.right.add(b.place)
        found.pairs += 1
        found.show(iter([(a, b)]))
    return found.overlap
