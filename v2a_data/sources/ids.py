"""YouTube ids and addresses that the user brings: one per line, from a file, stdin or `--url`."""

from collections.abc import Iterator, Sequence
from urllib.parse import parse_qs, urlsplit

from v2a_data.errors import NothingError, UsageError
from v2a_data.ids import clean_text, is_youtube_id, youtube_video_id
from v2a_data.sources.base import Label, Listing, Video


class Ids:
    """A list of one's own."""

    name = "ids"
    licence = "as the list's maker says"
    citation = "none"
    note = "Addresses must hold a YouTube id (watch?v=, youtu.be/, shorts/, embed/)."

    def __init__(self, lines: Sequence[str] = ()) -> None:
        self.lines = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]

    def labels(self, query: str | None) -> Iterator[Label]:
        return iter(())

    def count(self, labels: tuple[str, ...], listing: Listing) -> int | None:
        return len(set(self.lines))

    def videos(self, labels: tuple[str, ...], listing: Listing) -> Iterator[Video]:
        if not self.lines:
            raise NothingError("the list of ids is empty")
        if not labels:
            raise UsageError("ids of your own need a label", hint="add --label NAME")
        natives = {native_id(line): None for line in self.lines}
        for position, native in enumerate(natives):
            if native not in listing.known:
                url = listing.recipe.source.watch_url.format(id=native)
                yield Video(youtube_video_id(native), self.name, labels, position, native, native, url)


def native_id(line: str) -> str:
    """The YouTube id in a line. Raises `UsageError` naming the line."""
    if is_youtube_id(line):
        return line
    parts = urlsplit(line)
    candidates = [*parse_qs(parts.query).get("v", []), parts.path.rstrip("/").rsplit("/", 1)[-1]]
    for candidate in candidates if parts.scheme in ("http", "https") else []:
        if is_youtube_id(candidate):
            return candidate
    raise UsageError(f"{clean_text(line, 80)!r} is neither a YouTube id nor an address with one")
