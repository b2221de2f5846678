"""Batches to the device, through page-locked memory that is allocated once: the host does not wait for copies."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

_SLOTS = 2


@dataclass
class _Slot:
    """Page-locked copies of one batch's arrays, and when the device has read them."""

    hosts: list[Tensor]
    read: Any = field(default_factory=torch.cuda.Event)


class Upload:
    """Arrays of always the same shapes and kinds to one device.

    A stream's arrays are views that its next batch overwrites: they are copied once, to page-locked memory, and the
    host goes on while the device reads them. Without a GPU the tensors are the arrays themselves.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._slots: list[_Slot] = []
        self._turn = 0

    def __call__(self, *arrays: np.ndarray) -> list[Tensor]:
        """The arrays on the device, in order."""
        tensors = [torch.from_numpy(array) for array in arrays]
        if self._device.type != "cuda":
            return tensors
        slot = self._slot(tensors)
        slot.read.synchronize()
        for host, tensor in zip(slot.hosts, tensors, strict=True):
            host.copy_(tensor)
        sent = [host.to(self._device, non_blocking=True) for host in slot.hosts]
        slot.read.record()
        return sent

    def _slot(self, tensors: list[Tensor]) -> _Slot:
        if not self._slots:
            locked = ([torch.empty_like(tensor).pin_memory() for tensor in tensors] for _ in range(_SLOTS))
            self._slots = [_Slot(hosts) for hosts in locked]
        self._turn = (self._turn + 1) % _SLOTS
        return self._slots[self._turn]
