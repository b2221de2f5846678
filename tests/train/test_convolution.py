"""The re-laid convolutions beside torch's own, with the same weights."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from v2a.models.convolution import LAST, BlockConv3d, BlockTranspose3d, Conv3d, repeated
from v2a.models.vqvae3d import _kernel

STRIDES = st.tuples(*[st.integers(1, 4)] * 3)
BLOCKS = st.tuples(*[st.integers(1, 3)] * 3)


def run(layer: nn.Module, x: Tensor, weights: Tensor) -> list[Tensor]:
    """Output and gradients of input, weight and bias."""
    x = x.clone().requires_grad_()
    out = layer(x)
    return [out, *torch.autograd.grad((out * weights).sum(), [x, layer.weight, layer.bias])]


def same(ours: nn.Module, torchs: nn.Module, x: Tensor) -> None:
    ours.load_state_dict(torchs.state_dict())
    ours.to(memory_format=LAST)
    weights = torch.randn(torchs(x).shape)
    for found, expected in zip(run(ours, x, weights), run(torchs, x, weights), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5 * max(1.0, float(expected.detach().abs().max())), rtol=0)


@settings(max_examples=40, deadline=None)
@given(STRIDES, BLOCKS, st.sampled_from([1, 3]), st.sampled_from([Conv3d, BlockConv3d]), st.integers(0, 99))
def test_convolutions_are_torchs(stride: tuple, blocks: tuple, time: int, kind: type[nn.Conv3d], seed: int) -> None:
    torch.manual_seed(seed)
    shape = _kernel(stride, time)
    x = torch.randn(2, 3, *(n * s for n, s in zip(blocks, stride, strict=True)))
    same(kind(3, 5, *shape), nn.Conv3d(3, 5, *shape, padding_mode="replicate"), x)


@settings(max_examples=40, deadline=None)
@given(STRIDES, BLOCKS, st.sampled_from([1, 3]), st.integers(0, 99))
def test_transposed_convolutions_are_torchs(stride: tuple, blocks: tuple, time: int, seed: int) -> None:
    torch.manual_seed(seed)
    shape = _kernel(stride, time)
    same(BlockTranspose3d(5, 3, *shape), nn.ConvTranspose3d(5, 3, *shape), torch.randn(2, 5, *blocks))


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.integers(0, 3)] * 3), st.tuples(*[st.integers(1, 4)] * 3))
def test_the_border_is_repeated_as_torch_does(padding: tuple, sizes: tuple) -> None:
    x = torch.randn(2, 3, *sizes, requires_grad=True)
    found = repeated(x, padding)
    expected = F.pad(x, [n for more in reversed(padding) for n in (more, more)], mode="replicate")
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=LAST)
    weights = torch.randn(expected.shape)
    ours, torchs = (torch.autograd.grad((out * weights).sum(), x)[0] for out in (found, expected))
    torch.testing.assert_close(ours, torchs)


def test_the_gradient_that_comes_in_is_left_as_it_was() -> None:
    x = torch.randn(1, 2, 3, 3, 3, requires_grad=True)
    given_gradient = torch.randn(1, 2, 5, 5, 5)
    before = given_gradient.clone()
    repeated(x, (1, 1, 1)).backward(given_gradient)
    assert torch.equal(given_gradient, before)


@pytest.mark.parametrize("kind", [Conv3d, BlockConv3d])
def test_channels_stay_last_on_the_way(kind: type[nn.Conv3d]) -> None:
    out = kind(3, 8, *_kernel((1, 2, 2), 3)).to(memory_format=LAST)(torch.randn(2, 3, 4, 8, 8))
    assert out.is_contiguous(memory_format=LAST)


def test_autocast_lowers_before_the_blocks_are_made() -> None:
    layer = BlockConv3d(3, 8, *_kernel((2, 2, 2), 3))
    x = torch.randn(2, 3, 4, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        out = layer(x)
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), layer(x), atol=0.05, rtol=0.05)
