"""VEGAS, from a copy of one's own, laid out as its loaders read it.

    VEGAS/<category>/videos/video_00000.mp4
    VEGAS/<category>/video_info.csv          YTID,start_second,end_second; row n is video_%05d

The official download is gone. With `--input` the files are taken; where only the tables are left, `source.lists` names
their folder and the segments are fetched from YouTube.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from v2a_data.errors import ItemError, NothingError, UsageError, nearest
from v2a_data.files import sha256_file
from v2a_data.ids import clean_text, is_youtube_id, local_video_id
from v2a_data.sources.base import Label, Listing, Video
from v2a_data.sources.label_tables import label_ids, search, vegas_labels
from v2a_data.sources.segments import Segment, bounded_lines, damaged, need_labels, unreadable, videos_of

_TABLE = "video_info.csv"
_VIDEO = re.compile(r"video_(\d{5})\.mp4\Z")
_SECONDS = re.compile(r"\d{1,6}(\.\d{1,6})?\Z")


class Vegas:
    """28,109 clips of AudioSet in 10 categories, picture and sound judged apart by people at 2 s steps (2018)."""

    name = "vegas"
    licence = "none was published; the ids are AudioSet's (CC BY 4.0); the videos stay with their owners"
    citation = "Zhou et al. 2018, Visual to Sound: Generating Natural Sound for Videos in the Wild, CVPR"
    note = (
        "The official download is gone; copies pass from hand to hand and name no checksum. Its ids are AudioSet's. "
        "The mapping of its 10 categories to AudioSet in manifests/aliases.csv is ours."
    )

    def labels(self, query: str | None) -> Iterator[Label]:
        return search(vegas_labels(), query)

    def count(self, labels: tuple[str, ...], listing: Listing) -> int | None:
        root = _root(listing)
        if listing.recipe.source.input:
            return sum(len(_files(root / category)) for category in self._categories(labels))
        return sum(1 for _ in self._segments(labels, root))

    def videos(self, labels: tuple[str, ...], listing: Listing) -> Iterator[Video]:
        root = _root(listing)
        if listing.recipe.source.input:
            yield from self._from_files(labels, root, listing)
        else:
            yield from videos_of(self.name, self._segments(labels, root), listing)

    def _categories(self, labels: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        """Folder of a category → the asked labels that mean it."""
        need_labels(labels, self.name)
        wanted: dict[str, set[str]] = {}
        for label in labels:
            ids = label_ids(label, vegas_labels())
            if not ids:
                names = [item.name for item in vegas_labels()]
                raise NothingError(f"VEGAS has no label {label!r}; {nearest(label, names)}", hint="it has 10 in all")
            for name in ids:
                wanted.setdefault(name, set()).add(label)
        return {name: tuple(sorted(asked)) for name, asked in sorted(wanted.items())}

    def _segments(self, labels: tuple[str, ...], root: Path) -> Iterator[Segment]:
        position = 0
        for category, names in self._categories(labels).items():
            for native, start_s, stop_s in _rows(root / category, needed=True):
                yield Segment(native, start_s, stop_s, names, position)
                position += 1

    def _from_files(self, labels: tuple[str, ...], root: Path, listing: Listing) -> Iterator[Video]:
        position = -1
        for category, names in self._categories(labels).items():
            rows = list(_rows(root / category, needed=False))
            for number, path in _files(root / category).items():
                position += 1
                key = path.relative_to(root).as_posix()
                if key in listing.known:
                    continue
                native, start_s, stop_s = rows[number] if number < len(rows) else (key, 0.0, None)
                try:
                    video_id = local_video_id(sha256_file(path))
                except OSError as error:
                    yield unreadable(self.name, key, names, position, ItemError("unreadable", str(error)))
                    continue
                span = (None, None) if stop_s is None else (0.0, stop_s - start_s)
                yield Video(
                    video_id, self.name, names, position, key, native, path=path,
                    wanted_start_s=span[0], wanted_stop_s=span[1],
                )  # fmt: skip


def _root(listing: Listing) -> Path:
    """The folder that holds the categories: the one given, or `VEGAS` in it."""
    source = listing.recipe.source
    if source.input is None and source.lists is not None:
        folder = Path(source.lists).expanduser()
    else:
        folder = listing.input_folder("the source 'vegas' needs a copy of VEGAS, whose official download is gone")
    root = folder / "VEGAS" if (folder / "VEGAS").is_dir() else folder
    if not any((root / label.id).is_dir() for label in vegas_labels()):
        raise UsageError(f"{root} holds none of VEGAS' categories", hint="it should hold baby_cry, chainsaw, dog, …")
    return root


def _files(category: Path) -> dict[int, Path]:
    """Number → video of a category, in order."""
    found = ((_VIDEO.match(path.name), path) for path in sorted((category / "videos").glob("video_*.mp4")))
    return {int(match[1]): path for match, path in found if match and path.is_file()}


def _rows(category: Path, *, needed: bool) -> Iterator[tuple[str, float, float]]:
    """YouTube id, start and end of the rows of a category's table, in order."""
    path = category / _TABLE
    if not path.is_file():
        if needed:
            raise UsageError(f"{path} does not exist", hint="add --input DIR, the folder that holds the videos")
        return
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(bounded_lines(file, path), skipinitialspace=True, strict=True)
        try:
            for cells in rows:
                if rows.line_num == 1 and cells and cells[0].strip().lower() in ("ytid", "video_id", "youtube_id"):
                    continue
                yield _row(cells, rows.line_num, path)
        except csv.Error as error:
            raise damaged(path, rows.line_num, str(error)) from None


def _row(cells: list[str], line: int, path: Path) -> tuple[str, float, float]:
    if len(cells) != 3 or not is_youtube_id(cells[0]):
        raise damaged(path, line, f"{clean_text(','.join(cells), 60)!r}; expected YTID,start_second,end_second")
    if not _SECONDS.match(cells[1]) or not _SECONDS.match(cells[2]) or float(cells[2]) <= float(cells[1]):
        raise damaged(path, line, f"{clean_text(f'{cells[1]} to {cells[2]}', 40)!r} is no span in seconds")
    return cells[0], float(cells[1]), float(cells[2])
