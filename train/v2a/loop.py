"""One training loop for every model: batches in, checkpoints and a metrics file out."""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from v2a import checkpoint
from v2a.config import Optimisation
from v2a.models.base import Loss
from v2a.stream import Crops, Cursor, ShardStream
from v2a_data.console import Console
from v2a_data.engine import stop_signals
from v2a_data.errors import FatalError, InterruptedRunError, UsageError
from v2a_data.files import write_text

_LOG = "metrics.jsonl"
_LOG_EVERY = 10


@dataclass(frozen=True)
class Training:
    """What one training is: the module, how a batch becomes a loss, where it is kept.

    `about` is everything that a resumed run must agree on; `complaint` says what went wrong in the way
    this model does, from the last figures.
    """

    name: str
    module: nn.Module
    loss: Callable[[Crops], Loss]
    optimisation: Optimisation
    folder: Path
    about: dict[str, Any]
    complaint: Callable[[dict[str, float]], str | None]


@dataclass(frozen=True)
class Trained:
    """The end of a training: its last figures, averaged over the last steps."""

    name: str
    steps: int
    parts: dict[str, float]
    complaint: str | None


def start(training: Training, *, force: bool) -> tuple[torch.optim.Optimizer, int, Cursor, list[dict[str, float]]]:
    """Optimizer, step, cursor and the last figures: from the newest checkpoint, or from nothing.

    `force` starts again from nothing, whatever is there. Raises `UsageError` with a diff where the checkpoint was
    made otherwise.
    """
    parameters = [p for p in training.module.parameters() if p.requires_grad]
    settings = training.optimisation
    optimizer = torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay)
    if force and training.folder.exists():
        shutil.rmtree(training.folder)
    found = checkpoint.latest(training.folder)
    if found is not None and found.state["about"] != training.about:
        raise UsageError(
            f"{training.folder} was trained otherwise:\n  {_difference(found.state['about'], training.about)}",
            hint="--force starts this training again from nothing",
        )
    if found is None:
        _cut_log(training.folder / _LOG, 0)
        return optimizer, 0, Cursor(), []
    training.module.load_state_dict(found.model())
    checkpoint.restore(optimizer, found.optimizer())
    torch.set_rng_state(torch.tensor(found.state["rng"], dtype=torch.uint8))
    _cut_log(training.folder / _LOG, found.step)
    return optimizer, found.step, Cursor(**found.state["cursor"]), found.state["recent"]


def run(
    training: Training,
    optimizer: torch.optim.Optimizer,
    step: int,
    recent: list[dict[str, float]],
    stream: ShardStream,
    console: Console,
) -> Trained:
    """Train from `step` to the configured number of steps; a stopped run leaves a checkpoint to go on from."""
    settings = training.optimisation
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    training.folder.mkdir(parents=True, exist_ok=True)
    log = training.folder / _LOG
    batches: Iterator[Crops] = iter(stream)
    training.module.train()
    with console.progress(f"train {training.name}", settings.steps, "steps", step) as progress, stop_signals() as stop:
        while step < settings.steps:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(settings, step)
            loss = training.loss(next(batches))
            figures = {"loss": float(loss.total.detach()), **loss.parts}
            _check_finite(training, figures, step)
            optimizer.zero_grad(set_to_none=True)
            loss.total.backward()  # type: ignore[no-untyped-call]
            if settings.clip_norm > 0:
                nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
            optimizer.step()
            step += 1
            progress.step()
            recent = [*recent, figures][-_LOG_EVERY:]
            if step % _LOG_EVERY == 0 or step == settings.steps:
                _append(log, {"step": step, **_mean(recent)})
            if step % settings.save_every == 0 or step == settings.steps or stop.asked:
                _save(training, optimizer, step, recent, stream)
            if stop.asked:
                raise InterruptedRunError(
                    f"stopped at step {step}; the checkpoint is kept", hint="run the same command again to go on"
                )
    training.module.eval()
    parts = _mean(recent)
    complaint = training.complaint(parts)
    if complaint:
        console.warn(complaint)
    return Trained(training.name, step, parts, complaint)


def _check_finite(training: Training, figures: dict[str, float], step: int) -> None:
    broken = [name for name, value in figures.items() if not math.isfinite(value)]
    if broken:
        raise FatalError(
            f"{training.name} diverged: {broken[0]} is {figures[broken[0]]} after {step} steps",
            hint="lower optimisation.lr, raise warmup_steps, or set clip_norm with --set; the last checkpoint is kept",
        )


def learning_rate(settings: Optimisation, step: int) -> float:
    """Linear warm-up, then half a cosine down to a tenth."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    return settings.lr * warm * (0.55 + 0.45 * math.cos(math.pi * step / max(1, settings.steps)))


def _save(
    training: Training,
    optimizer: torch.optim.Optimizer,
    step: int,
    recent: list[dict[str, float]],
    stream: ShardStream,
) -> None:
    state = {
        "step": step,
        "cursor": {"epoch": stream.cursor.epoch, "batch": stream.cursor.batch},
        "rng": torch.get_rng_state().tolist(),
        "recent": recent,
        "about": training.about,
    }
    checkpoint.save(training.folder, training.module, optimizer, state)


def _append(path: Path, row: dict[str, float]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({key: round(value, 6) for key, value in row.items()}) + "\n")


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]} if rows else {}


def _cut_log(path: Path, step: int) -> None:
    """Take out what a killed run logged after its checkpoint: those steps are done again."""
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        write_text(path, "".join(line for line in whole if json.loads(line)["step"] <= step))


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    keys = sorted(old.keys() | new.keys())
    return "\n  ".join(f"{key}: {old.get(key)!r} → {new.get(key)!r}" for key in keys if old.get(key) != new.get(key))
