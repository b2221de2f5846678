"""Grey views: one channel in and out, from training to judging and generating, out of the same shards."""

import json
import wave
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
import torch
from safetensors.torch import load_file
from small import TINY, context, tiny
from test_remote import write_index
from typer.testing import CliRunner
from v2a.cli import app as v2a
from v2a.config import load_train_config
from v2a.evaluate_video import MEAN_FRAME, VideoJudge
from v2a.generate import _pieces
from v2a.metrics.picture import luma
from v2a.models.base import Batch
from v2a.models.vqvae3d import Vqvae3d
from v2a.pictures import code_maps
from v2a.reading.decode import Decoder
from v2a.reading.form import Form
from v2a.train import train_vqvae
from v2a.training import checkpoint

from v2a_data.console import Console
from v2a_data.errors import UsageError
from v2a_data.media.client import MediaChild
from v2a_data.recipe import merge
from v2a_data.shards.read import ShardSet

FORM = Form(224, 224, Fraction(25, 2), 16000, grey=True)
OVER: dict[str, Any] = {
    "view": {"width": 224, "height": 224, "seconds": 0.16, "grey": True},
    "vqvae": {"options": {"channels": [2, 4]}, "optimisation": {"steps": 3, "batch": 2, "validate_every": 3}},
    "decoder": {"options": {"hidden": 4}, "optimisation": {"steps": 3, "batch": 2, "validate_every": 3}},
}
SPLITS = ("train", "train", "train", "validation", "test")


