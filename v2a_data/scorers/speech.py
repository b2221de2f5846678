"""Speech in each window, by silero-vad's own network (the sequence form that its wheel ships)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from v2a_data.errors import MissingToolError
from v2a_data.files import sha256_file
from v2a_data.schema import WINDOW_S
from v2a_data.scorers.base import Field, ModelRef, Needs, VideoTap, WindowScores

_FILE = "data/silero_vad_16k_sequence.onnx"
_RATE_HZ = 16000
_CHUNK = 512
_CONTEXT = 64
_STATE = (1, 1, 128)
# AudioSet's Human voice, and Vocal music, which stands in another branch.
_VOICES = ("/m/09l8g", "/m/0y4f8")


class Speech:
    """Mean probability of speech, one value each 32 ms, the network's state carried along the video.

    A label that is a voice itself has nothing to be talked over by: there `voice` is 0 wherever there is sound.
    Those are the labels that AudioSet knows by name in, or above, the branches Human voice and Vocal music, and
    those that the recipe allows. To catch a second voice there, ask for `talk` (scorer audio_tags).
    """

    @dataclass(frozen=True)
    class Config:
        """`allowed` are further labels that voices belong to."""

        allowed: tuple[str, ...] = ()

    name: ClassVar[str] = "speech"
    version: ClassVar[int] = 2
    licence: ClassVar[str] = "MIT (silero-vad)"
    uses_model: ClassVar[bool] = True
    writes: ClassVar[tuple[Field, ...]] = (
        Field("voice", "0..1", "mean probability of speech in the window, 0 where the label is a voice itself"),
    )

    def __init__(self, config: Config) -> None:
        self.config = config
        self._session: Any = None

    @property
    def needs(self) -> Needs:
        return Needs(sound="mono16k")

    @cached_property
    def model(self) -> ModelRef | None:
        return ModelRef("silero-vad 16k sequence", sha256_file(_model_file()), "MIT")

    def open(self, device: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(_model_file()), options, providers=["CPUExecutionProvider"])

    def score(self, taps: Sequence[VideoTap]) -> list[WindowScores]:
        return [self._score(tap) for tap in taps]

    def _score(self, tap: VideoTap) -> WindowScores:
        windows = len(tap.window_start_s)
        values = np.full(windows, np.nan, np.float32)
        evidence = np.full(windows, np.nan)
        if tap.sound is not None and tap.sound.shape[1] >= _CHUNK:
            chances = self.chances(np.asarray(tap.sound[0]))
            centres = tap.sound_start_s + (np.arange(len(chances)) + 0.5) * _CHUNK / _RATE_HZ
            # The last piece may be filled up with silence: what lies past the end of the sound is not measured.
            stop_s = tap.sound_start_s + tap.sound.shape[1] / _RATE_HZ
            for i, start_s in enumerate(tap.window_start_s):
                inside = np.flatnonzero((centres >= start_s) & (centres < min(start_s + WINDOW_S, stop_s)))
                if len(inside):
                    values[i] = chances[inside].mean()
                    evidence[i] = centres[inside[chances[inside].argmax()]]
        if tap.label in self.config.allowed or is_voice(tap.label):
            values *= 0
        return WindowScores({"voice": values}, evidence)

    def chances(self, sound: np.ndarray) -> np.ndarray:
        """Probability of speech for each whole or last partial 32 ms of `(samples,)` at 16 kHz."""
        count = -(-len(sound) // _CHUNK)
        padded = np.zeros(_CONTEXT + count * _CHUNK, np.float32)
        padded[_CONTEXT : _CONTEXT + len(sound)] = sound
        chunks = np.lib.stride_tricks.sliding_window_view(padded, _CONTEXT + _CHUNK)[::_CHUNK]
        hidden = cell = np.zeros(_STATE, np.float32)
        parts = []
        # In blocks, so that an hour of sound is not one tensor.
        for first in range(0, count, 4096):
            block = np.ascontiguousarray(chunks[first : first + 4096])
            chance, hidden, cell = self._session.run(None, {"input": block, "h": hidden, "c": cell})
            parts.append(chance)
        return np.concatenate(parts)


def is_voice(label: str) -> bool:
    """Whether AudioSet knows a label by this name, and it is a voice or holds voices."""
    from v2a_data.sources.label_tables import ancestors, audioset_labels, find

    found = find(audioset_labels(), label)
    return found is not None and any(v in ancestors(found.id) or found.id in ancestors(v) for v in _VOICES)


def _model_file() -> Path:
    found = find_spec("silero_vad")
    if found is None or not found.submodule_search_locations:
        raise MissingToolError("the package silero-vad is not installed", hint="pip install silero-vad")
    path = Path(found.submodule_search_locations[0]) / _FILE
    if not path.is_file():
        raise MissingToolError(f"silero-vad has no {_FILE}", hint="pip install 'silero-vad>=6.2'")
    return path
