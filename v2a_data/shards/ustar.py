"""Strict reading of a shard's tar headers: plain files only, and nothing that `shard` does not write.

Stock readers follow links, pax and GNU records and sparse maps; here each of them is an error, so that a hostile
tar can neither name a place on disk nor claim a size that it does not have.
"""

from dataclasses import dataclass

BLOCK = 512
RECORD = 20 * BLOCK
_ZEROS = bytes(BLOCK)
_OTHER_KINDS = {
    b"\0": "an old plain file",
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a folder",
    b"6": "a pipe",
    b"7": "a contiguous file",
    b"g": "a pax header for the whole tar",
    b"x": "a pax header",
    b"K": "a GNU long link",
    b"L": "a GNU long name",
    b"S": "a GNU sparse file",
}


class TarError(Exception):
    """A header that is no plain file's."""


@dataclass(frozen=True)
class Header:
    """A member as its header names it."""

    name: str
    size: int


def parse_header(block: bytes) -> Header:
    """Read one block. Raises `TarError` saying what is wrong with it."""
    if len(block) != BLOCK:
        raise TarError("the file ends inside a header")
    if block[257:265] != b"ustar\x0000":
        raise TarError("a header is not a ustar header")
    total = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    if block[148:156] != b"%06o\0 " % total:
        raise TarError("the checksum of a header is wrong")
    name = _text(block[0:100])
    kind = block[156:157]
    if kind != b"0":
        raise TarError(f"{name[:60]!r} is {_OTHER_KINDS.get(kind, f'of kind {kind!r}')}, not a plain file")
    size = block[124:136]
    if not (size[:11].isdigit() and max(size[:11]) <= ord("7") and size[11:] == b"\0"):
        raise TarError(f"{name[:60]!r}: its size is negative, above 8 GB or not a number")
    if any(block[157:257]) or any(block[345:500]):
        raise TarError(f"{name[:60]!r} has a link or a long path")
    if block[136:148] != b"00000000000\0" or any(block[500:]):
        raise TarError(f"{name[:60]!r} has a time or trailing bytes that `shard` does not write")
    return Header(name, int(size[:11], 8))


def is_zero(block: bytes) -> bool:
    """True for a whole block of zeros: the end of a tar."""
    return block == _ZEROS


def padded(size: int) -> int:
    """Bytes that a member of this size takes."""
    return -(-size // BLOCK) * BLOCK


def _text(field: bytes) -> str:
    name, _, rest = field.partition(b"\0")
    text = name.decode("ascii", "backslashreplace")
    if any(rest):
        raise TarError(f"{text[:60]!r} has bytes after its end")
    return text
