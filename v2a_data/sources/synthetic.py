"""A rendered world from `v2a-data synth`, read from its folder with the labels its videos were given."""

from collections.abc import Iterator
from pathlib import Path

from v2a_data.errors import NothingError, UsageError
from v2a_data.ids import check_video_id
from v2a_data.sources.base import Label, Listing, Video
from v2a_data.synthetic.world import WORLD_LABELS, read_world


class Synthetic:
    """Videos with known truth. Not footage of anything real."""

    name = "synthetic"
    licence = "Apache-2.0 (rendered by this project)"
    citation = "v2a-data, synthetic world"
    note = "Never a stand-in for real videos: results on it are called synthetic."

    def labels(self, query: str | None) -> Iterator[Label]:
        wanted = (query or "").casefold()
        return (Label(self.name, name, name) for name in WORLD_LABELS if wanted in name.casefold())

    def count(self, labels: tuple[str, ...], listing: Listing) -> int | None:
        return sum(1 for _ in self._rows(labels, listing))

    def videos(self, labels: tuple[str, ...], listing: Listing) -> Iterator[Video]:
        for position, (video_id, label, path) in enumerate(self._rows(labels, listing)):
            if video_id not in listing.known:
                yield Video(video_id, self.name, (label,), position, video_id, native_id=path.name, path=path)

    def _rows(self, labels: tuple[str, ...], listing: Listing) -> Iterator[tuple[str, str, Path]]:
        folder = listing.recipe.source.input
        if not folder:
            raise UsageError(
                "the source 'synthetic' needs a world", hint="`v2a-data synth DIR` renders one; add --input DIR"
            )
        rows = [row for row in read_world(Path(folder)) if not labels or row.label in labels]
        if not rows:
            raise NothingError(f"{folder} holds no videos of {', '.join(labels)}")
        for row in rows:
            yield check_video_id(row.video_id), row.label, Path(folder).resolve() / row.file
