"""Which clips show or sound the same: candidates from a blocked index, each checked by exact Hamming distance.

The index (faiss) holds every few hashes of every clip in tables by 21 of their 64 bits, so that never all pairs are
looked at. A candidate says that clip a at step i looks like clip b at step i + d; then all steps that both have at
this offset are compared. What comes out is a function of the hashes alone: the order of clips and the number of
threads change nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

# Tables of the index, and bits that a hash is looked up by in each.
_TABLES, _BITS = 3, 21
_FIRST_BITS = np.uint64((1 << _BITS) - 1)
# Single moments that differ in more bits are no candidates.
_CANDIDATE_BITS = 12
# Above the limit for all steps, what a few of them may differ by; half a step beside the best offset, too.
_ROUGH_BITS = 6
# A moment that so many clips share is an intro or a test card, and tells nothing of them.
_COMMON = 100
# What is worked on at a time: bounds the memory.
_QUERY_CLIPS, _QUERIES, _STEPS = 200_000, 200_000, 4_000_000


@dataclass(frozen=True)
class Rules:
    """When two clips are the same. At an offset, `least` steps and a share of the shorter clip's steps have to be
    measured in both, and differ by `bits` of 64 on average. Every `rough_every` steps are looked at first."""

    index_every: int
    query_every: int
    bits: float
    least: int
    share: float = 0.4
    rough_every: int = 4


PICTURE = Rules(index_every=2, query_every=5, bits=12.0, least=3)
SOUND = Rules(index_every=6, query_every=7, bits=15.0, least=12, rough_every=12)


@dataclass(frozen=True)
class Hashes:
    """Hashes of many clips, one after the other: clip i has rows `starts[i]` to `starts[i + 1]` of `(rows, forms)`.

    `owners (clips,)` numbers their videos; clips of one video are never compared.
    """

    rows: np.ndarray
    starts: np.ndarray
    owners: np.ndarray

    @classmethod
    def of(cls, clips: Sequence[np.ndarray], owners: Sequence[int]) -> "Hashes":
        """From one `(steps, forms)` array per clip; a clip without hashes has none of its own."""
        lengths = [len(clip) for clip in clips]
        forms = max((clip.shape[1] for clip in clips if len(clip)), default=1)
        full = [clip for clip in clips if len(clip)] or [np.zeros((0, forms), np.uint64)]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return cls(np.concatenate(full).astype(np.uint64), starts, np.asarray(owners, np.int64))


@dataclass(frozen=True)
class _Keys:
    """Moments of clips: `(n,)` each. `form` is the column that the hash is from."""

    hashes: np.ndarray
    clips: np.ndarray
    steps: np.ndarray
    forms: np.ndarray


def same(hashes: Hashes, rules: Rules) -> np.ndarray:
    """Pairs of clips that are the same, `(m, 2)` int64, the smaller number first, sorted."""
    found = [np.zeros((0, 2), np.int64)]
    for candidates in _candidates(hashes, rules):
        good = _verified(hashes, candidates, rules)
        found.append(np.sort(candidates[good][:, :2], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _keys(hashes: Hashes, every: int, *, forms: int, among: slice) -> _Keys:
    """Every so many steps of some of the clips, those that were measured."""
    lengths = np.diff(hashes.starts)[among]
    counts = -(-lengths // every)
    clips = np.repeat(np.arange(len(hashes.owners), dtype=np.int32)[among], counts)
    steps = ((np.arange(len(clips)) - np.repeat(np.cumsum(counts) - counts, counts)) * every).astype(np.int32)
    rows = hashes.rows[hashes.starts[clips] + steps, :forms]
    at, columns = np.nonzero(rows)
    return _Keys(rows[at, columns], clips[at], steps[at], columns.astype(np.int8))


def _uncommon(keys: _Keys) -> _Keys:
    """Without hashes that stand still within a clip, but for the first, and without those of very many clips."""
    if not len(keys.hashes):
        return keys
    order = np.argsort(keys.hashes, kind="stable")  # keys come by clip and step
    new_hash = np.append(True, np.diff(keys.hashes[order]) != 0)
    new_clip = new_hash | np.append(True, np.diff(keys.clips[order]) != 0)
    numbers = np.cumsum(new_hash) - 1
    shared_by = np.bincount(numbers[new_clip])
    kept = np.sort(order[new_clip & (shared_by[numbers] <= _COMMON)])
    return _Keys(keys.hashes[kept], keys.clips[kept], keys.steps[kept], keys.forms[kept])


def _candidates(hashes: Hashes, rules: Rules) -> Iterator[np.ndarray]:
    """Blocks of `(n, 4)` int64: clip a, clip b, form of a, offset of b's steps; each once in its block."""
    index = _uncommon(_keys(hashes, rules.index_every, forms=1, among=slice(None)))
    for turn in range(_TABLES if len(index.hashes) else 0):
        table, stored = _table(index, turn)
        for first in range(0, len(hashes.owners), _QUERY_CLIPS):
            among = slice(first, first + _QUERY_CLIPS)
            queries = _keys(hashes, rules.query_every, forms=hashes.rows.shape[1], among=among)
            codes, order = _in_order(queries.hashes, turn)
            for block in range(0, len(order), _QUERIES):
                asked = slice(block, block + _QUERIES)
                limits, _, hits = table.range_search(_as_bytes(codes[asked]), _CANDIDATE_BITS + 1)
                query = order[asked].repeat(np.diff(limits).astype(np.int64))
                yield _offsets(hashes, queries, index, query, stored[hits])


