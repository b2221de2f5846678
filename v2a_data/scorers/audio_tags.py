"""Whether the label is heard: an AudioSet tagger in ONNX, called per window.

Contract of a tagger of the family "waveform": input `(batch, samples)` float32 at 16 kHz, output
`(batch, classes)` probabilities; beside `<model>.onnx` stands `<model>.json` with
`{"classes": [mid, …], "licence": …}`. Other families have their adapter in `scorers/taggers/`.
"""

import json
from collections.abc import Iterator, Sequence, Set
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
from v2a_data.scorers.base import Field, ModelRef, Needs, VideoTap, WindowScores, batches, model_folder
from v2a_data.scorers.taggers import Family, family

_RATE_HZ = 16000
_MUSIC, _SPEECH = "/m/04rlf", "/m/09x0r"
_BATCH = 16


@dataclass(frozen=True)
class _Files:
    """A tagger on disk: the model, its list of classes, and how it is spoken to."""

    model: Path
    list: Path
    family: Family


class AudioTags:
    """The label's classes with their descendants; music and speech without the label's own branch.

    What lies above or below a label in AudioSet's ontology never counts against it: neither Music against Drum, nor
    Male speech against Speech. Where nothing of a branch is left, `music` or `talk` is 0; it is null where the model
    knows no class of that branch. `talk` tells a voice-over from a label that a speech detector takes for a
    voice: `voice <= 0.3 or talk <= 0.2`. `other` is the loudest of everything else: where it is surer than
    `heard`, something else is what is mostly heard.
    """

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
    version: ClassVar[int] = 3
    licence: ClassVar[str] = "Apache-2.0 (own code); the model's own licence applies to it"
    uses_model: ClassVar[bool] = True
    writes: ClassVar[tuple[Field, ...]] = (
        Field("heard", "0..1", "highest probability among the label's classes and their descendants"),
        Field("music", "0..1", "highest probability in the music branch, the label's own branch left out"),
        Field("talk", "0..1", "highest probability in the speech branch, the label's own branch left out"),
        Field(
            "other", "0..1", "highest probability of all else: no music, no speech, nothing above or below the label"
        ),
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
        return [self._score(tap, *found) for tap, found in zip(taps, self.chances(taps), strict=True)]

    def _score(self, tap: VideoTap, chances: np.ndarray, measured: np.ndarray) -> WindowScores:
        windows = len(tap.window_start_s)
        fields = {field.name: np.full(windows, np.nan, np.float32) for field in self.writes}
        for name, columns in self._columns(tap.label).items():
            if columns is not None:
                fields[name][measured] = chances[:, columns].max(axis=1, initial=0.0)
        return WindowScores(fields, np.full(windows, np.nan))

    def chances(self, taps: Sequence[VideoTap]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Per video the probabilities `(measured, classes)`, and the indices of the windows that have sound."""
        rows: list[list[np.ndarray]] = [[] for _ in taps]
        measured: list[list[int]] = [[] for _ in taps]
        for batch in batches(self._windows(taps), self._batch):
            found = self._run(np.stack([sound for _, _, sound in batch]))
            for (owner, index, _), row in zip(batch, found, strict=True):
                rows[owner].append(row)
                measured[owner].append(index)
        return [
            (np.reshape(some, (-1, len(self._classes))), np.asarray(indices, int))
            for some, indices in zip(rows, measured, strict=True)
        ]

    def _windows(self, taps: Sequence[VideoTap]) -> Iterator[tuple[int, int, np.ndarray]]:
        """Number of the video, of the window, and its sound `(samples,)`, filled up with silence."""
        size = round(WINDOW_S * _RATE_HZ)
        for owner, tap in enumerate(taps):
            for index in range(len(tap.window_start_s)):
                sound = tap.window_sound(index)[0]
                if len(sound):
                    yield owner, index, np.pad(sound, (0, size - len(sound))).astype(np.float32)

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

    def _columns(self, label: str) -> dict[str, list[int] | None]:
        """Columns of the model per field; null where the model knows none of the field's classes."""
        from v2a_data.sources.label_tables import ancestors, descendants

        classes = self.config.labels.get(label) or self.config.classes
        own = {mid for parent in classes for mid in descendants(parent)}
        branch = own | {mid for parent in classes for mid in ancestors(parent)}
        music, speech = set(descendants(_MUSIC)), set(descendants(_SPEECH))
        return {
            "heard": self._places(own),
            "music": self._places(music, branch),
            "talk": self._places(speech, branch),
            "other": self._places(set(self._classes), branch | music | speech),
        }

    def _places(self, wanted: set[str], without: Set[str] = frozenset()) -> list[int] | None:
        """Where the model has the wanted classes, some left out; null where it has none of them at all."""
        known = {mid: i for i, mid in enumerate(self._classes) if mid in wanted}
        return sorted(i for mid, i in known.items() if mid not in without) if known else None


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
