"""Compiled, a loss is one graph, compiled once, and gives the numbers it gives as written."""

import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from small import At, context, files_of, interrupt, tiny
from torch import Tensor, nn
from torch._dynamo import config as dynamo
from torch._dynamo.utils import counters
from v2a.models.audio_fc import AudioFc
from v2a.models.base import Batch, CodeShape
from v2a.models.nearest import nearest
from v2a.models.vqvae3d import Vqvae3d
from v2a.train import train_decoder, train_vqvae
from v2a.training.loop import LossOf
from v2a.training.precision import Numbers

from v2a_data.console import Console
from v2a_data.errors import InterruptedRunError
from v2a_data.shards.read import ShardSet

SHAPE = CodeShape(frames=8, height=2, width=3, dim=4, samples_per_frame=1280, rate_hz=16000)
CODEBOOKS: dict[str, dict[str, Any]] = {
    "gradient": {"update": "gradient"},
    "gradient, revived": {"update": "gradient", "revive_below": 2.0},
    "ema": {"update": "ema"},
    "ema, k-means, revived": {"update": "ema", "revive_below": 2.0, "init": "kmeans"},
    "fsq": {"update": "fsq", "levels": (4, 3, 3)},
}
DECODERS: dict[str, dict[str, Any]] = {
    f"{form} {target}": {"form": form, "target": target}
    for form in ("tied", "literal")
    for target in ("waveform", "mr_stft", "log_magnitude")
} | {
    "tied changes": {"form": "tied", "changes": True, "narrow": 2, "moved": 1},
    "tied raw": {"target": "waveform", "squash": "none"},
}
MODELS = [*CODEBOOKS, *DECODERS]
Losses = Callable[..., tuple[Tensor, dict[str, Tensor]]]


@pytest.fixture(autouse=True)
def _nothing_compiled() -> Iterator[None]:
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


def new(name: str) -> nn.Module:
    torch.manual_seed(3)
    if name in CODEBOOKS:
        return Vqvae3d(Vqvae3d.Config(**{"channels": (4, 6), "codes": 16, **CODEBOOKS[name]}))
    return AudioFc(AudioFc.Config(**{"hidden": 16, **DECODERS[name]}), SHAPE)


def batch(name: str) -> tuple[Any, ...]:
    sound = 0.3 * torch.randn(2, SHAPE.samples)
    if name in CODEBOOKS:
        return (Batch(torch.rand(2, 3, 5, 18, 22), sound),)
    return torch.randn(2, SHAPE.dim, SHAPE.frames, SHAPE.height, SHAPE.width), sound


def steps(name: str, model: nn.Module, losses: Losses, precision: str) -> list[dict[str, Tensor]]:
    """Figures, gradients and state of four steps, with a validation between."""
    torch.manual_seed(5)
    numbers = Numbers(precision, torch.device("cpu"))  # type: ignore[arg-type]
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    seen = []
    for _ in range(4):
        optimizer.zero_grad(set_to_none=True)
        with numbers.autocast():
            total, parts = losses(*batch(name))
        total.backward()
        gradients = {f"gradient {key}": p.grad.clone() for key, p in model.named_parameters() if p.grad is not None}
        state = {key: value.clone() for key, value in model.state_dict().items()}
        seen.append({"total": total.detach(), **parts, **gradients, **state})
        optimizer.step()
        model.eval()
        with torch.no_grad():
            model.loss(*batch(name))
        model.train()
    return seen


def begun(name: str) -> nn.Module:
    """After a first step, in which codebooks and levels start."""
    model = new(name)
    model.loss(*batch(name)).total.backward()
    model.zero_grad(set_to_none=True)
    return model


def assert_close(found: list[dict[str, Tensor]], expected: list[dict[str, Tensor]], tolerance: float) -> None:
    for step, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one.keys() == other.keys()
        for key, value in other.items():
            torch.testing.assert_close(
                one[key], value, atol=tolerance, rtol=tolerance, msg=lambda m, k=key, s=step: f"{s}, {k}: {m}"
            )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", MODELS)
def test_after_the_first_step_it_is_one_graph_that_gives_the_same(name: str, precision: str) -> None:
    model = begun(name)
    written = deepcopy(model)
    compiled = torch.compile(LossOf(model), backend="aot_eager", fullgraph=True)
    with dynamo.patch(error_on_recompile=True):
        found = steps(name, model, compiled, precision)
    assert counters["stats"]["unique_graphs"] == 1
    assert_close(found, steps(name, written, LossOf(written), precision), 1e-5)


# torch looks at the gradients of what it hands from piece to piece, and warns of itself.
@pytest.mark.filterwarnings("ignore:The .grad attribute")
@pytest.mark.parametrize("name", ["ema, k-means, revived", "tied log_magnitude"])
def test_started_while_compiled_it_is_one_graph_from_the_third_step_on(name: str) -> None:
    model = new(name)
    compiled = torch.compile(LossOf(model), backend="eager")
    for _ in range(2):
        compiled(*batch(name))
    before = counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())
    with dynamo.patch(error_on_recompile=True):
        for _ in range(3):
            compiled(*batch(name))
    assert (counters["stats"]["unique_graphs"], sum(counters["graph_break"].values())) == before


