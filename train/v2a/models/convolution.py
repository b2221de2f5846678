"""Three-dimensional convolutions as nn.Conv3d and nn.ConvTranspose3d define them, computed faster.

Weights and state dicts are those of torch's own layers; layouts in memory and the order of the work are not.
Channels lie last. Next to the picture, where there are three of them, blocks of stride x stride x stride pixels
become channels (space to depth), so that matrix units have enough of them to multiply.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LAST = torch.channels_last_3d


class Conv3d(nn.Conv3d):
    """Strided convolution that repeats the border."""

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, T, h, w)` → `(B, outputs, T', h', w')`."""
        return F.conv3d(repeated(x, self.padding), self.weight, self.bias, self.stride)


class BlockConv3d(nn.Conv3d):
    """The same for few input channels, by space to depth: on blocks the kernel has no stride."""

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, T, h, w)`, each side a multiple of its stride → `(B, outputs, T', h', w')`."""
        kernel, padding = _blocks(self.kernel_size, self.stride), [int(n) for n in self.padding]
        # Weights of zero meet what the kernel's last block reaches beyond the padding.
        behind = [(n - 1) * s - before for n, s, before in zip(kernel, self.stride, padding, strict=True)]
        parts = _split(self.weight, kernel, self.stride).permute(0, 3, 5, 7, 1, 2, 4, 6)
        weight = parts.flatten(1, 4).contiguous(memory_format=LAST)
        return F.conv3d(_to_depth(_padded(_lowered(x), padding, behind), self.stride), weight, self.bias)


class BlockTranspose3d(nn.ConvTranspose3d):
    """Transposed convolution to few output channels, by depth to space; kernel = stride + 2 · padding."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """`(B, C, T, h, w)` → `(B, outputs, T · st, h · sh, w · sw)`."""
        kernel = _blocks(self.kernel_size, self.stride)
        # A transposed convolution is one with the kernel turned round.
        parts = _split(self.weight, kernel, self.stride).flip(2, 4, 6).permute(3, 5, 7, 1, 0, 2, 4, 6)
        weight = parts.flatten(0, 3).contiguous(memory_format=LAST)
        bias = None if self.bias is None else self.bias.repeat(len(weight) // self.out_channels)
        out = _from_depth(F.conv3d(x, weight, bias, padding=[n - 1 for n in kernel]), self.stride)
        return _cropped(out, self.padding, [n * s for n, s in zip(x.shape[2:], self.stride, strict=True)])


def repeated(x: Tensor, padding: Sequence[Any]) -> Tensor:
    """`x` (B, C, T, h, w) with its border repeated so often at both ends of each axis, channels last.

    As torch's replicate padding, which on a GPU gives its result channels first.
    """
    return _Repeated.apply(x, tuple(padding))


class _Repeated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, padding: tuple[int, int, int]) -> Tensor:
        ctx.padding = padding
        shape = (*x.shape[:2], *(size + 2 * more for size, more in zip(x.shape[2:], padding, strict=True)))
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=LAST)
        _inside(out, padding).copy_(x)
        # From the innermost axis on: what is copied too early is written over by a later axis.
        for axis, more in reversed(list(enumerate(padding, start=2))):
            if more:
                out.narrow(axis, 0, more).copy_(out.narrow(axis, more, 1))
                out.narrow(axis, -more, more).copy_(out.narrow(axis, -more - 1, 1))
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        total = gradient.clone(memory_format=LAST)
        for axis, more in enumerate(ctx.padding, start=2):
            if more:
                total.narrow(axis, more, 1).add_(total.narrow(axis, 0, more).sum(axis, keepdim=True))
                total.narrow(axis, -more - 1, 1).add_(total.narrow(axis, -more, more).sum(axis, keepdim=True))
        return _inside(total, ctx.padding), None


def _inside(x: Tensor, padding: Sequence[int]) -> Tensor:
    for axis, more in enumerate(padding, start=2):
        x = x.narrow(axis, more, x.shape[axis] - 2 * more)
    return x


def _cropped(x: Tensor, before: Sequence[Any], sizes: Sequence[int]) -> Tensor:
    """`sizes` of `x` from `before` on; as one operation, as each slice would fill its whole gradient with zeros."""
    less = [(-first, first + size - full) for first, size, full in zip(before, sizes, x.shape[2:], strict=True)]
    return F.pad(x, [size for pair in reversed(less) for size in pair])


def _padded(video: Tensor, before: Sequence[Any], behind: Sequence[int]) -> Tensor:
    pairs = reversed(list(zip(before, behind, strict=True)))
    return F.pad(video, [size for pair in pairs for size in pair], mode="replicate")


def _lowered(x: Tensor) -> Tensor:
    """In autocast's precision: what is copied before the convolution is half as much."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def _blocks(kernel: Sequence[int], stride: Sequence[int]) -> list[int]:
    """Size of the kernel in blocks of the stride."""
    return [-(-k // s) for k, s in zip(kernel, stride, strict=True)]


def _split(weight: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """`(a, b, kt, kh, kw)` → `(a, b, blocks, st, blocks, sh, blocks, sw)`, zeros behind."""
    missing = [n * s - k for n, s, k in zip(kernel, stride, weight.shape[2:], strict=True)]
    full = F.pad(weight, [size for more in reversed(missing) for size in (0, more)])
    return full.reshape(*weight.shape[:2], *(size for pair in zip(kernel, stride, strict=True) for size in pair))


def _to_depth(x: Tensor, stride: Sequence[int]) -> Tensor:
    """`(B, C, T, h, w)` → `(B, st · sh · sw · C, T / st, h / sh, w / sw)`, channels last."""
    sizes = [n for size, s in zip(x.shape[2:], stride, strict=True) for n in (size // s, s)]
    parts = x.reshape(*x.shape[:2], *sizes).permute(0, 2, 4, 6, 3, 5, 7, 1)
    return parts.flatten(4).permute(0, 4, 1, 2, 3)


def _from_depth(x: Tensor, stride: Sequence[int]) -> Tensor:
    """`(B, st · sh · sw · C, T, h, w)` → `(B, C, T · st, h · sh, w · sw)`."""
    batch, _, *sizes = x.shape
    parts = x.reshape(batch, *stride, -1, *sizes).permute(0, 4, 5, 1, 6, 2, 7, 3)
    return parts.reshape(batch, -1, *(n * s for n, s in zip(sizes, stride, strict=True)))
