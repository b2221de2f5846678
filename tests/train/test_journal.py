"""What a training writes down: once per step, whatever was killed in between; and the card of what was made."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small import At, context, interrupt, tiny
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from v2a.config import Optimisation
from v2a.train import train_vqvae
from v2a.training.card import write_card
from v2a.training.journal import Hosted, Journal, TensorBoard, open_trackers
from v2a.training.loop import Trained
from v2a.training.precision import Numbers, chosen
from v2a.training.schedule import learning_rate

from v2a_data.console import Console
from v2a_data.errors import InterruptedRunError, MissingToolError, UsageError
from v2a_data.shards.read import ShardSet


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_shows_what_the_file_holds_and_nothing_twice(
    coded: ShardSet, tmp_path: Path, console: Console
) -> None:
    entries = [replace(entry, split="validation" if i == 1 else "train") for i, entry in enumerate(coded.entries)]
    split = ShardSet(coded.folder, entries)
    config = tiny(
        trackers=["tensorboard"], vqvae={"optimisation": {"steps": 24, "save_every": 50, "validate_every": 6}}
    )
    with pytest.raises(InterruptedRunError):
        train_vqvae(context(split, tmp_path, At("train", 13, interrupt), config))
    train_vqvae(context(split, tmp_path, console, config))
    rows = [json.loads(line) for line in (tmp_path / "vqvae3d" / "metrics.jsonl").read_text().splitlines()]
    wanted: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        for key, value in row.items():
            if key != "step":
                wanted.setdefault(key, []).append((row["step"], value))
    shown = scalars(tmp_path / "vqvae3d" / "tensorboard")
    assert shown.keys() == wanted.keys() >= {"loss", "validation/psnr_db"}
    for key, points in wanted.items():
        assert [step for step, _ in shown[key]] == [step for step, _ in points]
        np.testing.assert_allclose([v for _, v in shown[key]], [v for _, v in points], rtol=1e-4, atol=1e-6)


def test_pictures_and_sounds_come_back_from_tensorboard(tmp_path: Path) -> None:
    with Journal(tmp_path, 0, [TensorBoard(tmp_path / "t", 0)]) as journal:
        journal.picture(3, "p", np.full((5, 7, 3), 200, np.uint8))
        journal.sound(3, "s", np.sin(np.arange(1600, dtype=np.float32)), 16000)
    events = EventAccumulator(str(tmp_path / "t"))
    events.Reload()
    (picture,), (sound,) = events.Images("p"), events.Audio("s")
    assert (picture.step, picture.width, picture.height) == (3, 7, 5)
    assert (sound.step, sound.sample_rate, sound.length_frames) == (3, 16000, 1600)


def test_a_tracker_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(MissingToolError, match="wandb is not installed") as caught:
        open_trackers(("wandb",), tmp_path, "r", 0, {})
    assert "v2a-data[wandb]" in str(caught.value.hint)
    with pytest.raises(UsageError, match="'comet' is none of"):
        tiny(trackers=["comet"])


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_hosted_trackers_take_what_they_are_given(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The real packages, offline; `uv run --extra wandb --extra trackio pytest` brings them."""
    for key in ("WANDB_DIR", "TRACKIO_DIR"):  # read as they are imported
        monkeypatch.setenv(key, str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    pytest.importorskip(name)
    with Journal(tmp_path / "j", 0, [Hosted(name, "run-1", {"seed": 3})]) as journal:
        journal.figures(5, {"loss": 0.5})
        journal.picture(5, "p", np.full((8, 8, 3), 9, np.uint8))
        journal.sound(5, "s", np.zeros(1600, np.float32), 16000)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and tmp_path / "j" not in path.parents]


def test_hosted_trackers_are_called_as_they_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both packages share these names; a run is known again by its name or id."""
    calls: list[Any] = []
    stand_in = SimpleNamespace(
        init=lambda **words: calls.append(("init", words)),
        log=lambda values, step: calls.append(("log", values, step)),
        finish=lambda: calls.append(("finish",)),
        Audio=lambda samples, sample_rate: ("audio", len(samples), sample_rate),
    )
    monkeypatch.setitem(__import__("sys").modules, "wandb", stand_in)
    tracker = Hosted("wandb", "run-1", {"seed": 3})
    tracker.figures(5, {"loss": 0.5})
    tracker.sound(5, "s", np.zeros(8, np.float32), 16000)
    tracker.close()
    init = {"project": "v2a", "name": "run-1", "config": {"seed": 3}, "resume": "allow", "id": "run-1"}
    assert calls == [("init", init), ("log", {"loss": 0.5}, 5), ("log", {"s": ("audio", 8, 16000)}, 5), ("finish",)]


@pytest.mark.parametrize(
    ("schedule", "rates"), [("linear", [0.5, 0.275, 0.05]), ("constant", [0.5] * 3), ("cosine", [0.5, 0.275, 0.05])]
)
def test_schedules(schedule: str, rates: list[float]) -> None:
    settings = Optimisation(steps=1000, lr=0.5, warmup_steps=0, schedule=schedule)  # type: ignore[arg-type]
    assert [learning_rate(settings, step) for step in (0, 500, 1000)] == pytest.approx(rates)


def test_precisions_on_a_machine_without_a_gpu() -> None:
    cpu = torch.device("cpu")
    assert [chosen(name, cpu) for name in ("auto", "fp32", "bf16", "fp16")] == ["fp32", "fp32", "bf16", "fp16"]  # type: ignore[arg-type]
    for name, kind in (("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)):
        numbers = Numbers(name, cpu)  # type: ignore[arg-type]
        with numbers.autocast():
            assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == kind
        assert bool(numbers.state()) == (name == "fp16")


def test_the_loss_scale_is_taken_up() -> None:
    one = Numbers("fp16", torch.device("cpu"))
    weights = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.AdamW([weights])
    one.scaler.scale((weights * float("inf")).sum()).backward()
    one.scaler.step(optimizer)
    one.scaler.update()
    assert float(weights.detach()) == 1.0  # a step that overflowed is not made
    other = Numbers("fp16", torch.device("cpu"))
    other.load(json.loads(json.dumps(one.state())))
    assert other.scaler.get_scale() == one.scaler.get_scale() == 32768.0


def test_the_card_says_what_was_trained_and_nothing_formats_it(coded: ShardSet, tmp_path: Path) -> None:
    entries = [replace(entry, label="<b>|`Dog`") for entry in coded.entries]
    module = SimpleNamespace(source="paper", licence="Apache-2.0", parameters=lambda: [torch.ones(1000)])
    trained = Trained("audio_fc-tied", 7, {"loss": 0.25}, "it hums", {"swap_auc_in_class": 0.75})
    about = {"shards": "abc", "options": {"x": "```"}}
    write_card(tmp_path, module, trained, about, ShardSet(coded.folder, entries))
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: v2a\n")
    assert "&lt;b&gt;" in card and "<b>" not in card
    assert "| loss | 0.25 | - |" in card and "| swap_auc_in_class | - | 0.75 |" in card
    assert "7 steps" in card and "Complaint: it hums" in card and "5 clips" in card
    assert card.count("```") == 2


def test_a_damaged_clip_does_not_fail_the_card(coded: ShardSet, tmp_path: Path) -> None:
    entries = [replace(entry, json_offset=10**9) if i == 0 else entry for i, entry in enumerate(coded.entries)]
    module = SimpleNamespace(source="paper", licence="Apache-2.0", parameters=list)
    write_card(tmp_path, module, Trained("m", 1, {}, None), {"shards": "a"}, ShardSet(coded.folder, entries))
    assert "5 clips" in (tmp_path / "README.md").read_text()
