"""The training clips that baseline rows retrieve from: a fixed choice, small pictures, sounds read when wanted."""

from collections.abc import Iterator, Sequence

import numpy as np

from v2a.decode import Form
from v2a.metrics.bank import Bank, Look, look, mean_waveform
from v2a.metrics.base import Sound
from v2a.stream import shard_source
from v2a_data.console import Console
from v2a_data.shards.read import Entry, ShardSet

# 10 s at 25 frames per second are 144 kB of small pictures: at most 290 MB.
MOST_CLIPS = 2000


def chosen(training: Sequence[Entry], test: Sequence[Entry], most: int = MOST_CLIPS) -> list[Entry]:
    """A fixed random choice of training clips, none of which is a test clip's video or a copy of it."""
    keys, groups = {entry.key for entry in test}, {entry.group_id for entry in test}
    entries = [entry for entry in training if entry.key not in keys and entry.group_id not in groups]
    if len(entries) <= most:
        return entries
    picks = np.random.default_rng(0).choice(len(entries), most, replace=False)
    return [entries[i] for i in sorted(picks.tolist())]


def build_bank(shards: ShardSet, entries: Sequence[Entry], form: Form, console: Console) -> Bank:
    """Every clip is decoded once. Raises `FatalError` for a damaged one."""
    looks: list[Look] = []
    source = shard_source(shards, entries, form, workers=0)

    def sounds() -> Iterator[np.ndarray]:
        with console.progress("training clips", len(entries), "clips") as progress:
            for place in source.read(iter(entries)):
                looks.append(look(place.frames, form.height))
                yield place.sound
                progress.step()

    mean = mean_waveform(sounds())

    def sound(index: int) -> Sound:
        return Sound(next(source.read(iter([entries[index]]))).sound, form.rate_hz, entries[index].key)

    return Bank(looks, mean, sound)
