"""AudioSet: 10 s segments of YouTube videos under the nodes of an ontology, and strong labels timed to 0.1 s.

A label stands for its node and all nodes below it: a row may say "Bark" and not "Dog".
"""

from array import array
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from v2a_data.errors import NothingError, UsageError, nearest
from v2a_data.recipe import SourceSection
from v2a_data.schema import WINDOW_S
from v2a_data.sources.audioset_lists import SegmentRow, read_segments, read_strong
from v2a_data.sources.base import Label, Listing, Video
from v2a_data.sources.label_tables import audioset_labels, descendants, label_ids, search
from v2a_data.sources.segments import Segment, count_of, list_file, list_path, need_labels, videos_of

SEGMENT_LISTS = {
    "balanced": "balanced_train_segments",
    "unbalanced": "unbalanced_train_segments",
    "eval": "eval_segments",
}
STRONG_LISTS = {"strong_train": "audioset_train_strong", "strong_eval": "audioset_eval_strong"}
USUAL = ("balanced", "unbalanced")
_CLIP_S = 10.0
_EDGE_S = 0.001


class AudioSet:
    """Google's 2.1 M human-labelled segments of YouTube videos under 527 of the 632 nodes of its ontology (2017)."""

    name = "audioset"
    licence = "CC BY 4.0 (labels and ids), CC BY-SA 4.0 (ontology); the videos stay with their owners"
    citation = (
        "Gemmeke et al. 2017, Audio Set: An ontology and human-labeled dataset for audio events, ICASSP. Strong "
        "labels: Hershey et al. 2021, The benefit of temporally-strong labels in audio event classification, ICASSP"
    )
    note = (
        "Labels say what is heard, not what is seen, and a label is not repeated for the nodes above it. 15 to 17 % of "
        "the videos were gone by 2020 to 2023, more are by now. `eval` is taken only where source.subsets names it."
    )

    def labels(self, query: str | None) -> Iterator[Label]:
        return search(audioset_labels(), query)

    def count(self, labels: tuple[str, ...], listing: Listing) -> int | None:
        """Read from the lists that are here, each row; null while one is still to be downloaded."""
        self._wanted(labels, listing.recipe.source)
        if not all(list_path(listing, *where).is_file() for where in _places(listing).values()):
            return None
        return count_of(self._segments(labels, listing), listing)

    def videos(self, labels: tuple[str, ...], listing: Listing) -> Iterator[Video]:
        return videos_of(self.name, self._segments(labels, listing), listing)

    def _segments(self, labels: tuple[str, ...], listing: Listing) -> Iterator[Segment]:
        """Segments of the labels, list by list; one is downloaded when those before it are used up."""
        wanted = self._wanted(labels, listing.recipe.source)
        without = without_mids(listing.recipe.source)
        first = 0
        for subset, where in _places(listing).items():
            path = list_file(listing, *where)
            if subset in STRONG_LISTS:
                found = strong_segments(path, wanted, without)
            else:
                found = chosen_segments(read_segments(path), wanted, without)
            last = first
            for item in found:
                last = first + item.position + 1
                yield Segment(item.native, item.start_s, item.stop_s, item.labels, first + item.position)
            first = last

    def _wanted(self, labels: tuple[str, ...], source: SourceSection) -> dict[str, set[str]]:
        """Ontology id → the asked labels that it stands for."""
        need_labels(labels, self.name)
        wanted: dict[str, set[str]] = defaultdict(set)
        for label in labels:
            for mid in label_mids(label, source):
                wanted[mid].add(label)
        return wanted


def label_mids(label: str, source: SourceSection) -> tuple[str, ...]:
    """Ontology ids of a label, those below it included: the recipe's, the table's, or the alias table's.

    Raises `NothingError` with the nearest names.
    """
    if label in source.label_ids:
        return descendants(source.label_ids[label])
    mids = label_ids(label, audioset_labels())
    if not mids:
        names = [item.name for item in audioset_labels()]
        raise NothingError(
            f"AudioSet has no label {label!r}; {nearest(label, names)}",
            hint=f"`v2a-data labels {label}` searches the names of all sources",
        )
    return tuple(sorted({below for mid in mids for below in descendants(mid)}))


def without_mids(source: SourceSection) -> frozenset[str]:
    """Ontology ids of the recipe's `source.without`, those below them included."""
    return frozenset(mid for label in source.without for mid in label_mids(label, source))


def chosen_segments(
    rows: Iterator[SegmentRow], wanted: Mapping[str, set[str]], without: frozenset[str]
) -> Iterator[Segment]:
    """Those rows that have a wanted label and none that is left out. `position` counts all rows from 0."""
    for position, row in enumerate(rows):
        mids = row.mids.split(",")
        if wanted.keys().isdisjoint(mids) or not without.isdisjoint(mids):
            continue
        yield Segment(row.native, row.start_s, row.stop_s, _labels(mids, wanted), position)


