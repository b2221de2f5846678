"""The videos of a manifest: by id from YouTube, files by their bytes from a folder that is given again."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from v2a_data.errors import UsageError
from v2a_data.files import sha256_file
from v2a_data.ids import clean_text
from v2a_data.manifest import Manifest
from v2a_data.sources.base import Label, Listing, Video


class FromManifest:
    """Exactly the videos of one manifest, under the sources, ids and labels that it gives them."""

    name = "manifest"
    licence = "as the manifest says, per row"
    citation = "the dataset that the manifest was published with"
    note = (
        "Addresses are made from ids, never read. Files are found by sha256 below --input, rendered ones also by "
        "name. What is gone since is listed with its reason."
    )

    def __init__(self, manifest: Manifest | None = None) -> None:
        self._given = manifest

    @property
    def offline(self) -> bool:
        """True where every video is a file."""
        return self._manifest.offline

    @property
    def _manifest(self) -> Manifest:
        if self._given is None:
            raise UsageError("the source 'manifest' needs a file", hint="`v2a-data fetch --manifest FILE`")
        return self._given

    def labels(self, query: str | None) -> Iterator[Label]:
        return iter(())

    def count(self, labels: tuple[str, ...], listing: Listing) -> int | None:
        rows = list(self._manifest.videos())
        if any(not row["video_id"].startswith("yt-") for row in rows):
            listing.input_folder("the manifest names files")
        return len(rows)

    def videos(self, labels: tuple[str, ...], listing: Listing) -> Iterator[Video]:
        files: _Files | None = None
        for position, row in enumerate(self._manifest.videos()):
            video_id, native = row["video_id"], row["native_id"]
            if video_id in listing.known:
                continue
            common: dict[str, Any] = {
                "video_id": video_id,
                "source": row["source"],
                "labels": tuple(row["labels"]),
                "position": position,
                "source_key": video_id,
                "native_id": native,
            }
            if video_id.startswith("yt-"):
                yield Video(**common, url=listing.recipe.source.watch_url.format(id=native))
                continue
            files = files or _Files(listing.input_folder("the manifest names files"))
            path = files.find(row["media_sha256"], row["media_bytes"], native, same_bytes=video_id.startswith("lo-"))
            if path is not None:
                yield Video(**common, path=path)
                continue
            words = f"no file below --input has sha256 {row['media_sha256']}; it is looked for again next time"
            yield Video(**common, state="later", reason="not_in_input", message=words)


class _Files:
    """The files of a folder, hashed only where their size is one that is looked for."""

    def __init__(self, folder: Path) -> None:
        self._by_size: dict[int, list[Path]] = defaultdict(list)
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._hashes: dict[Path, str] = {}
        for path in sorted(folder.rglob("*")):
            parts = path.relative_to(folder).parts
            if path.is_file() and not any(part.startswith(".") for part in parts):
                self._by_size[path.stat().st_size].append(path)
                self._by_name[_text(path.name)].append(path)

    def find(self, sha256: str, size: int, native: str | None, *, same_bytes: bool) -> Path | None:
        """The file with these bytes, the one of that name first; else, unless `same_bytes`, one of that name."""
        name = (native or "").rpartition("/")[2]
        named = self._by_name.get(name, [])
        for path in sorted(self._by_size.get(size, []), key=lambda path: path not in named):
            if self._sha256(path) == sha256:
                return path
        return named[0] if len(named) == 1 and not same_bytes else None

    def _sha256(self, path: Path) -> str:
        if path not in self._hashes:
            try:
                self._hashes[path] = sha256_file(path)
            except OSError:
                self._hashes[path] = ""
        return self._hashes[path]


def _text(name: str) -> str:
    """A file name as it stands in a manifest."""
    return clean_text(name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))
