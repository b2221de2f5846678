"""The processes of one training: one alone, or those that `torchrun` started."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from v2a_data.errors import UsageError

# Rank 0 may encode a whole split while the others wait.
_PATIENCE = timedelta(hours=12)


@dataclass(frozen=True)
class Ranks:
    """This process's place: `rank` of `world`, and its device. `control` is a group of small messages between hosts."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    control: Any = None

    @property
    def leads(self) -> bool:
        """True for the one that writes and speaks."""
        return self.rank == 0

    def wait(self) -> None:
        """Until every rank is here."""
        if self.world > 1:
            dist.barrier(group=self.control)

    def any(self, flag: bool) -> bool:
        """True where it holds for any rank."""
        if self.world == 1:
            return flag
        found = torch.tensor(float(flag))
        dist.all_reduce(found, dist.ReduceOp.MAX, group=self.control)
        return bool(found)

    def of_lead(self, count: int) -> int:
        """Rank 0's number, on every rank."""
        if self.world == 1:
            return count
        found = torch.tensor(count)
        dist.broadcast(found, 0, group=self.control)
        return int(found)

    def mean(self, values: Sequence[float]) -> list[float]:
        """Each value averaged over the ranks."""
        if self.world == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total, group=self.control)
        return list((total / self.world).tolist())

    def share(self, batch: int, what: str) -> int:
        """How many of a batch's clips are this rank's. Raises `UsageError` where they cannot be shared out evenly."""
        if batch % self.world:
            raise UsageError(
                f"{what}: {batch} is no multiple of the {self.world} processes", hint="set it to one with --set"
            )
        return batch // self.world


def alone() -> Ranks:
    """One process, on the GPU where there is one."""
    return Ranks(device=torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def join() -> Ranks:
    """The place that `torchrun` gave this process (RANK, WORLD_SIZE, LOCAL_RANK); alone without it.

    Uses NCCL on GPUs, gloo without; raises `UsageError` for more local ranks than GPUs.
    """
    local, world = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        if local >= torch.cuda.device_count():
            raise UsageError(f"local rank {local} has no GPU: there are {torch.cuda.device_count()}")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    if world == 1:
        return Ranks(device=device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    control = dist.new_group(backend="gloo", timeout=_PATIENCE) if device.type == "cuda" else None
    return Ranks(dist.get_rank(), world, device, control)


def leave() -> None:
    """Close what `join` opened."""
    if dist.is_initialized():
        dist.destroy_process_group()
