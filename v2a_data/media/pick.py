"""Which source frame stands for which wanted time, while frames stream by."""

from collections.abc import Iterator

import numpy as np

from v2a_data.media.decode import TICK_S, Picture


class Picker:
    """Gives each wanted time (rising) the frame whose time is nearest: at most half a source frame off."""

    def __init__(self, times_s: np.ndarray) -> None:
        self.times_s = times_s
        self.next = 0
        self._last: Picture | None = None

    @property
    def done(self) -> bool:
        return self.next >= len(self.times_s)

    def push(self, picture: Picture) -> Iterator[tuple[int, Picture]]:
        """Feed the next frame; yields `(index of wanted time, frame)` for those now decided."""
        last = self._last
        if last is not None and picture.time_s <= last.time_s:
            return
        while not self.done and self.times_s[self.next] < picture.time_s - TICK_S:
            wanted = self.times_s[self.next]
            nearer = last is not None and wanted - last.time_s <= picture.time_s - wanted
            yield self.next, last if last is not None and nearer else picture
            self.next += 1
        self._last = picture

    def finish(self) -> Iterator[tuple[int, Picture]]:
        """The wanted times after the last frame get that frame."""
        while not self.done and self._last is not None:
            yield self.next, self._last
            self.next += 1
