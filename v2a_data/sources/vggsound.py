"""VGGSound: 10 s clips of 309 classes, listed without a header as `ID,start,label,split`.

Read are also the copies that name their columns (`filename,start,desc,split`) and the test list `ID_000034.mp4,label`.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from v2a_data.errors import NothingError, UsageError, nearest
from v2a_data.ids import clean_text, is_youtube_id
from v2a_data.sources.base import Label, Listing, Video
from v2a_data.sources.label_tables import label_ids, search, vggsound_labels
from v2a_data.sources.segments import (
    Segment,
    bounded_lines,
    count_of,
    damaged,
    list_file,
    list_path,
    need_labels,
    videos_of,
)

SUBSETS = ("train", "test")
_FILE = "vggsound.csv"
_CLIP_S = 10.0
_TEST_NAME = re.compile(r"(?P<id>[A-Za-z0-9_-]{11})_(?P<start>\d{6})(?:\.mp4)?\Z")
_HEADERS = (("filename", "start", "desc", "split"), ("ytid", "start_seconds", "label", "split"))


class ClipRow(NamedTuple):
    """One clip: `[start_s, start_s + 10)`. `split` is the official one, null where the file has none."""

    line: int
    native: str
    start_s: float
    label: str
    split: str | None


class VGGSound:
    """Oxford's 199,467 clips of 309 sounds, verified by classifiers for picture and sound (2020)."""

    name = "vggsound"
    licence = "CC BY 4.0 (labels and ids); the videos stay with their owners"
    citation = "Chen et al. 2020, VGGSound: A Large-scale Audio-Visual Dataset, ICASSP, arXiv:2004.14368"
    note = (
        "Labels were checked by classifiers, not people: of its test clips VGGSounder confirms about half as seen and "
        "heard. About 20 % of the videos were gone by 2021. Its test ids are in AudioSet's eval list. One clip per "
        "upload is taken, the first listed. `test` is taken only where source.subsets names it."
    )

    def labels(self, query: str | None) -> Iterator[Label]:
        return search(vggsound_labels(), query)

    def count(self, labels: tuple[str, ...], listing: Listing) -> int | None:
        classes(labels)
        if not list_path(listing, _FILE, listing.recipe.source.vggsound_url).is_file():
            return None
        return count_of(self._segments(labels, listing), listing)

    def videos(self, labels: tuple[str, ...], listing: Listing) -> Iterator[Video]:
        return videos_of(self.name, self._segments(labels, listing), listing)

    def _segments(self, labels: tuple[str, ...], listing: Listing) -> Iterator[Segment]:
        wanted = classes(labels)
        subsets = listing.recipe.source.subsets or ("train",)
        for subset in subsets:
            if subset not in SUBSETS:
                raise UsageError(f"source.subsets: VGGSound has no {subset!r}; {nearest(subset, list(SUBSETS))}")
        path = list_file(listing, _FILE, listing.recipe.source.vggsound_url)
        for position, row in enumerate(read_clips(path)):
            if row.label in wanted and row.split in (None, *subsets):
                yield Segment(row.native, row.start_s, row.start_s + _CLIP_S, wanted[row.label], position)


def classes(labels: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """VGGSound's class → the asked labels that mean it. Raises `NothingError` with the nearest names."""
    need_labels(labels, VGGSound.name)
    wanted: dict[str, set[str]] = {}
    for label in labels:
        ids = label_ids(label, vggsound_labels())
        for name in ids:
            wanted.setdefault(name, set()).add(label)
        if not ids:
            names = [item.name for item in vggsound_labels()]
            raise NothingError(
                f"VGGSound has no label {label!r}; {nearest(label.lower(), names)}",
                hint=f"`v2a-data labels {label}` searches the names of all sources",
            )
    return {name: tuple(sorted(asked)) for name, asked in wanted.items()}


def read_clips(path: Path) -> Iterator[ClipRow]:
    """Rows of a list, one by one. Raises `FatalError` naming line and reason for what is none."""
    columns: int | None = None
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(bounded_lines(file, path), strict=True)
        try:
            for cells in rows:
                if rows.line_num == 1 and tuple(cell.strip().lower() for cell in cells) in _HEADERS:
                    continue
                columns = columns or len(cells)
                yield _row(cells, columns, rows.line_num, path)
        except csv.Error as error:
            raise damaged(path, rows.line_num, f"{error}: the line is cut short, or its quotes were changed") from None
    if columns is None:
        raise damaged(path, 1, "the list is empty")


def _row(cells: list[str], columns: int, line: int, path: Path) -> ClipRow:
    if len(cells) != columns or columns not in (2, 4):
        raise damaged(path, line, f"{len(cells)} columns, expected ID,start,label,split or ID_000034.mp4,label")
    if columns == 2:
        match = _TEST_NAME.match(cells[0])
        if match is None or not is_youtube_id(match["id"]):
            raise damaged(path, line, f"{clean_text(cells[0], 40)!r} is not of the form ID_000034.mp4")
        return ClipRow(line, match["id"], float(match["start"]), _label(cells[1], line, path), "test")
    native, start, label, split = cells
    if not is_youtube_id(native):
        raise damaged(path, line, f"{clean_text(native, 40)!r} is no YouTube id")
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", start):
        raise damaged(path, line, f"{clean_text(start, 40)!r} is no start in seconds")
    if split not in ("train", "test", "validation", "valid", "val"):
        raise damaged(path, line, f"{clean_text(split, 40)!r} is no split")
    return ClipRow(line, native, float(start), _label(label, line, path), split)


def _label(text: str, line: int, path: Path) -> str:
    if not text or clean_text(text) != text:
        raise damaged(path, line, f"{clean_text(text, 40)!r} is no label")
    return text
