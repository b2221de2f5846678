"""The check of the machine's own convolutions: right ones pass, wrong ones are named."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from v2a.training.self_check import check_conv3d

from v2a_data.errors import FatalError

CPU = torch.device("cpu")


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_this_machine_is_right(kind: torch.dtype) -> None:
    check_conv3d(CPU, kind)


def broken(
    real: Callable[..., torch.Tensor], how: Callable[[torch.Tensor], torch.Tensor]
) -> Callable[..., torch.Tensor]:
    """A convolution that is wrong except in float64."""

    def convolve(x: torch.Tensor, *args: object, **options: object) -> torch.Tensor:
        out = real(x, *args, **options)
        return out if x.dtype == torch.float64 else how(out)

    return convolve


@pytest.mark.parametrize("name", ["conv3d", "conv_transpose3d"])
@pytest.mark.parametrize(
    "how", [lambda out: out.roll(1, 2), lambda out: 1.1 * out, lambda out: out * float("nan"), lambda out: 0 * out]
)
def test_a_wrong_convolution_is_named_with_advice(
    monkeypatch: pytest.MonkeyPatch, name: str, how: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    monkeypatch.setattr(F, name, broken(getattr(F, name), how))
    with pytest.raises(FatalError) as caught:
        check_conv3d(CPU, torch.float32)
    said = "3D transposed convolution" if "transpose" in name else "3D convolution"
    assert said in caught.value.message and "on cpu in float32" in caught.value.message
    assert torch.__version__ in caught.value.message
    assert caught.value.hint is not None and "torch 2.10 or later" in caught.value.hint


class WrongGradient(torch.autograd.Function):
    """Identity whose gradient has lost its last frame."""

    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        gradient = gradient.clone()
        gradient[:, :, -1] = 0
        return gradient


def test_a_wrong_gradient_is_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "conv3d", broken(F.conv3d, WrongGradient.apply))
    with pytest.raises(FatalError, match="gradient of the 3D convolution's input is wrong"):
        check_conv3d(CPU)
