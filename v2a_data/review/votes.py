"""Votes: the one table format they come in and go out, and their place in the ledger.

Columns, in CSV (`,` `;` or tab) and Parquet alike:

- `video_id`, and `window_index` or `start_s` (or both): which window
- `rater`: who; `seen`, `heard`: yes, no or unsure; `confounders`: words of `CONFOUNDERS`, by spaces or commas
- `topic`: yes or no where people judged whether the label is there, picture and sound not told apart; may be missing
- `label`, `note`, `blind` (1 where scores were hidden), `at`: may be missing
- `link`, `stop_s`: written for people, not read. A row without any answer is one that nobody filled in.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from v2a_data import schema
from v2a_data.errors import UsageError, nearest
from v2a_data.files import whole_file
from v2a_data.ids import clean_text
from v2a_data.ledger import Ledger
from v2a_data.review.files import parquet_columns, parquet_rows, read_text
from v2a_data.review.grid import Grid
from v2a_data.runs import now

CONFOUNDERS = (
    "voice", "music", "still", "slideshow", "black", "silence", "clipping", "antiphase", "cut", "wrong_sound",
    "offscreen", "unheard", "other_thing", "shift", "other",
)  # fmt: skip
COLUMNS = (
    "video_id", "window_index", "start_s", "label", "rater", "seen", "heard", "confounders", "note", "blind", "at",
    "topic",
)  # fmt: skip
_FOR_PEOPLE = ("link", "stop_s")
_ANSWERS: dict[str, int | None] = {"yes": 1, "no": 0, "unsure": None}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_MOST_SHOWN = 20


@dataclass(frozen=True)
class Vote:
    """What one rater said about one window; `seen` and `heard` are null where unsure or not asked."""

    video_id: str
    window_index: int
    rater: str
    seen: bool | None
    heard: bool | None
    confounders: tuple[str, ...] = ()
    label: str = ""
    note: str = ""
    blind: bool = False
    at: str = ""
    topic: bool | None = None

    @property
    def topic_alone(self) -> bool:
        """Whether it says nothing of picture and sound apart."""
        return self.topic is not None and self.seen is None and self.heard is None


@dataclass(frozen=True)
class Stored:
    """What an import did: votes that are new, and those in place of the rater's earlier one on the window."""

    added: int
    replaced: int


