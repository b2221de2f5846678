"""Nearest codes and how evenly codes are used."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor

# Distances held at once, fp32: what a core's cache keeps (1 MB), and a share of a GPU's memory (256 MB).
_CPU_TILE, _GPU_TILE = 2**18, 2**26


@torch.no_grad()
def nearest(flat: Tensor, book: Tensor) -> Tensor:
    """Index (n,) of the nearest row of `book` (codes, dim) for each row of `flat` (n, dim), both fp32.

    In fp32 whatever autocast says: bf16 distances choose another code for about one vector in a hundred.
    """
    return _nearest(flat, book)  # type: ignore[no-any-return]


# An operation of its own: torch.compile would break its graph at the precision of matrix products, which is a
# setting of the process.
@torch.library.custom_op("v2a::nearest", mutates_args=())
def _nearest(flat: Tensor, book: Tensor) -> Tensor:
    """In tiles, so that no n x codes table is held."""
    with _full_precision(flat.device):
        # argmin of |e|² / 2 − x·e, as one product: a last column of ones meets a last row of −|e|² / 2.
        table = torch.cat([book.T, -book.square().sum(dim=1)[None] / 2])
        size = max(1, (_CPU_TILE if flat.device.type == "cpu" else _GPU_TILE) // len(book))
        tiles = [(F.pad(tile, (0, 1), value=1.0) @ table).argmax(dim=1) for tile in flat.split(size)]
    return torch.cat(tiles)


@_nearest.register_fake
def _(flat: Tensor, book: Tensor) -> Tensor:
    return flat.new_empty(len(flat), dtype=torch.int64)


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """Matrix products in fp32: neither autocast nor TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def counted(codes: Tensor, size: int) -> Tensor:
    """How often each of `size` codes stands in `codes`: int64 (size,)."""
    # `bincount` would make the host wait for a GPU.
    flat = codes.reshape(-1)
    return torch.zeros(size, dtype=torch.int64, device=codes.device).scatter_add_(0, flat, torch.ones_like(flat))


@torch.no_grad()
def perplexity(counts: Tensor) -> Tensor:
    """exp of the entropy of use, from counts: 1 when all are the same code, their number when all are used alike."""
    share = counts / counts.sum().clamp_min(1)
    return torch.exp(-torch.xlogy(share, share).sum())
