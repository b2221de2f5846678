"""`fetch` killed while its server misbehaves, and one schedule for all workers of a cluster."""

import shutil
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import faults_harness
import pytest
from faults_harness import Asked, Findings, faults_run
from worlds import RECIPE

from v2a_data.console import Console
from v2a_data.engine import DaskEngine
from v2a_data.fetch.stage import fetch
from v2a_data.recipe import load_recipe
from v2a_data.sources.youtube8m import YouTube8M
from v2a_data.synthetic.server import serve_world
from v2a_data.workspace import Workspace

pytestmark = pytest.mark.slow
ZERO = ("partial_marked_done", "refetched", "without_row", "wrong_class", "asked_too_early", "unfinished")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def found(folder: Path) -> Findings:
    faults_harness.VIDEOS = 10
    return faults_run(folder, kills=4, requests=40, seed=1, say=print)


def test_nothing_is_half_twice_lost_or_called_by_a_wrong_name(found: Findings) -> None:
    assert {name: getattr(found, name) for name in ZERO} == dict.fromkeys(ZERO, 0), found.words
    assert found.kills >= 4
    assert found.requests >= 40
    assert found.misdeeds.total() >= 5
    assert found.classes["ok"] >= 5


def test_the_comparison_sees_what_is_planted(found: Findings, folder: Path) -> None:
    workspace = shutil.copytree(folder / "life-0", folder / "copy")
    with Workspace.read(workspace) as opened:
        sql = "SELECT v.native_id, m.path FROM media m JOIN videos v USING (video_id) ORDER BY 1"
        (torn, path), (lost, _), (wrong, _) = [tuple(row) for row in opened.ledger.rows(sql)][:3]
        last = opened.ledger.value("SELECT MAX(id) FROM attempts")
        files = {row[1]: row[0] for row in opened.ledger.rows(sql)}
    served = {native: faults_harness._sha256(workspace / path) for path, native in files.items()}
    life = faults_harness._Life(workspace, served, row=last)
    (workspace / path).write_bytes((workspace / path).read_bytes()[:-1])
    with closing(sqlite3.connect(workspace / "ledger.sqlite")) as ledger:
        ledger.execute("DELETE FROM attempts WHERE video_id = ?", (f"yt-{lost}",))
        sql = "INSERT INTO attempts (video_id, stage, class, at, host, tries) VALUES (?, 'download', 'http_403', '', '', 9)"
        ledger.execute(sql, (f"yt-{wrong}",))
        ledger.commit()
    life.asked_in.update([lost])
    log = [Asked(0.0, f"/media/{wrong}.mp4", "429"), Asked(0.5, f"/media/{wrong}.mp4", None)]
    seen = Findings()
    faults_harness._judge_files(life, seen)
    faults_harness._judge_rows(life, log, seen)
    faults_harness._look_for_early(log, 0, seen, alone=False)
    watch = faults_harness.Watched({}, 0)
    faults_harness._judge_end(life, watch, seen)
    assert (seen.partial_marked_done, seen.asked_too_early) == (1, 1)
    assert seen.without_row == 1
    assert any(wrong in words and "http_403" in words for words in seen.words)
    assert torn not in life.done


def test_a_cluster_has_one_schedule(world: Path, tmp_path: Path, console: Console) -> None:
    engine = DaskEngine(2, None, models=False)
    try:
        with serve_world(world) as where:
            over = {
                "label_url": f"{where}/2/j/v/{{mid}}.js",
                "lookup_url": f"{where}/2/j/i/{{prefix}}/{{id}}.js",
                "watch_url": f"{where}/media/{{id}}.mp4",
            }
            recipe = load_recipe(RECIPE, {"source": over, "fetch": {"sleep_s": [0.25, 0.25]}})
            with Workspace.open(tmp_path / "w", "t") as workspace:
                # Twice, as after a stop: the second run begins by waiting.
                for target in (2, 5):
                    fetch(workspace, recipe, YouTube8M(), engine, console, target)
                starts = [tuple(row) for row in workspace.ledger.rows("SELECT at, ended_at FROM starts ORDER BY id")]
    finally:
        engine.close()
    assert len(starts) >= 5
    assert all(later[0] >= earlier[1] + 0.25 for earlier, later in pairwise(starts))
