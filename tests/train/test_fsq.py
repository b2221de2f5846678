"""Finite scalar quantization against the paper's listing, in numpy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from v2a.models.fsq import Fsq

LEVELS = [(8, 5, 5, 5), (2,), (3, 2), (7, 4, 2)]


def papers(z: np.ndarray, levels: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Zhat and index of the paper's listing, its `tan` read as `arctanh`, its eps outwards."""
    wide = np.asarray(levels)
    half = (wide - 1) * (1 + 1e-3) / 2
    offset = np.where(wide % 2 == 1, 0.0, 0.5)
    rounded = np.round(np.tanh(z + np.arctanh(offset / half)) * half - offset)
    basis = np.concatenate(([1], np.cumprod(wide[:-1])))
    return rounded / (wide // 2), ((rounded + wide // 2) * basis).sum(axis=-1).astype(np.int64)


@pytest.mark.parametrize("levels", LEVELS)
def test_codes_and_values_are_the_papers(levels: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    fsq = Fsq(levels, 6)
    with torch.no_grad():
        fsq.inwards.weight.mul_(8)  # far enough out to reach every level
    x = torch.randn(2, 6, 3, 14, 15)
    out = fsq(x)
    flat = F.layer_norm(x.movedim(1, -1), (6,))
    zhat, index = papers(fsq.inwards(flat).detach().numpy(), levels)
    assert np.array_equal(out.codes.numpy(), index)
    assert len(np.unique(index)) > 0.6 * min(np.prod(levels), 200)
    expected = fsq.outwards(torch.from_numpy(zhat.astype(np.float32))).movedim(-1, 1)
    torch.testing.assert_close(out.values, expected)
    torch.testing.assert_close(fsq.lookup(out.codes), out.values)


@pytest.mark.parametrize("levels", LEVELS)
def test_every_code_is_another_point_of_the_grid(levels: tuple[int, ...]) -> None:
    fsq = Fsq(levels, len(levels))
    with torch.no_grad():
        fsq.outwards.weight.copy_(torch.eye(len(levels)))
        fsq.outwards.bias.zero_()
    codes = torch.arange(int(np.prod(levels)))[None, :, None, None]
    points = fsq.lookup(codes)[0, :, :, 0, 0].T
    assert len(points.unique(dim=0)) == fsq.size
    assert float(points.detach().min()) >= -1 and float(points.detach().max()) <= 1


def test_the_gradient_passes_the_rounding() -> None:
    torch.manual_seed(0)
    fsq = Fsq((5, 5), 4)
    x = torch.randn(1, 4, 2, 3, 3, requires_grad=True)
    weights = torch.randn(1, 4, 2, 3, 3)
    (fsq(x).values * weights).sum().backward()
    again = x.detach().clone().requires_grad_()
    smooth = fsq.bounded(fsq.inwards(F.layer_norm(again.movedim(1, -1), (4,)))) / 2
    (smooth @ fsq.outwards.weight.T * weights.movedim(1, -1)).sum().backward()
    assert x.grad is not None and again.grad is not None
    torch.testing.assert_close(x.grad, again.grad)
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in fsq.parameters())


def test_the_losses_are_zero_and_use_is_counted() -> None:
    fsq = Fsq((4, 4), 5)
    out = fsq(torch.randn(2, 5, 2, 4, 4))
    assert float(out.codebook_loss) == float(out.commitment_loss) == 0
    assert fsq.usage.take()["codes_used"] == len(out.codes.unique())


def test_autocast_changes_no_code() -> None:
    fsq = Fsq((8, 8, 8), 16).eval()
    x = torch.randn(2, 16, 4, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        inside = fsq(x).codes
    assert torch.equal(inside, fsq(x).codes)


@pytest.mark.parametrize("levels", [(), (1,), (4, 0)])
def test_levels_that_are_none_are_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="levels: at least one number, each 2 or more"):
        Fsq(levels, 4)
