"""The heard side of windows as people timed it: AudioSet's strong labels, to 0.1 s."""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from v2a_data.errors import UsageError
from v2a_data.scorers.base import Field, Needs, VideoTap, WindowScores, WithoutModel
from v2a_data.sources.audioset import Heard, strong_heard
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

    def _score(self, tap: VideoTap) -> WindowScores:
        windows = len(tap.window_start_s)
        shares = np.full(windows, np.nan)
        ids = self._mids(tap.label)
        heard = self._list(ids).get(tap.video_id.removeprefix("yt-")) if ids else None
        if heard is not None and tap.video_id.startswith("yt-"):
            shares = heard.shares(tap.window_start_s)
        return WindowScores({"listed_heard": shares.astype(np.float32)}, np.full(windows, np.nan))

    def _mids(self, label: str) -> frozenset[str]:
        ids = self.config.labels.get(label) or label_ids(label, audioset_labels())
        return frozenset(below for mid in ids for below in descendants(mid))

    def _list(self, ids: frozenset[str]) -> dict[str, Heard]:
        path = Path(self.config.list).expanduser()
        if not path.is_file():
            raise UsageError(
                f"scorers.listed_heard.list: {path} does not exist",
                hint="AudioSet publishes audioset_train_strong.tsv and audioset_eval_strong.tsv",
            )
        return _read(path, path.stat().st_mtime_ns, ids)


@lru_cache(maxsize=8)
def _read(path: Path, changed: Any, ids: frozenset[str]) -> dict[str, Heard]:
    """A list is read once per worker and label; `changed` tells another file of the same name."""
    return strong_heard(path, ids)