def strong_segments(path: Path, wanted: Mapping[str, set[str]], without: frozenset[str]) -> Iterator[Segment]:
    """Clips of a strong list with a wanted sound and none that is left out, in the order of the list."""
    mids: dict[tuple[str, float], set[str]] = {}
    for row in read_strong(path):
        mids.setdefault((row.native, row.clip_s), set()).add(row.mid)
    for position, ((native, clip_s), sounds) in enumerate(mids.items()):
        if not wanted.keys().isdisjoint(sounds) and without.isdisjoint(sounds):
            yield Segment(native, clip_s, clip_s + _CLIP_S, _labels(sounds, wanted), position)


@dataclass
class Heard:
    """What a strong list says of an upload, in seconds of it: starts of the 10 s clips that people listened to, and
    the spans in which they heard it."""

    clips_s: set[float]
    spans_s: list[tuple[float, float]]

    def shares(self, window_start_s: np.ndarray) -> np.ndarray:
        """The share `(n,)` of each 2 s window in which it was heard; NaN where nobody listened to all of it."""
        starts = np.asarray(window_start_s, float)
        share, listened = heard_share(self.spans_s, starts), np.zeros(len(starts), bool)
        for clip_s in self.clips_s:
            listened |= (starts >= clip_s - _EDGE_S) & (starts + WINDOW_S <= clip_s + _CLIP_S + _EDGE_S)
        return np.where(listened, share, np.nan)


class StrongList:
    """A strong list in memory, for whatever sounds are asked: about 35 bytes a row and 150 an upload."""

    def __init__(self, path: Path) -> None:
        """Read it once. Raises `FatalError` naming line and reason where it would be misread."""
        self._uploads: dict[str, int] = {}
        self._mids: dict[str, int] = {}
        owners, mids, times = array("i"), array("i"), array("d")
        for row in read_strong(path):
            owners.append(self._uploads.setdefault(row.native, len(self._uploads)))
            mids.append(self._mids.setdefault(row.mid, len(self._mids)))
            times.extend((row.clip_s, row.start_s, row.stop_s))
        order = np.argsort(np.asarray(owners), kind="stable")
        self._sounds = np.asarray(mids)[order]
        self._times_s = np.asarray(times).reshape(-1, 3)[order]
        self._ends = np.concatenate([[0], np.cumsum(np.bincount(owners))])

    def heard(self, native: str, mids: Collection[str]) -> Heard | None:
        """Where people heard one of `mids` in an upload; null where it is not in the list."""
        number = self._uploads.get(native)
        if number is None:
            return None
        rows = slice(self._ends[number], self._ends[number + 1])
        wanted = np.isin(self._sounds[rows], [self._mids[mid] for mid in mids if mid in self._mids])
        spans = [(start_s, stop_s) for _, start_s, stop_s in self._times_s[rows][wanted].tolist()]
        return Heard(set(self._times_s[rows, 0].tolist()), spans)


def heard_share(spans: Sequence[tuple[float, float]], window_start_s: np.ndarray) -> np.ndarray:
    """The share `(n,)` of each 2 s window that lies in one of the spans, which may overlap."""
    starts = np.asarray(window_start_s, float)
    share, reached = np.zeros(len(starts)), np.array(starts)
    for start_s, stop_s in sorted(spans):
        begin = np.maximum(reached, start_s)
        end = np.minimum(starts + WINDOW_S, stop_s)
        share += np.maximum(0.0, end - begin)
        reached = np.maximum(reached, end)
    return share / WINDOW_S


def _labels(mids: Sequence[str] | set[str], wanted: Mapping[str, set[str]]) -> tuple[str, ...]:
    return tuple(sorted({label for mid in mids for label in wanted.get(mid, ())}))


def _places(listing: Listing) -> dict[str, tuple[str, str]]:
    """Subset → name and address of its list, in the order of the recipe."""
    source = listing.recipe.source
    places = {}
    for subset in source.subsets or USUAL:
        if subset in SEGMENT_LISTS:
            name, template, suffix = SEGMENT_LISTS[subset], source.audioset_url, "csv"
        elif subset in STRONG_LISTS:
            name, template, suffix = STRONG_LISTS[subset], source.strong_url, "tsv"
        else:
            known = [*SEGMENT_LISTS, *STRONG_LISTS]
            raise UsageError(f"source.subsets: AudioSet has no {subset!r}; {nearest(subset, known)}")
        places[subset] = (f"{name}.{suffix}", template.format(list=name))
    return places
