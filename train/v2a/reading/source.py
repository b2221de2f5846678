"""A set of shards as what a stream reads from: decoded by worker processes, or in this one."""

from collections.abc import Sequence

from v2a.reading.form import Form
from v2a.reading.ring import Here, Ring, SampleSource
from v2a.reading.sets import pools_of
from v2a_data.shards.read import Entry, ShardSet


def shard_source(shards: ShardSet, entries: Sequence[Entry], form: Form, workers: int) -> SampleSource:
    """Decoded samples of a split, of one set or of several: by `workers` processes, or in this one with 0.

    Raises `NothingError` for an empty split.
    """
    pools = pools_of(shards, entries)
    return Ring(form, pools, workers) if workers else Here(form, pools)
