"""Edit lists of mov and mp4 (ISO/IEC 14496-12, 8.6.6): which files play their tracks in more than one piece.

FFmpeg's own handling of edits drops the frame that is on screen where an edit starts and moves the picture by up to a
frame against the sound. So files are opened without it: the first edit's offset is kept, exactly, for both tracks. More
edits than that would be passed over, and picture and sound could part; such files are refused.
"""

import os
from pathlib import Path
from typing import BinaryIO

_PARENTS = {b"moov", b"trak", b"edts"}
_MAX_BOXES = 20_000
_EMPTY = -1


def edits(path: str | os.PathLike[str]) -> int:
    """The most pieces of media that one track of a file plays, empty edits not counted; 0 without edit lists."""
    with Path(path).open("rb") as file:
        end = file.seek(0, 2)
        found, visited, ranges = 0, 0, [(0, end)]
        while ranges:
            at, stop = ranges.pop()
            while at + 8 <= stop and visited < _MAX_BOXES:
                visited += 1
                kind, body, after = _box(file, at, stop)
                if kind in _PARENTS:
                    ranges.append((body, after))
                elif kind == b"elst":
                    found = max(found, _pieces(file, body, after))
                if after <= at:
                    break
                at = after
    return found


def _box(file: BinaryIO, at: int, stop: int) -> tuple[bytes, int, int]:
    """Type, start of the content and end of the box at `at`."""
    file.seek(at)
    head = file.read(16)
    size, kind, body = int.from_bytes(head[:4], "big"), head[4:8], at + 8
    if size == 1:
        size, body = int.from_bytes(head[8:16], "big"), at + 16
    elif size == 0:
        size = stop - at
    return kind, body, min(at + size, stop)


def _pieces(file: BinaryIO, body: int, after: int) -> int:
    file.seek(body)
    head = file.read(8)
    wide = head[:1] == b"\x01"
    size = 20 if wide else 12
    count = min(int.from_bytes(head[4:8], "big"), (after - body - 8) // size, _MAX_BOXES)
    times = 0
    for _ in range(count):
        entry = file.read(size)
        media_time = int.from_bytes(entry[8:16] if wide else entry[4:8], "big", signed=True)
        times += media_time != _EMPTY
    return times
