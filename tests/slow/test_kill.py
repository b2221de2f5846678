"""SIGKILL at 24 random moments of fetch, curate and shard, the same command again: as in an undisturbed run."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from kill_harness import STAGES, Outcome, Setting, kill_run, killed, orphans, snapshot, troubles

pytestmark = pytest.mark.slow
KILLS = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kills")


@pytest.fixture(scope="module")
def outcome(folder: Path) -> Outcome:
    return kill_run(folder, KILLS, 0, print)


def test_nothing_is_lost_torn_or_left(outcome: Outcome) -> None:
    assert outcome.troubles == []
    assert outcome.samples > 10


def test_the_kills_hit_work_under_way(outcome: Outcome) -> None:
    assert len(outcome.kills) == KILLS
    hits = Counter(kill.stage for kill in outcome.kills)
    torn = Counter(kill.stage for kill in outcome.kills if kill.scratch)
    assert hits == {stage: KILLS // len(STAGES) for stage in STAGES}
    assert min(torn[stage] for stage in STAGES) >= 1, torn
    assert {kill.workers for kill in outcome.kills} == {0, 2}
    assert any(name.endswith(".part") for kill in outcome.kills for name in kill.scratch), "no download was interrupted"


def test_the_comparison_sees_a_flipped_bit_a_lost_row_and_a_leftover(outcome: Outcome, folder: Path) -> None:
    expected = snapshot(folder / "undisturbed")
    copy = shutil.copytree(folder / "undisturbed", folder / "copy")
    assert troubles(copy, expected) == []
    shard = next((copy / "shards").rglob("*.tar"))
    body = bytearray(shard.read_bytes())
    body[-2000] ^= 1
    shard.write_bytes(body)
    (copy / "tmp" / "cut-1").mkdir()
    with closing(sqlite3.connect(copy / "ledger.sqlite")) as ledger:
        ledger.execute("DELETE FROM splits WHERE clip_id = (SELECT MIN(clip_id) FROM splits)")
        ledger.commit()
    lost, *others = troubles(copy, expected)
    assert lost.startswith("missing ledger/splits/")
    assert others == ["other bytes in ledger/splits", f"other bytes in {shard.relative_to(copy)}", "left tmp/cut-1"]


def test_a_process_that_stays_is_seen(tmp_path: Path) -> None:
    setting = Setting(tmp_path, ())
    sleeper = [sys.executable, "-c", "import time; time.sleep(30)"]
    process = subprocess.Popen(sleeper, env=setting.environment)
    try:
        time.sleep(0.5)
        assert any(line.startswith(f"{process.pid} ") for line in orphans(setting))
    finally:
        process.kill()
        process.wait()
    assert orphans(setting) == []


def test_only_a_kill_that_found_its_command_running_counts(tmp_path: Path) -> None:
    setting = Setting(tmp_path, ())
    command = [sys.executable, "-m", "v2a_data", "labels", "Airplane", "--json"]
    assert killed(setting, command, 0.05) is True
    assert killed(setting, command, 60.0) is False
    assert os.listdir(tmp_path) == ["tmp"]
