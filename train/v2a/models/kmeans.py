"""Lloyd's k-means over the vectors of all ranks."""

import torch
from torch import Tensor

from v2a.models import joined
from v2a.models.nearest import counted, nearest


@torch.no_grad()
def kmeans(flat: Tensor, centres: Tensor, iterations: int) -> Tensor:
    """`centres` (codes, dim) moved to the means of the vectors of `flat` (n, dim) nearest to them, so many times.

    A centre that no vector is nearest to stays where it is. The same on every rank.
    """
    for _ in range(iterations):
        codes = nearest(flat, centres)
        counts = joined.summed(counted(codes, len(centres)))
        sums = joined.summed(torch.zeros_like(centres).index_add_(0, codes, flat))
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], centres)
    return centres
