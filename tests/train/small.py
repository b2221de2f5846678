"""Small things for the trainer's tests: coded shards, a tiny configuration, a console that stops a run."""

import json
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from makers import Clip, make, noise_track
from v2a.config import TrainConfig, load_train_config
from v2a.reading.form import Form
from v2a.stream import Crops
from v2a.train import Context
from v2a.training.ranks import Ranks

from v2a_data.console import Console
from v2a_data.progress import Progress
from v2a_data.recipe import merge
from v2a_data.shards.format import SAMPLE_FIELDS
from v2a_data.shards.read import Entry, ShardSet
from v2a_data.shards.tar import Member, write_shard

FORM = Form(64, 36, Fraction(25, 2), 16000)
SHARD_FPS = Fraction(25)
# Frames of the samples in a coded shard; every second one is seen at 12.5 frames per second.
LENGTHS = (60, 61, 75, 50, 83)

TINY: dict[str, Any] = {
    "trackers": [],
    "view": {"width": 64, "height": 36, "fps": "25/2", "seconds": 0.64},
    "vqvae": {
        "model": "vqvae3d",
        "options": {"channels": [4, 8], "codes": 32, "update": "ema", "revive_below": 1.0},
        "optimisation": {"steps": 14, "batch": 4, "lr": 3e-3, "warmup_steps": 3, "save_every": 5},
    },
    "decoder": {
        "model": "audio_fc",
        "options": {"hidden": 12, "iterations": 2},
        "optimisation": {"steps": 14, "batch": 4, "warmup_steps": 1, "save_every": 5, "weight_decay": 0.01},
    },
}


def tiny(**over: Any) -> TrainConfig:
    """The tiny configuration with tables laid on top."""
    base: dict[str, Any] = {}
    return load_train_config(merge(merge(base, _copied(TINY)), over))


def _copied(table: Any) -> Any:
    return {key: _copied(value) for key, value in table.items()} if isinstance(table, dict) else table


def sample_sound(number: int) -> np.ndarray:
    """The sound of sample `number` of a coded shard."""
    return noise_track(LENGTHS[number] / 25, 16000, seed=number)


def coded_shards(folder: Path) -> ShardSet:
    """A shard of samples whose pictures hold their numbers and whose sounds are lossless."""
    members, entries = [], []
    for number, frames in enumerate(LENGTHS):
        key = f"sy-7-{number}_000000000"
        media = make(
            folder / f"{number}.mp4",
            Clip(
                seconds=frames / 25,
                width=128,
                height=72,
                rate_hz=16000,
                channels=1,
                audio_codec="flac",
                sound=sample_sound(number),
            ),
        )
        members.append(Member(key, {**dict.fromkeys(SAMPLE_FIELDS), "key": key, "fps": "25/1", "label": "x"}, media))
    places = write_shard(folder / "s.tar", members).places
    for place, frames in zip(places, LENGTHS, strict=True):
        rest = {"audio_samples": frames * 640, "duration_s": frames / 25, "label": "x", "split": "train"}
        entries.append(Entry(shard="s.tar", frames=frames, group_id=place["key"], **rest, **place))
    (folder / "entries.json").write_text(json.dumps([asdict(entry) for entry in entries]))
    return opened(folder)


def opened(folder: Path) -> ShardSet:
    """Coded shards that are there."""
    return ShardSet(folder, [Entry(**row) for row in json.loads((folder / "entries.json").read_text())])


def context(
    shards: ShardSet,
    checkpoints: Path,
    console: Console,
    config: TrainConfig,
    *,
    force: bool = False,
    workers: int = 0,
    ranks: Ranks | None = None,
) -> Context:
    return Context(config, shards, checkpoints, workers, console, force, ranks or Ranks())


@dataclass
class Seen:
    """A batch that can be compared."""

    keys: tuple[str, ...]
    starts: tuple[int, ...]
    frames: bytes
    sound: bytes

    @classmethod
    def of(cls, crops: Crops) -> "Seen":
        return cls(crops.keys, crops.start_frames, crops.frames.tobytes(), crops.sound.tobytes())


class At(Console):
    """A quiet console that calls `act` when the progress whose name starts with `what` has done `count`."""

    def __init__(self, what: str, count: int, act: Callable[[], None]) -> None:
        super().__init__("test", quiet=True)
        self.what, self.count, self.act = what, count, act

    def progress(self, what: str, total: int | None, unit: str, done: int = 0) -> Progress:
        if not what.startswith(self.what):
            return super().progress(what, total, unit, done)
        outer = self

        class Counting(Progress):
            def step(self, count: int = 1, **notes: int) -> None:
                super().step(count, **notes)
                if self.done == outer.count:
                    outer.act()

        return Counting(what, total, unit, done=done, quiet=True)


class DiedError(Exception):
    """The end of a run that cannot save anything."""


def interrupt() -> None:
    """Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


def die() -> None:
    raise DiedError


def files_of(folder: Path, names: Sequence[str]) -> dict[str, bytes]:
    """The bytes of files, by name."""
    return {name: (folder / name).read_bytes() for name in names}
