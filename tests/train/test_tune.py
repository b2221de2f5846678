"""A search: every trial once, judged by whether sound follows the picture, taken up where it was stopped."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from small import TINY, At, context, interrupt, tiny
from test_remote import write_index
from typer.testing import CliRunner
from v2a.cli import app as v2a
from v2a.train import train_vqvae
from v2a.tune import Found, _study, checked_space, tune

from v2a_data.console import Console
from v2a_data.errors import DiskError, InterruptedRunError, NothingError, UsageError
from v2a_data.shards.read import ShardSet

GRID = {"decoder.options.hidden": [4, 6], "decoder.optimisation.lr": [1e-3, 1e-2]}
EVERY = {"steps": 6, "save_every": 3, "validate_every": 3}


@pytest.fixture(scope="module")
def split(coded: ShardSet) -> ShardSet:
    entries = [replace(e, split="validation" if i in (1, 3) else "train") for i, e in enumerate(coded.entries)]
    return ShardSet(coded.folder, entries)


@pytest.fixture
def search(split: ShardSet, tmp_path: Path, console: Console) -> Callable[..., Any]:
    """`search(console, tune table)` in one folder with a trained encoder."""
    train_vqvae(context(split, tmp_path, console, tiny(vqvae={"optimisation": {"steps": 2}})))

    def run(console: Console = console, **settings: Any) -> Any:
        config = tiny(vqvae={"optimisation": {"steps": 2}}, decoder={"optimisation": EVERY}, tune=settings)
        return tune(context(split, tmp_path, console, config), lambda done, of: None)

    return run


def test_a_grid_tries_every_combination_once(search: Callable[..., Any], tmp_path: Path) -> None:
    found = search(sampler="grid", space=GRID)
    tried = sorted((row.options["decoder.options.hidden"], row.options["decoder.optimisation.lr"]) for row in found)
    assert tried == [(4, 1e-3), (4, 1e-2), (6, 1e-3), (6, 1e-2)]
    assert {row.state for row in found} <= {"complete", "pruned"}
    values = [row.value for row in found]
    assert values == sorted(values, reverse=True)
    made = sorted(path.name for path in (tmp_path / "tune").glob("*/trial-*"))
    assert made == [f"trial-{i:04d}" for i in range(4)]
    # A finished search is not searched again.
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*.safetensors"))
    assert search(sampler="grid", space=GRID) == found
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*.safetensors")) == before


def test_a_stopped_search_goes_on_with_the_trial_it_was_in(search: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(InterruptedRunError):
        search(At("train", 4, interrupt), sampler="grid", space=GRID)
    (first,) = (tmp_path / "tune").glob("*/trial-*")
    assert [path.name for path in (first / "audio_fc-tied").glob("step-*")] != []
    steps = []

    class Noting(Console):
        def progress(self, what: str, total: int | None, unit: str, done: int = 0):  # type: ignore[no-untyped-def]
            steps.append((what, done))
            return super().progress(what, total, unit, done)

    found = search(Noting("test", quiet=True), sampler="grid", space=GRID)
    assert steps.count(("train audio_fc-tied", 4)) == 1
    assert len(found) == 4
    assert len({tuple(row.options.values()) for row in found}) == 4
    assert len(list((tmp_path / "tune").glob("*/trial-*"))) == 4


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_ranges_are_drawn_within_their_bounds(search: Callable[..., Any], sampler: str) -> None:
    space = {
        "decoder.options.hidden": {"low": 3, "high": 9},
        "decoder.optimisation.lr": {"low": 1e-4, "high": 1e-2, "log": True},
    }
    found = search(sampler=sampler, trials=3, space=space)
    assert len(found) == 3
    assert all(3 <= row.options["decoder.options.hidden"] <= 9 for row in found)
    assert len({row.options["decoder.optimisation.lr"] for row in found}) == 3


def test_another_space_is_another_search_beside_the_first(search: Callable[..., Any], tmp_path: Path) -> None:
    first = search(sampler="grid", space={"decoder.options.hidden": [4, 6]})
    second = search(sampler="grid", space={"decoder.optimisation.lr": [1e-3, 2e-3]})
    third = search(sampler="grid", space={"vqvae.options.codes": [8]})
    assert [row.state == "fail" for row in (*first, *second, *third)] == [False] * 5
    assert len(list((tmp_path / "tune").glob("*/trial-0000"))) == 3
    assert search(sampler="grid", space={"decoder.options.hidden": [4, 6]}) == first


def test_places_are_no_part_of_a_search_and_grey_is_where_it_is_set(
    search: Callable[..., Any], split: ShardSet, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    search(sampler="grid", space={"decoder.options.hidden": [4]})
    monkeypatch.setattr("v2a.train.train_decoder", None)  # nothing is trained again
    words = {"decoder": {"optimisation": EVERY}, "tune": {"sampler": "grid", "space": {"decoder.options.hidden": [4]}}}
    config = tiny(vqvae={"optimisation": {"steps": 2}}, sets=[{"shards": "elsewhere"}], **words)
    names = set()
    for each in (config, replace(config, sets=()), replace(config, view=replace(config.view, grey=True))):
        names.add(_study(context(split, tmp_path, console, each), each.tune.space).study_name)
    assert len(names) == 2
    assert {path.name for path in (tmp_path / "tune").iterdir() if path.is_dir()} < names


def test_the_next_command_names_the_places_it_was_given(
    split: ShardSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "a set"
    shutil.copytree(split.folder, place)
    write_index(place, split.entries)
    best = Found(0, {"decoder.options.hidden": 4}, "complete", 0.5)
    monkeypatch.setattr("v2a.tune.tune", lambda context, done: [best])
    table = {"name": "t", "train": {**TINY, "tune": {"space": {"decoder.options.hidden": [4]}}}}
    (tmp_path / "t.toml").write_text(tomli_w.dumps(table))
    words = ["tune", "-w", str(tmp_path / "w"), "--recipe", str(tmp_path / "t.toml"), "--shards", str(place)]
    done = CliRunner().invoke(v2a, words)
    assert done.exit_code == 0, done.stderr
    assert f"v2a train decoder --set train.decoder.options.hidden=4 --shards '{place}'" in done.stdout


def test_what_is_not_the_trials_fault_is_no_result(search: Callable[..., Any]) -> None:
    def full() -> None:
        raise DiskError("the disk is full")

    with pytest.raises(DiskError):
        search(At("train", 2, full), sampler="grid", space={"decoder.options.hidden": [4, 6]})
    found = search(sampler="grid", space={"decoder.options.hidden": [4, 6]})
    assert sorted((row.options["decoder.options.hidden"], row.state) for row in found) == [
        (4, "complete"),
        (6, "complete"),
    ]


def test_options_of_the_encoder_train_one_per_trial(search: Callable[..., Any], tmp_path: Path) -> None:
    search(sampler="grid", space={"vqvae.options.codes": [8, 16]})
    folders = sorted((tmp_path / "tune").glob("*/trial-*/vqvae3d"))
    assert [path.is_symlink() for path in folders] == [False, False]


def test_a_trial_that_diverges_is_a_failed_one(search: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    found = search(sampler="grid", space={"decoder.optimisation.lr": [1e-3, 1e30]})
    assert [(row.state, row.options["decoder.optimisation.lr"]) for row in found] == [
        ("complete", 1e-3),
        ("fail", 1e30),
    ]
    assert "diverged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "space is empty"),
        ({"space": {"view.fps": [25]}}, "options of vqvae and decoder"),
        ({"space": {"decoder.options.hiden": [3]}}, "unknown key 'hiden'"),
        ({"space": {"decoder.optimisation.accumulate": [1, 3]}}, "3 parts of a batch of 4"),
        ({"space": {"decoder.options.hidden": {"low": 1}}}, "a range has low, high"),
        ({"space": {"decoder.options.hidden": {"low": 5, "high": 2}}}, "is not below"),
        ({"space": {"decoder.optimisation.lr": {"low": 0.0, "high": 2, "log": True}}}, "starts above 0"),
        ({"space": {"decoder.options.hidden": 5}}, "a list of choices"),
        ({"sampler": "grid", "space": {"decoder.options.hidden": {"low": 1, "high": 2}}}, "no ranges"),
    ],
)
def test_a_space_that_cannot_be_searched_is_said_before_anything(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        checked_space(tiny(tune=settings))


def test_without_validation_clips_nothing_is_judged(coded: ShardSet, tmp_path: Path, console: Console) -> None:
    config = tiny(tune={"space": GRID, "sampler": "grid"})
    with pytest.raises(NothingError, match="no validation clips"):
        tune(context(coded, tmp_path, console, config), lambda done, of: None)
