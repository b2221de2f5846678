"""The batches of all ranks as one: what codebooks need so that N ranks learn what one rank on all the data would.

Without `torch.distributed`, or with one rank, everything here gives its input back.
"""

import torch
import torch.distributed as dist
from torch import Tensor


def several() -> bool:
    """True where more than one rank trains."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def summed(values: Tensor) -> Tensor:
    """`values` added up over the ranks, in place."""
    if several():
        dist.all_reduce(values)
    return values


def agreed(values: Tensor) -> Tensor:
    """The first rank's `values`, in place: what was drawn must be the same everywhere."""
    # A sum with nothing of the others, as torch.compile breaks its graph at a broadcast.
    if several() and dist.get_rank() > 0:
        values.zero_()
    return summed(values)


def span(count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where this rank's `count` rows begin among the rows of all ranks, and how many there are: int64 scalars.

    They stay on the device, so that nothing waits for it.
    """
    if not several():
        return torch.zeros((), dtype=torch.int64, device=device), torch.full((), count, device=device)
    rank = dist.get_rank()
    counts = torch.zeros(dist.get_world_size(), dtype=torch.int64, device=device)
    counts[rank] = count
    dist.all_reduce(counts)
    return counts[:rank].sum(), counts.sum()


def place(count: int) -> tuple[int, int]:
    """The same on the host, where every rank is known to have as many."""
    if not several():
        return 0, count
    return dist.get_rank() * count, dist.get_world_size() * count


def rows(flat: Tensor, places: Tensor, first: Tensor) -> Tensor:
    """Rows `places` (k,) of all ranks' rows, of which `flat` (n, dim) are those from `first` on: `(k, dim)`."""
    if not several():
        return flat[places]
    here = places - first
    mine = (here >= 0) & (here < len(flat))
    return summed(torch.where(mine[:, None], flat[here.clamp(0, len(flat) - 1)], 0.0))
