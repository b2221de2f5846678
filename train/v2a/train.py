"""The two trainings of seed paper 000: the VQ-VAE first, then the audio decoder on its frozen codes."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from v2a.built import (
    code_shape,
    crop_frames,
    decoder_config,
    decoder_name,
    encoder_mark,
    form_of,
    load_vqvae,
    new_vqvae,
)
from v2a.codes import CodeCache
from v2a.colour import video
from v2a.config import Stage, TrainConfig, View
from v2a.models import MODELS
from v2a.models.base import Batch, SoundDecoder, VideoEncoder, count_parameters
from v2a.reading.form import Form
from v2a.reading.ring import SampleSource
from v2a.reading.sets import data_hash, weights_of
from v2a.reading.source import shard_source
from v2a.stream import Crops, ShardStream
from v2a.training import checkpoint, loop
from v2a.training.card import write_card
from v2a.training.held_out import SOUND_BY, HeldOutSound, HeldOutVideo
from v2a.training.journal import open_trackers
from v2a.training.memory import clips_at_once, preflight
from v2a.training.precision import kind_of
from v2a.training.ranks import Ranks, alone
from v2a.training.self_check import check_conv3d
from v2a.training.upload import Upload
from v2a.training.validation import Validation
from v2a_data.console import Console
from v2a_data.recipe import digest, to_table
from v2a_data.shards.read import ShardSet


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

    def data_hash(self) -> str | list[list[str | float]]:
        """Which samples are trained on, of several sets each with its weight; a resumed run must have the same."""
        return data_hash(self.shards)


def train_vqvae(context: Context) -> loop.Trained:
    """Train the video encoder; goes on from its newest checkpoint."""
    stage, form = context.config.vqvae, context.form
    seed_all(context.config)
    check_conv3d(context.device, kind_of(stage.optimisation.precision, context.device) or torch.float32)
    model = new_vqvae(stage, grey=form.grey)
    frames = crop_frames(stage, context.config)
    memory = model.activation_bytes(
        clips_at_once(stage.optimisation, context.ranks.world), frames, form.height, form.width
    )
    preflight(stage.model, count_parameters(model), memory, stage.optimisation, context.device, context.console)
    model = model.to(context.device)

    upload = Upload(context.device)

    def inputs(crops: Crops) -> tuple[Any, ...]:
        planes, sound = upload(crops.frames, crops.sound)
        return (Batch(video(planes, form), sound),)

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
    memory = model_class.activation_bytes(config, shape, clips_at_once(stage.optimisation, context.ranks.world))
    preflight(name, parameters, memory, stage.optimisation, context.device, context.console)
    seed_all(context.config)
    model = model_class(config, shape).to(context.device)
    cache = _cached(context, encoder, found)

    upload = Upload(context.device)

    def inputs(crops: Crops) -> tuple[Any, ...]:
        codes, sound = upload(crops.frames, crops.sound)
        return encoder.lookup(codes.long()), sound

    validation = None
    if context.shards.split("validation"):
        held_out = HeldOutSound(
            model, encoder, context.shards, form, stage.optimisation.batch, tile=context.config.view.tile
        )
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
        "view": view_table(config.view),
        "optimisation": to_table(settings),
        "crop_frames": part.frames,
        "seed": config.seed,
        "balance": config.balance,
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
        tile=config.view.tile,
        weights=weights_of(context.shards),
        balance=config.balance,
        report=lambda found: context.console.warn(f"{found}; another takes its place"),
    )
    with stream:
        trained = trainer.run(stream)
    if ranks.leads:
        write_card(folder, part.model, trained, about, context.shards)
    return trained


def view_table(view: View) -> dict[str, Any]:
    """What a resumed run must agree on; checkpoints from before there were grey views go on in colour."""
    return {key: value for key, value in to_table(view).items() if key != "grey" or value}


def seed_all(config: TrainConfig) -> None:
    """Seed every generator; with `deterministic`, refuse operations whose result varies from run to run."""
    torch.manual_seed(config.seed)
    torch.use_deterministic_algorithms(config.deterministic)
    torch.backends.cudnn.benchmark = not config.deterministic
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def describe(context: Context) -> dict[str, Any]:
    """The configuration for the run record."""
    return {
        "train": to_table(context.config),
        "samples": len(context.shards.split("train")),
        "form": asdict(context.form) | {"fps": str(context.form.fps)},
    }
