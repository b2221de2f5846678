"""YUV 4:2:0 planes to RGB, or luma to grey, on the device: the same conversion in training and in `generate`."""

import torch
from torch import Tensor

from v2a.reading.form import Form

# BT.601, limited range: rows give R, G, B from Y - 16, U - 128, V - 128.
_MATRIX = (
    (1.164383, 0.0, 1.596027),
    (1.164383, -0.391762, -0.812968),
    (1.164383, 2.017232, 0.0),
)


def video(planes: Tensor, form: Form) -> Tensor:
    """A form's planes as floats in 0..1: `(B, 3, T, height, width)`, or `(B, 1, T, height, width)` for a grey form."""
    if not form.grey:
        return rgb(planes, form.width, form.height)
    return ((planes[:, None].float() - 16.0) / 219.0).clamp_(0.0, 1.0)


def rgb(planes: Tensor, width: int, height: int) -> Tensor:
    """`(B, T, height * 3 / 2, width)` uint8 → `(B, 3, T, height, width)` float32 in 0..1.

    Chroma is taken from the nearest sample, as the shards' 4:2:0 has it.
    """
    batch, frames = planes.shape[:2]
    flat, size = planes.reshape(batch, frames, -1), width * height
    assert flat.shape[-1] == size * 3 // 2
    # Written once into the result, a block of 2 x 2 under each chroma sample: wide copies of chroma and a table
    # of three channels to multiply would be several times its size.
    luma = flat[..., :size].reshape(batch, frames, height // 2, 2, width // 2, 2).float().sub_(16.0)
    luma.mul_(_MATRIX[0][0] / 255.0)
    chroma = flat[..., size:].reshape(batch, frames, 2, height // 2, width // 2).float().sub_(128.0).div_(255.0)
    out = luma.new_empty((batch, 3, *luma.shape[1:]))
    for channel, (_, u, v) in enumerate(_MATRIX):
        colour = chroma[:, :, 0] * u + chroma[:, :, 1] * v
        torch.add(luma, colour[:, :, :, None, :, None], out=out[:, channel])
    return out.clamp_(0.0, 1.0).reshape(batch, 3, frames, height, width)
