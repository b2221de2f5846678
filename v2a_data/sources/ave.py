"""AVE: 4,143 events in 10 s clips of AudioSet, listed as `Category&VideoID&Quality&StartTime&EndTime`.

The times are seconds inside the clip, and the list does not say where in the upload the clip begins. Files of the
published set (`ID.mp4`, with `--input`) are cut as they are; without them AudioSet's lists give the clip's start.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from v2a_data.errors import ItemError, NothingError, nearest
from v2a_data.ids import clean_text, is_youtube_id
from v2a_data.sources.audioset import SEGMENT_LISTS
from v2a_data.sources.audioset_lists import read_segments
from v2a_data.sources.base import Label, Listing, Video
from v2a_data.sources.label_tables import ave_labels, label_ids, search
from v2a_data.sources.segments import (
    Segment,
    bounded_lines,
    damaged,
    list_file,
    list_path,
    need_labels,
    unreadable,
    videos_of,
)

_FILE = "Annotations.txt"
_SECONDS = re.compile(r"\d{1,2}(\.\d{1,3})?\Z")


class EventRow(NamedTuple):
    """One event, seen and heard in `[start_s, stop_s)` of the 10 s clip."""

    line: int
    label: str
    native: str
    start_s: float
    stop_s: float


class Ave:
    """4,097 clips of AudioSet in 28 categories, with the seconds in which the event is both seen and heard (2018)."""

    name = "ave"
    licence = "as AudioSet's: CC BY 4.0 (labels and ids); the list names none; the videos stay with their owners"
    citation = "Tian et al. 2018, Audio-Visual Event Localization in Unconstrained Videos, ECCV, arXiv:1803.08842"
    note = (
        "Events were marked by people, to the second. 46 uploads are listed more than once: the first row of the "
        "asked labels is taken. One row marks no time at all and is passed over. "
        "Ids are AudioSet's, so that they are lost as those are, and may be in AudioSet's own lists beside it."
    )

    def labels(self, query: str | None) -> Iterator[Label]:
        return search(ave_labels(), query)

    def count(self, labels: tuple[str, ...], listing: Listing) -> int | None:
        self._wanted(labels)
        if not list_path(listing, _FILE, listing.recipe.source.ave_url).is_file():
            return None
        return len(self._events(labels, listing))

    def videos(self, labels: tuple[str, ...], listing: Listing) -> Iterator[Video]:
        events = self._events(labels, listing)
        if listing.recipe.source.input:
            cuts = (
                Segment(e.native, e.start_s, e.stop_s, names, at, (e.start_s, e.stop_s))
                for at, e, names in events.values()
            )
            yield from videos_of(self.name, cuts, listing)
            return
        yield from videos_of(self.name, _placed(events, listing), listing)
        for native, (at, _, names) in events.items():
            words = "no list of AudioSet says where the clip begins in the upload"
            yield unreadable(self.name, native, names, at, ItemError("no_segment_start", words))

    def _wanted(self, labels: tuple[str, ...]) -> dict[str, set[str]]:
        need_labels(labels, self.name)
        wanted: dict[str, set[str]] = {}
        for label in labels:
            ids = label_ids(label, ave_labels())
            if not ids:
                names = [item.name for item in ave_labels()]
                raise NothingError(f"AVE has no label {label!r}; {nearest(label, names)}", hint="it has 28 in all")
            for name in ids:
                wanted.setdefault(name, set()).add(label)
        return wanted

    def _events(self, labels: tuple[str, ...], listing: Listing) -> dict[str, tuple[int, EventRow, tuple[str, ...]]]:
        """YouTube id → place in the list, its first event under one of the labels, and those labels."""
        wanted = self._wanted(labels)
        path = list_file(listing, _FILE, listing.recipe.source.ave_url)
        events: dict[str, tuple[int, EventRow, tuple[str, ...]]] = {}
        for position, row in enumerate(read_events(path)):
            if row.label in wanted and row.stop_s > row.start_s:
                events.setdefault(row.native, (position, row, tuple(sorted(wanted[row.label]))))
        return events


def _placed(left: dict[str, tuple[int, EventRow, tuple[str, ...]]], listing: Listing) -> Iterator[Segment]:
    """Events with AudioSet's start of their clip, in the order of its lists; what is found is taken out of `left`."""
    for name in SEGMENT_LISTS.values():
        url = listing.recipe.source.audioset_url.format(list=name)
        for row in read_segments(list_file(listing, f"{name}.csv", url)) if left else ():
            if row.native in left:
                position, event, names = left.pop(row.native)
                start_s, stop_s = row.start_s + event.start_s, min(row.stop_s, row.start_s + event.stop_s)
                yield Segment(row.native, start_s, stop_s, names, position)


def read_events(path: Path) -> Iterator[EventRow]:
    """Rows of the list, one by one. Raises `FatalError` naming line and reason for what is none."""
    number = 0
    with path.open(encoding="utf-8-sig", errors="replace", newline=None) as file:
        for number, line in enumerate(bounded_lines(file, path), 1):
            cells = line.rstrip("\n").split("&")
            if number == 1 and cells[:2] == ["Category", "VideoID"]:
                continue
            if len(cells) != 5:
                words = f"{len(cells)} columns by &, expected 5 (category, id, quality, start, end)"
                raise damaged(path, number, words)
            label, native, _, start, stop = cells
            if not is_youtube_id(native):
                raise damaged(path, number, f"{clean_text(native, 40)!r} is no YouTube id")
            if not _SECONDS.match(start) or not _SECONDS.match(stop) or float(stop) < float(start):
                raise damaged(path, number, f"{clean_text(f'{start} to {stop}', 40)!r} is no span in seconds")
            if not label or clean_text(label) != label:
                raise damaged(path, number, f"{clean_text(label, 40)!r} is no label")
            yield EventRow(number, label, native, float(start), float(stop))
    if number == 0:
        raise damaged(path, 1, "the list is empty")
