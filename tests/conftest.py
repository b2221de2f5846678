"""Fixtures that several rooms share. Everything is rendered here; nothing is read from outside."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path[:0] = [
    str(Path(__file__).parent),
    str(Path(__file__).parent / "fetch"),
    str(Path(__file__).parent / "sources"),
    str(Path(__file__).parent / "scorers"),
    str(Path(__file__).parent / "models"),
]

from makers import Clip, make
from rebuilding import at, run
from worlds import RECIPE, shared_plans

from v2a_data.console import Console
from v2a_data.engine import SerialEngine
from v2a_data.synthetic.world import render_world


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`media("name.mp4", seconds=3, …)` makes a coded file once per session and gives its path."""
    folder = tmp_path_factory.mktemp("media")

    def get(name: str, **options: object) -> Path:
        path = folder / name
        if not path.exists():
            make(path, Clip(**options))  # type: ignore[arg-type]
        return path

    return get


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small synthetic world: 12 videos of 10 to 13 s, faults among them."""
    folder = tmp_path_factory.mktemp("world")
    render_world(shared_plans(), folder, SerialEngine(), lambda: None)
    return folder


@pytest.fixture(scope="session")
def made(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of the small world, and its manifest `m.parquet` beside it. Not to be written to."""
    root = tmp_path_factory.mktemp("made") / "w"
    source = ("--source", "synthetic", "--input", world, "--limit", 7)
    run("fetch", *source, "--recipe", RECIPE, "--set", "splits.test=1", *at(root))
    run("curate", *at(root))
    run("shard", "--samples-per-shard", 2, *at(root))
    run("export", root.parent / "m.parquet", *at(root))
    return root


@pytest.fixture
def console() -> Console:
    """A console that says nothing."""
    return Console("test", quiet=True)
