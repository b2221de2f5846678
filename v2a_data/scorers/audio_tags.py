"""Whether the label is heard: an AudioSet tagger in ONNX, called per window.

Contract of a tagger of the family "waveform": input `(batch, samples)` float32 at 16 kHz, output
`(batch, classes)` probabilities; beside `<model>.onnx` stands `<model>.json` with
`{"classes": [mid, …], "licence": …}`. Other families have their adapter in `scorers/taggers/`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from v2a_data.errors import FatalError, MissingToolError, UsageError, nearest
from v2a_data.files import sha256_file
from v2a_data.models import store
from v2a_data.models.registry import MODELS
from v2a_data.schema import WINDOW_S
from v2a_data.scorers.base import Field, ModelRef, Needs, VideoTap, WindowScores, model_folder
from v2a_data.scorers.taggers import Family, family

_RATE_HZ = 16000
_MUSIC = "/m/04rlf"
_BATCH = 16


@dataclass(frozen=True)
class _Files:
    """A tagger on disk: the model, its list of classes, and how it is spoken to."""

    model: Path
    list: Path
    family: Family


class AudioTags:
    """The label's classes with their descendants; music without the label's own branch."""

    @dataclass(frozen=True)
    class Config:
        """`model` is one of `v2a-data models list`, or a path to an .onnx file, or names `<model>.onnx` in the
        models folder; `family` says how a model of your own is spoken to ("waveform" without it). `sha256` is
        checked where given.

        `classes` are AudioSet ids of all labels that have none of their own in `labels`.
        """

        model: str
        sha256: str | None = None
        family: str | None = None
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
        self._family: Family = family("waveform")
        self._classes: list[str] = []
        self._batch = _BATCH

    @property
    def needs(self) -> Needs:
        return Needs(sound="mono16k")

    @cached_property
    def model(self) -> ModelRef | None:
        name = self.config.model
        if name in MODELS:
            return ModelRef(name, self.config.sha256 or store.recorded_sha256(name), MODELS[name].licence)
        path = self._path()
        sha256 = self.config.sha256 or (sha256_file(path) if path.is_file() else None)
        beside = path.with_suffix(".json")
        about = json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
        return ModelRef(name, sha256, about.get("licence", "see the model's card"))

    def _path(self) -> Path:
        """Where a model that is not in the table lies."""
        if self.config.model.endswith(".onnx"):
            return Path(self.config.model).expanduser()
        return model_folder() / f"{self.config.model}.onnx"

    def open(self, device: str) -> None:
        import onnxruntime

        files = self._files()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            session = onnxruntime.InferenceSession(str(files.model), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no base class
            raise MissingToolError(f"{files.model} is not an ONNX model: {error}", hint=_HINT) from None
        self._session, self._family = session, files.family
        self._classes = _classes(files)
        outputs = session.get_outputs()[0].shape[-1]
        if not self._classes or (isinstance(outputs, int) and outputs != len(self._classes)):
            raise MissingToolError(f"{files.list}: {len(self._classes)} classes for {outputs} outputs", hint=_HINT)
        # An export with a fixed batch takes its windows one by one.
        self._batch = 1 if session.get_inputs()[0].shape[0] == 1 else _BATCH

    def _files(self) -> _Files:
        return self._from_store() if self.config.model in MODELS else self._local()

    def _from_store(self) -> _Files:
        row = MODELS[self.config.model]
        if row.scorer != self.name or row.family is None:
            raise UsageError(f"scorers.audio_tags.model: {row.name} cannot be used here. {row.note}")
        found = store.find(row.name)
        if self.config.sha256 not in (None, found.sha256):
            raise MissingToolError(f"{found.weights} is not the model of the recipe: its sha256 differs")
        speaks = family(row.family)
        listed = found.beside(Path(speaks.LIST).suffix or speaks.LIST)
        assert listed is not None
        return _Files(found.weights, listed, speaks)

    def _local(self) -> _Files:
        path, speaks = self._path(), family(self.config.family or "waveform")
        if not path.is_file():
            words = "" if self.config.model.endswith(".onnx") else f"; {nearest(self.config.model, list(MODELS))}"
            raise MissingToolError(f"audio tagger {path} does not exist{words}", hint=_HINT)
        if self.config.sha256 and sha256_file(path) != self.config.sha256:
            raise MissingToolError(f"{path} is not the model of the recipe: its sha256 differs")
        listed = path.with_suffix(speaks.LIST) if speaks.LIST.startswith(".") else path.with_name(speaks.LIST)
        return _Files(path, listed, speaks)

    def score(self, taps: Sequence[VideoTap]) -> list[WindowScores]:
        return [self._score(tap) for tap in taps]

    def _score(self, tap: VideoTap) -> WindowScores:
        own, music = self._columns(tap.label)
        windows = len(tap.window_start_s)
        heard, played = np.full(windows, np.nan, np.float32), np.full(windows, np.nan, np.float32)
        chances, measured = self.chances(tap)
        if own:
            heard[measured] = chances[:, own].max(axis=1)
        if music:
            played[measured] = chances[:, music].max(axis=1)
        return WindowScores({"heard": heard, "music": played}, np.full(windows, np.nan))

    def chances(self, tap: VideoTap) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities `(measured, classes)`, and the indices of the windows that have sound."""
        size = round(WINDOW_S * _RATE_HZ)
        sounds = {i: tap.window_sound(i)[0] for i in range(len(tap.window_start_s))}
        measured = [i for i, sound in sounds.items() if len(sound)]
        parts = []
        for first in range(0, len(measured), self._batch):
            batch = [np.pad(sounds[i], (0, size - len(sounds[i]))) for i in measured[first : first + self._batch]]
            parts.append(self._run(np.stack(batch).astype(np.float32)))
        return np.concatenate(parts) if parts else np.zeros((0, len(self._classes))), np.asarray(measured, int)

    def _run(self, sound: np.ndarray) -> np.ndarray:
        """Probabilities `(n, classes)` of `(n, samples)`. Raises `FatalError` where the model gives something else."""
        name = self._session.get_inputs()[0].name
        chances = np.asarray(self._session.run(None, {name: self._family.features(sound)})[0])
        if chances.shape != (len(sound), len(self._classes)) or not (chances.min() >= 0 and chances.max() <= 1):
            raise FatalError(
                f"{self.config.model} gave {chances.shape} values from {chances.min():g} to {chances.max():g} "
                f"for {len(sound)} windows and {len(self._classes)} classes: these are no probabilities"
            )
        return chances

    def _columns(self, label: str) -> tuple[list[int], list[int]]:
        """Columns of the model that are the label (none without a class), and those that are other music."""
        from v2a_data.sources.label_tables import ancestors, descendants

        classes = self.config.labels.get(label) or self.config.classes
        own = {mid for parent in classes for mid in descendants(parent)}
        branch = own | {mid for parent in classes for mid in ancestors(parent)}
        music = set(descendants(_MUSIC)) - branch
        place = {mid: i for i, mid in enumerate(self._classes)}
        return sorted(place[m] for m in own & place.keys()), sorted(place[m] for m in music & place.keys())


_HINT = (
    "name a model of `v2a-data models list`, or the path of an .onnx file with its class list beside it; "
    "or curate with --recipe keep_all"
)


def _classes(files: _Files) -> list[str]:
    """The model's classes; none where the list is missing or is no list."""
    try:
        return files.family.classes(files.list)
    except (OSError, ValueError, KeyError, TypeError):
        return []