def _table(index: _Keys, turn: int) -> tuple[Any, np.ndarray]:
    """The index by one part of the bits, and which key stands where in it."""
    import faiss

    codes, order = _in_order(index.hashes, turn)
    table = faiss.IndexBinaryHash(64, _BITS)
    table.add(_as_bytes(codes))
    return table, order


def _in_order(hashes: np.ndarray, turn: int) -> tuple[np.ndarray, np.ndarray]:
    """Hashes with the bits of this turn first, in the order of those: neighbours ask for what is cached already."""
    by = np.uint64(turn * _BITS)
    codes = (hashes >> by) | (hashes << (np.uint64(64) - by)) if turn else hashes
    order = np.argsort((codes & _FIRST_BITS).astype(np.uint32), kind="stable")
    return codes[order], order.astype(np.int32)


def _offsets(hashes: Hashes, queries: _Keys, index: _Keys, query: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """What hits of queries say, but for those inside one video."""
    a, b = queries.clips[query], index.clips[hit]
    other = hashes.owners[a] != hashes.owners[b]
    query, hit = query[other], hit[other]
    columns = (a[other], b[other], queries.forms[query], index.steps[hit] - queries.steps[query])
    return np.unique(np.stack([column.astype(np.int64) for column in columns], axis=1), axis=0)


def _as_bytes(hashes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(hashes, "<u8").view(np.uint8).reshape(-1, 8)


def _verified(hashes: Hashes, candidates: np.ndarray, rules: Rules) -> np.ndarray:
    """Whether each candidate is the same at its offset, or one step beside it."""
    good = np.zeros(len(candidates), bool)
    left = np.flatnonzero(_plausible(hashes, candidates, rules))
    for beside in (0, -1, 1):
        left = left[~good[left]]
        for chosen in _blocks(hashes, left, every=1):
            good[chosen] = _same_at(hashes, candidates[chosen], beside, rules)
    return good


def _plausible(hashes: Hashes, candidates: np.ndarray, rules: Rules) -> np.ndarray:
    """Whether a few steps differ little enough that all are worth a look; most candidates end here."""
    good = np.ones(len(candidates), bool)
    for chosen in _blocks(hashes, np.arange(len(candidates)), every=rules.rough_every):
        measured, bits, _ = _apart(hashes, candidates[chosen], 0, rules.rough_every)
        good[chosen] = bits <= (rules.bits + _ROUGH_BITS) * measured
    return good


def _blocks(hashes: Hashes, chosen: np.ndarray, every: int) -> Iterator[np.ndarray]:
    longest = int(np.diff(hashes.starts).max(initial=1))
    size = max(1, _STEPS * every // longest)
    for first in range(0, len(chosen), size):
        yield chosen[first : first + size]


def _same_at(hashes: Hashes, candidates: np.ndarray, beside: int, rules: Rules) -> np.ndarray:
    measured, bits, shorter = _apart(hashes, candidates, beside, 1)
    need = np.maximum(rules.least, rules.share * shorter)
    return np.asarray((measured >= need) & (bits <= rules.bits * measured))


def _apart(hashes: Hashes, candidates: np.ndarray, beside: int, every: int) -> tuple[np.ndarray, ...]:
    """Per candidate: steps measured in both, bits by which they differ there, steps of the shorter clip."""
    lengths = np.diff(hashes.starts)
    a, b, form, offset = candidates.T
    offset = offset + beside
    low, high = np.maximum(0, -offset), np.minimum(lengths[a], lengths[b] - offset)
    counts = np.maximum(0, -(-(high - low) // every))
    pair = np.repeat(np.arange(len(a)), counts)
    step = (np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts)) * every + low[pair]
    left = hashes.rows[hashes.starts[a][pair] + step, form[pair]]
    right = hashes.rows[hashes.starts[b][pair] + step + offset[pair], 0]
    known = (left != 0) & (right != 0)
    bits = np.bitwise_count(left ^ right) * known
    return np.bincount(pair, known, len(a)), np.bincount(pair, bits, len(a)), np.minimum(lengths[a], lengths[b])


class Union:
    """Joins names into sets; a set is called by its smallest name, whatever the order of joining."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def find(self, name: str) -> str:
        """The smallest name of the set."""
        top = name
        while (above := self._above.get(top, top)) != top:
            top = above
        while (above := self._above.get(name, name)) != top:
            self._above[name], name = top, above
        return top

    def join(self, one: str, other: str) -> None:
        """Make one set of two."""
        low, high = sorted((self.find(one), self.find(other)))
        self._above[high] = low
