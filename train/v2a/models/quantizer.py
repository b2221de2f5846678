"""Vector quantizer with a codebook learned by gradient (seed paper 000) or by moving averages."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2a.models import joined
from v2a.models.drawn import drawn
from v2a.models.kmeans import kmeans
from v2a.models.nearest import counted, nearest, perplexity

_KMEANS_ITERATIONS = 10


@dataclass(frozen=True)
class Quantized:
    """`codes` like the input without its channels, int64; `values` with the straight-through gradient;
    the two losses of van den Oord et al. 2017, unweighted; `perplexity` of this batch's codes
    (in training: of all ranks' batches)."""

    codes: Tensor
    values: Tensor
    codebook_loss: Tensor
    commitment_loss: Tensor
    perplexity: Tensor


class Usage(nn.Module):
    """How often each code was chosen since the figures were last taken; in a buffer, so that a resumed run goes on.

    The perplexity of a batch depends on its size, that of an epoch does not.
    """

    def __init__(self, codes: int) -> None:
        super().__init__()
        self.used: Tensor
        self.register_buffer("used", torch.zeros(codes, dtype=torch.int64))
        self.register_load_state_dict_pre_hook(_without_usage)

    def add(self, counts: Tensor) -> None:
        """Counts of one training batch, of all ranks."""
        self.used += counts

    def take(self) -> dict[str, float]:
        """Different codes used and their perplexity since the last call, the same on every rank; starts again."""
        figures = {"codes_used": float((self.used > 0).sum()), "epoch_perplexity": float(perplexity(self.used))}
        self.used.zero_()
        return figures


def _without_usage(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Checkpoints of before usage was counted."""
    state.setdefault(f"{prefix}used", torch.zeros_like(module.used))  # type: ignore[arg-type]


class Quantizer(nn.Module):
    """Maps each vector to the nearest of `codes` vectors of size `dim`.

    Inputs are normalised over their channels: plain forms collapse to one code easily. The codebook starts
    from vectors of the first training batch, or from their k-means; that it has is a buffer, so a resumed run
    keeps its codes. With several ranks all of it is over the joined batch of all ranks.
    """

    def __init__(
        self,
        codes: int,
        dim: int,
        update: Literal["gradient", "ema"],
        decay: float = 0.99,
        revive_below: float = 0.0,
        init: Literal["batch", "kmeans"] = "batch",
    ) -> None:
        super().__init__()
        self.update, self.decay, self.revive_below, self.init = update, decay, revive_below, init
        book = torch.randn(codes, dim)
        self.book = nn.Parameter(book, requires_grad=update == "gradient")
        self.book_started: Tensor
        self.counts: Tensor
        self.sums: Tensor
        self.register_buffer("book_started", torch.zeros((), dtype=torch.bool))
        self.register_buffer("counts", torch.ones(codes))
        self.register_buffer("sums", book.clone())
        self.usage = Usage(codes)
        # What the buffer says, on the host: asking a GPU in every step would make the host wait.
        self._known_started = False
        self.register_load_state_dict_post_hook(_ask_again)

    def forward(self, x: Tensor) -> Quantized:
        """`(B, dim, T, h, w)` → codes `(B, T, h, w)` and values of the input's shape."""
        vectors = normalised(x)
        flat = vectors.reshape(-1, vectors.shape[-1])
        if self.training and not self._known_started:
            self._start_once(flat.detach())
        codes = nearest(flat, self.book)
        chosen = F.embedding(codes, self.book)
        away = chosen.detach() - flat
        commitment_loss = away.square().mean()
        # The same number; only a codebook that learns by gradient needs its own way back.
        gradient = self.update == "gradient"
        codebook_loss = F.mse_loss(chosen, flat.detach()) if gradient else commitment_loss.detach()
        counts = counted(codes, len(self.book))
        if self.training:
            self.usage.add(joined.summed(counts))
            self._average(flat.detach(), codes, counts.to(flat.dtype))
        values = (flat + away.detach()).reshape(vectors.shape).movedim(-1, 1)
        return Quantized(codes.reshape(vectors.shape[:-1]), values, codebook_loss, commitment_loss, perplexity(counts))

    def lookup(self, codes: Tensor) -> Tensor:
        """Codes `(B, T, h, w)` → values `(B, dim, T, h, w)`."""
        return F.embedding(codes, self.book).movedim(-1, 1)

    def _start_once(self, flat: Tensor) -> None:
        if not self.book_started:
            self._start(flat)
        self._known_started = True

    @torch.no_grad()
    def _start(self, flat: Tensor) -> None:
        """Codes from random vectors of this batch, a little noise where there are too few."""
        first, total = joined.span(len(flat), flat.device)
        # Drawn on the CPU, so that its one generator decides on every device and is what a checkpoint keeps.
        count, codes = int(total), len(self.book)
        picks = torch.randperm(count)[:codes] if count >= codes else torch.randint(count, (codes,))
        noise = joined.agreed((0.01 * torch.randn(self.book.shape)).to(flat.device))
        start = joined.rows(flat, joined.agreed(picks.to(flat.device)), first) + noise
        if self.init == "kmeans":
            start = kmeans(flat, start, _KMEANS_ITERATIONS)
        self.book.copy_(start)
        self.sums.copy_(start)
        self.counts.fill_(1.0)
        self.book_started.fill_(True)

    @torch.no_grad()
    def _average(self, flat: Tensor, codes: Tensor, counts: Tensor) -> None:
        """Moving averages of use and content; they set the codes in the `ema` form only."""
        self.counts.lerp_(counts, 1 - self.decay)
        if self.update == "ema":
            sums = joined.summed(torch.zeros_like(self.sums).index_add_(0, codes, flat))
            self.sums.lerp_(sums, 1 - self.decay)
            self.book.copy_(self.sums / self.counts.clamp_min(1e-3)[:, None])
        if self.revive_below > 0:
            self._revive(flat)

    @torch.no_grad()
    def _revive(self, flat: Tensor) -> None:
        """Codes that are hardly used start again from vectors of this batch, their averages with them.

        One is drawn for every code, needed or not: asking how many are would make the host wait for a GPU.
        """
        dead = self.counts < self.revive_below
        first, total = joined.span(len(flat), flat.device)
        picks = joined.rows(flat, (joined.agreed(drawn(dead, len(dead))) * total).long(), first)
        fresh = 2 * self.revive_below
        self.book.copy_(torch.where(dead[:, None], picks, self.book))
        self.sums.copy_(torch.where(dead[:, None], picks * fresh, self.sums))
        self.counts.copy_(torch.where(dead, fresh, self.counts))


def normalised(x: Tensor) -> Tensor:
    """`(B, dim, T, h, w)` → `(B, T, h, w, dim)` float32, mean 0 and variance 1 over the last axis."""
    return F.layer_norm(x.movedim(1, -1).float(), (x.shape[1],))


def _ask_again(module: nn.Module, _: Any) -> None:
    """Another state was loaded: its buffer says whether the codebook has started."""
    module._known_started = bool(module.book_started)  # type: ignore[assignment]
