"""The training clips that baseline rows retrieve from: a fixed choice, small pictures, sounds read when wanted."""

from collections.abc import Iterator, Sequence

import numpy as np

from v2a.metrics.bank import Bank, Look, look, mean_waveform
from v2a.metrics.base import Sound
from v2a.reading.form import Form
from v2a.reading.ring import whole_samples
from v2a.reading.source import shard_source
from v2a_data.console import Console
from v2a_data.shards.read import Entry, ShardSet

# 10 s at 25 frames per second are 144 kB of small pictures: at most 290 MB.
MOST_CLIPS = 2000


def chosen(training: Sequence[Entry], test: Sequence[Entry], most: int = MOST_CLIPS) -> list[Entry]:
    """A fixed random choice of clips, none of which is of a `test` clip's video or a copy of it."""
    keys, groups = {entry.key for entry in test}, {entry.group_id for entry in test}
    entries = [entry for entry in training if entry.key not in keys and entry.group_id not in groups]
    if len(entries) <= most:
        return entries
    picks = np.random.default_rng(0).choice(len(entries), most, replace=False)
    return [entries[i] for i in sorted(picks.tolist())]


def build_bank(shards: ShardSet, entries: Sequence[Entry], form: Form, console: Console) -> Bank:
    """Every clip is decoded once; damaged ones are left out, with a warning."""
    looks: list[Look] = []
    known: list[Entry] = []

    def sounds() -> Iterator[np.ndarray]:
        source = shard_source(shards, entries, form, workers=0)
        with console.progress("training clips", len(entries), "clips") as progress:
            for sample in whole_samples(source, entries):
                if sample.trouble is not None:
                    console.warn(f"{sample.entry.shard}: {sample.entry.key}: {sample.trouble.message}; it is left out")
                else:
                    known.append(sample.entry)
                    looks.append(look(sample.frames, form.height))
                    yield sample.sound
                progress.step()

    mean = mean_waveform(sounds())

    def sound(index: int) -> Sound:
        entry = known[index]
        source = shard_source(shards, [entry], form, workers=0)
        return Sound(next(whole_samples(source, [entry])).sound.copy(), form.rate_hz, entry.key)

    return Bank(looks, mean, sound)
