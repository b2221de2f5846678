"""AudioSet's own list files, read strictly and as streams: segments (CSV) and strong labels (TSV).

    # Segments csv created Sun Mar  5 10:54:25 2017
    # num_ytids=20371, num_segs=20371, num_unique_labels=527, num_positive_labels=51804
    # YTID, start_seconds, end_seconds, positive_labels
    --4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/07q6cd_,/m/0bt9lr,/m/0jbk"

Copies without comments, with a header that lost its `#`, with whole seconds or without quotes and blanks mean the same
and are read. Anything else – columns that were split or added, ids that a spreadsheet took for formulas, an end in the
middle – is refused with its line, for what is left of it would be wrong.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from v2a_data.ids import clean_text, is_youtube_id
from v2a_data.sources.label_tables import audioset_labels
from v2a_data.sources.segments import bounded_lines, damaged

_COLUMNS = ("ytid", "start_seconds", "end_seconds", "positive_labels")
_MID = r"/[mgt]/[A-Za-z0-9_]{1,20}"
_TIME = r"\d{1,6}(?:\.\d{1,6})?"
# The published form and its plainer copies in one match: what most of two million rows need.
_ROW = re.compile(
    rf'(?!AccessDenie)([A-Za-z0-9_-]{{11}}), ?({_TIME}), ?({_TIME}), ?(?:"({_MID}(?:,{_MID})*)"|({_MID}))(\n|\Z)'
)
_MIDS = re.compile(rf"{_MID}(?:,{_MID})*\Z")
_SECONDS = re.compile(rf"{_TIME}\Z")
_PROMISE = re.compile(r"\bnum_segs=(\d{1,9})\b")
_STRONG_KEY = re.compile(r"([A-Za-z0-9_-]{11})_(\d{1,9})\Z")


class SegmentRow(NamedTuple):
    """One row of a segments list; `line` is its line in the file, `mids` its labels joined by commas."""

    line: int
    native: str
    start_s: float
    stop_s: float
    mids: str


class StrongRow(NamedTuple):
    """One sound of the strong labels: `[start_s, stop_s)` in the upload, inside the clip that starts at `clip_s`."""

    line: int
    native: str
    clip_s: float
    start_s: float
    stop_s: float
    mid: str


def read_segments(path: Path) -> Iterator[SegmentRow]:
    """Rows of a segments list, one by one. Raises `FatalError` naming line and reason where it would be misread."""
    promised: int | None = None
    rows = number = 0
    with path.open(encoding="utf-8-sig", errors="replace", newline=None) as file:
        for number, line in enumerate(bounded_lines(file, path), 1):
            match = _ROW.match(line)
            if match is None:
                if rows == 0 and (comment := _comment(line, number, path)) is not None:
                    promised = comment if comment >= 0 else promised
                    continue
                row = SegmentRow(number, *_slowly(line, number, path))
            else:
                native, start, stop, many, one, _ = match.groups()
                row = SegmentRow(number, native, float(start), float(stop), many or one)
            if row.stop_s <= row.start_s:
                raise damaged(path, number, f"the segment ends at {row.stop_s:g} s, and starts at {row.start_s:g} s")
            if not line.endswith("\n"):
                _check_last(row, path)
            rows += 1
            yield row
    if promised is not None and rows != promised:
        raise damaged(path, number, f"the list ends after {rows} segments, its head promises {promised}")
    if rows == 0 and promised is None:
        raise damaged(path, number, "no segments")


def _comment(line: str, number: int, path: Path) -> int | None:
    """The number of segments that a line of the head promises, -1 for none; null for a row."""
    text = line.strip().lower()
    names = [name.strip().strip('"') for name in text.lstrip("# ").split(",")]
    if names[0] == _COLUMNS[0] or "positive_labels" in names:
        if tuple(names) != _COLUMNS:
            raise damaged(path, number, f"columns {clean_text(', '.join(names), 200)}; expected {', '.join(_COLUMNS)}")
        return -1
    if text.startswith("# "):
        match = _PROMISE.search(text)
        return int(match[1]) if match else -1
    return None if text else -1


def _slowly(line: str, number: int, path: Path) -> tuple[str, float, float, str]:
    """A row in another form of CSV, or the error that says what is wrong with it."""
    try:
        cells = next(csv.reader([line], skipinitialspace=True, strict=True), [])
    except csv.Error as error:
        raise damaged(path, number, f"{error}: the line is cut short, or its quotes were changed") from None
    if len(cells) != len(_COLUMNS):
        raise damaged(path, number, f"{len(cells)} columns, expected {len(_COLUMNS)} ({', '.join(_COLUMNS)})")
    native, start, stop, mids = (cell.strip() for cell in cells)
    if not is_youtube_id(native):
        raise damaged(path, number, f"{clean_text(native, 40)!r} is no YouTube id")
    for text in (start, stop):
        if not _SECONDS.match(text):
            raise damaged(path, number, f"{clean_text(text, 40)!r} are no seconds")
    if not _MIDS.match(mids):
        raise damaged(path, number, f"{clean_text(mids, 80)!r} are no labels of AudioSet")
    return native, float(start), float(stop), mids


def _check_last(row: SegmentRow, path: Path) -> None:
    """A last line without an end may have lost part of a label and still look like one."""
    known = {label.id for label in audioset_labels()}
    strange = next((mid for mid in row.mids.split(",") if mid not in known), None)
    if strange is not None:
        raise damaged(path, row.line, f"the file ends in the middle: {strange!r} is no label of AudioSet")


def read_strong(path: Path) -> Iterator[StrongRow]:
    """Rows of a strong list (`<id>_<start in ms>`, onset, offset, label; by tabs), one by one.

    Raises `FatalError` as `read_segments` does.
    """
    with path.open(encoding="utf-8-sig", errors="replace", newline=None) as file:
        number = 0
        for number, line in enumerate(bounded_lines(file, path), 1):
            cells = line.rstrip("\n").split("\t")
            if number == 1 and cells[0].lstrip("# ").lower() == "segment_id":
                continue
            yield _strong_row(cells, number, path, ended=line.endswith("\n"))
        if number == 0:
            raise damaged(path, 1, "the list is empty")


def _strong_row(cells: list[str], number: int, path: Path, *, ended: bool) -> StrongRow:
    if len(cells) != 4:
        raise damaged(path, number, f"{len(cells)} columns by tabs, expected 4 (segment, start, end, label)")
    key, onset, offset, mid = cells
    match = _STRONG_KEY.match(key)
    if match is None or not is_youtube_id(match[1]):
        raise damaged(path, number, f"{clean_text(key, 40)!r} is no segment of AudioSet (<id>_<start in ms>)")
    if not _SECONDS.match(onset) or not _SECONDS.match(offset) or float(offset) < float(onset):
        raise damaged(path, number, f"{clean_text(f'{onset} to {offset}', 40)!r} is no span in seconds")
    if not _MIDS.match(mid) or "," in mid:
        raise damaged(path, number, f"{clean_text(mid, 40)!r} is no label of AudioSet")
    if not ended and mid not in {label.id for label in audioset_labels()}:
        raise damaged(path, number, f"the file ends in the middle: {mid!r} is no label of AudioSet")
    clip_s = int(match[2]) / 1000
    return StrongRow(number, match[1], clip_s, clip_s + float(onset), clip_s + float(offset), mid)