def run(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(v2a, [str(word) for word in words])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def grey(coded: ShardSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The options that name a workspace whose models were trained on a grey view of 224x224."""
    root = tmp_path_factory.mktemp("grey")
    shards = root / "w" / "shards"
    shards.mkdir(parents=True)
    (shards / "s.tar").write_bytes((coded.folder / "s.tar").read_bytes())
    write_index(shards, [replace(e, split=split) for e, split in zip(coded.entries, SPLITS, strict=True)])
    train = merge(json.loads(json.dumps(TINY)), OVER)
    (root / "grey.toml").write_text(tomli_w.dumps({"name": "grey", "train": train}))
    words = ("-w", str(root / "w"), "--recipe", str(root / "grey.toml"), "--workers", "0")
    code, _, err = run("train", *words)
    assert code == 0, err
    return words


def test_the_encoder_takes_and_gives_one_channel(grey: tuple[str, ...]) -> None:
    found = checkpoint.require(Path(grey[1]) / "checkpoints" / "vqvae3d", "")
    weights = load_file(found.folder / "model.safetensors")
    assert weights["encoder.0.weight"].shape[1] == weights["decoder.2.weight"].shape[1] == 1
    assert found.state["about"]["view"]["grey"] is True
    assert found.state["validation"].keys() >= {"psnr_db", "perplexity"}


def test_it_is_judged_encoded_and_generates(grey: tuple[str, ...], coded: ShardSet, tmp_path: Path) -> None:
    code, out, err = run("evaluate", *grey, "--json")
    assert code == 0, err
    values = json.loads(out)
    assert [row["name"] for row in values["video"]["rows"]] == ["vqvae3d", MEAN_FRAME, "untrained codebook"]
    assert all(row["psnr_db"]["mean"] > 0 and row["ssim"]["mean"] < 1 for row in values["video"]["rows"])
    code, out, err = run("encode", *grey, "--json")
    assert code == 0, err
    assert {row["split"] for row in json.loads(out)["encoded"]} == set(SPLITS)
    video = tmp_path / "v.mp4"
    video.write_bytes(coded.read(coded.entries[3]).mp4)
    code, _, err = run("generate", video, "-o", tmp_path / "v.wav", *grey)
    assert code == 0, err
    with wave.open(str(tmp_path / "v.wav")) as file:
        assert (file.getnframes(), file.getframerate()) == (25 * 1280, 16000)


def test_generate_sees_what_was_trained_on(coded: ShardSet, tmp_path: Path) -> None:
    entry = coded.entries[2]
    video = tmp_path / "v.mp4"
    video.write_bytes(coded.read(entry).mp4)
    planes = np.empty(FORM.plane_shape(37), np.uint8)
    Decoder(FORM).decode(video.read_bytes(), Fraction(25), planes, np.empty(37 * 1280, np.float32))
    with MediaChild() as child:
        child.grid_open(video, FORM.width, FORM.height, FORM.fps, FORM.fit)
        seen = np.concatenate(list(_pieces(child, FORM, tmp_path)))
    assert np.array_equal(seen[:37], planes)


def test_a_decoder_is_not_trained_on_codes_of_other_pictures(grey: tuple[str, ...]) -> None:
    code, _, err = run("train", "decoder", *grey, "--set", "train.view.grey=false", "--force")
    assert code == 2
    assert "vqvae3d was trained on grey pictures, train.view.grey = false shows pictures in colour" in err
    assert "set train.view.grey = true" in err
    code, _, err = run("train", "vqvae", *grey, "--set", "train.view.grey=false")
    assert code == 2
    assert "was trained otherwise" in err and "'grey': True" in err


def test_checkpoints_from_before_grey_views_go_on(coded: ShardSet, tmp_path: Path, console: Console) -> None:
    train_vqvae(context(coded, tmp_path, console, tiny(vqvae={"optimisation": {"steps": 1, "validate_every": 0}})))
    assert "grey" not in checkpoint.require(tmp_path / "vqvae3d", "").state["about"]["view"]


def test_the_models_options_do_not_say_it() -> None:
    with pytest.raises(UsageError, match=r"train\.vqvae\.options\.grey: .* set train\.view\.grey"):
        load_train_config({"vqvae": {"model": "vqvae3d", "options": {"grey": True}}})


def test_one_channel_is_computed_as_torch_does() -> None:
    model = Vqvae3d(Vqvae3d.Config(channels=(4, 6), codes=16, grey=True))
    video = torch.rand(2, 1, 5, 12, 16)
    first, last = model.encoder[0], model.decoder[2]
    kept = {name: getattr(first, name) for name in ("stride", "kernel_size", "padding")}
    assert first.in_channels == 1 and last.out_channels == 1 and kept["stride"] == (1, 2, 2)
    padded = torch.nn.functional.pad(video, [n for p in reversed(first.padding) for n in (p, p)], mode="replicate")
    expected = torch.nn.functional.conv3d(padded, first.weight, first.bias, first.stride)
    torch.testing.assert_close(first(video), expected, atol=1e-5, rtol=1e-5)
    hidden = torch.rand(2, 4, 5, 6, 8)
    expected = torch.nn.functional.conv_transpose3d(hidden, last.weight, last.bias, last.stride, last.padding)
    torch.testing.assert_close(last(hidden), expected, atol=1e-5, rtol=1e-5)
    model.loss(Batch(video, torch.zeros(2, 1))).total.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in model.parameters())


def test_figures_of_grey_pictures_by_hand(tmp_path: Path) -> None:
    """Grey that changes between two levels is half a step away from its mean, whatever the channels."""
    form = replace(FORM, width=32, height=20)
    clip = np.where(np.arange(70) % 2, 100, 150).astype(np.uint8)[:, None, None] * np.ones((1, 20, 32), np.uint8)
    judge = VideoJudge(Vqvae3d(Vqvae3d.Config(channels=(4, 6), codes=16, grey=True)).eval(), form, tmp_path, ("k",))
    judge.add("k", "g", clip)
    assert judge.result().rows[1].psnr_db.mean == pytest.approx(-20 * np.log10(25 / 219), abs=1e-3)
    assert (tmp_path / "k.png").is_file()
    video = torch.rand(1, 3, 4, 5)
    assert torch.equal(luma(video), video[0])


def test_grey_pictures_are_shown_grey() -> None:
    frames, codes = np.random.default_rng(0).random((2, 6, 8, 1)), np.zeros((2, 3, 4), int)
    assert code_maps(frames, frames, codes) == code_maps(frames.repeat(3, -1), frames.repeat(3, -1), codes)
