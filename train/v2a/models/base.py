"""What the training loop asks of a model."""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Crops on the device: `video` (B, 3, T, h, w) float in 0..1, `sound` (B, samples) float in −1..1."""

    keys: tuple[str, ...]
    labels: tuple[str, ...]
    video: Tensor
    sound: Tensor


@dataclass(frozen=True)
class Loss:
    """The loss to minimise and figures to show beside it."""

    total: Tensor
    parts: dict[str, float]


class Model(Protocol):
    """A trainable model: a module with a loss; all training state is in parameters and buffers."""

    name: ClassVar[str]
    source: ClassVar[str]
    licence: ClassVar[str]
    Config: ClassVar[type[Any]]

    def loss(self, batch: Batch) -> Loss:
        """The loss of one batch."""
        ...

    def activation_bytes(self, batch: int) -> int:
        """About what the activations of one training step take."""
        ...


def count_parameters(module: torch.nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
