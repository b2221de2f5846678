"""The same VQ-VAE as it is usually written, to compare with: torch's layers, a whole table of distances, one-hot sums.

Quantizer after VideoGPT's (`videogpt/vqvae.py`), colours by repeated chroma and an einsum; parameter and buffer
names are the package's, so that both start from one state.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from v2a.colour import _MATRIX
from v2a.models.base import Batch, Loss
from v2a.models.vqvae3d import Vqvae3d, _kernel, _pad


class PlainVqvae(nn.Module):
    """`Vqvae3d` for `update` gradient or ema, from its state on."""

    def __init__(self, config: Vqvae3d.Config) -> None:
        super().__init__()
        self.config = config
        (first, second), (outer, inner) = config.channels, config.strides
        (k1, s1, p1), (k2, s2, p2) = (_kernel(stride, config.time_kernel) for stride in (outer, inner))
        self.encoder = nn.Sequential(
            nn.Conv3d(3, first, k1, s1, p1, padding_mode="replicate"),
            nn.ReLU(),
            nn.Conv3d(first, second, k2, s2, p2, padding_mode="replicate"),
            nn.ReLU(),
        )
        self.quantizer = PlainQuantizer(config)
        self.decoder = nn.Sequential(
            nn.ConvTranspose3d(second, first, k2, s2, p2),
            nn.ReLU(),
            nn.ConvTranspose3d(first, 3, k1, s1, p1),
            nn.Sigmoid(),
        )

    @classmethod
    def like(cls, model: Vqvae3d) -> "PlainVqvae":
        """With the weights and the codebook of `model`."""
        plain = cls(model.config)
        state = {name: value.clone().contiguous() for name, value in model.state_dict().items()}
        plain.load_state_dict({name: value for name, value in state.items() if "usage" not in name})
        return plain

    def loss(self, batch: Batch) -> Loss:
        """The package's loss and figures."""
        stride = tuple(a * b for a, b in zip(*self.config.strides, strict=True))
        frames, height, width = batch.video.shape[2:]
        values, codebook, commitment, perplexity = self.quantizer(self.encoder(_pad(batch.video, stride)))  # type: ignore[arg-type]
        error = F.mse_loss(self.decoder(values)[:, :, :frames, :height, :width], batch.video)
        total = self.config.reconstruction_weight * error + self.config.commitment_weight * commitment
        if self.config.update == "gradient":
            total = total + self.config.codebook_weight * codebook
        parts = {"reconstruction": error, "codebook": codebook, "perplexity": perplexity}
        return Loss(total, {name: float(value.detach()) for name, value in parts.items()})


class PlainQuantizer(nn.Module):
    def __init__(self, config: Vqvae3d.Config) -> None:
        super().__init__()
        self.config, shape = config, (config.codes, config.channels[1])
        self.book = nn.Parameter(torch.randn(shape), requires_grad=config.update == "gradient")
        self.register_buffer("book_started", torch.ones((), dtype=torch.bool))
        self.register_buffer("counts", torch.ones(config.codes))
        self.register_buffer("sums", torch.zeros(shape))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        vectors = F.layer_norm(x.movedim(1, -1).float(), (x.shape[1],))
        flat = vectors.reshape(-1, vectors.shape[-1])
        with torch.autocast(x.device.type, enabled=False):
            far = (flat**2).sum(dim=1, keepdim=True) - 2 * flat @ self.book.t() + (self.book.t() ** 2).sum(dim=0)[None]
            codes = far.detach().argmin(dim=1)
            chosen_ones = F.one_hot(codes, len(self.book)).type_as(flat)
            chosen = F.embedding(codes, self.book)
            codebook, commitment = F.mse_loss(chosen, flat.detach()), F.mse_loss(flat, chosen.detach())
            self._average(flat.detach(), chosen_ones)
        values = (flat + (chosen - flat).detach()).reshape(vectors.shape).movedim(-1, 1)
        share = chosen_ones.mean(dim=0)
        return values, codebook, commitment, torch.exp(-(share * torch.log(share + 1e-10)).sum())

    @torch.no_grad()
    def _average(self, flat: Tensor, ones: Tensor) -> None:
        self.counts.mul_(self.config.ema_decay).add_(ones.sum(dim=0), alpha=1 - self.config.ema_decay)
        if self.config.update == "ema":
            self.sums.mul_(self.config.ema_decay).add_(ones.t() @ flat, alpha=1 - self.config.ema_decay)
            self.book.copy_(self.sums / self.counts.clamp_min(1e-3)[:, None])
        if self.config.revive_below > 0:
            drawn = torch.rand(len(self.book), dtype=torch.float64).to(flat.device)
            dead = torch.nonzero(self.counts < self.config.revive_below)[:, 0]
            if len(dead):
                picks = flat[(drawn * len(flat)).long()][dead]
                self.book[dead], self.sums[dead] = picks, picks * 2 * self.config.revive_below
                self.counts[dead] = 2 * self.config.revive_below


def plain_rgb(planes: Tensor, width: int, height: int) -> Tensor:
    """`v2a.colour.rgb` as one writes it first."""
    batch, frames = planes.shape[:2]
    flat, size = planes.reshape(batch, frames, -1), width * height
    luma = flat[..., :size].reshape(batch, frames, height, width).float() - 16.0
    chroma = flat[..., size:].reshape(batch, frames, 2, height // 2, width // 2).float() - 128.0
    wide = chroma.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
    yuv = torch.stack([luma, wide[:, :, 0], wide[:, :, 1]], dim=1)
    matrix = torch.tensor(_MATRIX, device=planes.device)
    return (torch.einsum("ij,bjthw->bithw", matrix, yuv) / 255.0).clamp_(0.0, 1.0)
