"""Sets of shards as what a stream reads from: decoded by worker processes, or in this one."""

from collections.abc import Sequence

from v2a.reading.fill import Pool
from v2a.reading.form import Form
from v2a.reading.remote import spans_of
from v2a.reading.ring import Here, Ring, SampleSource
from v2a.reading.spans import shard_fps
from v2a_data.errors import NothingError
from v2a_data.shards.read import Entry, ShardSet


def shard_source(shards: ShardSet, entries: Sequence[Entry], form: Form, workers: int) -> SampleSource:
    """Decoded samples of a split: by `workers` processes, or in this one with 0.

    Raises `NothingError` for an empty split.
    """
    return _source([(shards, entries)], form, workers)


def mixed(
    sets: Sequence[ShardSet], split: str, form: Form, workers: int
) -> tuple[SampleSource, list[Entry], list[int]]:
    """Several sets of shards as one: the source, the entries, and `sets` for `ShardStream`.

    `ShardStream(source, entries, …, sets=sets, weights=(3, 1))`. Raises `NothingError` where one has none.
    """
    parts = [(shards, shards.split(split)) for shards in sets]
    source = _source(parts, form, workers)
    which = [number for number, (_, entries) in enumerate(parts) for _ in entries]
    return source, [entry for _, entries in parts for entry in entries], which


def _source(parts: Sequence[tuple[ShardSet, Sequence[Entry]]], form: Form, workers: int) -> SampleSource:
    pools = []
    for shards, entries in parts:
        if not entries:
            raise NothingError(f"{shards.folder} has no samples of this split", hint="curate and shard more clips")
        spans = spans_of(shards)
        pools.append(Pool(spans, shard_fps(spans, entries)))
    return Ring(form, pools, workers) if workers else Here(form, pools)
