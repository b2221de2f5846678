"""Edit lists with several pieces: found in any form of box, and refused with their reason."""

from pathlib import Path

import pytest

from v2a_data.errors import ItemError
from v2a_data.media.edits import edits
from v2a_data.media.limits import open_media


def box(kind: bytes, body: bytes, *, wide: bool = False) -> bytes:
    """A box with a 32- or 64-bit size."""
    head = (1).to_bytes(4) + kind + (16 + len(body)).to_bytes(8) if wide else (8 + len(body)).to_bytes(4) + kind
    return head + body


def edit_list(times: list[int], version: int = 0) -> bytes:
    """An `elst` whose pieces of 1,000 ticks start at these media times; -1 is an empty edit."""
    width = 8 if version else 4
    rows = [(1000).to_bytes(width) + time.to_bytes(width, signed=True) + b"\0\1\0\0" for time in times]
    return box(b"elst", bytes([version, 0, 0, 0]) + len(times).to_bytes(4) + b"".join(rows))


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(("times", "pieces"), [([512], 1), ([-1, 0], 1), ([0, 9000], 2), ([-1, 0, 5, -1, 77], 3)])
def test_pieces_are_counted_without_empty_edits(times: list[int], pieces: int, version: int, tmp_path: Path) -> None:
    one = box(b"trak", box(b"tkhd", bytes(84)) + box(b"edts", edit_list(times, version)))
    plain = box(b"trak", box(b"edts", edit_list([0])))
    path = tmp_path / "x.mp4"
    for wide in (False, True):
        path.write_bytes(box(b"ftyp", b"isom") + box(b"mdat", bytes(999), wide=wide) + box(b"moov", plain + one))
        assert edits(path) == pieces


def test_lying_boxes_end_and_tell_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    huge = (8).to_bytes(4) + b"free"
    lies = [
        box(b"moov", box(b"trak", box(b"edts", box(b"elst", b"\0\0\0\0\xff\xff\xff\xff")))),
        (0xFFFFFFFF).to_bytes(4) + b"moov" + bytes(64),
        (3).to_bytes(4) + b"moov" + bytes(64),
        (1).to_bytes(4) + b"moov" + bytes(8),
        huge * 50_000,
        b"",
        b"\0",
    ]
    for lie in lies:
        path.write_bytes(lie)
        assert edits(path) == 0


def test_a_file_whose_track_is_played_in_pieces_is_refused(media, tmp_path: Path) -> None:
    body = media("edited.mp4", seconds=3.0).read_bytes()
    assert edits(media("edited.mp4", seconds=3.0)) == 1
    # The second track's list gets another piece; the boxes around it grow, and what follows them is not addressed.
    at = body.rindex(b"elst")
    row = body[at + 12 : at + 24]
    grown = bytearray(body[: at + 24] + row + body[at + 24 :])
    grown[at + 8 : at + 12] = (2).to_bytes(4)
    for kind in (b"moov", b"trak", b"edts", b"elst"):
        place = grown.rindex(kind, 0, at + 4) - 4
        grown[place : place + 4] = (int.from_bytes(grown[place : place + 4]) + len(row)).to_bytes(4)
    path = tmp_path / "pieces.mp4"
    path.write_bytes(grown)
    with pytest.raises(ItemError, match="edit_list: a track is played in 2 pieces"):
        open_media(path)
