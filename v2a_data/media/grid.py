"""A video as frames on a fixed grid, handed out in pieces: what a model sees at inference."""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from v2a_data.errors import ItemError
from v2a_data.media.decode import Media, Picture
from v2a_data.media.limits import open_media
from v2a_data.media.picture import FitRule, Scaler


class Grid:
    """Frames of one file at `fps` from second 0 on, each `(height * 3 / 2, width)` uint8 planes, fitted as in shards.

    Each grid time gets the nearest source frame; the last one stays on until it would end. The
    picture alone decides the length; a file without sound is fine here. Raises `ItemError`:
    `no_picture`, `picture_undecodable`, and those of `open_media`.
    """

    def __init__(self, path: str, width: int, height: int, fps: Fraction, fit: FitRule = "pad") -> None:
        self.media = Media(open_media(path))
        if self.media.video is None:
            raise ItemError("no_picture")
        self.media.audio = None
        self.width, self.height, self.fps, self.fit = width, height, fps, fit
        self.scaler = Scaler(float(self.media.video.sample_aspect_ratio or 1))
        self._canvases = self._stream()

    def take(self, count: int) -> np.ndarray:
        """The next frames `(n, height * 3 / 2, width)`, fewer than `count` only at the end."""
        rows = []
        for _, canvas in zip(range(count), self._canvases, strict=False):
            rows.append(canvas)
        if not rows:
            return np.zeros((0, self.height * 3 // 2, self.width), np.uint8)
        return np.stack(rows)

    def _stream(self) -> Iterator[np.ndarray]:
        step_s = float(1 / self.fps)
        last: tuple[float, np.ndarray] | None = None
        interval_s, index = self.media.frame_interval_s, 0
        for item in self.media.decode():
            if not isinstance(item, Picture) or (last and item.time_s <= last[0]):
                continue
            canvas = self.scaler.canvas(item.frame, self.width, self.height, self.fit)
            while (wanted_s := index * step_s) < item.time_s:
                nearer = last is not None and wanted_s - last[0] <= item.time_s - wanted_s
                yield last[1] if last is not None and nearer else canvas
                index += 1
            if last is not None:
                interval_s = item.time_s - last[0]
            last = (item.time_s, canvas)
        if last is None:
            raise ItemError("picture_undecodable")
        while (index + 0.5) * step_s <= last[0] + min(interval_s, 0.5):
            yield last[1]
            index += 1
