"""The fast model and the plain one of the benchmark learn the same."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from v2a.colour import rgb
from v2a.models.base import Batch
from v2a.models.vqvae3d import Vqvae3d


def plain_module() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "plain_vqvae.py"
    spec = importlib.util.spec_from_file_location("plain_vqvae", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("update", ["gradient", "ema"])
@pytest.mark.parametrize("strides", [((1, 2, 2), (1, 2, 2)), ((2, 2, 2), (2, 2, 2))])
def test_losses_are_those_of_the_plain_model(update: str, strides: tuple) -> None:
    plain_vqvae = plain_module()
    torch.manual_seed(0)
    options = {"channels": (8, 12), "codes": 24, "strides": strides, "update": update}
    ours = Vqvae3d(Vqvae3d.Config(**options, revive_below=0.5, ema_decay=0.8, reconstruction_weight=5.0))
    planes = torch.randint(16, 235, (6, 2, 5, 15, 20), dtype=torch.uint8)
    ours.encode(rgb(planes[0], 20, 10))
    plain = plain_vqvae.PlainVqvae.like(ours)
    curves = []
    for model, colours in ((ours, rgb), (plain, plain_vqvae.plain_rgb)):
        torch.manual_seed(3)  # what revival draws
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.3)
        curve = []
        for batch in planes:
            video = colours(batch, 20, 10)
            loss = model.loss(Batch(video, video))
            optimizer.zero_grad()
            loss.total.backward()
            optimizer.step()
            curve.append([float(loss.total.detach()), loss.parts["perplexity"]])
        curves.append(torch.tensor(curve))
    torch.testing.assert_close(curves[0], curves[1], atol=1e-4, rtol=1e-4)
    assert curves[0][-1, 0] < curves[0][0, 0]
