"""Whether the label is heard: an AudioSet tagger in ONNX, called per window.

Contract of the model: input `(batch, samples)` float32 at 16 kHz, output `(batch, classes)`
probabilities; beside `<model>.onnx` stands `<model>.json` with `{"classes": [mid, …], "licence": …}`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from v2a_data.errors import MissingToolError
from v2a_data.files import sha256_file
from v2a_data.schema import WINDOW_S
from v2a_data.scorers.base import Field, ModelRef, Needs, VideoTap, WindowScores, model_folder

_RATE_HZ = 16000
_MUSIC = "/m/04rlf"
_BATCH = 16


class AudioTags:
    """The label's classes with their descendants; music without the label's own branch."""

    @dataclass(frozen=True)
    class Config:
        """`model` names `<model>.onnx` in the models folder, or is a path to an .onnx file.

        `classes` are AudioSet ids of all labels that have none of their own in `labels`.
        """

        model: str
        sha256: str | None = None
        classes: tuple[str, ...] = ()
        labels: dict[str, tuple[str, ...]] = field(default_factory=dict)

    name: ClassVar[str] = "audio_tags"
    version: ClassVar[int] = 1
    licence: ClassVar[str] = "Apache-2.0 (own code); the model's own licence applies to it"
    uses_model: ClassVar[bool] = True
    writes: ClassVar[tuple[Field, ...]] = (
        Field("heard", "0..1", "highest probability among the label's classes and their descendants"),
        Field("music", "0..1", "highest probability in the music branch, the label's own branch left out"),
    )

    def __init__(self, config: Config) -> None:
        self.config = config
        self._session: Any = None
        self._classes: list[str] = []

    @property
    def needs(self) -> Needs:
        return Needs(sound="mono16k")

    @cached_property
    def model(self) -> ModelRef | None:
        path = self._path()
        sha256 = self.config.sha256 or (sha256_file(path) if path.is_file() else None)
        return ModelRef(self.config.model, sha256, self._about().get("licence", "see the model's card"))

    def _path(self) -> Path:
        if self.config.model.endswith(".onnx"):
            return Path(self.config.model).expanduser()
        return model_folder() / f"{self.config.model}.onnx"

    def _about(self) -> dict[str, Any]:
        beside = self._path().with_suffix(".json")
        return dict(json.loads(beside.read_text(encoding="utf-8"))) if beside.is_file() else {}

    def open(self, device: str) -> None:
        import onnxruntime

        path = self._path()
        hint = "put it there (with its class list as .json), or curate with --recipe keep_all"
        if not path.is_file():
            raise MissingToolError(f"audio tagger {path} does not exist", hint=hint)
        if self.config.sha256 and sha256_file(path) != self.config.sha256:
            raise MissingToolError(f"{path} is not the model of the recipe: its sha256 differs")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no base class
            raise MissingToolError(f"{path} is not an ONNX model: {error}", hint=hint) from None
        self._classes = list(self._about().get("classes", []))
        outputs = self._session.get_outputs()[0].shape[-1]
        if not self._classes or (isinstance(outputs, int) and outputs != len(self._classes)):
            raise MissingToolError(
                f"{path.with_suffix('.json')}: {len(self._classes)} classes for {outputs} outputs", hint=hint
            )

    def score(self, taps: Sequence[VideoTap]) -> list[WindowScores]:
        return [self._score(tap) for tap in taps]

    def _score(self, tap: VideoTap) -> WindowScores:
        own, music = self._columns(tap.label)
        windows = len(tap.window_start_s)
        heard, played = np.full(windows, np.nan, np.float32), np.full(windows, np.nan, np.float32)
        chances, measured = self._chances(tap)
        if own:
            heard[measured] = chances[:, own].max(axis=1)
        if music:
            played[measured] = chances[:, music].max(axis=1)
        return WindowScores({"heard": heard, "music": played}, np.full(windows, np.nan))

    def _chances(self, tap: VideoTap) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities `(measured, classes)`, and the indices of the windows that have sound."""
        size = round(WINDOW_S * _RATE_HZ)
        sounds = {i: tap.window_sound(i)[0] for i in range(len(tap.window_start_s))}
        measured = [i for i, sound in sounds.items() if len(sound)]
        name = self._session.get_inputs()[0].name
        parts = []
        for first in range(0, len(measured), _BATCH):
            batch = [np.pad(sounds[i], (0, size - len(sounds[i]))) for i in measured[first : first + _BATCH]]
            parts.append(self._session.run(None, {name: np.stack(batch).astype(np.float32)})[0])
        return np.concatenate(parts) if parts else np.zeros((0, len(self._classes))), np.asarray(measured, int)

    def _columns(self, label: str) -> tuple[list[int], list[int]]:
        """Columns of the model that are the label (none without a class), and those that are other music."""
        from v2a_data.sources.label_tables import ancestors, descendants

        classes = self.config.labels.get(label) or self.config.classes
        own = {mid for parent in classes for mid in descendants(parent)}
        branch = own | {mid for parent in classes for mid in ancestors(parent)}
        music = set(descendants(_MUSIC)) - branch
        place = {mid: i for i, mid in enumerate(self._classes)}
        return sorted(place[m] for m in own & place.keys()), sorted(place[m] for m in music & place.keys())
