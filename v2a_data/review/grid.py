"""Which windows the videos of a workspace have, and which label each video is judged by."""

import json
import math
from collections import defaultdict
from collections.abc import Mapping

from v2a_data.curate.score import label_of
from v2a_data.ledger import Ledger
from v2a_data.recipe import Recipe
from v2a_data.schema import WINDOW_S
from v2a_data.windows import window_starts

_CLOSE_S = 0.001
_ENDLESS = 10**9


class Grid:
    """The windows of every video that is listed; the length of one that is not fetched is taken as endless."""

    def __init__(self, ledger: Ledger, recipe: Recipe | None) -> None:
        self._keys: dict[str, dict[str, str]] = defaultdict(dict)
        sql = (
            "SELECT v.video_id, v.source, v.source_key, v.labels, v.wanted_start_s, v.wanted_stop_s, m.probe "
            "FROM videos v LEFT JOIN media m USING (video_id)"
        )
        self._videos: dict[str, tuple[float, int, str]] = {}
        for row in ledger.each(sql):
            labels = json.loads(row["labels"])
            label = label_of(recipe, labels) if recipe else next(iter(labels), "")
            count = _ENDLESS
            if row["probe"] or row["wanted_stop_s"] is not None:
                duration_s = json.loads(row["probe"])["duration_s"] if row["probe"] else row["wanted_stop_s"]
                count = len(window_starts(duration_s, row["wanted_start_s"], row["wanted_stop_s"]))
            if row["source_key"]:
                self._keys[row["source"]][row["source_key"]] = row["video_id"]
            self._videos[row["video_id"]] = (row["wanted_start_s"] or 0.0, count, label)

    def __contains__(self, video_id: object) -> bool:
        return video_id in self._videos

    def keys(self, source: str) -> Mapping[str, str]:
        """A source's own keys, with the videos that they stand for."""
        return self._keys.get(source, {})

    def label(self, video_id: str) -> str:
        return self._videos[video_id][2]

    def has(self, video_id: str, index: int) -> bool:
        return 0 <= index < self._videos[video_id][1]

    def start_s(self, video_id: str, index: int) -> float:
        return self._videos[video_id][0] + index * WINDOW_S

    def index(self, video_id: str, start_s: float) -> int | None:
        """The window that starts there, or null."""
        origin, count, _ = self._videos[video_id]
        index = round((start_s - origin) / WINDOW_S)
        close = abs(self.start_s(video_id, index) - start_s) <= _CLOSE_S
        return index if close and 0 <= index < count else None

    def inside(self, video_id: str, start_s: float, stop_s: float) -> range:
        """The windows that lie whole in a span."""
        origin, count, _ = self._videos[video_id]
        first = max(0, math.ceil((start_s - origin - _CLOSE_S) / WINDOW_S))
        last = int((stop_s - origin + _CLOSE_S) // WINDOW_S)
        return range(first, max(first, min(count, last)))
