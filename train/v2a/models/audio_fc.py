"""Fully connected audio decoder of seed paper 000, in two forms and with three targets.

`literal`, as the paper has it: all codes of a window are flattened and fully connected layers give the whole
window of sound. `tied`: one small network, shared along time, reads a few neighbouring latent frames and gives
their stretch of sound. What they learn (`target`):

  waveform        mean squared error on the samples, through a tanh. The paper's, for the literal form; known to
                  collapse to silence, in the tied form too: phases cannot be told from the picture.
  mr_stft         samples through a tanh, judged by their spectra at three resolutions (`mr_stft.py`). For either
                  form where a waveform is wanted that phases do not decide.
  log_magnitude   logarithms of a spectrogram, which Griffin-Lim makes sound of. For the tied form; the literal one
                  has 1.6 times the outputs then.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2a.metrics.features import FLOOR, WINDOW, hop
from v2a.models import joined
from v2a.models.base import CodeShape, Loss, SoundDecoder
from v2a.models.drawn import drawn
from v2a.models.mr_stft import mr_stft
from v2a_data.errors import UsageError

_SQUASH_LIMIT = 0.999999
_BINS = WINDOW // 2 + 1
_LEAST = {"hidden": 1, "context": 1, "narrow": 0, "moved": 0, "iterations": 0}

Target = Literal["waveform", "mr_stft", "log_magnitude"]


class AudioFc(SoundDecoder):
    """Quantized video values to sound."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """`context` latent frames are read at once in the tied form; `iterations` of Griffin-Lim.

        `target` is the form's own where it is not named: waveform for literal, log_magnitude for tied. `squash` is
        what targets of samples go through: the paper's tanh, undone at generation, or nothing. `changes` gives the
        tied form each value less its mean over the stretch: what changes in the picture and nothing of what stands
        still, which a small training set would be recognised by. Two more of its means against learning by heart:
        `narrow` values of each code are read, which one layer for all places makes first (0: the code's own); in
        training, the code maps of a clip are `moved` by up to so many rows and columns, their edges repeated.
        """

        form: Literal["tied", "literal"] = "tied"
        target: Target | None = None
        squash: Literal["tanh", "none"] = "tanh"
        hidden: int = 512
        context: int = 3
        changes: bool = False
        narrow: int = 0
        moved: int = 0
        iterations: int = 32

        def __post_init__(self) -> None:
            for name, least in _LEAST.items():
                if getattr(self, name) < least:
                    raise UsageError(f"audio_fc: {name}: at least {least}, got {getattr(self, name)}")

        @property
        def learns(self) -> Target:
            """The target, or the form's own."""
            return self.target or ("waveform" if self.form == "literal" else "log_magnitude")

    name: ClassVar[str] = "audio_fc"
    source: ClassVar[str] = "Garrido-Lestache, Mulugeta, Haile 2024, arXiv:2404.17608, section Decoder"
    licence: ClassVar[str] = "Apache-2.0 (own code)"

    def __init__(self, config: Config, shape: CodeShape) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        if config.moved >= min(shape.height, shape.width):
            raise UsageError(
                f"audio_fc: moved: {config.moved} would leave nothing of code maps of {shape.height}x{shape.width}"
            )
        self.hop = hop(shape.rate_hz)
        if shape.samples_per_frame % self.hop:
            raise ValueError(
                f"{shape.samples_per_frame} audio samples per latent frame are not whole hops of {self.hop}"
            )
        self.hops = shape.samples_per_frame // self.hop
        inputs, outputs = _sizes(config, shape)
        self.narrow = nn.Linear(shape.dim, config.narrow, bias=False) if _narrows(config) else nn.Identity()
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
        self.register_buffer("level", torch.zeros(_BINS))
        self.register_buffer("spread", torch.ones(()))
        # What the buffer says, on the host: asking a GPU in every step would make the host wait.
        self._known_started = False
        self.register_load_state_dict_post_hook(_ask_again)

    @classmethod
    def parameters_of(cls, config: Config, shape: CodeShape) -> int:
        """Number of parameters, without building anything."""
        inputs, outputs = _sizes(config, shape)
        hidden, shared = config.hidden, shape.dim * config.narrow if _narrows(config) else 0
        return shared + (inputs + 1) * hidden + (hidden + 1) * hidden + (hidden + 1) * outputs

    @property
    def whole_windows(self) -> bool:
        """The literal form has one weight per code of a window."""
        return bool(self.config.form == "literal")

    def loss(self, values: Tensor, sound: Tensor) -> Loss:
        """`values` (B, dim, T, h, w) against `sound` (B, samples)."""
        if self.config.learns == "log_magnitude":
            target = self._log_magnitudes(sound)
            if self.training and not self._known_started:
                self._start_once(target)
            error = F.mse_loss(self._standardised(values), (target - self.level) / self.spread)
            return Loss(error, {"log_magnitude_mse": error.detach()})
        target = torch.tanh(sound) if self.config.squash == "tanh" else sound
        if self.config.learns == "mr_stft":
            error = mr_stft(self.waveform(values), target)
            return Loss(error, {"mr_stft": error.detach()})
        error = F.mse_loss(self.waveform(values), target)
        return Loss(error, {"waveform_mse": error.detach()})

    def waveform(self, values: Tensor) -> Tensor:
        """Targets of samples: `(B, dim, T, h, w)` → `(B, T · samples per frame)` in −1..1, squashed as they are."""
        return torch.tanh(self._read(values)).flatten(1)

    def log_magnitudes(self, values: Tensor) -> Tensor:
        """Target log_magnitude: `(B, dim, T, h, w)` → `(B, T · hops, bins)` natural logarithms."""
        return self._standardised(values) * self.spread + self.level

    @torch.inference_mode()
    def generate(self, values: Tensor) -> Tensor:
        """Sound `(B, T · samples_per_frame)` for values of any length (literal: up to one window)."""
        samples = values.shape[2] * self.shape.samples_per_frame
        missing = self.shape.frames - values.shape[2]
        if self.config.form == "literal" and missing > 0:
            values = F.pad(values, (0, 0, 0, 0, 0, missing), mode="replicate")
        if self.config.learns == "log_magnitude":
            magnitudes = self.log_magnitudes(values)[:, : samples // self.hop].exp().transpose(1, 2)
            return griffin_lim(magnitudes, self.hop, samples, self.config.iterations)
        sound = self.waveform(values)[:, :samples]
        return torch.atanh(sound.clamp(-_SQUASH_LIMIT, _SQUASH_LIMIT)) if self.config.squash == "tanh" else sound

    @classmethod
    def activation_bytes(cls, config: Config, shape: CodeShape, batch: int) -> int:
        """About what one training step keeps beside the parameters, float32."""
        inputs, _ = _sizes(config, shape)
        inputs = shape.frames * (inputs + shape.per_frame) if config.form == "tied" else inputs
        return batch * (inputs + 2 * shape.samples * _BINS // hop(shape.rate_hz)) * 4 * 2

    def _standardised(self, values: Tensor) -> Tensor:
        return self._read(values).reshape(len(values), -1, _BINS)

    def _read(self, values: Tensor) -> Tensor:
        """What the layers give: `(B, outputs)` of the whole window, or `(B, T, outputs)` frame by frame."""
        if self.config.form == "literal":
            return self.layers(values.movedim(1, -1).flatten(1))
        if self.training and self.config.moved:
            values = moved(values, self.config.moved)
        if self.config.changes:
            values = values - values.mean(dim=2, keepdim=True)
        flat = self.narrow(values.movedim(1, -1)).flatten(2)
        side = self.config.context // 2
        padded = F.pad(flat.transpose(1, 2), (side, self.config.context - 1 - side), mode="replicate")
        return self.layers(padded.unfold(2, self.config.context, 1).permute(0, 2, 3, 1).flatten(2))

    def _log_magnitudes(self, sound: Tensor) -> Tensor:
        window = torch.hann_window(WINDOW, device=sound.device)
        spectra = torch.stft(sound, WINDOW, self.hop, window=window, return_complex=True)
        return spectra.abs().clamp_min(FLOOR).log().transpose(1, 2)[:, : self.shape.frames * self.hops]

    def _start_once(self, target: Tensor) -> None:
        if not self.level_started:
            self._start(target)
        self._known_started = True

    @torch.no_grad()
    def _start(self, target: Tensor) -> None:
        """Mean level per bin and one spread from the first batch of all ranks: the network learns differences."""
        count = joined.summed(torch.tensor(float(target.shape[0] * target.shape[1]), device=target.device))
        self.level.copy_(joined.summed(target.sum(dim=(0, 1))) / count)
        squares = joined.summed((target - self.level).square().sum())
        self.spread.copy_((squares / (count * _BINS)).sqrt().clamp_min(1e-3))
        self.level_started.fill_(True)


def _ask_again(module: nn.Module, _: object) -> None:
    """Another state was loaded: its buffer says whether the level is known."""
    module._known_started = bool(module.level_started)  # type: ignore[assignment]


def moved(values: Tensor, most: int) -> Tensor:
    """`(B, dim, T, h, w)` with each clip's maps moved by whole rows and columns, up to `most`; edges are repeated."""
    rows, columns = (
        (torch.arange(size, device=values.device) + step[:, None]).clamp(0, size - 1)
        for size, step in zip(values.shape[3:], _steps(values, most), strict=True)
    )
    clips = torch.arange(len(values), device=values.device)[:, None, None]
    return values.movedim((3, 4), (1, 2))[clips, rows[:, :, None], columns[:, None]].movedim((1, 2), (3, 4))


def _steps(values: Tensor, most: int) -> Tensor:
    """`(2, B)` whole numbers in −most..most, drawn for the clips of all ranks: N ranks move clips as one would."""
    first, total = joined.place(len(values))
    steps = (drawn(values, 2 * total) * (2 * most + 1)).long() - most
    return steps.reshape(2, total)[:, first : first + len(values)]


def _narrows(config: AudioFc.Config) -> bool:
    return config.form == "tied" and config.narrow > 0


def _sizes(config: AudioFc.Config, shape: CodeShape) -> tuple[int, int]:
    """Inputs and outputs of the layers."""
    per_frame = shape.samples_per_frame
    if config.learns == "log_magnitude":
        per_frame = per_frame // hop(shape.rate_hz) * _BINS
    if config.form == "literal":
        return shape.frames * shape.per_frame, shape.frames * per_frame
    read = shape.per_frame // shape.dim * config.narrow if _narrows(config) else shape.per_frame
    return config.context * read, per_frame


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
