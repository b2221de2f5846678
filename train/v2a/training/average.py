"""Exponential moving average of a module's weights, which is what is validated and generated with."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """`shadow += (weights - shadow) · (1 - decay)` after every step; younger runs average over less.

    Only parameters that are trained are averaged; buffers are the module's own.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self._weights = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.shadow = {name: p.detach().clone() for name, p in self._weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """After optimizer step `step` (from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.shadow.values()), list(self._weights.values()), 1 - decay)

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take up where a checkpoint was."""
        for name, value in tensors.items():
            self.shadow[name].copy_(value)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, the module has the averaged weights."""
        kept = {name: p.detach().clone() for name, p in self._weights.items()}
        self._put(self.shadow)
        try:
            yield
        finally:
            self._put(kept)

    @torch.no_grad()
    def _put(self, tensors: dict[str, Tensor]) -> None:
        for name, value in tensors.items():
            self._weights[name].copy_(value)
