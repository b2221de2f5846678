"""Sound judged in words: CLAP from a local folder, by the contract of prompts."""

from pathlib import Path

import numpy as np
import pytest
from tiny import make_clap

from v2a_data.errors import MissingToolError, UsageError
from v2a_data.files import sha256_file
from v2a_data.scorers.audio_text import TEMPLATES, AudioText
from v2a_data.scorers.base import Prompts, VideoTap


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import threadpoolctl
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpoolctl.threadpool_limits(1):
            return make_clap(tmp_path_factory.mktemp("clap"), steps=40)
    finally:
        torch.set_num_threads(before)


def tone(hz: float, *, channels: int = 2, rate_hz: int = 44100, seconds: float = 4.0) -> VideoTap:
    wave = (0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)
    return VideoTap("sy-0-0", "Low", np.asarray([0.0, 2.0]), sound=np.stack([wave] * channels), rate_hz=rate_hz)


def scorer(folder: Path, **more: object) -> AudioText:
    config = {"weights": str(folder), "on": ("a low sound",), "off": ("a high sound",)}
    return AudioText(AudioText.Config(**{**config, **more}))  # type: ignore[arg-type]


def test_it_orders_by_its_prompts(folder: Path) -> None:
    one, other = scorer(folder), scorer(folder, labels={"Low": Prompts(("a high sound",), ("a low sound",))})
    for made in (one, other):
        made.open("cpu")
    low, high = (found.fields["heard_text"] for found in one.score([tone(200), tone(5000)]))
    assert low.min() > 3 * high.max()
    swapped = other.score([tone(200)])[0].fields["heard_text"]
    assert swapped == pytest.approx(1 - low, abs=1e-5)
    # One side or two, this rate or that: the same sound.
    (mono,) = one.score([tone(200, channels=1, rate_hz=48000)])
    assert mono.fields["heard_text"] == pytest.approx(low, abs=0.02)


def test_it_is_the_softmax_over_all_prompts(folder: Path) -> None:
    import torch
    from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

    made = scorer(folder)
    made.open("cpu")
    found = made.score([tone(900, channels=1, rate_hz=16000)])[0].fields["heard_text"]
    model = ClapModel.from_pretrained(folder).eval()
    reads, hears = AutoTokenizer.from_pretrained(folder), ClapFeatureExtractor.from_pretrained(folder)
    wave = tone(900, channels=1, rate_hz=16000).sound[0]
    with torch.no_grad():
        words = [template.format(prompt) for prompt in ("a low sound", "a high sound") for template in TEMPLATES]
        both = model(
            **reads(words, padding=True, return_tensors="pt"),
            **hears([wave[:32000], wave[32000:]], sampling_rate=16000, return_tensors="pt"),
        )
        texts = both.text_embeds.reshape(2, len(TEMPLATES), -1).mean(dim=1)
        texts = texts / texts.norm(dim=-1, keepdim=True)
        wanted = (model.logit_scale_a.exp() * both.audio_embeds @ texts.T).softmax(dim=-1)[:, 0]
    assert found == pytest.approx(wanted.numpy(), abs=1e-5)


def test_windows_without_sound_are_null(folder: Path) -> None:
    made = scorer(folder)
    made.open("cpu")
    found = made.score([tone(200, seconds=2.0)])[0].fields["heard_text"]
    assert np.isnan(found).tolist() == [False, True]


def test_what_is_missing_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingToolError, match=r"has no model.safetensors"):
        scorer(tmp_path).open("cpu")
    with pytest.raises(MissingToolError, match="its sha256 differs"):
        scorer(folder, sha256="0" * 64).open("cpu")
    right = scorer(folder, sha256=sha256_file(folder / "model.safetensors"))
    right.open("cpu")
    assert right.model is not None
    assert right.model.sha256 == sha256_file(folder / "model.safetensors")
    silent = scorer(folder, on=())
    silent.open("cpu")
    with pytest.raises(UsageError, match="no prompts for 'Low'"):
        silent.score([tone(200)])
    (tmp_path / "bad").mkdir()
    for path in folder.iterdir():
        (tmp_path / "bad" / path.name).write_bytes(path.read_bytes()[:200])
    with pytest.raises(MissingToolError, match="is not a CLAP model"):
        scorer(tmp_path / "bad").open("cpu")


def test_a_pickle_beside_the_weights_is_not_opened(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n")
    scorer(tmp_path).open("cpu")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(MissingToolError, match=r"has no model.safetensors"):
        scorer(tmp_path).open("cpu")
