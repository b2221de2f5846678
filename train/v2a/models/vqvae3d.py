"""3D VQ-VAE of seed paper 000 (Garrido-Lestache et al. 2024).

Encoder: two strided Conv3d, each with a ReLU, then the vector quantizer. Decoder: transposed
convolutions with ReLU between and a Sigmoid at the end. Losses: reconstruction, codebook and
commitment, straight-through gradient. The paper names no strides, widths or weights; these are fields.
"""

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from v2a.models.base import Batch, Loss, Stride, VideoEncoder
from v2a.models.convolution import LAST, BlockConv3d, BlockTranspose3d, Conv3d
from v2a.models.fsq import Fsq
from v2a.models.quantizer import Quantized, Quantizer
from v2a_data.errors import UsageError

_LOW_PERPLEXITY = 8.0


@dataclass(frozen=True)
class Reconstruction:
    """`video` (B, C, T, h, w) in 0..1, and what the quantizer gave."""

    video: Tensor
    quantized: Quantized


class Vqvae3d(VideoEncoder):
    """Video to discrete codes and back; any length and size is padded by its last frame and row and cropped."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Channels and strides (time, height, width) of the two convolutions; codebook; loss weights.

        `update` is how codes are learned: by gradient as in the paper, by moving averages, or `fsq`, a fixed grid
        of `levels` per channel, whose product is then the number of codes. `init` is where the codebook starts.
        `grey` is the view's: one channel in and out.
        """

        channels: tuple[int, int] = (64, 128)
        strides: tuple[Stride, Stride] = ((1, 2, 2), (1, 2, 2))
        time_kernel: int = 3
        codes: int = 512
        update: Literal["gradient", "ema", "fsq"] = "gradient"
        levels: tuple[int, ...] = ()
        init: Literal["batch", "kmeans"] = "batch"
        ema_decay: float = 0.99
        revive_below: float = 0.0
        reconstruction_weight: float = 1.0
        codebook_weight: float = 1.0
        commitment_weight: float = 0.25
        grey: bool = False

    name: ClassVar[str] = "vqvae3d"
    source: ClassVar[str] = "Garrido-Lestache, Mulugeta, Haile 2024, arXiv:2404.17608, section Encoder"
    licence: ClassVar[str] = "Apache-2.0 (own code)"

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.time_kernel % 2 == 0:
            raise UsageError(
                f"time_kernel: an odd number of frames, got {config.time_kernel}; even ones change lengths"
            )
        self.config = config
        first, second = config.channels
        shown = 1 if config.grey else 3
        self.encoder = nn.Sequential(
            BlockConv3d(shown, first, *_kernel(config.strides[0], config.time_kernel)),
            nn.ReLU(inplace=True),
            Conv3d(first, second, *_kernel(config.strides[1], config.time_kernel)),
            nn.ReLU(inplace=True),
        )
        self.quantizer = _quantizer(config)
        self.decoder = nn.Sequential(
            nn.ConvTranspose3d(second, first, *_kernel(config.strides[1], config.time_kernel)),
            nn.ReLU(inplace=True),
            BlockTranspose3d(first, shown, *_kernel(config.strides[0], config.time_kernel)),
            nn.Sigmoid(),
        )
        # By hand: no pass of torch.compile does it for three dimensions. State dicts stay as they were.
        self.to(memory_format=LAST)

    @property
    def stride(self) -> Stride:
        """How many input frames, rows and columns stand behind one code."""
        (a, b, c), (d, e, f) = self.config.strides
        return a * d, b * e, c * f

    @property
    def reach(self) -> int:
        """Half the time kernels of both convolutions, in input frames."""
        first, second = (_kernel(stride, self.config.time_kernel)[0][0] for stride in self.config.strides)
        return first // 2 + second // 2 * self.config.strides[0][0]

    @property
    def dim(self) -> int:
        return self.config.channels[1]

    @property
    def grey(self) -> bool:
        return self.config.grey

    @property
    def codes(self) -> int:
        return prod(self.config.levels) if self.config.update == "fsq" else self.config.codes

    def epoch_figures(self) -> dict[str, float]:
        """`codes_used` and `epoch_perplexity` over all ranks since the last call, which starts them again."""
        return self.quantizer.usage.take()

    def lookup(self, codes: Tensor) -> Tensor:
        """Codes `(B, T, h, w)` → values `(B, dim, T, h, w)`."""
        return self.quantizer.lookup(codes)  # type: ignore[no-any-return]

    def encode(self, video: Tensor) -> Quantized:
        """`(B, C, T, h, w)` in 0..1 → codes `(B, ceil(T / st), ceil(h / sh), ceil(w / sw))`."""
        return self.quantizer(self.encoder(_pad(video, self.stride)))  # type: ignore[no-any-return]

    def decode(self, values: Tensor, frames: int, height: int, width: int) -> Tensor:
        """Quantized values back to `(B, C, frames, height, width)`."""
        return self.decoder(values)[:, :, :frames, :height, :width]  # type: ignore[no-any-return]

    def forward(self, video: Tensor) -> Reconstruction:
        """Encode, quantize and decode; the shape stays."""
        quantized = self.encode(video)
        return Reconstruction(self.decode(quantized.values, *video.shape[2:]), quantized)

    def loss(self, batch: Batch) -> Loss:
        """Weighted sum of the three losses."""
        out = self(batch.video)
        weights = self.config
        error = F.mse_loss(out.video, batch.video)
        total = (
            weights.reconstruction_weight * error
            + weights.commitment_weight * out.quantized.commitment_loss
            + (weights.codebook_weight * out.quantized.codebook_loss if weights.update == "gradient" else 0.0)
        )
        parts = {
            "reconstruction": error.detach(),
            "psnr_db": -10 * torch.log10(error.detach().clamp_min(1e-10)),
            "codebook": out.quantized.codebook_loss.detach(),
            "perplexity": out.quantized.perplexity.detach(),
        }
        return Loss(total, parts)

    def complaint(self, parts: dict[str, float]) -> str | None:
        """What to say loudly when training went wrong in the way this model does."""
        found = parts.get("perplexity", _LOW_PERPLEXITY)
        if found >= _LOW_PERPLEXITY:
            return None
        return (
            f"codebook collapse: perplexity {found:.1f} of {self.codes} codes. The codes carry next to nothing; "
            "try update = 'ema', a lower lr, or a smaller commitment_weight"
        )

    def activation_bytes(self, batch: int, frames: int, height: int, width: int) -> int:
        """About what one training step keeps in memory, float32: every layer's output and its gradient."""
        (t1, h1, w1), (t, h, w) = self.config.strides[0], self.stride
        outer = frames * height * width
        inner = outer // (t1 * h1 * w1)
        core = outer // (t * h * w)
        elements = (
            (1 if self.grey else 3) * 2 * outer
            + 4 * self.config.channels[0] * inner
            + 6 * self.config.channels[1] * core
        )
        return batch * elements * 4 * 2


