"""One training loop for every model: batches in, checkpoints and figures out."""

import math
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from v2a.config import Optimisation
from v2a.models.base import Loss
from v2a.stream import Crops, Cursor, ShardStream
from v2a.training import checkpoint
from v2a.training.average import WeightAverage
from v2a.training.errors import DivergedError
from v2a.training.journal import Journal, Tracker
from v2a.training.precision import Numbers
from v2a.training.ranks import Ranks
from v2a.training.schedule import learning_rate
from v2a.training.validation import Standing, Validation
from v2a_data.console import Console
from v2a_data.engine import stop_signals
from v2a_data.errors import FatalError, InterruptedRunError, UsageError

# Figures are read from the device this often: every reading waits for it.
_LOG_EVERY = 10


@dataclass(frozen=True)
class Training:
    """What one training is: the module, what its `loss` gets of a batch, where it is kept.

    `about` is everything that a resumed run must agree on; `complaint` says what went wrong in the way this model
    does, from the last figures. `epoch_figures` are of the epoch that has ended, on every rank. `trackers` opens
    what gets the figures beside the file, from a step on. `watch` sees every validation and may raise to end the
    training.
    """

    name: str
    module: nn.Module
    inputs: Callable[[Crops], tuple[Any, ...]]
    optimisation: Optimisation
    folder: Path
    about: dict[str, Any]
    complaint: Callable[[dict[str, float]], str | None]
    validation: Validation | None = None
    epoch_figures: Callable[[], dict[str, float]] = dict
    trackers: Callable[[int], list[Tracker]] = lambda step: []
    watch: Callable[[int, dict[str, float]], None] = lambda step, figures: None
    ranks: Ranks = field(default_factory=Ranks)


@dataclass(frozen=True)
class Trained:
    """The end of a training: its last figures, averaged over the last steps, and those of the best validation."""

    name: str
    steps: int
    parts: dict[str, float]
    complaint: str | None
    best: dict[str, float] = field(default_factory=dict)


_Call = Callable[..., tuple[Tensor, dict[str, Any]]]


