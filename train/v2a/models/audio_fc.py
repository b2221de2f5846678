"""Fully connected audio decoder of seed paper 000, in two forms.

`literal`, as the paper has it: all codes of a window are flattened, fully connected layers give the
whole waveform through a tanh, mean squared error on the tanh of the sound. It is known to collapse to
silence. `tied`: one small network, shared along time, reads a few neighbouring latent frames and gives
the log-magnitudes of their stretch of sound; Griffin-Lim makes the waveform.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2a.metrics.features import FLOOR, WINDOW, hop
from v2a.models.base import CodeShape, Loss, SoundDecoder

_SQUASH_LIMIT = 0.999999


class AudioFc(SoundDecoder):
    """Quantized video values to sound."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """`context` latent frames are read at once in the tied form; `iterations` of Griffin-Lim.

        `changes` gives the tied form each value less its mean over the stretch: what changes in the picture
        and nothing of what stands still, which a small training set would be recognised by.
        """

        form: Literal["tied", "literal"] = "tied"
        hidden: int = 512
        context: int = 3
        changes: bool = False
        iterations: int = 32

    name: ClassVar[str] = "audio_fc"
    source: ClassVar[str] = "Garrido-Lestache, Mulugeta, Haile 2024, arXiv:2404.17608, section Decoder"
    licence: ClassVar[str] = "Apache-2.0 (own code)"

    def __init__(self, config: Config, shape: CodeShape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        self.hop = hop(shape.rate_hz)
        if shape.samples_per_frame % self.hop:
            raise ValueError(
                f"{shape.samples_per_frame} audio samples per latent frame are not whole hops of {self.hop}"
            )
        self.hops = shape.samples_per_frame // self.hop
        self.bins = WINDOW // 2 + 1
        if config.form == "literal":
            inputs, outputs = shape.frames * shape.per_frame, shape.samples
        else:
            inputs, outputs = config.context * shape.per_frame, self.hops * self.bins
        self.layers = nn.Sequential(
            nn.Linear(inputs, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, outputs),
        )
        self.level_started: Tensor
        self.level: Tensor
        self.spread: Tensor
        self.register_buffer("level_started", torch.zeros((), dtype=torch.bool))
        self.register_buffer("level", torch.zeros(self.bins))
        self.register_buffer("spread", torch.ones(()))

    @classmethod
    def parameters_of(cls, config: Config, shape: CodeShape) -> int:
        """Number of parameters, without building anything."""
        inputs = shape.frames * shape.per_frame if config.form == "literal" else config.context * shape.per_frame
        bins = WINDOW // 2 + 1
        outputs = shape.samples if config.form == "literal" else shape.samples_per_frame // hop(shape.rate_hz) * bins
        return (inputs + 1) * config.hidden + (config.hidden + 1) * config.hidden + (config.hidden + 1) * outputs

    @property
    def whole_windows(self) -> bool:
        """The literal form has one weight per code of a window."""
        return bool(self.config.form == "literal")

    def loss(self, values: Tensor, sound: Tensor) -> Loss:
        """`values` (B, dim, T, h, w) against `sound` (B, samples)."""
        if self.config.form == "literal":
            error = F.mse_loss(self.waveform(values), torch.tanh(sound))
            return Loss(error, {"waveform_mse": error.detach()})
        target = self._log_magnitudes(sound)
        if self.training and not self.level_started:
            self._start(target)
        error = F.mse_loss(self._standardised(values), (target - self.level) / self.spread)
        return Loss(error, {"log_magnitude_mse": error.detach()})

    def waveform(self, values: Tensor) -> Tensor:
        """Literal form: `(B, dim, T, h, w)` of one window → `(B, samples)`, the tanh of the sound."""
        return torch.tanh(self.layers(values.movedim(1, -1).flatten(1)))

    def log_magnitudes(self, values: Tensor) -> Tensor:
        """Tied form: `(B, dim, T, h, w)` → `(B, T · hops, bins)` natural logarithms."""
        return self._standardised(values) * self.spread + self.level

    @torch.inference_mode()
    def generate(self, values: Tensor) -> Tensor:
        """Sound `(B, T · samples_per_frame)` for values of any length (literal: one window)."""
        samples = values.shape[2] * self.shape.samples_per_frame
        if self.config.form == "literal":
            missing = self.shape.frames - values.shape[2]
            padded = F.pad(values, (0, 0, 0, 0, 0, missing), mode="replicate") if missing > 0 else values
            return torch.atanh(self.waveform(padded).clamp(-_SQUASH_LIMIT, _SQUASH_LIMIT))[:, :samples]
        return griffin_lim(self.log_magnitudes(values).exp().transpose(1, 2), self.hop, samples, self.config.iterations)

    @classmethod
    def activation_bytes(cls, config: Config, shape: CodeShape, batch: int) -> int:
        """About what one training step keeps beside the parameters, float32."""
        inputs = shape.frames * shape.per_frame * (config.context if config.form == "tied" else 1)
        return batch * (inputs + 2 * shape.samples * (WINDOW // 2 + 1) // hop(shape.rate_hz)) * 4 * 2

    def _standardised(self, values: Tensor) -> Tensor:
        batch, _, frames = values.shape[:3]
        if self.config.changes:
            values = values - values.mean(dim=2, keepdim=True)
        flat = values.movedim(1, -1).flatten(2)
        side = self.config.context // 2
        padded = F.pad(flat.transpose(1, 2), (side, self.config.context - 1 - side), mode="replicate")
        windows = padded.unfold(2, self.config.context, 1).permute(0, 2, 3, 1).flatten(2)
        return self.layers(windows).reshape(batch, frames * self.hops, self.bins)

    def _log_magnitudes(self, sound: Tensor) -> Tensor:
        window = torch.hann_window(WINDOW, device=sound.device)
        spectra = torch.stft(sound, WINDOW, self.hop, window=window, return_complex=True)
        return spectra.abs().clamp_min(FLOOR).log().transpose(1, 2)[:, : self.shape.frames * self.hops]

    @torch.no_grad()
    def _start(self, target: Tensor) -> None:
        """Mean level per bin and one spread from the first batch, so that the network learns differences."""
        self.level.copy_(target.mean(dim=(0, 1)))
        self.spread.copy_((target - self.level).std().clamp_min(1e-3))
        self.level_started.fill_(True)


def griffin_lim(magnitudes: Tensor, step: int, samples: int, iterations: int) -> Tensor:
    """`(B, bins, frames)` magnitudes → `(B, samples)`; fast Griffin-Lim (Perraudin et al. 2013), phase from zero."""
    window = torch.hann_window(WINDOW, device=magnitudes.device)
    # The transform mirrors half a window at both ends: a shorter sound is made longer first.
    length = max(samples, WINDOW)
    # One more column: the transform of `length` samples has length / hop + 1 of them.
    padded = F.pad(magnitudes, (0, length // step + 1 - magnitudes.shape[2]), mode="replicate")
    angles = torch.ones_like(padded, dtype=torch.complex64)
    before = torch.zeros_like(angles)
    for _ in range(iterations):
        sound = torch.istft(padded * angles, WINDOW, step, window=window, length=length)
        rebuilt = torch.stft(sound, WINDOW, step, window=window, return_complex=True)
        moved = rebuilt + 0.99 * (rebuilt - before)
        angles, before = moved / moved.abs().clamp_min(1e-9), rebuilt
    return torch.istft(padded * angles, WINDOW, step, window=window, length=length)[:, :samples]