def _quantizer(config: Vqvae3d.Config) -> Quantizer | Fsq:
    if bool(config.levels) != (config.update == "fsq"):
        raise UsageError("levels: update = 'fsq' needs them, and they belong to no other update")
    if config.update == "fsq":
        return Fsq(config.levels, config.channels[1])
    return Quantizer(
        config.codes, config.channels[1], config.update, config.ema_decay, config.revive_below, config.init
    )


def _kernel(stride: Stride, time_kernel: int) -> tuple[Stride, Stride, Stride]:
    """Kernel, stride and padding for which output = input / stride exactly: a kernel of about twice the stride,
    an odd one where it is 1."""
    unstrided = (time_kernel, 3, 3)
    kernel = tuple(odd if s == 1 else s + s // 2 * 2 for s, odd in zip(stride, unstrided, strict=True))
    padding = tuple(odd // 2 if s == 1 else s // 2 for s, odd in zip(stride, unstrided, strict=True))
    return kernel, stride, padding  # type: ignore[return-value]


def _pad(video: Tensor, stride: Stride) -> Tensor:
    missing = [-size % s for size, s in zip(video.shape[2:], stride, strict=True)]
    if not any(missing):
        return video
    frames, rows, columns = missing
    return F.pad(video, (0, columns, 0, rows, 0, frames), mode="replicate")
