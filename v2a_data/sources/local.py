"""A folder of one's own videos. The label is the parent folder's name, or the one asked for."""

from collections.abc import Iterator
from pathlib import Path

from v2a_data.errors import ItemError, NothingError
from v2a_data.files import sha256_file
from v2a_data.ids import clean_text, local_video_id
from v2a_data.sources.base import Label, Listing, Video
from v2a_data.sources.files import Unreadable, files_below, is_tar, media_below, text_of
from v2a_data.sources.segments import unreadable
from v2a_data.sources.uploads import upload_of


class Local:
    """Every regular file below a folder, hidden ones left out; what is not media is recorded as such.

    Of tars the videos in them. Where the recipe's `source.file_names` is "youtube", the YouTube id in a file's name
    becomes its native id.
    """

    name = "local"
    licence = "as the owner of the files says"
    citation = "none"
    note = "Ids come from the files' bytes: renaming a file changes nothing, equal files are one video."

    def labels(self, query: str | None) -> Iterator[Label]:
        return iter(())

    def count(self, labels: tuple[str, ...], listing: Listing) -> int | None:
        """The number of files; null where there is a tar, which would have to be read through."""
        files = _files(listing.input_folder("the source 'local' needs a folder"))
        return None if any(map(is_tar, files)) else len(files)

    def videos(self, labels: tuple[str, ...], listing: Listing) -> Iterator[Video]:
        folder = listing.input_folder("the source 'local' needs a folder")
        _files(folder)
        scratch = listing.scratch or listing.cache / "unpacked"
        for position, file in enumerate(media_below(folder, scratch, listing.recipe.fetch.max_bytes)):
            if file.key in listing.known:
                continue
            folder_name = _label(file.folder)
            names = (folder_name,) if folder_name in labels or not labels else labels
            if isinstance(file, Unreadable):
                yield unreadable(self.name, file.key, names, position, ItemError("unreadable", file.message))
                continue
            try:
                path = file.take()
                video_id = local_video_id(sha256_file(path))
            except ItemError as error:
                yield unreadable(self.name, file.key, names, position, error)
                continue
            except OSError as error:
                words = f"{error.strerror or error}; it is tried again next time"
                yield unreadable(self.name, file.key, names, position, ItemError("unreadable", words))
                continue
            upload = upload_of(file.name) if listing.recipe.source.file_names == "youtube" else None
            native = upload.native if upload else file.key
            yield Video(video_id, self.name, names, position, file.key, native_id=native, path=path)


def _label(folder: str) -> str:
    return clean_text(folder) or "unnamed"


def folder_labels(folder: Path) -> tuple[str, ...]:
    """The labels that a folder's files get when none is asked for: names of their parent folders."""
    return tuple(sorted({_label(text_of(path.parent.name)) for path in _files(folder.resolve())}))


def _files(folder: Path) -> list[Path]:
    found = files_below(folder)
    if not found:
        raise NothingError(f"{folder} holds no files")
    return found
