"""Shards as a plain `torch.utils.data.IterableDataset`, for models and loops of one's own.

    data = ShardDataset("v2a-workspace/shards", seconds=2)
    for batch in DataLoader(data, batch_size=8, num_workers=4):
        video, sound = data.video(batch["planes"].to(device)), batch["sound"].to(device)

It works with the loader that everyone has. `v2a.stream` is faster, as nothing is copied between processes there.
"""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from v2a.colour import video
from v2a.reading.damage import MOST_IN_A_ROW, Damaged, DamageLog
from v2a.reading.form import Form, Grid
from v2a.reading.order import Cutting, Plan, epoch_plan, groups_of
from v2a.reading.sets import open_place, pool_of, pools_of, weights_of
from v2a_data.errors import FatalError, NothingError
from v2a_data.shards.read import ShardSet

if TYPE_CHECKING:
    from v2a.reading.fill import Filler


class ShardDataset(IterableDataset[dict[str, Any]]):
    """Crops as dicts: `key`, `label`, `start_frame`, `planes` (T, h · 3/2, w) uint8, `sound` (samples,) float32.

    `shards` is a folder, an address (`https://`, `s3://`, `gs://`, `hf://`; then `cache` names a folder), or an open
    set, which may be mixed of several. One iteration is one epoch and gives every crop once, shared out among the
    loader's workers and the ranks; `set_epoch` chooses the order. Damaged samples are replaced as in `v2a.stream`.
    Raises `NothingError` without crops.
    """

    def __init__(
        self,
        shards: ShardSet | Path | str,
        split: str = "train",
        *,
        seconds: float = 2.0,
        form: Form = Form(256, 144, Fraction(25), 16000),  # noqa: B008 - frozen
        crops: Literal["all", "one"] = "all",
        tile: bool = False,
        balance: bool = False,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        cache: Path | None = None,
        report: Callable[[Damaged], None] | None = None,
    ) -> None:
        super().__init__()
        found = shards if isinstance(shards, ShardSet) else open_place(shards, cache)
        self.form, self.seed, self.rank, self.world, self._report = form, seed, rank, world, report
        self.entries = found.split(split)
        if not self.entries:
            raise NothingError(f"{found.place} has no samples of the split {split!r}")
        self._pools = pools_of(found, self.entries)
        self._cutting = Cutting(round(seconds * form.fps), crops, tile)
        pools, shown = [pool_of(e) for e in self.entries], [e.shard for e in self.entries]
        grids = {number: Grid(form, pool.fps) for number, pool in self._pools.items()}
        self._lengths = [grids[n].length(e.frames) for n, e in zip(pools, self.entries, strict=True)]
        self._groups = groups_of(pools, shown, [e.label for e in self.entries], weights_of(found), balance=balance)
        # Shared, so that workers that outlive an epoch see the next one.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        if not self.plan().crops:
            raise NothingError(f"no sample of the split {split!r} is {seconds:g} s long")

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the iterations that begin from now on."""
        self._epoch.fill_(epoch)

    def plan(self) -> Plan:
        """The order of the epoch, of all workers and ranks together."""
        return epoch_plan(self._groups, self._lengths, self._cutting, self.seed, int(self._epoch))

    def video(self, planes: Tensor) -> Tensor:
        """Planes `(B, T, …)` as floats `(B, 3, T, h, w)` in 0..1, one channel for grey, wherever they are."""
        return video(planes, self.form)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        # Imported here, so that the process that forks the workers has no decoder.
        from v2a.reading.fill import Filler

        info, plan = get_worker_info(), self.plan()
        workers, worker = (info.num_workers, info.id) if info is not None else (1, 0)
        parts, part = self.world * workers, self.rank * workers + worker
        filler, log = Filler(self.form, self._pools), DamageLog(len(self.entries), self._report)
        waiting: dict[tuple[int, int], dict[str, Any]] = {}
        try:
            for pick, crop in plan.crops:
                if pick % parts != part:
                    continue
                if (pick, crop) not in waiting:
                    numbers = range(len(plan.picks[pick].starts))
                    made = self._made(plan, pick, numbers, filler, log)
                    waiting.update({(pick, number): row for number, row in zip(numbers, made, strict=True)})
                yield waiting.pop((pick, crop))
        finally:
            filler.close()

    def _made(
        self, plan: Plan, pick: int, crops: Sequence[int], filler: "Filler", log: DamageLog, tried: int = 0
    ) -> list[dict[str, Any]]:
        """Crops of one pick, or those that take their place."""
        from v2a.reading.fill import Job, Piece

        chosen, frames, each = plan.picks[pick], self._cutting.frames, self.form.samples_per_frame
        entry, length = self.entries[chosen.sample], self._lengths[chosen.sample]
        planes = torch.empty((len(crops), *self.form.plane_shape(frames)), dtype=torch.uint8)
        sound = torch.empty((len(crops), frames * each))
        starts = [chosen.starts[crop % len(chosen.starts)] for crop in crops]
        pieces = tuple(Piece(start, min(frames, length - start), row) for row, start in enumerate(starts))
        trouble = filler.attempt(Job(entry, pieces, self._cutting.tile), planes.numpy(), sound.numpy())
        if trouble is None:
            about = {"key": entry.key, "label": entry.label}
            return [
                {**about, "start_frame": start, "planes": planes[row], "sound": sound[row]}
                for row, start in enumerate(starts)
            ]
        if not trouble.damaged:
            raise FatalError(f"{entry.shard}: sample {entry.key}: {trouble.message}", hint=trouble.hint)
        log.note(entry, trouble.message)
        instead = plan.after(pick) if tried < MOST_IN_A_ROW else None
        if instead is None:
            raise log.none_left(tried + 1)
        return [row for crop in crops for row in self._made(plan, instead, [crop], filler, log, tried + 1)]
