"""One process of a training that `resume.py` kills: the real training, whose stream notes every batch it gives."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from v2a import train
from v2a.config import load_train_config
from v2a.stream import Crops, ShardStream
from v2a.train import Context, train_vqvae
from v2a.training import ranks

from v2a_data.console import Console
from v2a_data.shards.read import ShardSet, open_shards

# Slow enough for a kill to meet the step that it is meant for.
_PAUSE_S = 0.02
CONFIG: dict[str, Any] = {
    "trackers": [],
    "view": {"width": 32, "height": 18, "fps": "25/2", "seconds": 0.64},
    "vqvae": {
        "model": "vqvae3d",
        "options": {"channels": [4, 8], "codes": 32, "update": "ema", "revive_below": 1.0},
        "optimisation": {
            "steps": 60, "batch": 6, "lr": 3e-3, "warmup_steps": 3, "save_every": 4, "validate_every": 10,
            "weights_ema": 0.9,
        },
    },
}  # fmt: skip


class Noting(ShardStream):
    """The trainer's stream; every batch is written down before it is trained on."""

    notes: Path

    def __iter__(self) -> Iterator[Crops]:
        with self.notes.open("a", encoding="utf-8") as file:
            for crops in super().__iter__():
                at = [self.cursor.epoch, self.cursor.batch]
                file.write(json.dumps([at, list(zip(crops.keys, crops.start_frames, strict=True))]) + "\n")
                file.flush()
                time.sleep(_PAUSE_S)
                yield crops


def _split(folder: Path) -> ShardSet:
    """Every fifth sample to validate on."""
    entries = open_shards(folder).entries
    return ShardSet(folder, [replace(e, split="train" if i % 5 else "validation") for i, e in enumerate(entries)])


def main() -> None:
    shards, checkpoints, notes, workers = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    place = ranks.join()
    Noting.notes = notes / f"{place.rank}.jsonl"
    train.ShardStream = Noting  # type: ignore[misc]
    config = load_train_config(CONFIG)
    train_vqvae(Context(config, _split(shards), checkpoints, workers, Console("resume", quiet=True), False, place))
    ranks.leave()


if __name__ == "__main__":
    main()
