"""Fetch as a run: targets, resumption, every file a row with a state and a reason."""

import shutil
from pathlib import Path

import pytest
from worlds import RECIPE

from v2a_data.console import Console
from v2a_data.engine import Engine, SerialEngine
from v2a_data.errors import NothingError, UsageError
from v2a_data.fetch import announce
from v2a_data.fetch.stage import fetch
from v2a_data.recipe import load_recipe
from v2a_data.sources.local import Local
from v2a_data.sources.synthetic import Synthetic
from v2a_data.synthetic.world import read_world
from v2a_data.workspace import Workspace


def recipe_for(source: str, folder: Path):
    return load_recipe(RECIPE, {"source": {"name": source, "input": str(folder)}})


def states(workspace: Workspace) -> dict[str, tuple[str, str | None]]:
    return {r["native_id"]: (r["state"], r["reason"]) for r in workspace.ledger.rows("SELECT * FROM videos")}


@pytest.fixture
def mixed(tmp_path: Path, media) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    shutil.copy(media("a.mp4"), folder / "good.mp4")
    shutil.copy(media("nosound.mp4", no_sound=True, seconds=3.0), folder / "nosound.mp4")
    shutil.copy(media("a.mp4"), folder / "twin.mp4")
    (folder / "empty.mp4").touch()
    (folder / "notes.txt").write_text("hello")
    (folder / "-dash.mp4").write_bytes(b"\x00" * 100)
    return folder


def test_every_file_ends_in_a_row(mixed: Path, tmp_path: Path, console: Console) -> None:
    with Workspace.open(tmp_path / "w", "t") as workspace:
        result = fetch(workspace, recipe_for("local", mixed), Local(), SerialEngine(), console, None)
        found = states(workspace)
        twins = workspace.ledger.rows("SELECT message FROM attempts WHERE class = 'duplicate_file'")
    assert found == {
        "good.mp4": ("fetched", None),
        "nosound.mp4": ("unusable", "no_sound"),
        "empty.mp4": ("unusable", "empty_file"),
        "notes.txt": ("unusable", "not_media"),
        "-dash.mp4": ("unusable", "not_media"),
    }
    assert [row["message"] for row in twins] == ["twin.mp4"]
    assert dict(result.reasons) == {"no_sound": 1, "empty_file": 1, "not_media": 2}


def test_nothing_is_done_twice(mixed: Path, tmp_path: Path, console: Console) -> None:
    with Workspace.open(tmp_path / "w", "t") as workspace:
        fetch(workspace, recipe_for("local", mixed), Local(), SerialEngine(), console, None)
        before = workspace.ledger.dump(), workspace.ledger.value("SELECT COUNT(*) FROM attempts")
        fetch(workspace, recipe_for("local", mixed), Local(), SerialEngine(), console, None)
        assert (workspace.ledger.dump(), workspace.ledger.value("SELECT COUNT(*) FROM attempts")) == before


def test_own_files_are_left_alone(mixed: Path, tmp_path: Path, console: Console) -> None:
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in mixed.iterdir()}
    with Workspace.open(tmp_path / "w", "t") as workspace:
        fetch(workspace, recipe_for("local", mixed), Local(), SerialEngine(), console, None)
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in mixed.iterdir()} == before


class Backwards(SerialEngine):
    """Finishes what is in flight in the opposite order, three at a time."""

    def run(self, jobs, on_result, *, at_most=None) -> None:
        flying = []
        for job in jobs:
            if job is not None:
                flying.append(job)
            if job is None or len(flying) == 3:
                for one in reversed(flying):
                    on_result(one, one.steps[0].function(*one.steps[0].args))
                flying = []
        for one in reversed(flying):
            on_result(one, one.steps[0].function(*one.steps[0].args))


@pytest.mark.parametrize("engine", [SerialEngine(), Backwards()])
def test_the_target_takes_the_first_good_ones_whatever_the_order(
    engine: Engine, world: Path, tmp_path: Path, console
) -> None:
    broken = tmp_path / "world"
    shutil.copytree(world, broken)
    (broken / read_world(world)[1].file).write_bytes(b"broken")
    with Workspace.open(tmp_path / "w", "t") as workspace:
        fetch(workspace, recipe_for("synthetic", broken), Synthetic(), engine, console, 4)
        fetched = workspace.ledger.rows("SELECT position FROM videos WHERE state = 'fetched' ORDER BY 1")
        assert [row[0] for row in fetched] == [0, 2, 3, 4]
        fetch(workspace, recipe_for("synthetic", broken), Synthetic(), engine, console, 6)
        assert workspace.ledger.value("SELECT COUNT(*) FROM videos WHERE state = 'fetched'") == 6


def test_the_estimate_asks_no_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from v2a_data.sources.youtube8m import YouTube8M

    def forbidden(url: str):
        raise AssertionError(url)

    monkeypatch.setattr("v2a_data.sources.youtube8m.get", forbidden)
    recipe = load_recipe("airplane")
    workspace = Workspace.look(tmp_path / "none")
    listed = announce.expected(workspace, recipe, YouTube8M())
    assert listed == 35170
    words = announce.announcement(workspace, recipe, YouTube8M(), listed, recipe.fetch.target_videos)
    assert words.startswith(
        "youtube8m lists 35170 videos of Airplane; 0 are here; 200 to fetch, about 4.6 GB, about 1 h"
    )
    assert "35170 to fetch, about 808.9 GB" in announce.announcement(workspace, recipe, YouTube8M(), listed, None)
    assert not (tmp_path / "none").exists()


def test_a_world_that_is_not_finished_says_how_to_make_one(tmp_path: Path, console: Console) -> None:
    with Workspace.open(tmp_path / "w", "t") as workspace, pytest.raises(UsageError) as caught:
        fetch(workspace, recipe_for("synthetic", tmp_path), Synthetic(), SerialEngine(), console, None)
    assert "v2a-data synth" in caught.value.hint


def test_labels_without_videos_are_nothing(world: Path, tmp_path: Path, console: Console) -> None:
    recipe = load_recipe(RECIPE, {"labels": ["Dog"], "source": {"name": "synthetic", "input": str(world)}})
    with Workspace.open(tmp_path / "w", "t") as workspace, pytest.raises(NothingError, match="no videos of Dog"):
        fetch(workspace, recipe, Synthetic(), SerialEngine(), console, None)
