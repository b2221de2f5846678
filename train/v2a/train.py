"""The two trainings of seed paper 000: the VQ-VAE first, then the audio decoder on its frozen codes."""

import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from v2a import checkpoint, loop
from v2a.card import write_card
from v2a.codes import CodeCache
from v2a.colour import rgb
from v2a.config import Stage, TrainConfig, View
from v2a.form import Form
from v2a.held_out import SOUND_BY, HeldOutSound, HeldOutVideo
from v2a.journal import open_trackers
from v2a.models import MODELS
from v2a.models.base import Batch, CodeShape, SoundDecoder, VideoEncoder, count_parameters
from v2a.ranks import Ranks, alone
from v2a.ring import SampleSource
from v2a.stream import Crops, ShardStream, shard_source
from v2a.validation import Validation
from v2a_data.console import Console
from v2a_data.errors import FatalError, UsageError
from v2a_data.recipe import build, digest, to_table
from v2a_data.shards.read import ShardSet

_BYTES_PER_PARAMETER = 16  # weight, gradient and Adam's two moments, float32


@dataclass(frozen=True)
class Context:
    """Where and with what a training runs; `watch` sees each validation and may raise to end it."""

    config: TrainConfig
    shards: ShardSet
    checkpoints: Path
    workers: int
    console: Console
    force: bool
    ranks: Ranks = field(default_factory=alone)
    watch: Callable[[int, dict[str, float]], None] = lambda step, figures: None

    @property
    def device(self) -> torch.device:
        return self.ranks.device

    @property
    def form(self) -> Form:
        return form_of(self.config.view)

    def data_hash(self) -> str:
        """Which samples are trained on; a resumed run must have the same."""
        return digest([[e.key, e.sha256] for e in self.shards.split("train")])


def form_of(view: View) -> Form:
    """The view as what decoders of samples need."""
    return Form(view.width, view.height, view.fps, view.rate_hz, view.fit)


def to_batch(crops: Crops, form: Form, device: torch.device) -> Batch:
    """A host batch on the device, colours converted there."""
    planes = torch.from_numpy(crops.frames).to(device, non_blocking=True)
    sound = torch.from_numpy(crops.sound).to(device, non_blocking=True)
    return Batch(crops.keys, crops.labels, rgb(planes, form.width, form.height), sound)


def decoder_name(config: TrainConfig) -> str:
    """Folder of the decoder's checkpoints: the two forms stand side by side."""
    return f"{config.decoder.model}-{config.form}"


def train_vqvae(context: Context) -> loop.Trained:
    """Train the video encoder; goes on from its newest checkpoint."""
    stage, form = context.config.vqvae, context.form
    seed_all(context.config)
    model = new_vqvae(stage)
    frames = crop_frames(stage, context.config)
    memory = model.activation_bytes(stage.optimisation.batch, frames, form.height, form.width)
    preflight(stage.model, count_parameters(model), memory, context)
    model = model.to(context.device)

    def inputs(crops: Crops) -> tuple[Any, ...]:
        # Keys and labels would make every batch another program to a compiler.
        return (replace(to_batch(crops, form, context.device), keys=(), labels=()),)

    validation = None
    if context.shards.split("validation"):
        validation = Validation(HeldOutVideo(model, context.shards, form, frames), ("psnr_db",))
    source = shard_source(context.shards, context.shards.split("train"), form, context.workers)
    part = _Part(stage.model, stage, model, inputs, model.complaint, frames, validation, model.epoch_figures)
    return _train(context, part, source, {})


def train_decoder(context: Context) -> loop.Trained:
    """Train the sound decoder of the configured form on the frozen encoder's codes."""
    stage, form = context.config.decoder, context.form
    encoder, found = load_vqvae(context.config, context.checkpoints, context.device)
    shape = code_shape(encoder, context.config)
    config = decoder_config(context.config)
    model_class: type[SoundDecoder] = MODELS[stage.model]
    name = decoder_name(context.config)
    parameters = model_class.parameters_of(config, shape)
    memory = model_class.activation_bytes(config, shape, stage.optimisation.batch)
    preflight(name, parameters, memory, context)
    seed_all(context.config)
    model = model_class(config, shape).to(context.device)
    cache = _cached(context, encoder, found)

    def inputs(crops: Crops) -> tuple[Any, ...]:
        codes = torch.from_numpy(crops.frames).to(context.device).long()
        sound = torch.from_numpy(crops.sound).to(context.device)
        return encoder.lookup(codes), sound

    validation = None
    if context.shards.split("validation"):
        held_out = HeldOutSound(model, encoder, context.shards, form, stage.optimisation.batch)
        validation = Validation(held_out, SOUND_BY)
    part = _Part(name, stage, model, inputs, lambda parts: None, shape.frames, validation)
    return _train(context, part, cache, encoder_mark(found))


