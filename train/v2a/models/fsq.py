"""Finite scalar quantization (Mentzer et al. 2023, arXiv:2309.15505): rounding to a fixed grid, no codebook.

It cannot collapse and needs neither losses nor averages; the two linear maps around it are trained by the
reconstruction alone.
"""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from v2a.models import joined
from v2a.models.nearest import counted, perplexity
from v2a.models.quantizer import Quantized, Usage, normalised

# The outermost levels lie so far inside what tanh can reach.
_EDGE = 1e-3


class Fsq(nn.Module):
    """Maps each vector of size `dim` to one of `prod(levels)` grid points and back to a vector of size `dim`."""

    def __init__(self, levels: Sequence[int], dim: int) -> None:
        super().__init__()
        if not levels or min(levels) < 2:
            raise ValueError(f"levels: at least one number, each 2 or more, got {list(levels)}")
        self.size = prod(levels)
        self.inwards = nn.Linear(dim, len(levels))
        self.outwards = nn.Linear(len(levels), dim)
        self.usage = Usage(self.size)
        self.levels: Tensor
        self.basis: Tensor
        basis = [prod(levels[:i]) for i in range(len(levels))]
        self.register_buffer("levels", torch.tensor(list(levels)), persistent=False)
        self.register_buffer("basis", torch.tensor(basis), persistent=False)

    def forward(self, x: Tensor) -> Quantized:
        """`(B, dim, T, h, w)` → codes `(B, T, h, w)` and values of the input's shape."""
        # bf16 under autocast would round across the borders of the grid.
        with torch.autocast(x.device.type, enabled=False):
            bounded = self.bounded(self.inwards(normalised(x)))
            grid = bounded + (bounded.round() - bounded).detach()
            values = self._values(grid).movedim(-1, 1)
        codes = self._codes(grid.detach())
        counts = counted(codes, self.size)
        if self.training:
            self.usage.add(joined.summed(counts))
        nothing = values.new_zeros(())
        return Quantized(codes, values, nothing, nothing, perplexity(counts))

    def lookup(self, codes: Tensor) -> Tensor:
        """Codes `(B, T, h, w)` → values `(B, dim, T, h, w)`."""
        steps = codes[..., None] // self.basis % self.levels
        return self._values((steps - self.levels // 2).float()).movedim(-1, 1)

    def bounded(self, z: Tensor) -> Tensor:
        """Each channel between the ends of its levels: rounding it gives −⌊L/2⌋ … ⌈L/2⌉ − 1.

        The shift of even levels is the inverse of the tanh, so that 0 stays between two of them; the paper's
        listing takes the tangent there.
        """
        half = (self.levels - 1) * (1 + _EDGE) / 2
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0)
        return torch.tanh(z + torch.atanh(offset / half)) * half - offset

    def _codes(self, grid: Tensor) -> Tensor:
        steps = grid.round().long() + self.levels // 2
        return (steps * self.basis).sum(dim=-1)

    def _values(self, grid: Tensor) -> Tensor:
        """Grid points scaled to −1..1, mapped to vectors."""
        return self.outwards(grid / (self.levels // 2))
