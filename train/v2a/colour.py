"""YUV 4:2:0 planes to RGB, or luma to grey, on the device: the same conversion in training and in `generate`."""

import torch
from torch import Tensor

# BT.601, limited range: rows give R, G, B from Y - 16, U - 128, V - 128.
_MATRIX = (
    (1.164383, 0.0, 1.596027),
    (1.164383, -0.391762, -0.812968),
    (1.164383, 2.017232, 0.0),
)


def video(planes: Tensor, width: int, height: int, *, grey: bool = False) -> Tensor:
    """A form's planes as floats in 0..1: `(B, 3, T, height, width)`, or `(B, 1, T, height, width)` for a grey form."""
    if not grey:
        return rgb(planes, width, height)
    return ((planes[:, None].float() - 16.0) / 219.0).clamp_(0.0, 1.0)


def rgb(planes: Tensor, width: int, height: int) -> Tensor:
    """`(B, T, height * 3 / 2, width)` uint8 → `(B, 3, T, height, width)` float32 in 0..1.

    Chroma is taken from the nearest sample, as the shards' 4:2:0 has it.
    """
    batch, frames = planes.shape[:2]
    flat = planes.reshape(batch, frames, -1)
    luma_size, chroma_size = width * height, width * height // 4
    luma = flat[..., :luma_size].reshape(batch, frames, height, width).float() - 16.0
    chroma = flat[..., luma_size:].reshape(batch, frames, 2, height // 2, width // 2).float() - 128.0
    assert chroma_size * 2 + luma_size == flat.shape[-1]
    wide = chroma.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
    yuv = torch.stack([luma, wide[:, :, 0], wide[:, :, 1]], dim=1)
    matrix = torch.tensor(_MATRIX, device=planes.device)
    return (torch.einsum("ij,bjthw->bithw", matrix, yuv) / 255.0).clamp_(0.0, 1.0)
