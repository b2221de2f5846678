"""Sets of shards, here or elsewhere, and several as one; imports no decoder, so that who imports it may fork."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from v2a.reading.order import quotas_of
from v2a.reading.remote import RemoteShards, open_remote
from v2a.reading.spans import LocalSpans, Pool, Spans, shard_fps
from v2a_data.errors import NothingError, UsageError
from v2a_data.recipe import digest
from v2a_data.shards.read import Entry, Sample, ShardSet, open_shards


@dataclass(frozen=True)
class MixedEntry(Entry):
    """One row of the index of set number `pool` of several."""

    pool: int = 0


class MixedShards(ShardSet):
    """Several sets as one, their samples set after set; `weights` are their shares of a training epoch."""

    def __init__(
        self, parts: Sequence[ShardSet], weights: Sequence[float], entries: Sequence[Entry] | None = None
    ) -> None:
        if entries is None:
            entries = [MixedEntry(**vars(e), pool=n) for n, part in enumerate(parts) for e in part.entries]
        super().__init__(parts[0].folder, entries)
        self.parts, self.weights = tuple(parts), tuple(weights)

    @property
    def place(self) -> str:
        return ", ".join(part.place for part in self.parts)

    def with_entries(self, entries: Sequence[Entry]) -> "MixedShards":
        return MixedShards(self.parts, self.weights, entries)

    def read(self, entry: Entry, *, verify: bool = False) -> Sample:
        return self.parts[pool_of(entry)].read(entry, verify=verify)

    def values(self, entry: Entry) -> dict[str, Any]:
        return self.parts[pool_of(entry)].values(entry)


def open_place(place: Path | str, cache: Path | None = None) -> ShardSet:
    """The shards of a folder or an address; of an address, samples are kept in `cache` (null: the user's own).

    Raises `UsageError` for what is neither, `FatalError` for an index that cannot be had or read.
    """
    if "://" not in str(place):
        return open_shards(Path(place))
    from platformdirs import user_cache_path

    return open_remote(str(place), cache or user_cache_path("v2a"))


def open_sets(places: Sequence[tuple[str, float]], labels: Sequence[str]) -> ShardSet:
    """Sets of shards by place and weight as one, with their samples of these labels (all without any).

    Raises what `open_place` and `only` do, `NothingError` where one of several has no samples to train on, `UsageError`
    where two are the same or one is so light that none of it would ever be drawn.
    """
    shards = mixed([open_place(place) for place, _ in places], [weight for _, weight in places]).only(labels)
    there = by_pool(shards.split("train"))
    for number, part in enumerate(parts_of(shards)):
        if number not in there and len(places) > 1:
            of = f" with the label {' or '.join(map(repr, labels))}" if labels else ""
            raise NothingError(f"{part.place} has no samples to train on{of}", hint="leave this set out")
    _check_different(shards, there)
    _check_weights(shards, {number: len(entries) for number, entries in there.items()})
    return shards


def _check_different(shards: ShardSet, there: dict[int, list[Entry]]) -> None:
    seen: dict[frozenset[tuple[str, str]], str] = {}
    for number, part in enumerate(parts_of(shards)):
        samples = frozenset((entry.key, entry.sha256) for entry in there.get(number, []))
        if samples in seen:
            raise UsageError(
                f"{seen[samples]} and {part.place} have the same samples to train on",
                hint="name one of them, with the weight of both",
            )
        seen[samples] = part.place


def _check_weights(shards: ShardSet, samples: dict[int, int]) -> None:
    weights, total, epoch = weights_of(shards), sum(weights_of(shards)), sum(samples.values())
    quotas = quotas_of([weight / total for weight in weights], epoch)
    for part, weight, quota in zip(parts_of(shards), weights, quotas, strict=True):
        if samples and not quota:
            raise UsageError(
                f"{part.place} with weight {weight:g} of {total:g} gives no sample to an epoch of {epoch}: it "
                "would never be drawn",
                hint="raise its weight, or leave this set out",
            )


def mixed(parts: Sequence[ShardSet], weights: Sequence[float]) -> ShardSet:
    """Sets of shards as one; a single one stays as it is."""
    return parts[0] if len(parts) == 1 else MixedShards(parts, weights)


def parts_of(shards: ShardSet) -> tuple[ShardSet, ...]:
    """The sets that a set of shards is mixed of, or itself."""
    return shards.parts if isinstance(shards, MixedShards) else (shards,)


def weights_of(shards: ShardSet) -> tuple[float, ...]:
    """The weight of each of them."""
    return shards.weights if isinstance(shards, MixedShards) else (1.0,)


def pool_of(entry: Entry) -> int:
    """Which of several sets a sample is of, counted from 0."""
    return entry.pool if isinstance(entry, MixedEntry) else 0


def by_pool(entries: Sequence[Entry]) -> dict[int, list[Entry]]:
    """Samples by the number of their set, in order."""
    found: dict[int, list[Entry]] = {}
    for entry in entries:
        found.setdefault(pool_of(entry), []).append(entry)
    return found


def pools_of(shards: ShardSet, entries: Sequence[Entry]) -> dict[int, Pool]:
    """Where samples come from, by the number of their set. Raises `NothingError` without samples."""
    if not entries:
        raise NothingError(f"{shards.place} has no samples of this split", hint="curate and shard more clips")
    spans = [_spans_of(part) for part in parts_of(shards)]
    return {n: Pool(spans[n], shard_fps(spans[n], chosen)) for n, chosen in by_pool(entries).items()}


def data_hash(shards: ShardSet) -> str | list[list[str | float]]:
    """Which samples are trained on, of several sets each with its weight."""
    sets, weights = by_pool(shards.split("train")), weights_of(shards)
    rows = ([[e.key, e.sha256, e.shard, e.frames, e.label] for e in sets.get(n, [])] for n in range(len(weights)))
    hashes = [digest(part) for part in rows]
    return hashes[0] if len(weights) == 1 else [list(pair) for pair in zip(hashes, weights, strict=True)]


def held_out_elsewhere(shards: ShardSet) -> list[Entry]:
    """Samples to train on whose video another set holds out: figures on that set would be too good."""
    held: dict[str, set[int]] = {}
    for entry in shards.entries:
        if entry.split != "train":
            held.setdefault(_video(entry), set()).add(pool_of(entry))
    return [e for e in shards.split("train") if held.get(_video(e), set()) - {pool_of(e)}]


def trained_on(test: Sequence[Entry], training: Sequence[Entry]) -> list[Entry]:
    """Samples to judge by whose video, or a copy of it, is trained on."""
    videos, groups = {_video(entry) for entry in training}, {entry.group_id for entry in training}
    return [entry for entry in test if _video(entry) in videos or entry.group_id in groups]


def _video(entry: Entry) -> str:
    return entry.key.rpartition("_")[0]


def _spans_of(shards: ShardSet) -> Spans:
    return shards.spans if isinstance(shards, RemoteShards) else LocalSpans(shards.folder)
