"""Media below a folder, in a fixed order: files, and members of tars, unpacked one by one when they are taken.

Tars (`.tar`, `.tar.gz`, `.tgz`) are read as streams. Only plain members with the suffix of a video are taken, up to a
size, under names of our own; links, sparse files, devices and folders are passed over, and no name leads anywhere.
"""

import shutil
import tarfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from v2a_data.errors import ItemError

MEDIA_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".ogv", ".avi", ".flv", ".ts", ".mpg", ".mpeg"}
)
_TAR_MODES = {".tar": "r|", ".gz": "r|gz", ".tgz": "r|gz"}
_MOST_HEADER_BYTES = 1 << 20
_EXTENSIONS = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_LONG_NAMES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


@dataclass(frozen=True)
class Found:
    """A file, or a member of a tar. `key` is its path below the folder, `TAR!MEMBER` for members.

    `folder` is the name of the folder that holds it, or its tar. `take` gives its path, once and before the next one
    is asked for; it raises `ItemError` for a member that cannot be had.
    """

    key: str
    name: str
    folder: str
    take: Callable[[], Path]


@dataclass(frozen=True)
class Unreadable:
    """A tar that cannot be read on from here."""

    key: str
    folder: str
    message: str


def files_below(folder: Path) -> list[Path]:
    """Regular files, sorted; hidden ones and those in hidden folders left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def is_tar(path: Path) -> bool:
    """Whether a file is read as a tar."""
    return path.name.lower().endswith((".tar", ".tar.gz", ".tgz"))


def media_below(folder: Path, scratch: Path, most_bytes: int) -> Iterator[Found | Unreadable]:
    """Files and members of tars below a folder. `most_bytes` is the largest member that is unpacked."""
    for path in files_below(folder):
        key = text_of(path.relative_to(folder).as_posix())
        if is_tar(path):
            yield from _members(path, key, scratch, most_bytes)
        else:
            yield Found(key, text_of(path.name), text_of(path.parent.name), lambda path=path: path)  # type: ignore[misc]


def text_of(name: str) -> str:
    """A file name as text; bytes that are no UTF-8 are spelled out."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _members(path: Path, key: str, scratch: Path, most_bytes: int) -> Iterator[Found | Unreadable]:
    try:
        with tarfile.open(path, _TAR_MODES[path.suffix.lower()], tarinfo=_Header, errors="surrogateescape") as tar:  # type: ignore[call-overload]
            while (member := tar.next()) is not None:
                tar.members = []  # else a million of them are kept
                name = PurePosixPath(member.name)
                if not member.isreg() or member.issparse() or name.suffix.lower() not in MEDIA_SUFFIXES:
                    continue

                def take(member: tarfile.TarInfo = member, suffix: str = name.suffix.lower()) -> Path:
                    return _unpack(tar, member, scratch, suffix, most_bytes)

                yield Found(text_of(f"{key}!{member.name}"), text_of(name.name), text_of(path.parent.name), take)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        yield Unreadable(key, text_of(path.parent.name), f"{error}; it is tried again next time")


def _unpack(tar: tarfile.TarFile, member: tarfile.TarInfo, scratch: Path, suffix: str, most_bytes: int) -> Path:
    if member.size > most_bytes:
        raise ItemError("too_large", f"{member.size} bytes, at most {most_bytes} (fetch.max_bytes)")
    scratch.mkdir(parents=True, exist_ok=True)
    target = scratch / f"{uuid.uuid4().hex}{suffix}"
    try:
        source: IO[bytes] | None = tar.extractfile(member)
        assert source is not None
        with source, target.open("xb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    except (tarfile.TarError, EOFError) as error:
        target.unlink(missing_ok=True)
        raise ItemError("unreadable", f"{error}; it is tried again next time") from None
    return target


class _Header(tarfile.TarInfo):
    """A header whose extensions (pax, long names), which tarfile reads whole into memory, are bounded."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Header":
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf and not any(buf):
                raise  # the mark of the end
            # tarfile takes any other one after the first member for the end.
            raise tarfile.ReadError(f"{error}: the tar is cut short or damaged") from None
        if header.type in (*_EXTENSIONS, *_LONG_NAMES) and header.size > _MOST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {header.size} bytes")
        return header
