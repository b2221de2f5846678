"""Will it fit? Parameters and memory of a training, said before anything is built or read."""

import sys
from pathlib import Path
from typing import Any

import torch

from v2a.built import code_shape, crop_frames, decoder_config, decoder_name, form_of, new_vqvae
from v2a.config import Optimisation, TrainConfig
from v2a.models import MODELS
from v2a.models.base import SoundDecoder, count_parameters
from v2a.training.errors import NoRoomError
from v2a.training.precision import kind_of
from v2a.training.ranks import Ranks
from v2a_data.console import Console

_BYTES_PER_PARAMETER = 16  # weight, gradient and Adam's two moments, float32
_BYTES_OF_AVERAGE = 4


def clips_at_once(settings: Optimisation, world: int) -> int:
    """Clips of one forward pass: a rank's share of a batch, or a part of it."""
    return max(1, settings.batch // (world * settings.accumulate))


def bytes_to_train(parameters: int, activations: int, settings: Optimisation, device: torch.device) -> int:
    """What a training takes; `activations` as float32, of which half precisions need half."""
    each = _BYTES_PER_PARAMETER + (_BYTES_OF_AVERAGE if settings.weights_ema else 0)
    half = kind_of(settings.precision, device) is not None
    return parameters * each + (activations // 2 if half else activations)


def preflight(
    name: str, parameters: int, activations: int, settings: Optimisation, device: torch.device, console: Console
) -> None:
    """Print parameters and memory. Raises `NoRoomError` with advice where it would not fit."""
    needed = bytes_to_train(parameters, activations, settings, device)
    free = free_memory(device)
    size = f"{parameters / 1e6:.2f} M parameters, about {needed / 1e9:.2f} GB to train"
    console.say(f"{name}: {size} on {device} ({free / 1e9:.1f} GB free)")
    if needed > free:
        raise NoRoomError(
            f"{name} needs about {needed / 1e9:.1f} GB to train, {device} has {free / 1e9:.1f} GB free",
            hint="raise accumulate; lower batch, view, hidden or channels; use form = 'tied' instead of 'literal'; "
            "or a larger GPU",
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


def sizes(config: TrainConfig, ranks: Ranks) -> list[dict[str, Any]]:
    """Parameters and bytes to train of both models on each rank, before anything is built or read."""
    form = form_of(config.view)
    encoder = new_vqvae(config.vqvae, grey=form.grey)
    frames = crop_frames(config.vqvae, config)
    shape, options = code_shape(encoder, config), decoder_config(config)
    decoder_class: type[SoundDecoder] = MODELS[config.decoder.model]
    first, second = config.vqvae.optimisation, config.decoder.optimisation
    clips = clips_at_once(first, ranks.world)
    rows = (
        (
            config.vqvae.model,
            count_parameters(encoder),
            encoder.activation_bytes(clips, frames, form.height, form.width),
            first,
        ),
        (
            decoder_name(config),
            decoder_class.parameters_of(options, shape),
            decoder_class.activation_bytes(options, shape, clips_at_once(second, ranks.world)),
            second,
        ),
    )
    return [
        {"model": name, "parameters": count, "bytes": bytes_to_train(count, activations, settings, ranks.device)}
        for name, count, activations, settings in rows
    ]
