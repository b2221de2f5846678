"""The two trainings of seed paper 000: the VQ-VAE first, then the audio decoder on its frozen codes."""

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from v2a import checkpoint, loop
from v2a.codes import CodeCache
from v2a.colour import rgb
from v2a.config import Optimisation, Stage, TrainConfig, View
from v2a.decode import Form
from v2a.models import MODELS
from v2a.models.base import Batch, CodeShape, Loss, SoundDecoder, VideoEncoder, count_parameters
from v2a.ring import SampleSource
from v2a.stream import Crops, ShardStream, shard_source
from v2a_data.console import Console
from v2a_data.errors import FatalError, UsageError
from v2a_data.recipe import build, digest, to_table
from v2a_data.shards.read import ShardSet

_BYTES_PER_PARAMETER = 16  # weight, gradient and Adam's two moments, float32


@dataclass(frozen=True)
class Context:
    """Where and with what a training runs."""

    config: TrainConfig
    shards: ShardSet
    checkpoints: Path
    workers: int
    console: Console
    force: bool

    @property
    def device(self) -> torch.device:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

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
    torch.manual_seed(context.config.seed)
    model = new_vqvae(stage)
    frames = crop_frames(stage, context.config)
    memory = model.activation_bytes(stage.optimisation.batch, frames, form.height, form.width)
    preflight(stage.model, count_parameters(model), memory, context)
    model = model.to(context.device)

    def loss(crops: Crops) -> Loss:
        return model.loss(to_batch(crops, form, context.device))

    entries = context.shards.split("train")
    source = shard_source(context.shards, entries, form, context.workers)
    return _train(context, stage.model, stage, model, loss, model.complaint, frames, {}, source)


def train_decoder(context: Context) -> loop.Trained:
    """Train the sound decoder of the configured form on the frozen encoder's codes."""
    stage, form = context.config.decoder, context.form
    encoder, found = load_vqvae(context.config, context.checkpoints, context.device)
    shape = code_shape(encoder, context.config)
    config = decoder_config(context.config)
    model_class: type[SoundDecoder] = MODELS[stage.model]
    parameters = model_class.parameters_of(config, shape)
    memory = model_class.activation_bytes(config, shape, stage.optimisation.batch)
    preflight(decoder_name(context.config), parameters, memory, context)
    torch.manual_seed(context.config.seed)
    model = model_class(config, shape).to(context.device)

    entries = context.shards.split("train")
    cache = CodeCache.build(
        encoder,
        context.shards,
        entries,
        form,
        context.checkpoints / context.config.vqvae.model,
        found,
        context.workers,
        context.console,
    )

    def loss(crops: Crops) -> Loss:
        codes = torch.from_numpy(crops.frames).to(context.device).long()
        sound = torch.from_numpy(crops.sound).to(context.device)
        return model.loss(encoder.lookup(codes), sound)

    more = encoder_mark(found)
    name = decoder_name(context.config)
    return _train(context, name, stage, model, loss, lambda parts: None, shape.frames, more, cache)


def _train(
    context: Context,
    name: str,
    stage: Stage,
    model: nn.Module,
    loss: Any,
    complaint: Any,
    frames: int,
    more: dict[str, Any],
    source: SampleSource,
) -> loop.Trained:
    settings: Optimisation = stage.optimisation
    about = {
        "model": name,
        "options": to_table(stage.options),
        "view": to_table(context.config.view),
        "optimisation": to_table(settings),
        "crop_frames": frames,
        "seed": context.config.seed,
        "shards": context.data_hash(),
        **more,
    }
    training = loop.Training(name, model, loss, settings, context.checkpoints / name, about, complaint)
    try:
        optimizer, step, cursor, recent = loop.start(training, force=context.force)
    except BaseException:
        source.close()
        raise
    entries = context.shards.split("train")
    stream = ShardStream(source, entries, frames, settings.batch, context.config.seed, cursor=cursor)
    with stream:
        return loop.run(training, optimizer, step, recent, stream, context.console)


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
    model.load_state_dict(found.model())
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
    model.load_state_dict(found.model())
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
