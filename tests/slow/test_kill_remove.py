"""SIGKILL at 6 random moments of `remove`, the same command again: as undisturbed, and not a byte names the video."""

import random
import shutil
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "shards"))

from kill_harness import Setting, finish, killed, orphans, scratch, snapshot
from named_everywhere import GONE, build_named, naming

from v2a_data.removal.refused import SALT
from v2a_data.workspace import Workspace

pytestmark = pytest.mark.slow
KILLS, PER_LIFE = 6, 3


def command(root: Path) -> list[str]:
    return [sys.executable, "-m", "v2a_data", "remove", "--ids", GONE, "-w", str(root), "-q"]


def test_a_killed_removal_ends_as_an_undisturbed_one(tmp_path: Path) -> None:
    start, setting, rng = build_named(tmp_path / "made"), Setting(tmp_path, ()), random.Random(0)
    with Workspace.open(start, "test") as workspace, workspace.ledger.transaction():
        # The salt is drawn at the first removal; here all lives have the same one, so that they can be compared.
        workspace.ledger.set_meta(SALT, "00" * 16)
    whole = shutil.copytree(start, tmp_path / "whole")
    begun = time.monotonic()
    finish(setting, command(whole))
    seconds, expected = time.monotonic() - begun, snapshot(whole)
    assert naming(whole, GONE) == []
    kills, under_way = 0, 0
    while kills < KILLS:
        root = shutil.copytree(start, tmp_path / f"life-{kills}")
        for _ in range(PER_LIFE):
            # Starting takes most of the time; later is where something happens.
            if not killed(setting, command(root), seconds * rng.uniform(0.3, 1.05)):
                break
            kills += 1
            with Workspace.read(root) as workspace:
                under_way += workspace.ledger.meta("removing") is not None
        finish(setting, command(root))
        assert snapshot(root) == expected
        assert (naming(root, GONE), scratch(root)) == ([], [])
        shutil.rmtree(root)
    assert under_way >= 1, "hardly a kill found the removal under way"
    assert orphans(setting) == []