def _cached(context: Context, encoder: VideoEncoder, found: checkpoint.Checkpoint) -> CodeCache:
    """The training set as codes: made by rank 0, read by all."""

    def build() -> CodeCache:
        return CodeCache.build(
            encoder,
            context.shards,
            context.shards.split("train"),
            context.form,
            context.checkpoints / context.config.vqvae.model,
            found,
            context.workers,
            context.console,
        )

    if context.ranks.leads:
        cache = build()
        context.ranks.wait()
        return cache
    context.ranks.wait()
    return build()


@dataclass(frozen=True)
class _Part:
    """One of the two trainings, as `_train` takes it."""

    name: str
    stage: Stage
    model: nn.Module
    inputs: Callable[[Crops], tuple[Any, ...]]
    complaint: Callable[[dict[str, float]], str | None]
    frames: int
    validation: Validation | None
    epoch_figures: Callable[[], dict[str, float]] = dict


def _train(context: Context, part: _Part, source: SampleSource, more: dict[str, Any]) -> loop.Trained:
    config, settings, ranks = context.config, part.stage.optimisation, context.ranks
    about = {
        "model": part.name,
        "options": to_table(part.stage.options),
        "view": to_table(config.view),
        "optimisation": to_table(settings),
        "crop_frames": part.frames,
        "seed": config.seed,
        "shards": context.data_hash(),
        **more,
    }
    folder = context.checkpoints / part.name
    training = loop.Training(
        part.name,
        part.model,
        part.inputs,
        settings,
        folder,
        about,
        part.complaint,
        part.validation,
        part.epoch_figures,
        lambda step: open_trackers(config.trackers, folder, f"{part.name}-{digest(about)[:8]}", step, about),
        context.watch,
        ranks,
    )
    try:
        trainer = loop.Trainer(training, context.console, force=context.force)
    except BaseException:
        source.close()
        raise
    entries = context.shards.split("train")
    stream = ShardStream(
        source,
        entries,
        part.frames,
        settings.batch,
        config.seed,
        cursor=trainer.cursor,
        rank=ranks.rank,
        world=ranks.world,
    )
    with stream:
        trained = trainer.run(stream)
    if ranks.leads:
        write_card(folder, part.model, trained, about, context.shards)
    return trained


def seed_all(config: TrainConfig) -> None:
    """Seed every generator; with `deterministic`, refuse operations whose result varies from run to run."""
    torch.manual_seed(config.seed)
    torch.use_deterministic_algorithms(config.deterministic)
    torch.backends.cudnn.benchmark = not config.deterministic
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def encoder_mark(found: checkpoint.Checkpoint) -> dict[str, Any]:
    """Which encoder a decoder belongs to: codes of another one mean something else."""
    return {"vqvae_step": found.step, "vqvae": digest(found.state["about"])}


def new_vqvae(stage: Stage) -> VideoEncoder:
    """The configured video encoder with fresh weights."""
    model_class: type[VideoEncoder] = MODELS[stage.model]
    return model_class(build(model_class.Config, stage.options, "train.vqvae.options"))


def load_vqvae(
    config: TrainConfig, checkpoints: Path, device: torch.device
) -> tuple[VideoEncoder, checkpoint.Checkpoint]:
    """The trained video encoder, with the options it was trained with. Raises `MissingToolError` before it was."""
    found = checkpoint.require(checkpoints / config.vqvae.model, "v2a train vqvae")
    model = new_vqvae(replace(config.vqvae, options=found.state["about"]["options"]))
    model.load_state_dict(found.weights())
    return model.to(device).eval().requires_grad_(False), found


