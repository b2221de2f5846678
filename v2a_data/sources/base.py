"""What a source is and what it gives."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from v2a_data.errors import UsageError
from v2a_data.recipe import Recipe


@dataclass(frozen=True)
class Label:
    """A class name as a source knows it. `count` is the source's own count of videos, null if unknown."""

    source: str
    id: str
    name: str
    count: int | None = None
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Video:
    """One listed recording. `state` is `listed`, or `gone` where the source already knows it is lost."""

    video_id: str
    source: str
    labels: tuple[str, ...]
    position: int
    source_key: str | None = None
    native_id: str | None = None
    url: str | None = None
    path: Path | None = None
    wanted_start_s: float | None = None
    wanted_stop_s: float | None = None
    state: str = "listed"
    reason: str | None = None
    message: str = ""


@dataclass(frozen=True)
class Listing:
    """What a source needs to list.

    `cache` is a folder for lists that it downloads; keys in `known` are done with; `resolved` maps
    keys that are listed and still to be fetched to their native ids. Media that a source unpacks go
    to `scratch`, from where they are moved and not linked.
    """

    recipe: Recipe
    cache: Path
    known: frozenset[str] = frozenset()
    resolved: Mapping[str, str | None] = field(default_factory=dict)
    scratch: Path | None = None

    def input_folder(self, why: str) -> Path:
        """The folder that `--input` names. Raises `UsageError`, with `why` one is needed, where there is none."""
        if not self.recipe.source.input:
            raise UsageError(why, hint="add --input DIR, the folder that holds the files")
        folder = Path(self.recipe.source.input).expanduser()
        if not folder.is_dir():
            raise UsageError(f"--input {folder}: not a folder")
        return folder.resolve()


class Source(Protocol):
    """A list that ids come from."""

    name: str
    licence: str
    citation: str
    note: str  # link rot, how to cite, traps

    def labels(self, query: str | None) -> Iterator[Label]:
        """Labels whose name holds `query`, offline from `manifests/` where it can be."""
        ...

    def count(self, labels: tuple[str, ...], listing: Listing) -> int | None:
        """How many videos `videos` would list in all, null if that is not known without asking a site.

        Raises as `videos` does.
        """
        ...

    def videos(self, labels: tuple[str, ...], listing: Listing) -> Iterator[Video]:
        """Videos of the labels in a fixed order, lazily; those in `listing.known` are passed over.

        Raises `NothingError` for a label that the source does not have, `UsageError` for an input
        that is missing.
        """
        ...
