"""Before a training: are this machine's three-dimensional convolutions right?

Some versions of torch and cuDNN compute them wrong, in bf16 above all (pytorch issues 163539 and 166643, pull
request 167024): training then runs and learns nothing.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from v2a_data.errors import FatalError

# Largest error, as a share of the largest value: what rounding of inputs and sums leaves, with room.
_ALLOWED = {torch.float32: 5e-3, torch.float16: 1e-2, torch.bfloat16: 5e-2}
_FEW, _MANY, _SIZES = 16, 24, (2, 6, 12, 16)


def check_conv3d(device: torch.device, kind: torch.dtype = torch.float32) -> None:
    """Compare convolution, transposed convolution and their gradients with float64 on the CPU, in both layouts.

    `kind` is the precision of the training. float32 may be TF32 where the settings allow it. Raises `FatalError`
    with advice.
    """
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        for transposed in (False, True):
            expected = _results(torch.device("cpu"), torch.float64, torch.contiguous_format, transposed)
            found = _results(device, kind, layout, transposed)
            for name, right in expected.items():
                _compare(name, found[name], right, device, kind)


def _results(
    device: torch.device, kind: torch.dtype, layout: torch.memory_format, transposed: bool
) -> dict[str, Tensor]:
    """Outputs and gradients of one small layer as the models have them: kernel 4, stride 2, padding 1."""
    generator = torch.Generator().manual_seed(0)
    inputs, outputs = (_MANY, _FEW) if transposed else (_FEW, _MANY)

    def drawn(*shape: int) -> Tensor:
        # Rounded to bf16 first, so that every precision gets the same numbers.
        values = torch.randn(shape, generator=generator).bfloat16()
        return values.to(device, kind).contiguous(memory_format=layout).requires_grad_()

    x = drawn(_SIZES[0], inputs, *_SIZES[1:])
    first, second = (inputs, outputs) if transposed else (outputs, inputs)
    weight = drawn(first, second, 4, 4, 4)
    convolve = F.conv_transpose3d if transposed else F.conv3d
    out = convolve(x, weight, stride=2, padding=1)
    weights = torch.randn(out.shape, generator=generator).bfloat16().to(device, kind)
    gradients = torch.autograd.grad(out, [x, weight], weights)
    name = "transposed convolution" if transposed else "convolution"
    names = (f"3D {name}", f"gradient of the 3D {name}'s input", f"gradient of the 3D {name}'s weight")
    return {key: value.detach().double().cpu() for key, value in zip(names, (out, *gradients), strict=True)}


def _compare(name: str, found: Tensor, right: Tensor, device: torch.device, kind: torch.dtype) -> None:
    error = float((found - right).abs().max() / right.abs().max())
    # Not a number is no small error either.
    if not error <= _ALLOWED[kind]:
        versions = f"torch {torch.__version__}, cuDNN {torch.backends.cudnn.version() or 'none'}"
        raise FatalError(
            f"{name} is wrong on {device} in {str(kind).removeprefix('torch.')} ({versions}): "
            f"off by {error:.2g} of its largest value",
            hint="on a GPU, take torch 2.10 or later with the cuDNN it brings; or train in float32, or on the CPU",
        )
