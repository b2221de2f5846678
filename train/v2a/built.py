"""Models by the recipe: new ones, and trained ones out of their checkpoints with the options they were trained with."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from v2a.config import Stage, TrainConfig, View
from v2a.models import MODELS
from v2a.models.base import CodeShape, SoundDecoder, VideoEncoder
from v2a.reading.form import Form
from v2a.training import checkpoint
from v2a_data.errors import UsageError
from v2a_data.recipe import build, digest


def form_of(view: View) -> Form:
    """The view as what decoders of samples need."""
    return Form(view.width, view.height, view.fps, view.rate_hz, view.fit, view.grey)


def decoder_name(config: TrainConfig) -> str:
    """Folder of the decoder's checkpoints: the two forms stand side by side."""
    return f"{config.decoder.model}-{config.form}"


def encoder_mark(found: checkpoint.Checkpoint) -> dict[str, Any]:
    """Which encoder a decoder belongs to: codes of another one mean something else."""
    return {"vqvae_step": found.step, "vqvae": digest([found.state["about"], found.fingerprint()])}


def new_vqvae(stage: Stage, *, grey: bool = False) -> VideoEncoder:
    """The configured video encoder with fresh weights, for pictures in colour or grey ones, as the view says."""
    model_class: type[VideoEncoder] = MODELS[stage.model]
    return model_class(replace(build(model_class.Config, stage.options, "train.vqvae.options"), grey=grey))


def load_vqvae(
    config: TrainConfig, checkpoints: Path, device: torch.device
) -> tuple[VideoEncoder, checkpoint.Checkpoint]:
    """The trained video encoder, with the options it was trained with. Raises `MissingToolError` before it was."""
    found = checkpoint.require(checkpoints / config.vqvae.model, "v2a train vqvae")
    about = found.state["about"]
    grey = about.get("view", {}).get("grey", False)
    model = new_vqvae(replace(config.vqvae, options=about["options"]), grey=grey)
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
