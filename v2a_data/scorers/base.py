"""What a scorer is: what it asks of the one decode, what it writes, how it is opened and run."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import numpy as np

from v2a_data.schema import WINDOW_S

T = TypeVar("T")


@dataclass(frozen=True)
class Needs:
    """What a scorer asks of the one decode.

    Frames are RGB uint8 with the given shorter side; `luma` is (width, height, per second); sound is
    float32 at the source's rate with all channels, or 16 kHz mono.
    """

    frames_per_window: int = 0
    frame_px: int = 0
    luma: tuple[int, int, float] | None = None
    sound: Literal["none", "source", "mono16k"] = "none"


@dataclass(frozen=True)
class Field:
    """A score: its name in rules, its unit, what it says."""

    name: str
    unit: str
    meaning: str


@dataclass(frozen=True)
class ModelRef:
    """A model by name, hash and licence; it is part of what makes two scores comparable."""

    name: str
    sha256: str | None
    licence: str


@dataclass(frozen=True)
class Prompts:
    """What stands for a label in words, and what does not."""

    on: tuple[str, ...]
    off: tuple[str, ...] = ()


@dataclass(frozen=True)
class VideoTap:
    """What one scorer gets of one video.

    `window_start_s` (n,); `frames` (n, k, h, w, 3) uint8 with `frame_s` (n, k); `luma` (m, h, w)
    uint8 with `luma_s` (m,); `sound` (channels, samples) float32 at `rate_hz` from `sound_start_s`.
    `title` is what its site calls the video: anyone's words, null where not known.
    A window in which the source has no frame has black `frames` at NaN s; its score has to be NaN.
    """

    video_id: str
    label: str
    window_start_s: np.ndarray
    frames: np.ndarray | None = None
    frame_s: np.ndarray | None = None
    luma: np.ndarray | None = None
    luma_s: np.ndarray | None = None
    sound: np.ndarray | None = None
    rate_hz: int = 0
    sound_start_s: float = 0.0
    title: str | None = None

    def window_sound(self, index: int) -> np.ndarray:
        """`(channels, samples)` of one window; shorter, or empty, where the sound ends earlier."""
        if self.sound is None:
            return np.zeros((1, 0), np.float32)
        first = round((self.window_start_s[index] - self.sound_start_s) * self.rate_hz)
        return self.sound[:, first : first + round(WINDOW_S * self.rate_hz)]


@dataclass(frozen=True)
class WindowScores:
    """Scores of one video: per field `(n,)` float32, NaN where not measured; `evidence_s` the time
    that decided, NaN where there is none."""

    fields: dict[str, np.ndarray]
    evidence_s: np.ndarray


class Scorer(Protocol):
    """Measures windows. `version` goes up whenever the same input would give other numbers."""

    name: ClassVar[str]
    version: ClassVar[int]
    licence: ClassVar[str]
    writes: ClassVar[tuple[Field, ...]]
    uses_model: ClassVar[bool]
    Config: ClassVar[type[Any]]

    def __init__(self, config: Any) -> None: ...

    @property
    def needs(self) -> Needs: ...

    @property
    def model(self) -> ModelRef | None: ...

    def open(self, device: str) -> None:
        """Load what is needed, once per worker. `device` is cpu, cuda or auto.

        Raises `MissingToolError` where a model is not here.
        """
        ...

    def score(self, taps: Sequence[VideoTap]) -> list[WindowScores]:
        """Scores of each video, in order."""
        ...


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items in order, the last one shorter: models take full batches across videos."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


class WithoutModel(ABC):
    """The frame of a scorer that measures a tap by itself: no settings, no model, nothing to open."""

    @dataclass(frozen=True)
    class Config:
        """Nothing to set."""

    licence: ClassVar[str] = "Apache-2.0 (own code)"
    uses_model: ClassVar[bool] = False

    def __init__(self, config: Any) -> None:
        self.config = config

    @property
    def model(self) -> ModelRef | None:
        return None

    def open(self, device: str) -> None:  # noqa: B027 (there is nothing to load)
        """Nothing to load."""

    def score(self, taps: Sequence[VideoTap]) -> list[WindowScores]:
        """Scores of each video, in order."""
        return [self._score(tap) for tap in taps]

    @abstractmethod
    def _score(self, tap: VideoTap) -> WindowScores:
        """Scores of one video."""


def model_folder() -> Path:
    """Where models lie that are named in recipes: `$V2A_MODELS`, else the user's cache."""
    import os

    from platformdirs import user_cache_path

    return Path(os.environ.get("V2A_MODELS") or user_cache_path("v2a") / "models")
