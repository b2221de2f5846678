"""The heard side of windows as people timed it: AudioSet's strong labels, to 0.1 s."""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from v2a_data.errors import UsageError
from v2a_data.files import sha256_file
from v2a_data.ids import clean_text
from v2a_data.scorers.base import Field, ModelRef, Needs, VideoTap, WindowScores, WithoutModel
from v2a_data.sources.audioset import StrongList
from v2a_data.sources.label_tables import audioset_labels, descendants, label_ids


class ListedHeard(WithoutModel):
    """The share of each window in which people heard the label, or a node below it in AudioSet's ontology.

    Null where nobody listened: outside of the list's 10 s clips, for videos without a YouTube id, and for labels that
    AudioSet does not have.
    """

    @dataclass(frozen=True)
    class Config:
        """`list` is a strong list of AudioSet (`audioset_train_strong.tsv`, or the eval one); `labels` holds AudioSet
        ids of labels whose name does not say them."""

        list: str
        labels: dict[str, tuple[str, ...]] = field(default_factory=dict)

    name: ClassVar[str] = "listed_heard"
    version: ClassVar[int] = 1
    licence: ClassVar[str] = "CC BY 4.0 (Google's labels); Apache-2.0 (own code)"
    writes: ClassVar[tuple[Field, ...]] = (
        Field("listed_heard", "0..1", "share in which people heard the label, null where nobody listened"),
    )

    @property
    def needs(self) -> Needs:
        return Needs()

    @property
    def model(self) -> ModelRef | None:
        """The list, as what decides the scores; its hash is null where it is not here."""
        path = self._path
        sha256 = _sha256(path, *_stamp(path)) if path.is_file() else None
        return ModelRef(clean_text(path.name, 100), sha256, self.licence)

    @property
    def _path(self) -> Path:
        return Path(self.config.list).expanduser()

    def _score(self, tap: VideoTap) -> WindowScores:
        windows = len(tap.window_start_s)
        shares = np.full(windows, np.nan)
        ids = _mids(tap.label, tuple(self.config.labels.get(tap.label, ())))
        if ids and tap.video_id.startswith("yt-"):
            heard = self._list().heard(tap.video_id.removeprefix("yt-"), ids)
            shares = shares if heard is None else heard.shares(tap.window_start_s)
        return WindowScores({"listed_heard": shares.astype(np.float32)}, np.full(windows, np.nan))

    def _list(self) -> StrongList:
        path = self._path
        if not path.is_file():
            raise UsageError(
                f"scorers.listed_heard.list: {path} does not exist",
                hint="AudioSet publishes audioset_train_strong.tsv and audioset_eval_strong.tsv",
            )
        return _read(path, *_stamp(path))


def _stamp(path: Path) -> tuple[int, int]:
    """What tells another file of the same name."""
    about = path.stat()
    return about.st_mtime_ns, about.st_size


@lru_cache(maxsize=64)
def _mids(label: str, own: tuple[str, ...]) -> frozenset[str]:
    """AudioSet ids of a label, its `own` or those of its name, and all below them."""
    ids = own or label_ids(label, audioset_labels())
    return frozenset(below for mid in ids for below in descendants(mid))


@lru_cache(maxsize=1)
def _read(path: Path, changed_ns: int, size: int) -> StrongList:
    """A list is read once per worker, whatever the labels."""
    return StrongList(path)


@lru_cache(maxsize=4)
def _sha256(path: Path, changed_ns: int, size: int) -> str:
    return sha256_file(path)
