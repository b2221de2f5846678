"""What lists of labelled segments of YouTube videos have in common: AudioSet, VGGSound, AVE.

A segment becomes a YouTube video with the segment as its wanted span; or, with `--input`, a file of a mirror that holds
the segment cut out. Such a file is known by its bytes (`lo-…`), for its time 0 is not the upload's; the upload's id
stays as its native id.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from v2a_data.errors import FatalError, ItemError, UsageError
from v2a_data.fetch.http import save
from v2a_data.files import sha256_file
from v2a_data.ids import local_video_id, youtube_video_id
from v2a_data.recipe import digest
from v2a_data.sources.base import Listing, Video
from v2a_data.sources.files import Found, Unreadable, media_below
from v2a_data.sources.uploads import upload_of

MOST_LIST_BYTES = 1_000_000_000
_NEAR_S = 0.5
_LONGEST_LINE = 20_000


@dataclass(frozen=True, slots=True)
class Segment:
    """`[start_s, stop_s)` of an upload under the asked labels that it has; `position` is its place in the list.

    `cut` is the wanted span in a mirror's file, null where that is all of it.
    """

    native: str
    start_s: float
    stop_s: float
    labels: tuple[str, ...]
    position: int
    cut: tuple[float, float] | None = None

    @property
    def key(self) -> str:
        """`<id>_<start in ms>`, as AudioSet's strong labels write it."""
        return f"{self.native}_{round(self.start_s * 1000)}"


def need_labels(labels: tuple[str, ...], source: str) -> None:
    """Raise `UsageError` where no label is asked for."""
    if not labels:
        raise UsageError(f"the source {source!r} needs a label", hint="add --label NAME; `v2a-data labels` lists names")


def list_path(listing: Listing, name: str, url: str) -> Path:
    """Where a list file is or will be: in the recipe's `source.lists`, or in the cache under its address."""
    folder = listing.recipe.source.lists
    if folder is None:
        return listing.cache / f"{digest(url)[:8]}-{name}"
    path = Path(folder).expanduser() / name
    if not path.is_file():
        raise UsageError(f"source.lists: {path} does not exist", hint="leave source.lists out to download the list")
    return path


def list_file(listing: Listing, name: str, url: str) -> Path:
    """A list file, downloaded where it is not here. Raises `FatalError` where it cannot be had."""
    path = list_path(listing, name, url)
    if not path.is_file():
        save(url, path, MOST_LIST_BYTES)
    return path


def damaged(path: Path, line: int, why: str) -> FatalError:
    """The error for a list that would be misread. A cached one is named, so that it can be thrown away."""
    return FatalError(
        f"{path.name}, line {line}: {why}",
        hint=f"{path} is not the published list, or a damaged copy of it; get it anew",
    )


def bounded_lines(file: TextIO, path: Path) -> Iterator[str]:
    """Lines of a list, their ends included. Raises `FatalError` for one that no list has."""
    number = 0
    while line := file.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE:
            raise damaged(path, number, f"a line of {_LONGEST_LINE} characters or more")
        yield line


def first_of_each_upload(segments: Iterator[Segment]) -> Iterator[Segment]:
    """One segment per upload, the first one listed: a video has one wanted span."""
    seen: set[str] = set()
    for segment in segments:
        if segment.native not in seen:
            seen.add(segment.native)
            yield segment


def count_of(segments: Iterator[Segment], listing: Listing) -> int:
    """How many videos `videos_of` would give."""
    return sum(1 for _ in (segments if listing.recipe.source.input else first_of_each_upload(segments)))


def videos_of(source: str, segments: Iterator[Segment], listing: Listing) -> Iterator[Video]:
    """Segments as videos: files where the recipe has an input folder, else by their YouTube ids."""
    if listing.recipe.source.input:
        yield from _from_files(source, segments, listing)
        return
    watch = listing.recipe.source.watch_url
    for item in first_of_each_upload(segments):
        if item.key not in listing.known:
            yield Video(
                youtube_video_id(item.native),
                source,
                item.labels,
                item.position,
                item.key,
                item.native,
                watch.format(id=item.native),
                wanted_start_s=item.start_s,
                wanted_stop_s=item.stop_s,
            )


def _from_files(source: str, segments: Iterator[Segment], listing: Listing) -> Iterator[Video]:
    folder = listing.input_folder(f"the source {source!r} was given no folder")
    scratch = listing.scratch or listing.cache / "unpacked"
    wanted: dict[str, list[Segment]] = defaultdict(list)
    for item in segments:
        wanted[item.native].append(item)
    done: set[str] = set()
    for file in media_below(folder, scratch, listing.recipe.fetch.max_bytes):
        if isinstance(file, Unreadable):
            yield unreadable(source, file.key, (), 0, ItemError("unreadable", file.message))
            continue
        match = _match(file.name, wanted)
        if match is None or match.key in done:
            continue
        done.add(match.key)
        if match.key not in listing.known:
            yield _file_video(source, match, file)
    for item in (item for items in wanted.values() for item in items if item.key not in done):
        if item.key not in listing.known:
            words = "no file below --input has its name; it is looked for again next time"
            yield unreadable(source, item.key, item.labels, item.position, ItemError("not_in_input", words))


def _file_video(source: str, item: Segment, file: Found) -> Video:
    start_s, stop_s = item.cut or (None, None)
    try:
        path = file.take()
        video_id = local_video_id(sha256_file(path))
    except ItemError as error:
        return unreadable(source, item.key, item.labels, item.position, error)
    except OSError as error:
        return unreadable(source, item.key, item.labels, item.position, ItemError("unreadable", str(error)))
    return Video(
        video_id,
        source,
        item.labels,
        item.position,
        item.key,
        item.native,
        path=path,
        wanted_start_s=start_s,
        wanted_stop_s=stop_s,
    )


def unreadable(source: str, key: str, labels: tuple[str, ...], position: int, error: ItemError) -> Video:
    """A row for something listed whose bytes, and so whose id, cannot be had; its key stands in for them."""
    video_id = local_video_id(hashlib.sha256(f"name:{key}".encode()).hexdigest())
    state = "unusable" if error.reason == "too_large" else "later"
    return Video(video_id, source, labels, position, key, key, state=state, reason=error.reason, message=error.message)


def _match(name: str, wanted: Mapping[str, list[Segment]]) -> Segment | None:
    """The segment that a file's name means; a name without a start means the only one of its upload."""
    upload = upload_of(name)
    items = wanted.get(upload.native, []) if upload else []
    if upload and not upload.starts_s:
        return items[0] if len(items) == 1 else None
    for start_s in upload.starts_s if upload else ():
        for item in items:
            if abs(item.start_s - start_s) < _NEAR_S:
                return item
    return None
