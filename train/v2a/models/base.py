"""What a model is: a video encoder that gives codes, or a sound decoder that reads them.

Both are modules; all state that training changes is in parameters and buffers.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from v2a.models.quantizer import Quantized

Stride = tuple[int, int, int]


@dataclass(frozen=True)
class Batch:
    """Crops on the device: `video` (B, C, T, h, w) float in 0..1, `sound` (B, samples) float in −1..1."""

    video: Tensor
    sound: Tensor


@dataclass(frozen=True)
class Loss:
    """The loss to minimise and figures to show beside it, left on the device: reading one waits for it."""

    total: Tensor
    parts: dict[str, Tensor]


@dataclass(frozen=True)
class CodeShape:
    """What a decoder reads and writes: codes `(frames, height, width)` of `dim` values per window,
    and the audio samples of one latent frame."""

    frames: int
    height: int
    width: int
    dim: int
    samples_per_frame: int
    rate_hz: int

    @property
    def per_frame(self) -> int:
        return self.height * self.width * self.dim

    @property
    def samples(self) -> int:
        return self.frames * self.samples_per_frame


class VideoEncoder(nn.Module, ABC):
    """Video to discrete codes. Built from its `Config`, which has `grey`."""

    name: ClassVar[str]
    source: ClassVar[str]
    licence: ClassVar[str]
    Config: ClassVar[type[Any]]

    @property
    @abstractmethod
    def stride(self) -> Stride:
        """How many input frames, rows and columns stand behind one code."""

    @property
    @abstractmethod
    def reach(self) -> int:
        """How many frames on either side of its own a code depends on."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Values per code."""

    @property
    @abstractmethod
    def grey(self) -> bool:
        """Whether its pictures have one channel of luma (C = 1) instead of three of RGB (C = 3)."""

    @property
    @abstractmethod
    def codes(self) -> int:
        """Size of the codebook."""

    @abstractmethod
    def encode(self, video: Tensor) -> Quantized:
        """`(B, C, T, h, w)` in 0..1 → codes `(B, ceil(T / st), ceil(h / sh), ceil(w / sw))` and their values."""

    @abstractmethod
    def lookup(self, codes: Tensor) -> Tensor:
        """Codes `(B, T, h, w)` → values `(B, dim, T, h, w)`."""

    @abstractmethod
    def decode(self, values: Tensor, frames: int, height: int, width: int) -> Tensor:
        """Values `(B, dim, T, h, w)` → video `(B, C, frames, height, width)` in 0..1."""

    @abstractmethod
    def loss(self, batch: Batch) -> Loss:
        """The loss of one batch."""

    @abstractmethod
    def epoch_figures(self) -> dict[str, float]:
        """`codes_used` and `epoch_perplexity` over all ranks since the last call, which starts them again."""

    @abstractmethod
    def complaint(self, parts: dict[str, float]) -> str | None:
        """What to say loudly when training went wrong in the way this model does, from its last figures."""

    @abstractmethod
    def activation_bytes(self, batch: int, frames: int, height: int, width: int) -> int:
        """About what the activations of one training step take."""


class SoundDecoder(nn.Module, ABC):
    """Values of codes to sound. Built from its `Config`, which has a `form`, and a `CodeShape`."""

    name: ClassVar[str]
    source: ClassVar[str]
    licence: ClassVar[str]
    Config: ClassVar[type[Any]]
    shape: CodeShape

    @classmethod
    @abstractmethod
    def parameters_of(cls, config: Any, shape: CodeShape) -> int:
        """Number of parameters, without building anything."""

    @classmethod
    @abstractmethod
    def activation_bytes(cls, config: Any, shape: CodeShape, batch: int) -> int:
        """About what one training step keeps beside the parameters."""

    @property
    @abstractmethod
    def whole_windows(self) -> bool:
        """True where it takes windows of `shape.frames` only; shorter ones are padded."""

    @abstractmethod
    def loss(self, values: Tensor, sound: Tensor) -> Loss:
        """`values` (B, dim, T, h, w) against `sound` (B, samples)."""

    @abstractmethod
    def generate(self, values: Tensor) -> Tensor:
        """Sound `(B, T · samples_per_frame)` for values `(B, dim, T, h, w)`."""


def count_parameters(module: torch.nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
