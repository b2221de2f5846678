"""How near reconstructed pictures are to what was shown: PSNR and SSIM, on the device where the pictures are."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# Wang, Bovik, Sheikh and Simoncelli 2004, Image quality assessment, section III-C, for values in 0..1.
_SIZE, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
# BT.601 luma from R, G, B.
_LUMA = (0.299, 0.587, 0.114)
# A mean squared error below this is 100 dB, as in training.
_LEAST_ERROR = 1e-10


def psnr_db(error: float) -> float:
    """Peak signal-to-noise ratio for a mean squared error of values in 0..1, at most 100 dB."""
    return float(-10 * np.log10(max(error, _LEAST_ERROR)))


def luma(video: Tensor) -> Tensor:
    """RGB `(3, T, h, w)` in 0..1 → `(T, h, w)` in 0..1; grey `(1, T, h, w)` is its own."""
    if len(video) == 1:
        return video[0]
    return torch.einsum("c,cthw->thw", torch.tensor(_LUMA, device=video.device), video)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of `(T, h, w)` in 0..1 → `(T,)`: mean over windows of 11 x 11 px that lie inside.

    Gaussian weights of σ 1.5, not the sample's n − 1. Nothing `(0,)` where the pictures are smaller than a window.
    """
    if min(a.shape[1:]) < _SIZE:
        return a.new_zeros(0)
    # In float64: variances are differences of nearly equal numbers.
    x, y = a.double(), b.double()
    mean_x, mean_y, xx, yy, xy = _blurred(torch.stack([x, y, x * x, y * y, x * y]))
    spread_x, spread_y, both = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    values = (2 * mean_x * mean_y + _C1) * (2 * both + _C2)
    values = values / ((mean_x**2 + mean_y**2 + _C1) * (spread_x + spread_y + _C2))
    return values.mean(dim=(1, 2))


def _blurred(maps: Tensor) -> Tensor:
    """Weighted means `(n, T, h − 10, w − 10)` of maps `(n, T, h, w)`."""
    offsets = torch.arange(_SIZE, device=maps.device, dtype=maps.dtype) - _SIZE // 2
    weights = torch.exp(-(offsets**2) / (2 * _SIGMA**2))
    weights = weights / weights.sum()
    flat = maps.reshape(-1, 1, *maps.shape[2:])
    flat = F.conv2d(F.conv2d(flat, weights.reshape(1, 1, -1, 1)), weights.reshape(1, 1, 1, -1))
    return flat.reshape(*maps.shape[:2], *flat.shape[2:])
