"""Codebooks trained by two processes, and by one on the joined batches: `python ranks.py RANK FOLDER`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from v2a.models import joined
from v2a.models.audio_fc import moved
from v2a.models.quantizer import Quantizer

CODES, DIM, STEPS = 24, 5, 8
KINDS = ("ema", "kmeans", "gradient")
SIZES = {"ema": (3, 1), "kmeans": (1, 2), "gradient": (2, 2)}  # clips of the two ranks; DDP wants them equal


def batch(kind: str, step: int, rank: int) -> Tensor:
    """What one rank sees in one step: the two ranks see vectors of opposite halves of the space."""
    generator = torch.Generator().manual_seed(100 * step + rank)
    x = torch.randn(SIZES[kind][rank], DIM, 2, 4, 4, generator=generator)
    return x + torch.tensor([4.0, -4.0][rank]) * torch.eye(DIM)[0][None, :, None, None, None]


def new(kind: str) -> nn.Module:
    """The same weights and the same later draws in every process."""
    torch.manual_seed(7)
    if kind == "gradient":
        return nn.Sequential(nn.Conv3d(DIM, DIM, 1), Quantizer(CODES, DIM, "gradient", 0.8, revive_below=0.9))
    init = "kmeans" if kind == "kmeans" else "batch"
    return nn.Sequential(Quantizer(CODES, DIM, "ema", 0.8, revive_below=0.9, init=init))  # type: ignore[arg-type]


def train(
    kind: str, model: nn.Module, batches: list[Tensor], call: Callable[[Tensor], Any] | None = None
) -> dict[str, Tensor]:
    """The codebook's state after one step per batch, and how many codes were ever used."""
    quantizer = (model.module if isinstance(model, DistributedDataParallel) else model)[-1]  # type: ignore[index]
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad] or [torch.zeros(1)], lr=0.1)
    for x in batches:
        out = (call or model)(x)
        if kind == "gradient":
            optimizer.zero_grad()
            (out.codebook_loss + out.commitment_loss).backward()
            optimizer.step()
    return {name: value.detach().clone() for name, value in quantizer.state_dict().items()}


def parallel(kind: str, rank: int) -> dict[str, Tensor]:
    """One of two ranks, on its own batches."""
    model = new(kind)
    if kind == "gradient":
        # With DDP's own default, which broadcasts the first rank's buffers before every step.
        model = DistributedDataParallel(model)
    return train(kind, model, [batch(kind, step, rank) for step in range(STEPS)])


def compiled(rank: int) -> dict[str, Tensor]:
    """One of two ranks whose step is a single graph, the sums over the ranks in it, once the codebook has started."""
    model, batches = new("ema"), [batch("ema", step, rank) for step in range(STEPS)]
    train("ema", model, batches[:1])
    return train("ema", model, batches[1:], torch.compile(model, backend="eager", fullgraph=True))


def broadcasting(rank: int) -> dict[str, Tensor]:
    """The mistake: each rank's own statistics, of which the first rank's win by broadcast."""
    model, several = new("ema"), joined.several
    for step in range(STEPS):
        joined.several = lambda: False
        train("ema", model, [batch("ema", step, rank)])
        joined.several = several
        for value in model.state_dict().values():
            dist.broadcast(value, src=0)
    return train("ema", model, [])


def maps() -> Tensor:
    """Code maps of four clips, two of each rank."""
    return torch.arange(4 * DIM * 2 * 6 * 7.0).reshape(4, DIM, 2, 6, 7)


def main() -> None:
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    states = {kind: parallel(kind, rank) for kind in KINDS}
    states["compiled"] = compiled(rank)
    states["broadcast"] = broadcasting(rank)
    torch.manual_seed(7)
    states["moved"] = {"maps": moved(maps()[2 * rank : 2 * rank + 2], 3)}
    torch.save(states, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
