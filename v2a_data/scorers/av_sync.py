"""How far sound and picture are apart, by a model that was trained to tell offsets, as a ranker, per window.

Plug-in for classifiers of offsets such as Synchformer (MIT). The folder holds `model.onnx`, with inputs `picture`
`(n, windows * frames, 3, px, px)` and `sound` `(n, samples)` and logits `(n, offsets)`, and `about.json` (see
`plugin.py`), which also has `windows`, how many windows of 2 s the model looks at, and `offsets_s`, what each output
stands for, positive where the sound comes after the picture. No such export was at hand: the contract is tested with
small models made for it, not with Synchformer. Its 25 frames per second of 224 px are 15 MB per window
in the decode's folder: a scorer for what is left after the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from v2a_data.errors import FatalError, UsageError
from v2a_data.scorers.base import Field, ModelRef, Needs, VideoTap, WindowScores, batches
from v2a_data.scorers.plugin import ABOUT, About, Folder

_BATCH = 2
_IN_STEP_S = 0.2


@dataclass(frozen=True, kw_only=True)
class SyncAbout(About):
    """`about.json` of an offset classifier."""

    windows: int
    offsets_s: tuple[float, ...]


class AvSync:
    """The likeliest offset, and the probability that it is 0.2 s or less; null where a window has too few around it."""

    @dataclass(frozen=True)
    class Config:
        """`path` is the folder. `accept_licence` repeats the licence in its about.json where that is not a free one;
        `sha256` is checked where given: that of the lines of `sha256sum about.json model.onnx`.
        """

        path: str
        accept_licence: str | None = None
        sha256: str | None = None

    name: ClassVar[str] = "av_sync"
    version: ClassVar[int] = 1
    licence: ClassVar[str] = "Apache-2.0 (own code); the model's own licence applies to it"
    uses_model: ClassVar[bool] = True
    writes: ClassVar[tuple[Field, ...]] = (
        Field("sync_offset_s", "s", "likeliest time that the sound comes after the picture"),
        Field("sync_prob", "0..1", "probability of an offset of 0.2 s or less either way"),
    )

    def __init__(self, config: Config) -> None:
        self.config = config
        self._session: Any = None

    @cached_property
    def _folder(self) -> Folder[SyncAbout]:
        some = self.config
        return Folder(self.name, some.path, some.accept_licence, some.sha256, SyncAbout, ("model.onnx",))

    @property
    def needs(self) -> Needs:
        return self._folder.needs

    @property
    def model(self) -> ModelRef | None:
        return self._folder.ref

    def open(self, device: str) -> None:
        about = self._folder.about
        if about.windows < 1 or not about.offsets_s:
            raise UsageError(f"{self._folder.path / ABOUT}: windows are 1 or more, and offsets_s name every output")
        (self._session,) = self._folder.open()

    def score(self, taps: Sequence[VideoTap]) -> list[WindowScores]:
        blocks: list[dict[int, tuple[float, float]]] = [{} for _ in taps]
        for batch in batches(self._blocks(taps), _BATCH):
            pictures, sounds = (np.stack([item[k] for item in batch]) for k in (2, 3))
            for (owner, first, *_), found in zip(batch, self._offsets(pictures, sounds), strict=True):
                blocks[owner][first] = found
        return [self._scores(tap, found) for tap, found in zip(taps, blocks, strict=True)]

    def _first(self, tap: VideoTap, index: int) -> int:
        """Where the windows around one begin; those at the ends of a video share theirs."""
        windows = self._folder.about.windows
        return max(0, min(index - windows // 2, len(tap.window_start_s) - windows))

    def _blocks(self, taps: Sequence[VideoTap]) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
        """Number of the video, of its first window, pictures and sound of all that the model looks at at once."""
        windows = self._folder.about.windows
        for owner, tap in enumerate(taps):
            count = len(tap.window_start_s)
            for first in sorted({self._first(tap, index) for index in range(count)} if count >= windows else ()):
                inputs = self._folder.inputs(tap, first, windows)
                if inputs is not None:
                    yield owner, first, *inputs

    def _offsets(self, pictures: np.ndarray, sounds: np.ndarray) -> Iterator[tuple[float, float]]:
        """Likeliest offset and probability of being in step, of each."""
        logits = np.asarray(self._session.run(None, {"picture": pictures, "sound": sounds})[0], np.float64)
        offsets_s = np.asarray(self._folder.about.offsets_s)
        if logits.shape != (len(pictures), len(offsets_s)):
            raise FatalError(f"{self.config.path} gave {logits.shape} for {len(pictures)} x {len(offsets_s)} offsets")
        chances = np.exp(logits - logits.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        near = np.abs(offsets_s) <= _IN_STEP_S + 1e-6
        for row in chances:
            yield float(offsets_s[row.argmax()]), min(1.0, float(row[near].sum()))

    def _scores(self, tap: VideoTap, found: dict[int, tuple[float, float]]) -> WindowScores:
        count = len(tap.window_start_s)
        rows = [found.get(self._first(tap, index), (np.nan, np.nan)) for index in range(count)]
        columns = np.asarray(rows, np.float32).reshape(-1, 2).T
        fields = {field.name: column for field, column in zip(self.writes, columns, strict=True)}
        return WindowScores(fields, np.full(count, np.nan))
