"""Edit lists of mov and mp4 (ISO/IEC 14496-12, 8.6.6): how much of a file's tracks is played.

FFmpeg's own handling of edits drops the frame that is on screen where an edit starts and moves the picture by up to a
frame against the sound. So files are opened without it: the first edit's offset is kept, exactly, for both tracks. What
else an edit list can say would be passed over, and picture and sound could part: such files are refused.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from v2a_data.errors import ItemError

_MAX_BOXES = 20_000
_EMPTY = -1
_NORMAL_SPEED = b"\x00\x01\x00\x00"
_PLAYED = (b"vide", b"soun")


@dataclass(frozen=True)
class Edit:
    """One row: seconds that it lasts, 0 for all that there is; whether it shows nothing; whether at normal speed."""

    seconds: float
    empty: bool
    normal: bool


def played_until(path: str | os.PathLike[str]) -> float | None:
    """The second at which the first of picture and sound ends by its edit list, null where none says so.

    Raises `ItemError("edit_list")` for a track that is played in pieces, after several waits or at another speed, and
    for a header that cannot be looked through.
    """
    with Path(path).open("rb") as file:
        boxes = _Boxes(file)
        ends = [end_s for edits in boxes.edit_lists() if (end_s := _checked(edits)) is not None]
    return min(ends, default=None)


def _checked(edits: list[Edit]) -> float | None:
    """When a track ends by its edits."""
    pieces = [edit for edit in edits if not edit.empty]
    waits = len(edits) - len(pieces)
    if len(pieces) > 1 or waits > 1 or any(not edit.normal for edit in pieces):
        raise ItemError("edit_list", f"a track is played in {len(pieces)} pieces after {waits} waits")
    if not pieces or pieces[0].seconds == 0:
        return None
    return sum(edit.seconds for edit in edits)


class _Boxes:
    """The boxes of a file, looked through without trust in any size."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.visited = file, 0

    def edit_lists(self) -> Iterator[list[Edit]]:
        """The edits of each track of picture or sound that has some."""
        for kind, start, stop in self._inside(0, self.file.seek(0, 2)):
            if kind == b"moov":
                boxes = list(self._inside(start, stop))
                if any(name == b"cmov" for name, _, _ in boxes):
                    raise ItemError("edit_list", "its header is packed")
                per_second = next((self._timescale(at) for name, at, _ in boxes if name == b"mvhd"), 0)
                for name, at, end in boxes:
                    if name == b"trak" and self._handler(at, end) in _PLAYED:
                        yield from self._rows(at, end, per_second)

    def _inside(self, at: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
        """Type, start and end of the content of each box from `at` to `stop`."""
        while at + 8 <= stop:
            self.visited += 1
            if self.visited > _MAX_BOXES:
                raise ItemError("edit_list", f"more than {_MAX_BOXES} boxes")
            head = self._read(at, 16)
            size, kind, body = int.from_bytes(head[:4], "big"), head[4:8], at + 8
            if size == 1:
                size, body = int.from_bytes(head[8:16], "big"), at + 16
            end = stop if size == 0 else min(at + size, stop)
            if end < body:
                return
            yield kind, body, end
            at = end

    def _within(self, at: int, stop: int, *names: bytes) -> Iterator[tuple[int, int]]:
        """Where the contents of the boxes at a path of names are."""
        for kind, start, end in self._inside(at, stop):
            if kind == names[0]:
                if len(names) == 1:
                    yield start, end
                else:
                    yield from self._within(start, end, *names[1:])

    def _read(self, at: int, count: int) -> bytes:
        self.file.seek(at)
        return self.file.read(count)

    def _timescale(self, at: int) -> int:
        head = self._read(at, 24)
        return int.from_bytes(head[20:24] if head[:1] == b"\x01" else head[12:16], "big")

    def _handler(self, at: int, stop: int) -> bytes:
        return next((self._read(start + 8, 4) for start, _ in self._within(at, stop, b"mdia", b"hdlr")), b"")

    def _rows(self, at: int, stop: int, per_second: int) -> Iterator[list[Edit]]:
        for start, end in self._within(at, stop, b"edts", b"elst"):
            head = self._read(start, 8)
            wide = 8 if head[:1] == b"\x01" else 4
            count = min(int.from_bytes(head[4:8], "big"), (end - start - 8) // (2 * wide + 4), _MAX_BOXES)
            rows = [self._read(start + 8 + i * (2 * wide + 4), 2 * wide + 4) for i in range(count)]
            yield [
                Edit(
                    int.from_bytes(row[:wide], "big") / max(per_second, 1),
                    int.from_bytes(row[wide : 2 * wide], "big", signed=True) == _EMPTY,
                    row[2 * wide :] == _NORMAL_SPEED,
                )
                for row in rows
            ]
