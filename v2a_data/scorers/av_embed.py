"""Whether picture and sound mean the same: cosine similarity of a model's two embeddings, per window.

Plug-in for joint embeddings such as PE-AV (Apache-2.0) or ImageBind (CC BY-NC 4.0, which the recipe has to accept).
The folder holds `picture.onnx`, `(n, frames, 3, px, px)` → `(n, width)`, `sound.onnx`, `(n, samples)` → `(n, width)`,
and `about.json` (see `plugin.py`). No such export was at hand: the contract is tested with small models made for it,
not with those two.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from v2a_data.errors import FatalError
from v2a_data.scorers.base import Field, ModelRef, Needs, VideoTap, WindowScores, batches
from v2a_data.scorers.plugin import About, Folder

_BATCH = 8


class AvEmbed:
    """Similarity of picture and sound in a joint embedding; null in windows that lack one of the two."""

    @dataclass(frozen=True)
    class Config:
        """`path` is the folder. `accept_licence` repeats the licence in its about.json where that is not a free one;
        `sha256` is checked where given: that of the lines of `sha256sum about.json picture.onnx sound.onnx`.
        """

        path: str
        accept_licence: str | None = None
        sha256: str | None = None

    name: ClassVar[str] = "av_embed"
    version: ClassVar[int] = 1
    licence: ClassVar[str] = "Apache-2.0 (own code); the model's own licence applies to it"
    uses_model: ClassVar[bool] = True
    writes: ClassVar[tuple[Field, ...]] = (
        Field("av_similarity", "-1..1", "cosine similarity of the embeddings of picture and sound"),
    )

    def __init__(self, config: Config) -> None:
        self.config = config
        self._sessions: list[Any] = []

    @cached_property
    def _folder(self) -> Folder[About]:
        some = self.config
        return Folder(self.name, some.path, some.accept_licence, some.sha256, About, ("picture.onnx", "sound.onnx"))

    @property
    def needs(self) -> Needs:
        return self._folder.needs

    @property
    def model(self) -> ModelRef | None:
        return self._folder.ref

    def open(self, device: str) -> None:
        self._sessions = self._folder.open()

    def score(self, taps: Sequence[VideoTap]) -> list[WindowScores]:
        found = [np.full(len(tap.window_start_s), np.nan, np.float32) for tap in taps]
        for batch in batches(self._windows(taps), _BATCH):
            pictures, sounds = (np.stack([item[k] for item in batch]) for k in (2, 3))
            for (owner, index, *_), value in zip(batch, self._similarity(pictures, sounds), strict=True):
                found[owner][index] = value
        return [WindowScores({"av_similarity": row}, np.full(len(row), np.nan)) for row in found]

    def _windows(self, taps: Sequence[VideoTap]) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
        """Number of the video, of the window, its pictures and its sound."""
        for owner, tap in enumerate(taps):
            for index in range(len(tap.window_start_s)):
                inputs = self._folder.inputs(tap, index)
                if inputs is not None:
                    yield owner, index, *inputs

    def _similarity(self, pictures: np.ndarray, sounds: np.ndarray) -> np.ndarray:
        seen, heard = (
            np.asarray(session.run(None, {session.get_inputs()[0].name: values})[0], np.float64)
            for session, values in zip(self._sessions, (pictures, sounds), strict=True)
        )
        if seen.shape != heard.shape or seen.ndim != 2 or len(seen) != len(pictures):
            raise FatalError(f"{self.config.path} gave {seen.shape} and {heard.shape}: embeddings need one width")
        return np.asarray((_unit(seen) * _unit(heard)).sum(axis=1))


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