@pytest.mark.parametrize("name", ["gradient", "tied log_magnitude"])
def test_a_loaded_state_that_has_started_is_one_graph_at_once(name: str) -> None:
    model = new(name)
    model.load_state_dict(begun(name).state_dict())
    torch.compile(LossOf(model), backend="eager", fullgraph=True)(*batch(name))


@pytest.fixture
def _tf32_allowed() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("_tf32_allowed")
def test_distances_stay_fp32_where_tf32_and_autocast_round_other_products(monkeypatch: pytest.MonkeyPatch) -> None:
    def both(flat: Tensor, book: Tensor) -> tuple[Tensor, Tensor]:
        return nearest(flat, book), flat @ book.T

    def noted(*words: Any, **options: Any) -> Tensor:
        precisions.append(torch.get_float32_matmul_precision())
        return pad(*words, **options)

    precisions, pad = list[str](), F.pad
    monkeypatch.setattr(F, "pad", noted)  # what comes before each product of distances
    flat, book = torch.randn(4000, 6), torch.randn(400, 6)
    with torch.autocast("cpu", torch.bfloat16):
        codes, product = torch.compile(both, backend="aot_eager", fullgraph=True)(flat, book)
    assert set(precisions) == {"highest"} and torch.get_float32_matmul_precision() == "high"
    assert product.dtype == torch.bfloat16
    exact = torch.cdist(flat.double(), book.double()).argmin(dim=1)
    assert (codes != exact).float().mean() < 0.0005


@pytest.fixture
def _traced_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainer compiles without a compiler."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


def over(compiled: bool, **options: Any) -> dict[str, Any]:
    return {"options": options, "optimisation": {"steps": 6, "save_every": 2, "compile": compiled}}


@pytest.mark.usefixtures("_traced_only")
@pytest.mark.parametrize("kind", ["vqvae", "decoder"])
def test_the_trainer_compiles_one_graph_and_keeps_the_checkpoints_of_one_that_does_not(
    coded: ShardSet, tmp_path: Path, console: Console, kind: str
) -> None:
    run, model = (train_vqvae, "vqvae3d") if kind == "vqvae" else (train_decoder, "audio_fc-tied")
    folders = {compiled: tmp_path / str(compiled) for compiled in (False, True)}
    for compiled, folder in folders.items():
        if kind == "decoder":
            train_vqvae(context(coded, folder, console, tiny(vqvae=over(False))))
        run(context(coded, folder, console, tiny(**{kind: over(compiled)})))
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
    for name in ("model.safetensors", "optimizer.safetensors"):
        found, expected = (load_file(folders[c] / model / "step-000006" / name) for c in (True, False))
        assert_close([found], [expected], 1e-4)


@pytest.mark.usefixtures("_traced_only")
def test_stopped_while_compiled_it_ends_the_same(coded: ShardSet, tmp_path: Path, console: Console) -> None:
    config = tiny(vqvae=over(True))
    train_vqvae(context(coded, tmp_path / "whole", console, config))
    for step in (1, 4):
        with pytest.raises(InterruptedRunError):
            train_vqvae(context(coded, tmp_path / "part", At("train", step, interrupt), config))
    train_vqvae(context(coded, tmp_path / "part", console, config))
    names = ("step-000006/model.safetensors", "step-000006/optimizer.safetensors", "metrics.jsonl")
    assert files_of(tmp_path / "whole" / "vqvae3d", names) == files_of(tmp_path / "part" / "vqvae3d", names)


@pytest.mark.usefixtures("_traced_only")
def test_trainings_of_other_sizes_do_not_count_as_recompilations(
    coded: ShardSet, tmp_path: Path, console: Console
) -> None:
    with dynamo.patch(error_on_recompile=True):
        for codes in (8, 16, 24):
            train_vqvae(context(coded, tmp_path / str(codes), console, tiny(vqvae=over(True, codes=codes))))
    assert counters["stats"]["unique_graphs"] == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Torchinductor does not support code generation for complex")
@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler")
@pytest.mark.parametrize("name", ["gradient", "ema, k-means, revived", "fsq", "tied mr_stft", "tied log_magnitude"])
def test_with_the_default_compiler_it_gives_the_same(name: str) -> None:
    model = begun(name)
    written = deepcopy(model)
    compiled = torch.compile(LossOf(model), fullgraph=True)
    with dynamo.patch(error_on_recompile=True):
        found = steps(name, model, compiled, "fp32")
    assert_close(found, steps(name, written, LossOf(written), "fp32"), 1e-3)