def load_decoder(
    config: TrainConfig,
    checkpoints: Path,
    encoder: VideoEncoder,
    encoder_checkpoint: checkpoint.Checkpoint,
    device: torch.device,
) -> tuple[SoundDecoder, View]:
    """The trained sound decoder of the configured form, and the view it was trained with.

    Raises `MissingToolError` before it was trained, `UsageError` where that was on another encoder.
    """
    found = checkpoint.require(checkpoints / decoder_name(config), "v2a train decoder")
    about = found.state["about"]
    mark = encoder_mark(encoder_checkpoint)
    if {key: about.get(key) for key in mark} != mark:
        raise UsageError(
            f"{found.folder} was trained on codes of another encoder than {encoder_checkpoint.folder}",
            hint="`v2a train decoder --force` trains it on this one",
        )
    config = replace(
        config,
        decoder=replace(config.decoder, options=about["options"]),
        view=build(View, about["view"], f"{found.folder}: view"),
    )
    model_class: type[SoundDecoder] = MODELS[config.decoder.model]
    model = model_class(decoder_config(config), code_shape(encoder, config))
    model.load_state_dict(found.weights())
    return model.to(device).eval().requires_grad_(False), config.view


def decoder_config(config: TrainConfig) -> Any:
    """The decoder's options with the form of the recipe."""
    model_class: type[SoundDecoder] = MODELS[config.decoder.model]
    return replace(build(model_class.Config, config.decoder.options, "train.decoder.options"), form=config.form)


def code_shape(encoder: VideoEncoder, config: TrainConfig) -> CodeShape:
    """What the encoder gives for one crop of the view's seconds."""
    form = form_of(config.view)
    time, rows, columns = encoder.stride
    frames = round(config.view.seconds * config.view.fps)
    if frames % time:
        raise UsageError(f"train.view.seconds: {frames} frames are no multiple of the encoder's stride {time}")
    return CodeShape(
        frames // time,
        -(-form.height // rows),
        -(-form.width // columns),
        encoder.dim,
        form.samples_per_frame * time,
        form.rate_hz,
    )


def crop_frames(stage: Stage, config: TrainConfig) -> int:
    """Frames of a crop: the stage's own length where it has one, else the view's."""
    return round((stage.seconds or config.view.seconds) * config.view.fps)


def preflight(name: str, parameters: int, activations: int, context: Context) -> None:
    """Print parameters and memory. Raises `FatalError` with advice where it would not fit."""
    needed = parameters * _BYTES_PER_PARAMETER + activations
    free = free_memory(context.device)
    size = f"{parameters / 1e6:.2f} M parameters, about {needed / 1e9:.2f} GB to train"
    context.console.say(f"{name}: {size} on {context.device} ({free / 1e9:.1f} GB free)")
    if needed > free:
        raise FatalError(
            f"{name} needs about {needed / 1e9:.1f} GB to train, {context.device} has {free / 1e9:.1f} GB free",
            hint="lower batch, view, hidden or channels; use form = 'tied' instead of 'literal'; or a larger GPU",
        )


def free_memory(device: torch.device) -> int:
    """Bytes that a training may take."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return min(int(psutil.virtual_memory().available), _left_to_this_group())


def _left_to_this_group() -> int:
    """What a container's limit leaves (cgroup v2), no bound without one."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, used = ((folder / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return sys.maxsize
    return int(limit) - int(used) if limit.isdecimal() else sys.maxsize


def sizes(context: Context) -> list[dict[str, Any]]:
    """Parameters and bytes to train of both models, before anything is built or read."""
    config, form = context.config, context.form
    encoder = new_vqvae(config.vqvae)
    frames = crop_frames(config.vqvae, config)
    shape, options = code_shape(encoder, config), decoder_config(config)
    decoder_class: type[SoundDecoder] = MODELS[config.decoder.model]
    rows = (
        (
            config.vqvae.model,
            count_parameters(encoder),
            encoder.activation_bytes(config.vqvae.optimisation.batch, frames, form.height, form.width),
        ),
        (
            decoder_name(config),
            decoder_class.parameters_of(options, shape),
            decoder_class.activation_bytes(options, shape, config.decoder.optimisation.batch),
        ),
    )
    return [
        {"model": name, "parameters": count, "bytes": count * _BYTES_PER_PARAMETER + activations}
        for name, count, activations in rows
    ]


def describe(context: Context) -> dict[str, Any]:
    """The configuration for the run record."""
    return {
        "train": to_table(context.config),
        "samples": len(context.shards.split("train")),
        "form": asdict(context.form) | {"fps": str(context.form.fps)},
    }
