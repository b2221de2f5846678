"""Edit lists: what one offset and one end say is followed, everything else is refused."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from v2a_data.errors import ItemError
from v2a_data.media.edits import played_until
from v2a_data.media.limits import open_media
from v2a_data.media.probe import probe

Row = tuple[int, int, int]  # how long in thousandths, media time, speed in 65,536ths
NORMAL = 0x10000


def box(kind: bytes, body: bytes, *, wide: bool = False) -> bytes:
    """A box with a 32- or 64-bit size."""
    head = (1).to_bytes(4) + kind + (16 + len(body)).to_bytes(8) if wide else (8 + len(body)).to_bytes(4) + kind
    return head + body


def track(rows: Sequence[Row], handler: bytes = b"vide", version: int = 0) -> bytes:
    """A `trak` with an edit list."""
    width = 8 if version else 4
    body = b"".join(a.to_bytes(width) + b.to_bytes(width, signed=True) + c.to_bytes(4) for a, b, c in rows)
    edits = box(b"elst", bytes([version, 0, 0, 0]) + len(rows).to_bytes(4) + body)
    return box(b"trak", box(b"tkhd", bytes(84)) + box(b"edts", edits) + box(b"mdia", box(b"hdlr", bytes(8) + handler)))


def movie(*tracks: bytes, wide: bool = False) -> bytes:
    """A file whose movie counts in thousandths of a second."""
    clock = box(b"mvhd", bytes(12) + (1000).to_bytes(4) + bytes(84))
    return box(b"ftyp", b"isom") + box(b"mdat", bytes(999), wide=wide) + box(b"moov", clock + b"".join(tracks))


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(
    ("rows", "end_s"),
    [
        ([(4000, 512, NORMAL)], 4.0),
        ([(500, -1, NORMAL), (4000, 0, NORMAL)], 4.5),
        ([(0, 1024, NORMAL)], None),
        ([(500, -1, NORMAL), (0, 0, NORMAL)], None),
    ],
)
def test_a_track_ends_where_its_one_edit_does(
    rows: list[Row], end_s: float | None, version: int, tmp_path: Path
) -> None:
    path = tmp_path / "x.mp4"
    for wide in (False, True):
        path.write_bytes(movie(track([(9000, 0, NORMAL)], b"soun"), track(rows, version=version), wide=wide))
        assert played_until(path) == (9.0 if end_s is None else end_s)
    path.write_bytes(movie(track(rows, version=version), track([(1, 0, NORMAL)] * 2, b"tmcd")))
    assert played_until(path) == end_s


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(1000, 0, NORMAL), (1000, 9000, NORMAL)], "2 pieces after 0 waits"),
        ([(500, -1, NORMAL), (500, -1, NORMAL), (4000, 0, NORMAL)], "1 pieces after 2 waits"),
        ([(4000, 0, NORMAL // 2)], "1 pieces"),
    ],
)
def test_what_one_offset_cannot_say_is_refused(rows: list[Row], words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(movie(track([(9000, 0, NORMAL)]), track(rows, b"soun")))
    with pytest.raises(ItemError, match=f"edit_list: a track is played in {words}"):
        played_until(path)


def test_headers_that_cannot_be_looked_through_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(box(b"ftyp", b"isom") + (8).to_bytes(4) + b"free" * 1)
    for body, words in (
        (((8).to_bytes(4) + b"free") * 30_000 + movie(track([(1, 0, NORMAL)] * 2)), "more than 20000 boxes"),
        (box(b"moov", box(b"cmov", bytes(64))), "packed"),
    ):
        path.write_bytes(body)
        with pytest.raises(ItemError, match=f"edit_list: .*{words}"):
            played_until(path)


def test_lying_sizes_end(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    lies = [
        movie(box(b"trak", box(b"edts", box(b"elst", b"\0\0\0\0\xff\xff\xff\xff")))),
        (0xFFFFFFFF).to_bytes(4) + b"moov" + bytes(64),
        (3).to_bytes(4) + b"moov" + bytes(64),
        (1).to_bytes(4) + b"moov" + bytes(8),
        b"",
        b"\0",
    ]
    for lie in lies:
        path.write_bytes(lie)
        assert played_until(path) is None


def edited(body: bytes, rows: Sequence[Row]) -> bytes:
    """The file with other rows in the last track's edit list. The boxes around it grow; nothing addresses what follows."""
    at = body.rindex(b"elst")
    old = int.from_bytes(body[at - 4 : at])
    new = b"".join(a.to_bytes(4) + b.to_bytes(4, signed=True) + c.to_bytes(4) for a, b, c in rows)
    grown = bytearray(body[: at + 8] + len(rows).to_bytes(4) + new + body[at - 4 + old :])
    for kind in (b"moov", b"trak", b"edts", b"elst"):
        place = grown.rindex(kind, 0, at + 4) - 4
        size = int.from_bytes(grown[place : place + 4]) + 16 + len(new) - old
        grown[place : place + 4] = size.to_bytes(4)
    return bytes(grown)


def test_a_file_in_pieces_is_refused_and_one_that_ends_early_ends_early(media, tmp_path: Path) -> None:
    body = media("edited.mp4", seconds=3.0).read_bytes()
    path = tmp_path / "pieces.mp4"
    path.write_bytes(edited(body, [(1000, 1024, NORMAL), (1000, 50_000, NORMAL)]))
    with pytest.raises(ItemError, match="edit_list: a track is played in 2 pieces"):
        open_media(path)
    assert probe(str(media("edited.mp4", seconds=3.0)), 60.0).duration_s == pytest.approx(3.0, abs=0.05)
    path.write_bytes(edited(body, [(1500, 1024, NORMAL)]))
    assert probe(str(path), 60.0).duration_s == pytest.approx(1.5, abs=0.001)
