"""SIGKILL at 50 moments of `shard` and 10 of `repair`, each alone, many of them while files are being written."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from kill_shards import LoneOutcome, damage, final_files, lone_run, sample_keys, torn_files

pytestmark = pytest.mark.slow
KILLS = {"shard": 50, "repair": 10}


@pytest.fixture(scope="module", params=list(KILLS))
def killed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LoneOutcome]:
    folder = tmp_path_factory.mktemp(request.param)
    return folder, lone_run(folder, request.param, KILLS[request.param], 0, print)


def test_nothing_is_lost_doubled_torn_or_left(killed: tuple[Path, LoneOutcome]) -> None:
    _, outcome = killed
    assert outcome.troubles == []
    found = (outcome.lost, outcome.duplicate, outcome.different, outcome.torn, outcome.leftovers)
    assert found == (0, 0, 0, 0, 0)
    assert (outcome.kills, outcome.samples) == (KILLS[outcome.stage], 12)
    assert outcome.deep >= 1


def test_the_kills_hit_work_under_way(killed: tuple[Path, LoneOutcome]) -> None:
    _, outcome = killed
    found = Counter(outcome.phases)
    assert found["cutting"] >= 1, found
    assert sum(count for name, count in found.items() if name.startswith("writing")) >= 1, found


def test_the_comparison_sees_a_torn_shard_and_a_sample_that_is_there_twice(killed: tuple[Path, LoneOutcome]) -> None:
    folder, _ = killed
    expected = final_files(folder / "whole" / "shards")
    shards = shutil.copytree(folder / "whole" / "shards", folder / "copy")
    assert torn_files(final_files(shards), expected, {}) == []
    before = sample_keys(shards)
    assert set(before.values()) == {1}
    first = min(shards.rglob("*.tar"))
    shutil.copyfile(first, first.with_name("world-test-000009.tar"))
    assert (sample_keys(shards) - before).total() == 3
    first.write_bytes(first.read_bytes()[:5120])
    torn = torn_files(final_files(shards), expected, {})
    assert sorted(Path(name).name for name in torn) == [first.name, "world-test-000009.tar"]


def test_what_repair_is_killed_on_is_damaged_indeed(killed: tuple[Path, LoneOutcome]) -> None:
    folder, _ = killed
    root = shutil.copytree(folder / "whole", folder / "hurt")
    damage(root / "shards")
    command = [sys.executable, "-m", "v2a_data", "verify", "-w", str(root), "--json", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    hurt = {finding["shard"] for finding in json.loads(done.stdout)["findings"]}
    assert done.returncode == 1
    assert {"README.md", "index.parquet"} < hurt
    assert len(hurt) == 5
