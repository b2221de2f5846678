"""Random numbers that are the same compiled or not, and on every device: from the CPU's generator, which is resumed."""

import torch
from torch import Tensor


# An operation of its own, as torch.compile's own random numbers are others than those of a run that is not compiled.
@torch.library.custom_op("v2a::drawn", mutates_args=(), tags=(torch.Tag.nondeterministic_seeded,))
def drawn(like: Tensor, count: int) -> Tensor:
    """`count` numbers in 0..1, float64, on the device of `like`."""
    return torch.rand(count, dtype=torch.float64).to(like.device)


@drawn.register_fake
def _(like: Tensor, count: int) -> Tensor:
    return like.new_empty(count, dtype=torch.float64)
