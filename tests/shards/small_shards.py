"""A tiny workspace with two shards of two samples each, built once, and ways to damage copies of it."""

import shutil
from collections.abc import Callable
from pathlib import Path

from worlds import RECIPE, shared_plans

from v2a_data.console import Console
from v2a_data.curate.stage import curate
from v2a_data.engine import SerialEngine
from v2a_data.fetch.stage import fetch
from v2a_data.recipe import load_recipe
from v2a_data.shards.write import shard
from v2a_data.sources.synthetic import Synthetic
from v2a_data.synthetic.world import render_world
from v2a_data.workspace import Workspace

TRAIN, TEST = "train/world-train-000000.tar", "test/world-test-000000.tar"
CLEAN = (0, 1, 4, 5)
QUIET = Console("t", quiet=True)


def build(folder: Path) -> Path:
    """The workspace; its pictures are small so that its shards are."""
    plans = shared_plans()
    render_world([plans[n] for n in CLEAN], folder / "world", SerialEngine(), lambda: None)
    over = {
        "source": {"name": "synthetic", "input": str(folder / "world")},
        "splits": {"test": 1, "validation": 0},
        "shard": {"width": 64, "height": 36},
    }
    recipe = load_recipe(RECIPE, over)
    with Workspace.open(folder / "w", "test") as workspace:
        workspace.adopt(recipe, force=False)
        fetch(workspace, recipe, Synthetic(), SerialEngine(), QUIET, None)
        curate(workspace, recipe, SerialEngine(), QUIET)
        shard(workspace, recipe, SerialEngine(), QUIET, samples_per_shard=2)
    return folder / "w"


def copy(built: Path, target: Path) -> Path:
    """A copy to damage. The copy's own folders, nothing linked."""
    return shutil.copytree(built, target)


def edit(path: Path, change: Callable[[bytearray], object]) -> None:
    """Change a file's bytes in place."""
    body = bytearray(path.read_bytes())
    change(body)
    path.write_bytes(body)


def flip(path: Path, offset: int, bit: int = 0) -> None:
    def change(body: bytearray) -> None:
        body[offset] ^= 1 << bit

    edit(path, change)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