class LossOf(nn.Module):
    """A module whose forward pass is its loss: what is compiled and shared between ranks."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Any) -> tuple[Tensor, dict[str, Any]]:
        loss: Loss = self.module.loss(*inputs)  # type: ignore[operator]
        # A figure that equals the loss would be one tensor with it once compiled, and torch would take the gradient
        # of both away. In a tensor of their own they never are.
        figures = torch.stack(list(loss.parts.values())).unbind() if loss.parts else ()
        return loss.total, dict(zip(loss.parts, figures, strict=True))


class Trainer:
    """A training and where it stands: from its newest checkpoint, or from nothing.

    `force` starts again from nothing, whatever is there. Raises `UsageError` with a diff where the checkpoint was
    made otherwise, or where a batch cannot be shared out.
    """

    def __init__(self, training: Training, console: Console, *, force: bool = False) -> None:
        self.training, self.console, self.ranks = training, console, training.ranks
        settings = training.optimisation
        self._part = self.ranks.share(settings.batch, f"{training.name}: batch") // settings.accumulate
        if settings.batch % (self.ranks.world * settings.accumulate):
            raise UsageError(
                f"{training.name}: a batch of {settings.batch} cannot be taken in {settings.accumulate} parts by "
                f"{self.ranks.world} processes"
            )
        parameters = [p for p in training.module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
        self.numbers = Numbers(settings.precision, self.ranks.device)
        self.average = WeightAverage(training.module, settings.weights_ema) if settings.weights_ema else None
        self.step, self.cursor = 0, Cursor()
        self.standing = Standing()
        self._recent: list[dict[str, Any]] = []
        self._take_up(force)
        whole = LossOf(training.module)
        self._whole: Any = _shared(whole) if self.ranks.world > 1 else whole
        self._compiled = self._compile()

    def _take_up(self, force: bool) -> None:
        folder = self.training.folder
        if self.ranks.leads:
            if force and folder.exists():
                shutil.rmtree(folder)
            checkpoint.tidy(folder)
        self.ranks.wait()
        found = checkpoint.latest(folder)
        if found is None:
            return
        try:
            if found.state["about"] != self.training.about:
                raise UsageError(
                    f"{folder} was trained otherwise:\n  {_difference(found.state['about'], self.training.about)}",
                    hint="--force starts this training again from nothing",
                )
            self._load(found)
        except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise FatalError(
                f"{found.folder} does not hold what this training needs: {error}",
                hint="remove this checkpoint; the one before is used then",
            ) from None

    def _load(self, found: checkpoint.Checkpoint) -> None:
        self.training.module.load_state_dict(found.model())
        checkpoint.restore(self.optimizer, found.optimizer())
        if self.average is not None:
            self.average.load(found.average())
        self.numbers.load(found.state["scaler"])
        torch.set_rng_state(torch.tensor(found.state["rng"], dtype=torch.uint8))
        self.step, self.cursor = found.step, Cursor(**found.state["cursor"])
        self.standing = Standing(**found.state["standing"])
        self._recent = found.state["recent"]

    def _compile(self) -> _Call:
        wanted = self.training.optimisation.compile
        if not (wanted if wanted is not None else self.ranks.device.type == "cuda"):
            return self._whole  # type: ignore[no-any-return]
        # Trainings before this one in the process, as `v2a tune` has them, would make torch compile for changing
        # sizes, which is slower to run, and after eight of them not at all.
        torch.compiler.reset()
        return torch.compile(self._whole)  # type: ignore[no-any-return]

    @property
    def finished(self) -> bool:
        """All steps are done, or the validations have stopped getting better."""
        settings = self.training.optimisation
        return self.step >= settings.steps or 0 < settings.patience <= self.standing.without_better

    def run(self, stream: ShardStream) -> Trained:
        """Train to the end; a stopped run leaves a checkpoint to go on from."""
        training, settings = self.training, self.training.optimisation
        batches: Iterator[Crops] = iter(stream)
        training.module.train()
        with ExitStack() as stack:
            journal = stack.enter_context(self._journal()) if self.ranks.leads and not self.finished else None
            title = f"train {training.name}"
            progress = stack.enter_context(self.console.progress(title, settings.steps, "steps", self.step))
            stop = stack.enter_context(stop_signals())
            while not self.finished:
                crops = next(batches)
                epoch = self._turn(stream.cursor.epoch)
                self._one(crops)
                if journal is not None and epoch:
                    journal.figures(self.step, epoch)
                progress.step()
                self._after(stream, journal, stop.asked)
        self.ranks.wait()  # what comes next reads the last checkpoint
        training.module.eval()
        parts = _mean(self._recent)
        complaint = training.complaint(parts)
        if complaint and self.ranks.leads:
            self.console.warn(complaint)
        return Trained(training.name, self.step, parts, complaint, self.standing.figures)

    def _journal(self) -> Journal:
        return Journal(self.training.folder, self.step, self.training.trackers(self.step))

    def _turn(self, epoch: int) -> dict[str, float]:
        """Figures of the epoch before, where the batch at hand is the first of another; they go with its step."""
        ended = epoch != self.cursor.epoch
        self.cursor = Cursor(epoch)
        return {f"epoch/{name}": value for name, value in self.training.epoch_figures().items()} if ended else {}

    def _one(self, crops: Crops) -> None:
        """One optimizer step on this rank's share of a batch."""
        training, settings = self.training, self.training.optimisation
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(settings, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        # The first step runs as it is written: codebooks and levels start there, at which a graph would break.
        loss = self._compiled if self.step else self._whole
        rows = []
        for i in range(settings.accumulate):
            last = i == settings.accumulate - 1
            with self._apart(last):
                with self.numbers.autocast():
                    total, parts = loss(*training.inputs(crops.part(i * self._part, (i + 1) * self._part)))
                self.numbers.scaler.scale(total / settings.accumulate).backward()  # type: ignore[no-untyped-call]
            rows.append({"loss": total.detach(), **parts})
        if settings.clip_norm > 0:
            self.numbers.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(training.module.parameters(), settings.clip_norm)
        self.numbers.scaler.step(self.optimizer)
        self.numbers.scaler.update()
        self.step += 1
        if self.average is not None:
            self.average.update(self.step)
        self._recent = [*self._recent, _mean(rows)][-_LOG_EVERY:]

    def _apart(self, last: bool) -> Any:
        """Gradients of all parts but the last stay with this rank."""
        return nullcontext() if last or self.ranks.world == 1 else self._whole.no_sync()

    def _after(self, stream: ShardStream, journal: Journal | None, asked: bool) -> None:
        """What is due after a step: figures, validation, checkpoint, and the end where it was asked for."""
        settings = self.training.optimisation
        last = self.step == settings.steps
        log = self.step % _LOG_EVERY == 0 or last
        judge = settings.validate_every > 0 and (self.step % settings.validate_every == 0 or last)
        # Ranks agree on a stop where they meet anyway.
        stopped = self.ranks.any(asked) if log else asked and self.ranks.world == 1
        save = self.step % settings.save_every == 0 or last or judge or stopped
        if log or save:
            self._settle()
        if log and journal is not None:
            journal.figures(self.step, _mean(self._recent))
        validation, before = self.training.validation, self.standing.step
        figures = self._judge(validation, journal) if judge and validation is not None else None
        if save:
            self._save(stream)
        if self.standing.step != before and self.ranks.leads:
            checkpoint.keep_best(self.training.folder, self.standing.step)
        if figures is not None:
            self.training.watch(self.step, figures)
        if stopped:
            self.ranks.wait()  # who leaves first makes torchrun end the others, rank 0 while it saves
            raise InterruptedRunError(
                f"stopped at step {self.step}; the checkpoint is kept", hint="run the same command again to go on"
            )

    def _settle(self) -> None:
        """Read the recent figures from the device. Raises `DivergedError` where one is no number."""
        for i, row in enumerate(self._recent):
            names = list(row)
            values = [float(row[name]) for name in names]
            if any(isinstance(value, Tensor) for value in row.values()):
                values = self.ranks.mean(values)
            self._recent[i] = dict(zip(names, values, strict=True))
            for name, value in self._recent[i].items():
                if not math.isfinite(value):
                    step = self.step - len(self._recent) + i
                    raise DivergedError(
                        f"{self.training.name} diverged: {name} is {value} after {step} steps",
                        hint="lower optimisation.lr, raise warmup_steps, or set clip_norm with --set; "
                        "the last checkpoint is kept",
                    )

    def _judge(self, validation: Validation, journal: Journal | None) -> dict[str, float]:
        """Validate on rank 0, with the averaged weights where they are kept, and keep the best."""
        module, figures = self.training.module, dict[str, float]()
        standing = self.standing
        if self.ranks.leads:
            with torch.random.fork_rng(devices=[]), self.average.applied() if self.average else nullcontext():
                module.eval()
                figures = validation.run(self.step, self.training.folder, journal)
                module.train()
                standing = standing.after(self.step, validation.decisive(figures), figures)
                if standing.step == self.step:
                    state = {"step": self.step, "about": self.training.about, "validation": figures}
                    checkpoint.save_best(self.training.folder, module, state)
            if journal is not None:
                journal.figures(self.step, {f"validation/{key}": value for key, value in figures.items()})
        # The other ranks need only to know when it is enough.
        self.standing = replace(standing, without_better=self.ranks.of_lead(standing.without_better))
        return figures

    def _save(self, stream: ShardStream) -> None:
        if not self.ranks.leads:
            return
        state = {
            "step": self.step,
            "cursor": {"epoch": stream.cursor.epoch, "batch": stream.cursor.batch},
            "rng": torch.get_rng_state().tolist(),
            "scaler": self.numbers.state(),
            "standing": self.standing.to_table(),
            "recent": self._recent,
            "about": self.training.about,
        }
        average = self.average.shadow if self.average is not None else None
        checkpoint.save(self.training.folder, self.training.module, self.optimizer, state, average)


def _shared(module: nn.Module) -> nn.Module:
    """Gradients are averaged over the ranks.

    Buffers hold statistics that the models sum over all ranks themselves: rank 0's must not replace them.
    """
    with warnings.catch_warnings():
        # Newer versions of torch have another word for it, older ones know only this one.
        warnings.simplefilter("ignore", FutureWarning)
        return nn.parallel.DistributedDataParallel(module, broadcast_buffers=False, gradient_as_bucket_view=True)


def _mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]} if rows else {}


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    keys = sorted(old.keys() | new.keys())
    return "\n  ".join(f"{key}: {old.get(key)!r} → {new.get(key)!r}" for key in keys if old.get(key) != new.get(key))
