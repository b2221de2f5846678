"""Models of your own in a folder, opened by path: ONNX files beside an `about.json`, for picture and sound together.

`about.json` says what the files take and whose they are:

    {"name": "…", "licence": "Apache-2.0", "sound": {"rate_hz": 16000},
     "picture": {"frames": 8, "px": 224, "mean": [0.48, 0.46, 0.41], "spread": [0.27, 0.26, 0.28]}}

`frames` are those of one window of 2 s, evenly inside it; a picture is its middle square at `px`, its channels 0..1
less `mean`, divided by `spread`. Sound is the mono waveform of the window at `rate_hz`: a front end such as a
mel spectrogram is part of the export. All tensors are float32, their first axis is the batch.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from v2a_data.errors import MissingToolError, UsageError
from v2a_data.files import sha256_file
from v2a_data.recipe import build
from v2a_data.schema import WINDOW_S
from v2a_data.scorers.base import ModelRef, Needs, VideoTap

ABOUT = "about.json"
# Licences that ask for nothing but their text. Others have to be accepted by name.
_FREE = ("Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CC-BY-4.0")
_TAP_RATE_HZ = 16000


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Frames per window, side in px, mean and spread of the channels."""

    frames: int
    px: int
    mean: tuple[float, float, float]
    spread: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Sounds:
    """Samples per second of the waveform."""

    rate_hz: int


@dataclass(frozen=True, kw_only=True)
class About:
    """What stands in `about.json`."""

    name: str
    licence: str
    picture: Pictures
    sound: Sounds


A = TypeVar("A", bound=About)


class Folder(Generic[A]):
    """A folder of models. `scorer` names the section of the recipe in messages, `files` the ONNX files."""

    def __init__(
        self, scorer: str, path: str, accepted: str | None, sha256: str | None, kind: type[A], files: tuple[str, ...]
    ) -> None:
        self.scorer, self.path, self.kind, self.files = scorer, Path(path).expanduser(), kind, files
        self.accepted, self.sha256 = accepted, sha256

    @cached_property
    def about(self) -> A:
        """Raises `MissingToolError` where a file is missing, `UsageError` for an about.json that says otherwise."""
        missing = [name for name in (ABOUT, *self.files) if not (self.path / name).is_file()]
        if missing:
            raise MissingToolError(
                f"scorers.{self.scorer}.path: {self.path} has no {missing[0]}",
                hint=f"export the model as {', '.join(self.files)} with {ABOUT} beside, or take the scorer out",
            )
        try:
            table = json.loads((self.path / ABOUT).read_text(encoding="utf-8"))
        except ValueError as error:
            raise UsageError(f"{self.path / ABOUT} is no JSON: {error}") from None
        about = build(self.kind, table, str(self.path / ABOUT))
        if min(about.picture.frames, about.picture.px, about.sound.rate_hz) < 1 or min(about.picture.spread) <= 0:
            raise UsageError(f"{self.path / ABOUT}: frames, px, rate_hz and spread are above 0")
        return about

    @cached_property
    def ref(self) -> ModelRef:
        """The model: its hash is that of what `sha256sum about.json …` prints for the files in their order."""
        lines = [f"{sha256_file(self.path / name)}  {name}\n" for name in (ABOUT, *self.files)] if self.about else []
        return ModelRef(self.about.name, hashlib.sha256("".join(lines).encode()).hexdigest(), self.about.licence)

    @property
    def needs(self) -> Needs:
        picture, rate_hz = self.about.picture, self.about.sound.rate_hz
        return Needs(picture.frames, picture.px, sound="mono16k" if rate_hz == _TAP_RATE_HZ else "source")

    def open(self) -> list[Any]:
        """A session for each file, on one thread.

        Raises `UsageError` where the licence is not accepted, `MissingToolError` for other files than the recipe's.
        """
        import onnxruntime

        licence = self.about.licence
        if licence not in (*_FREE, self.accepted):
            raise UsageError(
                f"scorers.{self.scorer}: {self.about.name} comes under {licence!r}",
                hint=f'read it, then write accept_licence = "{licence}" into [scorers.{self.scorer}]',
            )
        if self.sha256 not in (None, self.ref.sha256):
            raise MissingToolError(f"{self.path} is not the model of the recipe: its sha256 differs")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            return [
                onnxruntime.InferenceSession(str(self.path / name), options, providers=["CPUExecutionProvider"])
                for name in self.files
            ]
        except Exception as error:  # onnxruntime's errors share no base class
            raise MissingToolError(f"{self.path} holds no ONNX model: {error}", hint="export it again") from None

    def inputs(self, tap: VideoTap, first: int, windows: int = 1) -> tuple[np.ndarray, np.ndarray] | None:
        """Pictures `(frames, 3, px, px)` and sound `(samples,)` of some windows in a row; null where one is missing."""
        assert tap.frames is not None and tap.frame_s is not None
        some = range(first, first + windows)
        sounds = [tap.window_sound(i) for i in some]
        if np.isnan(tap.frame_s[first : first + windows]).any() or any(sound.shape[1] == 0 for sound in sounds):
            return None
        shape = tap.frames.shape
        pictures = tap.frames[first : first + windows].reshape(-1, *shape[2:])
        return self._pixels(pictures), self._sound(np.concatenate(sounds, axis=1), tap.rate_hz, windows)

    def _pixels(self, pictures: np.ndarray) -> np.ndarray:
        picture = self.about.picture
        top, left = (pictures.shape[1] - picture.px) // 2, (pictures.shape[2] - picture.px) // 2
        middle = pictures[:, top : top + picture.px, left : left + picture.px].astype(np.float32) / 255
        scaled = (middle - np.asarray(picture.mean, np.float32)) / np.asarray(picture.spread, np.float32)
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))

    def _sound(self, sound: np.ndarray, rate_hz: int, windows: int) -> np.ndarray:
        from v2a_data.media.sound import mix_to, resample

        wanted = self.about.sound.rate_hz
        size = round(windows * WINDOW_S * wanted)
        row = resample(mix_to(1, sound), rate_hz, wanted)[0][:size]
        return np.pad(row, (0, size - len(row))).astype(np.float32)
