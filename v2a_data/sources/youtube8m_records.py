"""YouTube-8M's second route: its video-level shards, for when the lists per label are withdrawn; and human ratings.

A download plan names the shards of a partition with their md5 (18 GB of `train`, 4 GB of `validate`). They are taken
one by one; of each only ids and labels are kept, 20 bytes a video, and the shard is deleted. So a run can be stopped
and gone on with at any shard, and other labels need no download.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from v2a_data.engine import pause
from v2a_data.errors import FatalError, UsageError, nearest
from v2a_data.fetch.http import get, save
from v2a_data.files import whole_file, write_text
from v2a_data.recipe import digest
from v2a_data.sources.base import Listing
from v2a_data.sources.segments import damaged
from v2a_data.sources.tfrecord import DamagedRecordError, Values, features, read_records

PARTITIONS = ("train", "validate")
CLASSES = 3862
RATED_S = 5.0
_MOST_SHARD_BYTES = 2_000_000_000
_MOST_LABELS = 500
_KEY = re.compile(rb"[A-Za-z0-9_-]{4}\Z")
_SHARD = re.compile(r"[A-Za-z0-9_]{1,40}\.tfrecord\Z")
_MD5 = re.compile(r"[0-9a-f]{32}\Z")
_LINE = re.compile(r"([A-Za-z0-9_-]{4}) (\d{1,4}(?:,\d{1,4})*)\n\Z")


class Listed(NamedTuple):
    """A video of a shard: its 4 characters and the indices of its labels."""

    key: str
    labels: tuple[int, ...]


class Rating(NamedTuple):
    """What people said of 5 s of a video: 1 where the label is there, 0 where not.

    They judged the segment as a whole, not picture and sound apart: a vote on the topic, and no more.
    """

    key: str
    start_s: float
    stop_s: float
    label: int
    score: float


def listed_videos(listing: Listing) -> Iterator[Listed]:
    """Videos of the recipe's partitions, shard by shard in the order of their names.

    Raises `FatalError` for a shard or plan that cannot be had or is damaged.
    """
    source = listing.recipe.source
    for partition in source.subsets or PARTITIONS[:1]:
        if partition not in PARTITIONS:
            words = f"source.subsets: YouTube-8M has no labels for {partition!r}"
            raise UsageError(f"{words}; {nearest(partition, list(PARTITIONS))}")
        for name, md5 in sorted(_plan(partition, listing).items()):
            index = _index(partition, name, md5, listing)
            if index is None:
                return
            yield from _read_index(index)


def _plan(partition: str, listing: Listing) -> Mapping[str, str | None]:
    """Shard → its md5. With `source.lists` the shards of that folder, whose md5 nobody knows."""
    source = listing.recipe.source
    if source.lists is not None:
        names = [path.name for path in Path(source.lists).expanduser().glob(f"{partition}*.tfrecord")]
        if not names:
            raise UsageError(f"source.lists: {source.lists} holds no {partition}*.tfrecord")
        return dict.fromkeys(names)
    url = source.plan_url.format(version=2, kind="video", subset=partition)
    cached = listing.cache / f"plan-{digest(url)[:8]}.json"
    if not cached.is_file():
        answer = get(url)
        if answer.status != 200 or not _is_plan(answer.body):
            raise FatalError(
                f"{url}: HTTP {answer.status}, not a download plan of YouTube-8M",
                hint="the plan may be withdrawn; name a folder of shards as source.lists, or use another source",
            )
        write_text(cached, answer.body.decode())
    files: dict[str, str | None] = json.loads(cached.read_text())["files"]
    return files


def _is_plan(body: bytes) -> bool:
    try:
        files = json.loads(body)["files"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return False
    return (
        isinstance(files, dict)
        and bool(files)
        and all(isinstance(md5, str) and _SHARD.match(name) and _MD5.match(md5) for name, md5 in files.items())
    )


def _index(partition: str, name: str, md5: str | None, listing: Listing) -> Path | None:
    """The kept ids and labels of a shard, made where they are not here; null where the user asks to stop."""
    # The names differ by case alone, which some disks do not tell apart.
    index = listing.cache / "records" / f"{name.removesuffix('.tfrecord')}-{digest([name, md5])[:8]}.txt"
    if index.is_file():
        return index
    source = listing.recipe.source
    if source.lists is not None:
        _write_index(Path(source.lists).expanduser() / name, index)
        return index
    if not pause(source.lookup_sleep_s):
        return None
    shard = listing.cache / f"{digest([name, md5])}.tfrecord"
    url = source.shard_url.format(version=2, kind="video", subset=partition, file=name)
    save(url, shard, _MOST_SHARD_BYTES, md5)
    _write_index(shard, index)
    shard.unlink()
    return index


def _write_index(shard: Path, index: Path) -> None:
    with whole_file(index) as temporary, temporary.open("w", encoding="ascii") as file:
        for video in read_videos(shard):
            file.write(f"{video.key} {','.join(map(str, video.labels))}\n")


def _read_index(index: Path) -> Iterator[Listed]:
    with index.open(encoding="ascii", errors="replace") as file:
        for number, line in enumerate(file, 1):
            match = _LINE.match(line)
            if match is None:
                raise damaged(index, number, "not an id and its labels")
            yield Listed(match[1], tuple(map(int, match[2].split(","))))


def read_videos(shard: Path) -> Iterator[Listed]:
    """Ids and labels of a video-level shard; a video without labels (partition test) is passed over.

    Raises `FatalError` naming file and reason for what is no such shard.
    """
    for values in _examples(shard, frozenset({"id", "labels"})):
        labels = _indices(values.get("labels", ()), shard)
        if labels:
            yield Listed(_key(values, shard), labels)


def read_ratings(shard: Path) -> Iterator[Rating]:
    """Human ratings of the 5 s segments of a shard of `3/frame/validate`, in its order. Raises as `read_videos`."""
    names = frozenset({"id", "segment_labels", "segment_start_times", "segment_scores"})
    for values in _examples(shard, names):
        labels = _indices(values.get("segment_labels", ()), shard)
        starts, scores = values.get("segment_start_times", ()), values.get("segment_scores", ())
        if not len(labels) == len(starts) == len(scores):
            raise _no_shard(shard, f"{len(labels)} rated labels, {len(starts)} starts and {len(scores)} scores")
        key = _key(values, shard) if labels else ""
        for label, start, score in zip(labels, starts, scores, strict=True):
            if not isinstance(start, int) or not 0 <= start < 100_000 or score not in (0.0, 1.0):
                raise _no_shard(shard, f"a rating of {score!r} at {start!r}")
            yield Rating(key, float(start), start + RATED_S, label, float(score))


def _examples(shard: Path, names: frozenset[str]) -> Iterator[Mapping[str, Values]]:
    for number, record in enumerate(read_records(shard)):
        try:
            yield features(record, names)
        except DamagedRecordError as error:
            raise _no_shard(shard, f"record {number}: {error}") from None


def _key(values: Mapping[str, Values], shard: Path) -> str:
    ids = values.get("id", ())
    if len(ids) != 1 or not isinstance(ids[0], bytes) or not _KEY.match(ids[0]):
        raise _no_shard(shard, f"an id {ids[:1]!r:.40}")
    return ids[0].decode()


def _indices(labels: Values, shard: Path) -> tuple[int, ...]:
    if len(labels) > _MOST_LABELS or not all(isinstance(label, int) and 0 <= label < CLASSES for label in labels):
        raise _no_shard(shard, "labels that YouTube-8M does not have")
    return tuple(int(label) for label in labels)


def _no_shard(shard: Path, why: str) -> FatalError:
    return FatalError(f"{shard.name}: {why}", hint=f"{shard} is no shard of YouTube-8M, or of another version of it")