def cell(text: str) -> str:
    """A text as a CSV cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _uncell(text: str) -> str:
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text


def read_votes(path: Path, grid: Grid) -> tuple[list[Vote], int]:
    """The votes of a file, and how many of its rows nobody filled in.

    Raises `UsageError` naming line, field and reason of every bad row (the first 20 of them).
    """
    votes: dict[tuple[str, int, str], tuple[int, Vote]] = {}
    troubles: list[str] = []
    blank = bad = 0
    for line, row in _rows(path):
        if not any(row.get(name) for name in ("seen", "heard", "confounders", "note", "topic")):
            blank += 1
            continue
        try:
            vote = _vote(row, grid)
            key = (vote.video_id, vote.window_index, vote.rater)
            if key in votes:
                raise _BadFieldError("rater", f"{vote.rater!r} said something else of this window in {votes[key][0]}")
            votes[key] = (line, vote)
        except _BadFieldError as error:
            bad += 1
            if bad <= _MOST_SHOWN:
                troubles.append(f"line {line}, {error.field}: {error.reason}")
    if troubles:
        tail = [f"and {bad - _MOST_SHOWN} more"] if bad > _MOST_SHOWN else []
        raise UsageError("\n  ".join([f"{path}: no vote was taken", *troubles, *tail]))
    return [vote for _, vote in votes.values()], blank


class _BadFieldError(Exception):
    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field, self.reason = field, reason


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """`(line, row)` of a file; a Parquet row counts as the line that it would have in CSV without line breaks."""
    if path.suffix == ".parquet":
        yield from _parquet_rows(path)
        return
    text = read_text(path)
    first = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count))
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header, path)
        line = reader.line_num + 1
        for values in reader:
            if len(values) > len(header):
                raise UsageError(f"{path}: line {line}: {len(values)} cells under {len(header)} columns")
            yield line, {name: _uncell(value.strip()) for name, value in zip(header, values, strict=False)}
            line = reader.line_num + 1
    except csv.Error as error:
        raise UsageError(f"{path}: line {reader.line_num}: {error}") from None


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    header = parquet_columns(path)
    _check_header(header, path)
    for n, row in enumerate(parquet_rows(path, [name for name in header if name in COLUMNS])):
        yield n + 2, {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value).strip()


def _check_header(header: Sequence[str], path: Path) -> None:
    known = [*COLUMNS, *_FOR_PEOPLE]
    for name in header:
        if name not in known:
            raise UsageError(f"{path}: unknown column {name!r}; {nearest(name, known)}")
    missing = [name for name in ("video_id", "rater", "seen", "heard") if name not in header]
    if "window_index" not in header and "start_s" not in header:
        missing.append("window_index or start_s")
    if missing or len(set(header)) < len(header):
        raise UsageError(f"{path}: " + (f"no column {', '.join(missing)}" if missing else "a column is there twice"))


def _vote(row: Mapping[str, str], grid: Grid) -> Vote:
    video_id = row.get("video_id", "")
    if video_id not in grid:
        raise _BadFieldError("video_id", f"{clean_text(video_id, 60)!r} is not in this workspace")
    label = row.get("label", "")
    if label and label != grid.label(video_id):
        words = f"asked about {clean_text(label, 60)!r}, the video is judged by {grid.label(video_id)!r}"
        raise _BadFieldError("label", words)
    rater = row.get("rater", "")
    if not rater or clean_text(rater, 64) != rater:
        raise _BadFieldError("rater", "a printable name of up to 64 characters")
    return Vote(
        video_id,
        _window(row, grid, video_id),
        rater,
        _answer(row, "seen"),
        _answer(row, "heard"),
        _confounders(row.get("confounders", "")),
        grid.label(video_id),
        clean_text(row.get("note", ""), 1000),
        _blind(row.get("blind", "")),
        clean_text(row.get("at", ""), 40),
        _answer(row, "topic") if row.get("topic") else None,
    )


def _window(row: Mapping[str, str], grid: Grid, video_id: str) -> int:
    index, start = row.get("window_index", ""), row.get("start_s", "")
    if not index and not start:
        raise _BadFieldError("window_index", "neither window_index nor start_s")
    found: int | None = None
    if index:
        if not re.fullmatch(r"\d{1,9}(\.0)?", index):
            raise _BadFieldError("window_index", f"expected 0, 1, …, got {clean_text(index, 40)!r}")
        found = int(float(index))
        if not grid.has(video_id, found):
            raise _BadFieldError("window_index", f"{video_id} has no window {found}")
    if start:
        if not re.fullmatch(r"\d{1,9}([.,]\d{1,9})?", start):
            raise _BadFieldError("start_s", f"expected seconds, got {clean_text(start, 40)!r}")
        at = grid.index(video_id, float(start.replace(",", ".")))
        if at is None or (found is not None and at != found):
            raise _BadFieldError(
                "start_s", f"no window {'' if found is None else f'{found} '}of {video_id} starts there"
            )
        found = at
    assert found is not None
    return found


def _answer(row: Mapping[str, str], name: str) -> bool | None:
    text = row.get(name, "").lower()
    if text not in _ANSWERS:
        raise _BadFieldError(name, f"expected yes, no or unsure, got {clean_text(text, 40)!r}")
    value = _ANSWERS[text]
    return None if value is None else bool(value)


def _confounders(text: str) -> tuple[str, ...]:
    words = [word for word in re.split(r"[\s,;]+", text.lower()) if word]
    for word in words:
        if word not in CONFOUNDERS:
            raise _BadFieldError("confounders", f"unknown {clean_text(word, 40)!r}; {nearest(word, list(CONFOUNDERS))}")
    return tuple(sorted(set(words)))


def _blind(text: str) -> bool:
    if text not in ("", "0", "1"):
        raise _BadFieldError("blind", f"expected 0 or 1, got {clean_text(text, 40)!r}")
    return text == "1"


def store_votes(ledger: Ledger, votes: Iterable[Vote]) -> Stored:
    """Write votes into the ledger, all or none. A rater's newer vote on a window replaces the older one.

    Windows that `votes --sample` drew were judged blind.
    """
    moment = now()
    added = replaced = 0
    with ledger.transaction():
        drawn = {(row[0], row[1]) for row in ledger.rows("SELECT video_id, window_index FROM asked")}
        for vote in votes:
            key = (vote.video_id, vote.window_index, vote.rater)
            old = ledger.execute("DELETE FROM votes WHERE video_id = ? AND window_index = ? AND rater = ?", key)
            blind = vote.blind or key[:2] in drawn
            ledger.insert(schema.VOTES, [_ledger_row(replace(vote, blind=blind, at=vote.at or moment))])
            replaced += bool(old)
            added += not old
    return Stored(added, replaced)


def _ledger_row(vote: Vote) -> dict[str, Any]:
    answers = {name: None if value is None else int(value) for name, value in
               (("seen", vote.seen), ("heard", vote.heard), ("topic", vote.topic))}  # fmt: skip
    return {**vote.__dict__, **answers, "confounders": list(vote.confounders), "blind": int(vote.blind),
            "label": vote.label or None, "note": vote.note or None}  # fmt: skip


def load_votes(ledger: Ledger) -> list[Vote]:
    """All votes of a workspace, by window and rater."""
    import json

    def answer(value: int | None) -> bool | None:
        return None if value is None else bool(value)

    return [
        Vote(
            row["video_id"], row["window_index"], row["rater"], answer(row["seen"]), answer(row["heard"]),
            tuple(json.loads(row["confounders"])), row["label"] or "", row["note"] or "", bool(row["blind"]), row["at"],
            answer(row["topic"]),
        )
        for row in ledger.rows("SELECT * FROM votes ORDER BY video_id, window_index, rater")
    ]  # fmt: skip


def write_votes(path: Path, votes: Sequence[Vote], grid: Grid) -> None:
    """Votes as a file that `read_votes` takes, `.csv` or `.parquet`; whole or not there."""
    rows = [_file_row(vote, grid) for vote in votes]
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        with whole_file(path) as temporary:
            pq.write_table(pa.table({name: [row[name] for row in rows] for name in COLUMNS}), temporary)
    else:
        write_csv(path, COLUMNS, rows)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    """A CSV file with a byte order mark, which spreadsheets need to read UTF-8; no cell is a formula."""
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows([cell(row.get(name, "")) for name in header] for row in rows)


def _file_row(vote: Vote, grid: Grid) -> dict[str, str]:
    words = {True: "yes", False: "no", None: "unsure"}
    start_s = f"{grid.start_s(vote.video_id, vote.window_index):g}" if vote.video_id in grid else ""
    return {
        "video_id": vote.video_id, "window_index": str(vote.window_index), "start_s": start_s, "label": vote.label,
        "rater": vote.rater, "seen": words[vote.seen], "heard": words[vote.heard],
        "confounders": " ".join(vote.confounders), "note": vote.note, "blind": str(int(vote.blind)), "at": vote.at,
        "topic": "" if vote.topic is None else words[vote.topic],
    }  # fmt: skip
