"""The two trainings: what they refuse, say and cache; the `train` command."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from makers import read_code
from safetensors.torch import load_file, save_file
from small import FORM, LENGTHS, At, DiedError, context, die, sample_sound, tiny
from typer.testing import CliRunner
from v2a.built import code_shape, crop_frames, load_decoder, load_vqvae
from v2a.cli import app as v2a
from v2a.codes import CodeCache, encode
from v2a.colour import rgb
from v2a.config import Optimisation
from v2a.evaluate import decoded
from v2a.models.vqvae3d import Vqvae3d
from v2a.reading.decode import Decoder
from v2a.reading.ring import whole_samples
from v2a.train import train_decoder, train_vqvae
from v2a.training import checkpoint
from v2a.training.memory import preflight, sizes
from v2a.training.ranks import Ranks

from v2a_data.console import Console
from v2a_data.errors import FatalError, MissingToolError, NothingError, UsageError
from v2a_data.shards.read import ShardSet

CPU = torch.device("cpu")


def saved_vqvae(folder: Path, **options: object) -> Vqvae3d:
    """An untrained encoder as a checkpoint."""
    model = Vqvae3d(Vqvae3d.Config(**options))  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(model.parameters())
    table = {key: list(value) if isinstance(value, tuple) else value for key, value in options.items()}
    checkpoint.save(folder / "vqvae3d", model, optimizer, {"step": 1, "about": {"options": table}})
    return model


def test_the_papers_decoder_is_refused_with_advice(
    coded: ShardSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved_vqvae(tmp_path)
    view = {"width": 256, "height": 144, "fps": "25/1", "seconds": 10.0}
    config = tiny(form="literal", view=view, decoder={"options": {"hidden": 1024}})
    with pytest.raises(FatalError) as caught:
        train_decoder(context(coded, tmp_path, Console("test"), config))
    # 250 x 36 x 64 codes of 128 values, and 160000 samples; four numbers of 4 bytes for each parameter.
    parameters = (250 * 36 * 64 * 128 + 1) * 1024 + 1025 * 1024 + 1025 * 160000
    said = capsys.readouterr().err
    assert f"{parameters / 1e6:.2f} M parameters" in said
    assert f"audio_fc-literal needs about {parameters * 16 / 1e9:.0f}"[:-2] in caught.value.message
    assert "form = 'tied' instead of 'literal'" in str(caught.value.hint)
    assert not (tmp_path / "audio_fc-literal").exists()


def test_what_fits_is_only_said(coded: ShardSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    preflight("m", 2_500_000, 10**9, Optimisation(), CPU, Console("test"))
    assert "m: 2.50 M parameters, about 1.04 GB to train on cpu" in capsys.readouterr().err


def test_a_collapsed_codebook_is_complained_about(
    coded: ShardSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {"options": {"codes": 4}, "optimisation": {"steps": 2}}
    done = train_vqvae(context(coded, tmp_path, Console("test", quiet=True), tiny(vqvae=few)))
    assert done.parts["perplexity"] <= 4
    assert done.complaint is not None and "codebook collapse" in done.complaint
    assert "warning: codebook collapse: perplexity" in capsys.readouterr().err


def test_the_encoder_learns_the_pictures(coded: ShardSet, tmp_path: Path, console: Console) -> None:
    over = {"options": {"channels": [16, 24], "reconstruction_weight": 20.0}, "optimisation": {"steps": 150}}
    done = train_vqvae(context(coded, tmp_path, console, tiny(vqvae=over)))
    lines = [json.loads(line) for line in (tmp_path / "vqvae3d/metrics.jsonl").read_text().splitlines()]
    rows = [row for row in lines if "loss" in row]
    assert [row["step"] for row in rows] == list(range(10, 151, 10))
    epochs = [row for row in lines if "epoch/codes_used" in row]
    assert len(epochs) == len(lines) - len(rows) > 10
    assert all(0 < row["epoch/epoch_perplexity"] <= row["epoch/codes_used"] <= 32 for row in epochs)
    assert rows[-1]["reconstruction"] < 0.5 * rows[0]["reconstruction"]
    assert done.complaint is None


def test_a_decoder_needs_an_encoder(coded: ShardSet, tmp_path: Path, console: Console) -> None:
    with pytest.raises(MissingToolError) as caught:
        train_decoder(context(coded, tmp_path, console, tiny()))
    assert "v2a train vqvae" in str(caught.value.hint)


def test_crops_that_are_no_whole_codes_are_refused(tmp_path: Path) -> None:
    model = saved_vqvae(tmp_path, channels=(4, 8), codes=8, strides=((3, 2, 2), (1, 2, 2)))
    with pytest.raises(UsageError, match=r"train\.view\.seconds: 8 frames are no multiple of the encoder's stride 3"):
        code_shape(model, tiny())


def test_the_shape_of_the_codes_is_what_the_encoder_gives() -> None:
    model = Vqvae3d(Vqvae3d.Config(channels=(4, 8), codes=8, strides=((2, 4, 4), (2, 2, 4))))
    shape = code_shape(model, tiny())
    codes = model.encode(torch.rand(1, 3, crop_frames(tiny().vqvae, tiny()), FORM.height, FORM.width)).codes
    assert codes.shape[1:] == (shape.frames, shape.height, shape.width) == (2, 5, 4)
    assert shape.samples == round(0.64 * 16000)


def test_a_stage_may_have_its_own_crop_length() -> None:
    config = tiny(vqvae={"seconds": 0.24})
    assert crop_frames(config.vqvae, config) == 3
    assert crop_frames(config.decoder, config) == 8


def test_trained_models_load_with_their_own_options(coded: ShardSet, tmp_path: Path, console: Console) -> None:
    one = {"optimisation": {"steps": 1}}
    config = tiny(vqvae=one, decoder=one)
    train_vqvae(context(coded, tmp_path, console, config))
    train_decoder(context(coded, tmp_path, console, config))
    other = tiny(vqvae={"options": {"codes": 999}}, decoder={"options": {"hidden": 99}}, view={"width": 32})
    encoder, found = load_vqvae(other, tmp_path, CPU)
    decoder, view = load_decoder(other, tmp_path, encoder, found, CPU)
    assert (encoder.config.codes, decoder.config.hidden, view) == (32, 12, config.view)
    assert not encoder.training and not decoder.training
    assert not any(p.requires_grad for model in (encoder, decoder) for p in model.parameters())


@pytest.fixture
def cached(coded: ShardSet, tmp_path: Path) -> tuple[Vqvae3d, Path]:
    return saved_vqvae(tmp_path, channels=(4, 8), codes=16, strides=((2, 2, 2), (2, 2, 2))).eval(), tmp_path


def build(shards: ShardSet, encoder: Vqvae3d, folder: Path, console: Console) -> CodeCache:
    found = checkpoint.require(folder / "vqvae3d", "")
    return CodeCache.build(encoder, shards, shards.entries, FORM, folder / "vqvae3d", found, 0, console)


def test_cached_codes_are_the_encoders_and_the_sound_is_whole(
    coded: ShardSet, cached: tuple[Vqvae3d, Path], console: Console
) -> None:
    encoder, folder = cached
    cache = build(coded, encoder, folder, console)
    assert cache.samples_per_frame == 4 * 1280
    for number, place in enumerate(whole_samples(cache, coded.entries)):
        frames = LENGTHS[number] // 2 // 4
        assert cache.length(coded.entries[number]) == frames
        planes, _ = decoded(Decoder(FORM), coded.read(coded.entries[number]))
        assert read_code(planes[3][:36], 0.5) == 6
        with torch.inference_mode():
            video = rgb(torch.from_numpy(planes[None, : frames * 4]), FORM.width, FORM.height)
            codes = encoder.encode(video).codes[0].numpy()
        assert np.array_equal(place.frames[:frames], codes)
        heard = place.sound[: frames * cache.samples_per_frame]
        np.testing.assert_allclose(heard, sample_sound(number)[: len(heard)], atol=1.01 / 32768)


def test_long_samples_are_encoded_in_pieces_that_fit(cached: tuple[Vqvae3d, Path]) -> None:
    encoder, _ = cached
    planes = np.random.default_rng(0).integers(16, 235, (300, 54, 64), dtype=np.uint8)
    assert encode(encoder, planes, FORM).shape == (75, 9, 16)


def test_a_cache_that_was_not_finished_is_made_again(
    coded: ShardSet, cached: tuple[Vqvae3d, Path], console: Console
) -> None:
    encoder, folder = cached
    with pytest.raises(DiedError):
        build(coded, encoder, folder, At("encode", 3, die))
    (half,) = (folder / "vqvae3d").glob("codes-*")
    assert not (half / "done.json").exists()
    build(coded, encoder, folder, console)
    codes = np.load(half / "codes.npy")
    assert codes.shape[0] == len(LENGTHS) and codes[-1].any()


def test_a_finished_cache_is_used_and_one_of_another_encoder_goes(
    coded: ShardSet, cached: tuple[Vqvae3d, Path], console: Console
) -> None:
    encoder, folder = cached
    build(coded, encoder, folder, console)
    build(coded, encoder, folder, At("encode", 1, die))  # encodes nothing
    (first,) = (folder / "vqvae3d").glob("codes-*")
    fewer = ShardSet(coded.folder, coded.entries[:-1])
    build(fewer, encoder, folder, console)
    (second,) = (folder / "vqvae3d").glob("codes-*")
    assert first != second


def test_a_damaged_sample_is_left_out_of_the_codes_and_said(
    coded: ShardSet, cached: tuple[Vqvae3d, Path], console: Console, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encoder, folder = cached
    body = bytearray((coded.folder / "s.tar").read_bytes())
    body[coded.entries[1].mp4_offset + 99] ^= 1
    (tmp_path / "s.tar").write_bytes(body)
    cache = build(ShardSet(tmp_path, coded.entries), encoder, folder, console)
    assert [cache.length(entry) for entry in coded.entries] == [7, 0, 9, 6, 10]
    said = capsys.readouterr().err
    assert f"{coded.entries[1].key}: its hash is not that of the index; it is left out of the codes" in said


def test_the_command_trains_both_and_says_so(trained: Path, sets: list[str]) -> None:
    done = CliRunner().invoke(v2a, ["train", "-w", str(trained), "--workers", "0", "--json", *sets])
    assert done.exit_code == 0, done.stderr
    values = json.loads(done.stdout)["trained"]
    assert [(row["model"], row["steps"]) for row in values] == [("vqvae3d", 6), ("audio_fc-tied", 6)]
    assert values[0].keys() >= {"loss", "reconstruction", "psnr_db", "perplexity", "complaint"}
    record = json.loads(sorted((trained / "runs").glob("*-train.json"))[-1].read_text())
    assert record["samples"] == 4
    assert record["train"]["view"]["width"] == 32
    assert record["form"]["fps"] == "25/2"
    assert [path.name for path in sorted((trained / "checkpoints").iterdir())] == [
        "audio_fc-literal",
        "audio_fc-tied",
        "vqvae3d",
    ]


def test_the_command_refuses_a_change(trained: Path, sets: list[str]) -> None:
    words = ["train", "vqvae", "-w", str(trained), "--workers", "0", *sets, "--set", "train.vqvae.options.codes=64"]
    done = CliRunner().invoke(v2a, words)
    assert done.exit_code == 2
    assert "options: {" in done.stderr and "'codes': 32" in done.stderr and "'codes': 64" in done.stderr
    assert "--force" in done.stderr


def test_a_dry_run_counts_and_writes_nothing(built: Path, tmp_path: Path, sets: list[str]) -> None:
    before = sorted(path.name for path in built.rglob("*"))
    done = CliRunner().invoke(v2a, ["train", "-w", str(built), "--dry-run", "--json", *sets])
    assert done.exit_code == 0
    expected = Vqvae3d(Vqvae3d.Config(channels=(4, 8), time_kernel=1, codes=32, update="gradient")).parameters()
    encoder, decoder = json.loads(done.stdout)["models"]
    assert (encoder["model"], encoder["parameters"]) == ("vqvae3d", sum(p.numel() for p in expected))
    assert decoder["model"] == "audio_fc-tied"
    assert decoder["bytes"] > 16 * decoder["parameters"] > 0
    assert sorted(path.name for path in built.rglob("*")) == before


def test_a_training_that_diverges_stops_and_keeps_its_checkpoint(
    coded: ShardSet, tmp_path: Path, console: Console
) -> None:
    train_vqvae(context(coded, tmp_path, console, tiny(vqvae={"optimisation": {"steps": 2}})))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    config = tiny(vqvae={"optimisation": {"steps": 50, "lr": 1e30}})
    with pytest.raises(FatalError, match=r"diverged: .* is (nan|inf) after") as caught:
        train_vqvae(context(coded, tmp_path / "new", console, config))
    assert "lower optimisation.lr" in str(caught.value.hint)
    assert not list((tmp_path / "new").rglob("*.safetensors"))
    assert {path: path.read_bytes() for path in before} == before


def test_labels_choose_what_is_trained_on(coded: ShardSet) -> None:
    labels = sorted({entry.label for entry in coded.entries})
    chosen = coded.only(labels[:1])
    assert {entry.label for entry in chosen.entries} == set(labels[:1])
    assert coded.only(()).entries == coded.entries
    with pytest.raises(UsageError, match="has no samples of 'Nothing'"):
        coded.only(["Nothing"])


def test_force_starts_a_finished_training_again(coded: ShardSet, tmp_path: Path, console: Console) -> None:
    config = tiny(vqvae={"optimisation": {"steps": 2}})
    train_vqvae(context(coded, tmp_path, console, config))
    (made,) = tmp_path.rglob("model.safetensors")
    first = made.stat().st_mtime_ns, made.read_bytes()
    train_vqvae(context(coded, tmp_path, console, config))
    assert made.stat().st_mtime_ns == first[0]
    train_vqvae(replace(context(coded, tmp_path, console, config), force=True))
    assert made.stat().st_mtime_ns > first[0]
    assert made.read_bytes() == first[1]


def test_a_decoder_of_another_encoder_is_refused(coded: ShardSet, tmp_path: Path, console: Console) -> None:
    one = {"optimisation": {"steps": 1}}
    config = tiny(vqvae=one, decoder=one)
    train_vqvae(context(coded, tmp_path, console, config))
    train_decoder(context(coded, tmp_path, console, config))
    again = replace(config, seed=5)
    train_vqvae(replace(context(coded, tmp_path, console, again), force=True))
    encoder, found = load_vqvae(again, tmp_path, CPU)
    with pytest.raises(UsageError, match="trained on codes of another encoder"):
        load_decoder(again, tmp_path, encoder, found, CPU)


def test_clips_shorter_than_a_crop_are_tiled_or_left_out(coded: ShardSet, tmp_path: Path, console: Console) -> None:
    one = {"optimisation": {"steps": 1, "validate_every": 0}}
    config = tiny(view={"seconds": 4.0}, vqvae=one, decoder=one)
    assert train_vqvae(context(coded, tmp_path, console, config)).steps == 1
    assert train_decoder(context(coded, tmp_path, console, config)).steps == 1
    with pytest.raises(NothingError, match="5 samples give 0 crops"):
        train_vqvae(context(coded, tmp_path / "other", console, tiny(view={"seconds": 4.0, "tile": False}, vqvae=one)))


def test_what_is_taken_in_parts_needs_room_for_one_part() -> None:
    config = tiny(vqvae={"optimisation": {"batch": 4}}, decoder={"optimisation": {"batch": 4}})
    parts = tiny(
        vqvae={"optimisation": {"batch": 4, "accumulate": 2}}, decoder={"optimisation": {"batch": 4, "accumulate": 2}}
    )
    half = tiny(vqvae={"optimisation": {"batch": 4, "precision": "bf16"}})
    whole, two, ranks = sizes(config, Ranks()), sizes(parts, Ranks()), sizes(config, Ranks(0, 2))
    for i in range(2):
        weights = 16 * whole[i]["parameters"]
        assert (whole[i]["bytes"] - weights) == 2 * (two[i]["bytes"] - weights) > 0
        assert ranks[i]["bytes"] == two[i]["bytes"]
    assert sizes(half, Ranks())[0]["bytes"] == two[0]["bytes"]


def test_a_decoder_of_an_encoder_with_other_weights_is_refused(
    coded: ShardSet, tmp_path: Path, console: Console
) -> None:
    """Trained again with the same settings on another machine, an encoder has other codes."""
    one = {"optimisation": {"steps": 1, "validate_every": 0}}
    config = tiny(vqvae=one, decoder=one)
    train_vqvae(context(coded, tmp_path, console, config))
    train_decoder(context(coded, tmp_path, console, config))
    weights = tmp_path / "vqvae3d" / "step-000001" / "model.safetensors"
    tensors = load_file(weights)
    save_file({**tensors, "quantizer.book": tensors["quantizer.book"] + 0.1}, weights)
    encoder, found = load_vqvae(config, tmp_path, CPU)
    with pytest.raises(UsageError, match="another encoder"):
        load_decoder(config, tmp_path, encoder, found, CPU)
