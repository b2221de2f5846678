"""Vector quantizer with a codebook learned by gradient (seed paper 000) or by moving averages."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_TILE = 16384


@dataclass(frozen=True)
class Quantized:
    """`codes` like the input without its channels, int64; `values` with the straight-through gradient;
    the two losses of van den Oord et al. 2017, unweighted; `perplexity` of this batch's codes."""

    codes: Tensor
    values: Tensor
    codebook_loss: Tensor
    commitment_loss: Tensor
    perplexity: Tensor


class Quantizer(nn.Module):
    """Maps each vector to the nearest of `codes` vectors of size `dim`.

    Inputs are normalised over their channels: plain forms collapse to one code easily. The codebook
    starts from vectors of the first training batch; that it has is a buffer, so a resumed run keeps its codes.
    """

    def __init__(
        self, codes: int, dim: int, update: Literal["gradient", "ema"], decay: float = 0.99, revive_below: float = 0.0
    ) -> None:
        super().__init__()
        self.update = update
        self.decay = decay
        self.revive_below = revive_below
        book = torch.randn(codes, dim)
        self.book = nn.Parameter(book, requires_grad=update == "gradient")
        self.book_started: Tensor
        self.counts: Tensor
        self.sums: Tensor
        self.register_buffer("book_started", torch.zeros((), dtype=torch.bool))
        self.register_buffer("counts", torch.ones(codes))
        self.register_buffer("sums", book.clone())

    def forward(self, x: Tensor) -> Quantized:
        """`(B, dim, T, h, w)` → codes `(B, T, h, w)` and values of the input's shape."""
        vectors = F.layer_norm(x.movedim(1, -1).float(), (x.shape[1],))
        flat = vectors.reshape(-1, vectors.shape[-1])
        if self.training and not self.book_started:
            self._start(flat)
        codes = self.nearest(flat)
        chosen = F.embedding(codes, self.book)
        codebook_loss, commitment_loss = F.mse_loss(chosen, flat.detach()), F.mse_loss(flat, chosen.detach())
        if self.training:
            self._average(flat.detach(), codes)
        values = (flat + (chosen - flat).detach()).reshape(vectors.shape).movedim(-1, 1)
        return Quantized(
            codes.reshape(vectors.shape[:-1]), values, codebook_loss, commitment_loss, perplexity(codes, len(self.book))
        )

    @torch.no_grad()
    def nearest(self, flat: Tensor) -> Tensor:
        """Index of the nearest code for `(n, dim)`, in tiles so that no n x codes table is held."""
        half_norms = self.book.square().sum(dim=1) / 2
        tiles = [(half_norms - tile @ self.book.T).argmin(dim=1) for tile in flat.split(_TILE)]
        return torch.cat(tiles)

    def lookup(self, codes: Tensor) -> Tensor:
        """Codes `(B, T, h, w)` → values `(B, dim, T, h, w)`."""
        return F.embedding(codes, self.book).movedim(-1, 1)

    @torch.no_grad()
    def _start(self, flat: Tensor) -> None:
        """Codes from random vectors of this batch, a little noise where there are too few."""
        # Drawn on the CPU, so that its one generator decides on every device and is what a checkpoint keeps.
        enough = len(flat) >= len(self.book)
        picks = torch.randperm(len(flat))[: len(self.book)] if enough else torch.randint(len(flat), (len(self.book),))
        start = flat[picks.to(flat.device)] + 0.01 * torch.randn(self.book.shape).to(flat.device)
        self.book.copy_(start)
        self.sums.copy_(start)
        self.counts.fill_(1.0)
        self.book_started.fill_(True)

    @torch.no_grad()
    def _average(self, flat: Tensor, codes: Tensor) -> None:
        """Moving averages of use and content; they set the codes in the `ema` form only."""
        counts = torch.bincount(codes, minlength=len(self.book)).to(flat.dtype)
        self.counts.lerp_(counts, 1 - self.decay)
        if self.update == "ema":
            sums = torch.zeros_like(self.sums).index_add_(0, codes, flat)
            self.sums.lerp_(sums, 1 - self.decay)
            self.book.copy_(self.sums / self.counts.clamp_min(1e-3)[:, None])
        if self.revive_below > 0:
            self._revive(flat)

    @torch.no_grad()
    def _revive(self, flat: Tensor) -> None:
        """Codes that are hardly used start again from vectors of this batch, their averages with them."""
        dead = torch.nonzero(self.counts < self.revive_below)[:, 0]
        if len(dead):
            picks = flat[torch.randint(len(flat), (len(dead),)).to(flat.device)]
            self.book[dead] = picks
            self.counts[dead] = fresh = torch.full((len(dead),), 2 * self.revive_below, device=flat.device)
            self.sums[dead] = picks * fresh[:, None]


@torch.no_grad()
def perplexity(codes: Tensor, size: int) -> Tensor:
    """exp of the entropy of the codes in use: 1 when all are the same, `size` when all are used alike."""
    share = torch.bincount(codes.reshape(-1), minlength=size).float()
    share = share / share.sum()
    return torch.exp(-(share * torch.log(share.clamp_min(1e-10))).sum())
