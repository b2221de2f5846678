"""A folder of one's own videos. The label is the parent folder's name, or the one asked for."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from v2a_data.errors import NothingError
from v2a_data.files import sha256_file
from v2a_data.ids import clean_text, local_video_id
from v2a_data.sources.base import Label, Listing, Video


class Local:
    """Every regular file below a folder, hidden ones left out; what is not media is recorded as such."""

    name = "local"
    licence = "as the owner of the files says"
    citation = "none"
    note = "Ids come from the files' bytes: renaming a file changes nothing, equal files are one video."

    def labels(self, query: str | None) -> Iterator[Label]:
        return iter(())

    def count(self, labels: tuple[str, ...], listing: Listing) -> int | None:
        return len(_files(listing))

    def videos(self, labels: tuple[str, ...], listing: Listing) -> Iterator[Video]:
        folder = listing.input_folder("the source 'local' needs a folder")
        for position, path in enumerate(_files(listing)):
            key = _text(path.relative_to(folder).as_posix())
            if key in listing.known:
                continue
            folder_name = _folder_label(path)
            names = (folder_name,) if folder_name in labels or not labels else labels
            try:
                video_id = local_video_id(sha256_file(path))
            except OSError as error:
                words = f"{error.strerror or error}; it is tried again next time"
                yield _unreadable(key, names, position, words)
                continue
            yield Video(video_id, self.name, names, position, key, native_id=key, path=path)


def _folder_label(path: Path) -> str:
    return clean_text(_text(path.parent.name)) or "unnamed"


def _text(name: str) -> str:
    """A file name as text; bytes that are no UTF-8 are spelled out."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _unreadable(key: str, labels: tuple[str, ...], position: int, message: str) -> Video:
    """A row for a file whose bytes, and so whose id, cannot be had; its name stands in for them."""
    video_id = local_video_id(hashlib.sha256(f"name:{key}".encode()).hexdigest())
    return Video(
        video_id, Local.name, labels, position, key, native_id=key, state="later", reason="unreadable", message=message
    )


def folder_labels(folder: Path) -> tuple[str, ...]:
    """The labels that a folder's files get when none is asked for: names of their parent folders."""
    files = _files_below(folder.resolve())
    return tuple(sorted({_folder_label(path) for path in files}))


def _files(listing: Listing) -> list[Path]:
    return _files_below(listing.input_folder("the source 'local' needs a folder"))


def _files_below(folder: Path) -> list[Path]:
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise NothingError(f"{folder} holds no files")
    return found
