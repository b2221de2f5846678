"""What is judged while training: the best is kept and used, and a training that gets no better ends."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from small import At, context, interrupt, tiny
from v2a.built import load_vqvae
from v2a.train import train_decoder, train_vqvae
from v2a.training import checkpoint
from v2a.training.average import WeightAverage
from v2a.training.loop import Trained
from v2a.training.validation import Standing, Validation

from v2a_data.console import Console
from v2a_data.errors import InterruptedRunError
from v2a_data.shards.read import ShardSet

FREQUENT = {"steps": 14, "save_every": 5, "validate_every": 3}


@pytest.fixture(scope="module")
def split(coded: ShardSet) -> ShardSet:
    """Three samples to train on and two to validate on."""
    entries = [replace(e, split="validation" if i in (1, 3) else "train") for i, e in enumerate(coded.entries)]
    return ShardSet(coded.folder, entries)


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def train_both(split: ShardSet, folder: Path, console: Console, **optimisation: object) -> list[Trained]:
    over = {"optimisation": {**FREQUENT, **optimisation}}
    config = tiny(vqvae=over, decoder=over)
    return [run(context(split, folder, console, config)) for run in (train_vqvae, train_decoder)]


def test_the_best_of_the_validations_is_kept_and_used(split: ShardSet, tmp_path: Path, console: Console) -> None:
    encoder, decoder = train_both(split, tmp_path, console)
    for trained, name, by in (
        (encoder, "vqvae3d", "validation/psnr_db"),
        (decoder, "audio_fc-tied", "validation/swap_auc_in_class"),
    ):
        judged = {int(row["step"]): row[by] for row in rows(tmp_path / name) if by in row}
        assert list(judged) == [3, 6, 9, 12, 14]
        step = max(judged, key=lambda step: judged[step])
        found = checkpoint.best(tmp_path / name)
        assert found is not None and found.step == step
        assert trained.best[by.partition("/")[2]] == pytest.approx(judged[step], abs=1e-6)
        assert checkpoint.require(tmp_path / name, "").folder == found.folder
        assert len(list((tmp_path / name).glob("best-*"))) == 1
        assert sorted(int(path.stem[-6:]) for path in (tmp_path / name / "samples").iterdir()) == list(judged)
        picture = Image.open(tmp_path / name / "samples" / "step-000014.png")
        assert min(picture.size) > 100


def test_the_best_has_the_weights_that_were_judged(split: ShardSet, tmp_path: Path, console: Console) -> None:
    """Stopped at the best step, the checkpoint of that step holds the same."""
    train_both(split, tmp_path / "whole", console)
    best = checkpoint.best(tmp_path / "whole" / "vqvae3d")
    assert best is not None
    config = tiny(vqvae={"optimisation": FREQUENT})
    with pytest.raises(InterruptedRunError):
        train_vqvae(context(split, tmp_path / "part", At("train", best.step, interrupt), config))
    there = checkpoint.latest(tmp_path / "part" / "vqvae3d")
    assert there is not None and there.step == best.step
    one, other = best.model(), there.model()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_no_better_ends_it_and_it_stays_ended(split: ShardSet, tmp_path: Path, console: Console) -> None:
    config = tiny(vqvae={"optimisation": {**FREQUENT, "steps": 50, "lr": 0.0, "patience": 2}})
    done = train_vqvae(context(split, tmp_path, console, config))
    # With a rate of 0 and codes that are set by the batches, the first validations may differ; at most a few do.
    standing = checkpoint.latest(tmp_path / "vqvae3d").state["standing"]  # type: ignore[union-attr]
    assert standing["without_better"] == 2
    assert done.steps == standing["step"] + 6 < 50
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*.safetensors"))
    assert train_vqvae(context(split, tmp_path, console, config)).steps == done.steps
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*.safetensors")) == before


@pytest.mark.parametrize("at", [4, 9, 13])
def test_with_everything_on_it_is_taken_up_the_same(split: ShardSet, tmp_path: Path, console: Console, at: int) -> None:
    settings = {**FREQUENT, "weights_ema": 0.9, "accumulate": 2, "schedule": "linear", "precision": "bf16"}
    config = tiny(vqvae={"optimisation": settings})
    train_vqvae(context(split, tmp_path / "whole", console, config))
    with pytest.raises(InterruptedRunError):
        train_vqvae(context(split, tmp_path / "part", At("train", at, interrupt), config))
    train_vqvae(context(split, tmp_path / "part", console, config))
    whole, part = (kept(tmp_path / side) for side in ("whole", "part"))
    assert whole.keys() == part.keys() >= {"README.md", "metrics.jsonl", "step-000014/average.safetensors"}
    assert [name for name in whole if whole[name] != part[name]] == []


def kept(folder: Path) -> dict[str, bytes]:
    """What a finished training leaves, without the checkpoint before its last."""
    here = folder / "vqvae3d"
    paths = [path for path in here.rglob("*") if path.is_file() and path.suffix != ".png"]
    wanted = [path for path in paths if not path.parent.name.startswith("step-") or path.parent.name == "step-000014"]
    return {str(path.relative_to(here)): path.read_bytes() for path in wanted}


def test_what_is_generated_with_is_the_average(split: ShardSet, tmp_path: Path, console: Console) -> None:
    config = tiny(vqvae={"optimisation": {**FREQUENT, "weights_ema": 0.9, "validate_every": 0}})
    train_vqvae(context(split, tmp_path, console, config))
    folder = tmp_path / "vqvae3d" / "step-000014"
    average, last = load_file(folder / "average.safetensors"), load_file(folder / "model.safetensors")
    model, _ = load_vqvae(config, tmp_path, torch.device("cpu"))
    used = model.state_dict()
    assert set(average) < set(last)
    assert all(torch.equal(used[name], average.get(name, value)) for name, value in last.items())
    assert any(not torch.equal(average[name], last[name]) for name in average)


def test_the_average_is_a_moving_one() -> None:
    module = torch.nn.Linear(2, 1, bias=False)
    wanted = module.weight.detach().numpy().copy()
    average = WeightAverage(module, 0.5)
    for step in range(1, 9):
        with torch.no_grad():
            module.weight += step
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * module.weight.detach().numpy()
    np.testing.assert_allclose(average.shadow["weight"].numpy(), wanted, rtol=1e-6)
    before = module.weight.detach().clone()
    with average.applied():
        np.testing.assert_allclose(module.weight.detach().numpy(), wanted, rtol=1e-6)
    assert torch.equal(module.weight, before)


def test_parts_of_a_batch_add_up_to_it(split: ShardSet, tmp_path: Path, console: Console) -> None:
    """Where the loss is a mean over clips, halves and quarters of a batch give the step of the whole."""
    made = []
    train_vqvae(context(split, tmp_path, console, tiny(vqvae={"optimisation": {"steps": 1, "validate_every": 0}})))
    for parts in (1, 2, 4):
        settings = {"steps": 3, "accumulate": parts, "validate_every": 0, "clip_norm": 0.0}
        config = tiny(form="literal", decoder={"optimisation": settings})
        train_decoder(context(split, tmp_path, console, config, force=True))
        made.append(load_file(tmp_path / "audio_fc-literal" / "step-000003" / "model.safetensors"))
    for other in made[1:]:
        for name in made[0]:
            torch.testing.assert_close(made[0][name], other[name], atol=1e-5, rtol=0)


@pytest.mark.parametrize("tile", [True, False])
def test_clips_shorter_than_the_view_are_tiled_for_judging_too(
    split: ShardSet, tmp_path: Path, console: Console, tile: bool
) -> None:
    view = {"seconds": 2.64, "tile": tile}  # one of the clips to train on is as long, none of the others
    settings = {"steps": 2, "validate_every": 1, "batch": 1}
    config = tiny(view=view, vqvae={"optimisation": settings}, decoder={"optimisation": settings})
    train_vqvae(context(split, tmp_path, console, config))
    done = train_decoder(context(split, tmp_path, console, config))
    assert ("swap_auc" in done.best) == tile


@pytest.mark.parametrize("step", [6, 9, 14])
def test_killed_while_a_checkpoint_is_written_the_best_is_not_lost(
    split: ShardSet, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    config = tiny(vqvae={"optimisation": FREQUENT})
    train_vqvae(context(split, tmp_path / "whole", console, config))
    save = checkpoint.save

    def dies(folder: Path, module: object, optimizer: object, state: dict[str, object], *more: object) -> object:
        if state["step"] == step:
            raise KeyboardInterrupt
        return save(folder, module, optimizer, state, *more)  # type: ignore[arg-type]

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(checkpoint, "save", dies)
        train_vqvae(context(split, tmp_path / "part", console, config))
    checkpoint.tidy(tmp_path / "part" / "vqvae3d")
    newest, best = (found(tmp_path / "part" / "vqvae3d") for found in (checkpoint.latest, checkpoint.best))
    assert newest is not None and best is not None
    assert best.step == newest.state["standing"]["step"]
    train_vqvae(context(split, tmp_path / "part", console, config))
    assert kept(tmp_path / "part") == kept(tmp_path / "whole")


def test_a_validation_that_cannot_be_measured_is_no_better() -> None:
    standing = Standing().after(3, 0.5, {"a": 0.5}).after(6, None, {})
    assert (standing.step, standing.value, standing.without_better) == (3, 0.5, 1)
    assert standing.after(9, 0.5, {}).without_better == 2
    assert standing.after(9, 0.6, {"a": 0.6}) == Standing(9, 0.6, 0, {"a": 0.6})
    validation = Validation(lambda step, folder, journal: {}, ("first", "second"))
    assert validation.decisive({"second": 2.0, "first": 1.0}) == 1.0
    assert validation.decisive({"second": 2.0}) == 2.0
    assert validation.decisive({}) is None
