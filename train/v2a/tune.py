"""Search for options of the sound decoder (and, where the space says so, of the encoder) with Optuna.

checkpoints/tune/journal.log             every trial, its options and validations; an interrupted search goes on from it
                /<search>/trial-0003/…   the checkpoints of one trial, resumable like any other; another space, recipe
                                         or data set is another search

A trial is judged by in-class swap-AUC on the validation split, never by its loss: mean squared errors rank silence
above sound. One that falls behind the median of the others is pruned.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from v2a.built import decoder_config
from v2a.config import TrainConfig, load_train_config
from v2a.models import MODELS
from v2a.train import Context, train_decoder, train_vqvae, view_table
from v2a.training.errors import DivergedError, NoRoomError
from v2a.training.held_out import SOUND_BY
from v2a_data.errors import FatalError, MissingToolError, NothingError, UsageError
from v2a_data.recipe import build, digest, merge, to_table

if TYPE_CHECKING:
    import optuna

FOLDER = "tune"
_STAGES = ("vqvae", "decoder")


@dataclass(frozen=True)
class Found:
    """One trial: its number, its options, how it ended, and its best in-class swap-AUC (null without one)."""

    number: int
    options: dict[str, Any]
    state: str
    value: float | None


def tune(context: Context, done: Callable[[int, int], None]) -> list[Found]:
    """Search until `train.tune.trials` trials have ended; `done(ended, of)` is called after each. Best first.

    Raises `UsageError` for a space that cannot be searched, `NothingError` without validation clips,
    `MissingToolError` without Optuna.
    """
    settings = context.config.tune
    space = checked_space(context.config)
    if not context.shards.split("validation"):
        raise NothingError(
            f"{context.shards.place} has no validation clips to judge trials by",
            hint="raise splits.validation in the recipe and shard again",
        )
    study = _study(context, space)
    _take_up(study)
    if settings.sampler == "grid":
        _enqueue_grid(study, space)
    wanted = len(_grid(space)) if settings.sampler == "grid" else settings.trials
    while (ended := _ended(study)) < wanted:
        done(ended, wanted)
        _one(context, study, space)
    done(wanted, wanted)
    return found(study)


def checked_space(config: TrainConfig) -> dict[str, Any]:
    """`train.tune.space`: lists of choices, or tables `{low, high, log}`. Raises `UsageError` where it is none."""
    space = config.tune.space
    if not space:
        raise UsageError(
            "train.tune.space is empty: there is nothing to search",
            hint='e.g. [train.tune.space] "decoder.optimisation.lr" = { low = 1e-4, high = 1e-2, log = true }',
        )
    for name, values in space.items():
        where = f'train.tune.space."{name}"'
        if name.partition(".")[0] not in _STAGES:
            raise UsageError(f"{where}: options of {' and '.join(_STAGES)} can be searched")
        if isinstance(values, Mapping):
            _check_range(where, values, grid=config.tune.sampler == "grid")
        elif not isinstance(values, (list, tuple)) or not values:
            raise UsageError(f"{where}: expected a list of choices or {{low, high}}, got {values!r}")
        for value in values if isinstance(values, (list, tuple)) else (values["low"], values["high"]):
            _check_known(load_train_config(_laid(config, {name: value})))
    return dict(space)


def _check_known(config: TrainConfig) -> None:
    """Raise `UsageError` for an option that a model does not have, before anything is trained."""
    decoder_config(config)
    build(MODELS[config.vqvae.model].Config, config.vqvae.options, "train.vqvae.options")


def _check_range(where: str, values: Mapping[str, Any], *, grid: bool) -> None:
    if grid:
        raise UsageError(f"{where}: a grid takes lists of choices, no ranges")
    if not {"low", "high"} <= values.keys() <= {"low", "high", "log"}:
        raise UsageError(f"{where}: a range has low, high and perhaps log, got {sorted(values)}")
    if not values["low"] < values["high"]:
        raise UsageError(f"{where}: low {values['low']} is not below high {values['high']}")
    if values.get("log") and values["low"] <= 0:
        raise UsageError(f"{where}: a logarithmic range starts above 0")


def _study(context: Context, space: Mapping[str, Any]) -> "optuna.Study":
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend, JournalStorage
    except ImportError:
        raise MissingToolError("v2a tune needs Optuna", hint="pip install 'v2a-data[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = context.checkpoints / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    config = context.config
    # The data hash holds samples and weights; where sets lie, and in which words, makes no other search.
    table = {key: value for key, value in to_table(config).items() if key != "sets"}
    about = {**table, "view": view_table(config.view), "tune": {"space": dict(space), "sampler": config.tune.sampler}}
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(folder / "journal.log"))),
        study_name=digest([about, context.data_hash()]),
        load_if_exists=True,
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5),
    )
    # A search that goes on must not draw the same options again.
    seed = config.seed + len(study.trials)
    tpe = config.tune.sampler == "tpe"
    study.sampler = optuna.samplers.TPESampler(seed=seed) if tpe else optuna.samplers.RandomSampler(seed=seed)
    return study


def _take_up(study: "optuna.Study") -> None:
    """Trials that a killed search left are run again, from their own checkpoints, before new ones."""
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        folder = trial.user_attrs.get("folder")
        study.tell(trial.number, state=TrialState.FAIL)
        if folder is not None:
            study.enqueue_trial(trial.params, user_attrs={"folder": folder})


def _ended(study: "optuna.Study") -> int:
    from optuna.trial import TrialState

    states = [t.state for t in study.trials if not _superseded(study, t)]
    return sum(state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL) for state in states)


def _superseded(study: "optuna.Study", trial: Any) -> bool:
    """True for one that was taken up again under another number."""
    folder = trial.user_attrs.get("folder")
    return any(t.number > trial.number and t.user_attrs.get("folder") == folder for t in study.trials if folder)


def _grid(space: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]


def _enqueue_grid(study: "optuna.Study", space: Mapping[str, Any]) -> None:
    for options in _grid(space):
        study.enqueue_trial(options, skip_if_exists=True)


def _one(context: Context, study: "optuna.Study", space: Mapping[str, Any]) -> None:
    """One trial, from its draw to its end."""
    import optuna
    from optuna.trial import TrialState

    trial = study.ask()
    options = {name: _drawn(trial, name, values) for name, values in space.items()}
    folder = str(trial.user_attrs.get("folder", f"{study.study_name}/trial-{trial.number:04d}"))
    trial.set_user_attr("folder", folder)
    best: list[float] = []

    def watch(step: int, figures: dict[str, float]) -> None:
        value = next((figures[name] for name in SOUND_BY if name in figures), None)
        if value is None:
            return
        best.append(value)
        trial.report(value, step)
        if trial.should_prune():
            raise optuna.TrialPruned

    try:
        config = load_train_config(_laid(context.config, options))
        value = _train(context, config, options, context.checkpoints / FOLDER / folder, watch)
        study.tell(trial, value)
    except optuna.TrialPruned:
        study.tell(trial, max(best), state=TrialState.PRUNED)
    except (DivergedError, NoRoomError, torch.OutOfMemoryError) as error:
        # Whatever else ends a run says nothing of these options: the trial is taken up again by the next one.
        context.console.warn(f"{folder}: {error}")
        study.tell(trial, state=TrialState.FAIL)


def _drawn(trial: "optuna.Trial", name: str, values: Any) -> Any:
    if not isinstance(values, Mapping):
        return trial.suggest_categorical(name, list(values))
    low, high, log = values["low"], values["high"], bool(values.get("log", False))
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high, log=log)
    return trial.suggest_float(name, float(low), float(high), log=log)


def _train(
    context: Context,
    config: TrainConfig,
    options: Mapping[str, Any],
    folder: Path,
    watch: Callable[[int, dict[str, float]], None],
) -> float:
    """Train with these options; the encoder too where one of them is its own, else the workspace's stands in."""
    folder.mkdir(parents=True, exist_ok=True)
    here = replace(context, config=config, checkpoints=folder, force=False)
    shared = folder / config.vqvae.model
    if any(name.startswith("vqvae.") for name in options):
        train_vqvae(here)
    elif not shared.is_symlink():
        shared.symlink_to(Path("..") / ".." / ".." / config.vqvae.model, target_is_directory=True)
    trained = train_decoder(replace(here, watch=watch))
    value = next((trained.best[name] for name in SOUND_BY if name in trained.best), None)
    if value is None:
        raise FatalError(
            "no validation clip could be judged", hint="set decoder.optimisation.validate_every, or shard more clips"
        )
    return value


def _laid(config: TrainConfig, options: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration's table with options laid on top."""
    table = to_table(config)
    for name, value in options.items():
        over: Any = value
        for part in reversed(name.split(".")):
            over = {part: over}
        table = merge(table, over)
    return table


def found(study: "optuna.Study") -> list[Found]:
    """The trials that ended, best first; those without a value last."""
    rows = [
        Found(t.number, dict(t.params), t.state.name.lower(), t.value)
        for t in study.trials
        if t.state.is_finished() and not _superseded(study, t)
    ]
    return sorted(rows, key=lambda row: (row.value is None, -(row.value or 0.0), row.number))
