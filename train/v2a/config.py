"""The `[train]` part of a recipe as dataclasses; a shipped fragment lies beneath what the recipe says."""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from v2a.reading.address import check_place
from v2a.reading.order import HIGHEST_WEIGHT, LOWEST_WEIGHT
from v2a.training.precision import Precision
from v2a_data import resources
from v2a_data.errors import UsageError, nearest
from v2a_data.recipe import build, merge, read_table

_LOWEST = {
    "steps": 1,
    "batch": 1,
    "accumulate": 1,
    "lr": 0,
    "warmup_steps": 0,
    "weight_decay": 0,
    "clip_norm": 0,
    "weights_ema": 0,
    "save_every": 1,
    "validate_every": 0,
    "patience": 0,
}


@dataclass(frozen=True, kw_only=True)
class View:
    """What the models see and hear of a sample: px, frames per second, seconds per training crop.

    `fit` is the rule for pictures of another shape; `generate` follows it. `grey` shows the luma alone. `tile` repeats
    samples that are shorter than a crop, as VEGAS does with its clips of 2 to 10 s; otherwise they are left out.
    """

    width: int = 256
    height: int = 144
    fit: Literal["pad", "crop"] = "pad"
    fps: Fraction = Fraction(25)
    seconds: float = 10.0
    rate_hz: int = 16000
    grey: bool = False
    tile: bool = True


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """How long and how fast.

    `batch` is the clips of one step over all processes, taken in `accumulate` parts. `lr` is AdamW's after a linear
    warm-up; `cosine` and `linear` fall to a tenth of it. `weights_ema` is the decay of the averaged weights, 0 for
    none. Validated every `validate_every` steps (0: never); the training ends after `patience` validations in a
    row that were no better (0: never). `compile` null: on GPUs.
    """

    steps: int = 20000
    batch: int = 2
    accumulate: int = 1
    lr: float = 3e-4
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup_steps: int = 100
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    weights_ema: float = 0.0
    precision: Precision = "auto"
    compile: bool | None = None
    save_every: int = 500
    validate_every: int = 500
    patience: int = 0


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One of the two trainings: a model by name with its options, and its optimisation.

    `seconds` is the length of its crops where that is not the view's.
    """

    model: str
    seconds: float | None = None
    options: dict[str, Any] = field(default_factory=dict)
    optimisation: Optimisation = field(default_factory=Optimisation)


@dataclass(frozen=True, kw_only=True)
class WeightedShards:
    """A set of shards, by its folder or address, and its weight among all: the share of an epoch that is of it."""

    shards: str
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Tune:
    """What `v2a tune` searches: options by their names below `train`, as lists of choices or `{low, high, log}`.

    A grid tries every combination of its lists; `trials` bounds the others.
    """

    sampler: Literal["tpe", "random", "grid"] = "tpe"
    trials: int = 20
    space: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything `v2a train` needs beside the shards; without `labels`, all of theirs are trained on and judged.

    `sets` are the shards that are trained on, the workspace's own where none are named. `balance` gives labels equal
    shares of an epoch, within each set's. `deterministic` refuses operations whose result varies from run to
    run on a GPU, at some cost in speed.
    """

    config: str | None = None
    seed: int = 0
    deterministic: bool = False
    trackers: tuple[Literal["tensorboard", "trackio", "wandb"], ...] = ("tensorboard",)
    sets: tuple[WeightedShards, ...] = ()
    labels: tuple[str, ...] = ()
    balance: bool = False
    form: Literal["tied", "literal"] = "tied"
    view: View = field(default_factory=View)
    vqvae: Stage = field(default_factory=lambda: Stage(model="vqvae3d"))
    decoder: Stage = field(default_factory=lambda: Stage(model="audio_fc"))
    tune: Tune = field(default_factory=Tune)


def load_train_config(table: dict[str, Any]) -> TrainConfig:
    """`[train]` of a recipe over the fragment that it names. Raises `UsageError` for unknown keys."""
    base: dict[str, Any] = {}
    name = table.get("config")
    if name is not None:
        path = resources.train_configs() / f"{name}.toml"
        if not path.is_file():
            known = [found.stem for found in resources.train_configs().glob("*.toml")]
            raise UsageError(f"train.config: no fragment named {name!r}; {nearest(str(name), known)}")
        base = read_table(path).get("train", {})
    config = build(TrainConfig, merge(base, table), "train")
    _check(config)
    return config


def _check(config: TrainConfig) -> None:
    view = config.view
    for i, part in enumerate(config.sets):
        check_place(part.shards, f"train.sets[{i}].shards")
        if not LOWEST_WEIGHT <= part.weight <= HIGHEST_WEIGHT:
            raise UsageError(
                f"train.sets[{i}].weight: from {LOWEST_WEIGHT:g} to {HIGHEST_WEIGHT:g}, got {part.weight:g}; "
                "leave out a set to use none of it"
            )
    if config.tune.trials < 1:
        raise UsageError(f"train.tune.trials: at least 1, got {config.tune.trials}")
    if view.width % 2 or view.height % 2 or min(view.width, view.height) < 4:
        raise UsageError(f"train.view: width and height must be even and at least 4, got {view.width}x{view.height}")
    if round(view.seconds * view.fps) < 1:
        raise UsageError(f"train.view.seconds: at least one frame, got {view.seconds:g} s at {view.fps} fps")
    if (view.rate_hz / view.fps).denominator != 1:
        raise UsageError(f"train.view: rate_hz / fps must be whole, got {view.rate_hz} / {view.fps}")
    if "grey" in config.vqvae.options:
        raise UsageError("train.vqvae.options.grey: the pictures are the view's; set train.view.grey")
    if config.decoder.seconds is not None:
        raise UsageError("train.decoder.seconds: the decoder takes the view's seconds; set train.view.seconds")
    for name, stage in (("vqvae", config.vqvae), ("decoder", config.decoder)):
        if stage.seconds is not None and round(stage.seconds * view.fps) < 1:
            raise UsageError(f"train.{name}.seconds: at least one frame, got {stage.seconds:g}")
        for key, low in _LOWEST.items():
            value = getattr(stage.optimisation, key)
            if value < low:
                raise UsageError(f"train.{name}.optimisation.{key}: at least {low:g}, got {value:g}")
        _check_parts(name, stage.optimisation)


def _check_parts(name: str, settings: Optimisation) -> None:
    where = f"train.{name}.optimisation"
    if settings.batch % settings.accumulate:
        raise UsageError(f"{where}.accumulate: {settings.accumulate} parts of a batch of {settings.batch}")
    if settings.weights_ema >= 1:
        raise UsageError(f"{where}.weights_ema: below 1, got {settings.weights_ema:g}")
