"""From fetched videos to shards: each step skips what is done, worker counts change no byte."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner
from worlds import RECIPE

from v2a_data import schema
from v2a_data.cli import app
from v2a_data.console import Console
from v2a_data.curate.explain import explain_clip, explain_video
from v2a_data.curate.stage import curate
from v2a_data.engine import SerialEngine, open_engine
from v2a_data.errors import NothingError, UsageError
from v2a_data.fetch.stage import fetch
from v2a_data.recipe import Recipe, load_recipe
from v2a_data.scorers.motion import Motion
from v2a_data.shards.plan import plan_new
from v2a_data.shards.read import open_shards
from v2a_data.shards.write import shard
from v2a_data.sources.synthetic import Synthetic
from v2a_data.synthetic.world import read_truth
from v2a_data.tables import load_manifest, load_table
from v2a_data.workspace import Workspace


def demo(world: Path, **over: object) -> Recipe:
    return load_recipe(RECIPE, {"source": {"name": "synthetic", "input": str(world)}, "splits": {"test": 2}, **over})


def build(root: Path, recipe: Recipe, engine, console: Console, per_shard: int | None = None) -> None:
    with Workspace.open(root, "test") as workspace:
        workspace.adopt(recipe, force=False)
        fetch(workspace, recipe, Synthetic(), engine, console, None)
        curate(workspace, recipe, engine, console)
        shard(workspace, recipe, engine, console, samples_per_shard=per_shard)


def shard_hashes(root: Path) -> dict[str, str]:
    files = sorted((root / "shards").rglob("*"))
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files if p.is_file()}


@pytest.fixture(scope="module")
def built(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("built") / "w"
    build(root, demo(world), SerialEngine(), Console("t", quiet=True), per_shard=3)
    return root


def test_kept_windows_are_those_without_a_planted_fault(world: Path, built: Path) -> None:
    truth = read_truth(world, "windows")
    bad = truth[(truth.still > 0.5) | (truth.silence > 0.5) | (truth.voice > 0.5)]
    bad_windows = set(zip(bad.video_id, bad.window_index, strict=True))
    clips = load_table(built, "clips")
    kept, caught = set(), set()
    for row in clips.itertuples():
        windows = {(row.video_id, i) for i in range(round(row.start_s / 2), round(row.stop_s / 2))}
        kept |= windows if row.verdict == "keep" else set()
        if row.verdict == "drop" and any("stretch" not in r["condition"] for r in row.reasons):
            caught |= windows
    assert len(bad_windows) >= 6, "the world must hold faults for this to mean anything"
    assert not kept & bad_windows
    assert len(caught & bad_windows) / len(bad_windows) > 0.9


def test_samples_decode_to_the_contract(built: Path, world: Path) -> None:
    import io

    from makers import decode_all

    shards = open_shards(built / "shards")
    fps = read_truth(world, "videos").set_index("video_id").fps
    assert len(shards.entries) >= 5
    for entry in shards.entries:
        sample = shards.read(entry, verify=True)
        frames, sound, _ = decode_all(io.BytesIO(sample.mp4))
        assert (len(frames), sound.shape) == (250, (1, 160000))
        assert sample.values["split"] == entry.split
        # Half a frame of the source or of the 25 per second, whichever is longer.
        assert sample.values["picture_error_s"] <= max(0.0205, 0.5 / fps[entry.key.rpartition("_")[0]] + 0.0005)
        assert len(sample.values["seen"]) == len(sample.values["heard"]) == 5


def test_splits_keep_videos_together_and_reach_the_count(built: Path) -> None:
    manifest = load_manifest(built)
    kept = manifest[manifest.verdict == "keep"]
    assert kept.groupby("group_id").split.nunique().max() == 1
    assert (kept[kept.split == "test"].groupby("label").size() >= 2).all()


@pytest.mark.parametrize("workers", [1, 3])
def test_worker_counts_change_no_byte(workers: int, world: Path, built: Path, tmp_path: Path, console: Console) -> None:
    engine = open_engine(workers, None, models=True)
    try:
        build(tmp_path / "w", demo(world), engine, console, per_shard=3)
    finally:
        engine.close()
    assert shard_hashes(tmp_path / "w") == shard_hashes(built)
    with Workspace.read(tmp_path / "w") as one, Workspace.read(built) as two:
        assert one.ledger.dump() == two.ledger.dump()
    scores = sorted(p.relative_to(built) for p in (built / "scores").rglob("*.parquet"))
    assert scores
    assert all((tmp_path / "w" / p).read_bytes() == (built / p).read_bytes() for p in scores)


def test_a_second_run_does_nothing(built: Path, world: Path, console: Console) -> None:
    before = shard_hashes(built)
    with Workspace.open(built, "test") as workspace:
        dump = workspace.ledger.dump()
        assert curate(workspace, demo(world), SerialEngine(), console).scored == 0
        assert shard(workspace, demo(world), SerialEngine(), console, samples_per_shard=3).written == 0
        assert workspace.ledger.dump() == dump
    assert shard_hashes(built) == before


def test_a_new_threshold_measures_nothing_again(world: Path, tmp_path: Path, console: Console) -> None:
    recipe = demo(world)
    stricter = demo(world, rules={"keep": "heard and clean and motion >= 0.002"})
    with Workspace.open(tmp_path, "test") as workspace:
        fetch(workspace, recipe, Synthetic(), SerialEngine(), console, 6)
        first = curate(workspace, recipe, SerialEngine(), console)
        parts = workspace.ledger.dump()["parts"]
        splits = {row["clip_id"]: row["split"] for row in workspace.ledger.dump()["splits"]}
        second = curate(workspace, stricter, SerialEngine(), console)
        assert (first.scored, second.scored) == (6, 0)
        assert workspace.ledger.dump()["parts"] == parts
        assert stricter.hash != recipe.hash
        after = {row["clip_id"]: row["split"] for row in workspace.ledger.dump()["splits"]}
        assert splits.items() <= after.items(), "splits are never reassigned"


def test_more_videos_extend_and_leave_finished_shards_alone(world: Path, tmp_path: Path, console: Console) -> None:
    recipe, engine = demo(world), SerialEngine()
    with Workspace.open(tmp_path, "test") as workspace:
        for target in (6, None):
            fetch(workspace, recipe, Synthetic(), engine, console, target)
            curate(workspace, recipe, engine, console)
            shard(workspace, recipe, engine, console)
            hashes = shard_hashes(tmp_path)
            if target == 6:
                first = {k: v for k, v in hashes.items() if k.endswith(".tar")}
        assert first.items() <= hashes.items()
        assert len([k for k in hashes if k.endswith(".tar")]) > len(first)
        kept = workspace.ledger.value("SELECT COUNT(*) FROM clips WHERE verdict = 'keep'")
        assert len(open_shards(tmp_path / "shards").entries) == kept


def test_shards_of_another_recipe_need_force(world: Path, tmp_path: Path, console: Console) -> None:
    recipe, other, engine = demo(world), demo(world, shard={"crf": 30}), SerialEngine()
    with Workspace.open(tmp_path, "test") as workspace:
        fetch(workspace, recipe, Synthetic(), engine, console, 4)
        curate(workspace, recipe, engine, console)
        shard(workspace, recipe, engine, console)
        before = shard_hashes(tmp_path)
        curate(workspace, other, engine, console)
        with pytest.raises(UsageError, match="holds samples of recipe"):
            shard(workspace, other, engine, console)
        assert shard_hashes(tmp_path) == before
        assert shard(workspace, other, engine, console, force=True).written > 0
        assert {
            s.values["recipe_hash"]
            for s in map(open_shards(tmp_path / "shards").read, open_shards(tmp_path / "shards").entries)
        } == {other.hash}


def test_keep_all_needs_no_scorer(world: Path, tmp_path: Path, console: Console) -> None:
    recipe = load_recipe("keep_all", {"source": {"name": "synthetic", "input": str(world)}})
    with Workspace.open(tmp_path, "test") as workspace:
        fetch(workspace, recipe, Synthetic(), SerialEngine(), console, 3)
        result = curate(workspace, recipe, SerialEngine(), console)
    assert result.verdicts["keep"] == 3
    assert set(result.reasons) <= {"stretch >= 10 s"}


def test_nothing_fetched_is_nothing_to_curate(world: Path, tmp_path: Path, console: Console) -> None:
    with Workspace.open(tmp_path, "test") as workspace:
        with pytest.raises(NothingError, match="holds no fetched videos"):
            curate(workspace, demo(world), SerialEngine(), console)
        with pytest.raises(NothingError, match="no clip is kept"):
            shard(workspace, demo(world), SerialEngine(), console)


def test_a_video_that_does_not_decode_gets_its_reason(world: Path, tmp_path: Path, console: Console) -> None:
    recipe = demo(world)
    with Workspace.open(tmp_path, "test") as workspace:
        fetch(workspace, recipe, Synthetic(), SerialEngine(), console, 3)
        row = workspace.ledger.rows("SELECT * FROM media ORDER BY video_id")[1]
        path = tmp_path / row["path"]
        path.unlink()
        path.write_bytes(b"\x00" * 5000)
        result = curate(workspace, recipe, SerialEngine(), console)
        found = workspace.ledger.rows("SELECT state, reason FROM videos WHERE video_id = ?", (row["video_id"],))[0]
    assert tuple(found) == ("unusable", "not_media")
    assert result.scored == 3


def test_explain_shows_windows_rules_and_reasons(built: Path, world: Path) -> None:
    recipe = demo(world)
    clips = load_table(built, "clips")
    dropped = next(row for row in clips.itertuples() if row.verdict == "drop" and "windows" in row.reasons[0])
    with Workspace.read(built) as workspace:
        found = explain_clip(workspace, recipe, dropped.clip_id)
        video = explain_video(workspace, recipe, dropped.video_id)
        assert explain_clip(workspace, recipe, "sy-0-999_000000000") is None
    assert found["verdict"] == "drop"
    assert {"voice", "still", "silence", "keep", "clean"} <= found["windows"][0].keys()
    assert any(f"not met: {dropped.reasons[0]['condition']}" in line for line in found["lines"])
    assert [c["clip_id"] for c in video["clips"]] == sorted(clips[clips.video_id == dropped.video_id].clip_id)


def test_explain_shows_the_moment_that_decided(built: Path, world: Path) -> None:
    table = pq.read_table(next((built / "scores").glob("motion-v*/*.parquet"))).to_pandas()
    kept = next(row for row in load_table(built, "clips").itertuples() if row.verdict == "keep")
    with Workspace.read(built) as workspace:
        found = explain_clip(workspace, demo(world), kept.clip_id)
    assert found is not None
    rows = table[(table.video_id == kept.video_id) & table.start_s.between(kept.start_s, kept.stop_s - 2)]
    shown = [window["motion.evidence_s"] for window in found["windows"]]
    assert shown == [round(value, 3) for value in rows.sort_values("window_index").evidence_s]
    assert all(
        window["start_s"] <= at_s <= window["start_s"] + 2 for window, at_s in zip(found["windows"], shown, strict=True)
    )
    assert "loudness.evidence_s" not in found["windows"][0], "loudness names no moment"
    head = next(line for line in "\n".join(found["lines"]).splitlines() if "start_s" in line)
    assert "motion.evidence_s" in head
    assert f" {shown[-1]:.2f}" in "\n".join(found["lines"])


def test_scores_hold_null_and_evidence(built: Path) -> None:
    table = pq.read_table(next((built / "scores" / "loudness-v2").glob("*.parquet")))
    assert table.column_names == [
        "video_id",
        "window_index",
        "start_s",
        "loudness_lufs",
        "silence",
        "clipping",
        "antiphase",
        "evidence_s",
    ]
    assert json.loads(table.schema.metadata[b"v2a_data"])["units"]["loudness_lufs"] == "LUFS"
    frame = table.to_pandas()
    silent = frame[frame.silence == 1.0]
    assert len(silent)
    assert silent.loudness_lufs.isna().all()
    assert np.isfinite(frame[frame.silence == 0.0].loudness_lufs).all()


def test_shard_with_another_recipe_needs_its_clips_first(world: Path, built: Path, tmp_path: Path) -> None:
    root = shutil.copytree(built, tmp_path / "w")
    before = shard_hashes(root)
    at = ["-w", str(root), "--workers", "0"]
    done = CliRunner().invoke(app, ["shard", *at, "--set", "shard.crf=30", "--force"])
    assert (done.exit_code, "nothing was curated with recipe" in done.stderr) == (2, True)
    assert shard_hashes(root) == before
    assert CliRunner().invoke(app, ["curate", *at, "--set", "shard.crf=30", "--force"]).exit_code == 0
    assert shard_hashes(root) == before
    assert CliRunner().invoke(app, ["shard", *at]).exit_code == 2
    assert CliRunner().invoke(app, ["shard", *at, "--force"]).exit_code == 0
    after = shard_hashes(root)
    assert not set(before.values()) & set(after.values())
    assert len(open_shards(root / "shards").entries) == len(open_shards(built / "shards").entries)
    manifest = load_manifest(root)
    assert manifest.clip_id.is_unique
    assert set(manifest.recipe_hash) == {Workspace.read(root).recipe().hash}


def test_a_plan_of_another_recipe_publishes_nothing(world: Path, built: Path, tmp_path: Path, console: Console) -> None:
    root = tmp_path / "w"
    shutil.copytree(built, root, ignore=shutil.ignore_patterns("shards"))
    strict = demo(world, rules={"keep": "motion >= 2"})
    with Workspace.open(root, "t") as workspace:
        workspace.ledger.execute("DELETE FROM samples")
        workspace.ledger.execute("DELETE FROM shards")
        plan_new(workspace.ledger, demo(world), 3)  # as a killed `shard` leaves it
        assert workspace.ledger.value("SELECT COUNT(*) FROM plans")
        curate(workspace, strict, SerialEngine(), console)
        with pytest.raises(NothingError):
            shard(workspace, strict, SerialEngine(), console)
        loose = demo(world, rules={"keep": "silence <= 1"})
        curate(workspace, loose, SerialEngine(), console)
        shard(workspace, loose, SerialEngine(), console)
    for entry in open_shards(root / "shards").entries:
        values = open_shards(root / "shards").read(entry).values
        assert (values["verdict"], values["recipe_hash"]) == ("keep", loose.hash)


def test_one_dataset_never_mixes_two_models(
    world: Path, built: Path, tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shutil.copytree(built, tmp_path / "w")
    monkeypatch.setattr(Motion, "version", 99)
    with Workspace.open(root, "t") as workspace, pytest.raises(UsageError, match="motion: the scorer or its file"):
        curate(workspace, demo(world), SerialEngine(), console)


def test_a_twin_that_comes_later_joins_the_group_that_stands(
    world: Path, built: Path, tmp_path: Path, console: Console
) -> None:
    root = shutil.copytree(built, tmp_path / "w")
    with Workspace.open(root, "t") as workspace:
        ledger = workspace.ledger
        old = ledger.value("SELECT video_id FROM clips WHERE verdict = 'keep' ORDER BY 1 DESC")
        # An id that sorts before all others, with the same bytes.
        video = dict(ledger.rows("SELECT * FROM videos WHERE video_id = ?", (old,))[0])
        media = dict(ledger.rows("SELECT * FROM media WHERE video_id = ?", (old,))[0])
        twin = {**video, "video_id": "lo-0000000000000000", "labels": json.loads(video["labels"])}
        ledger.insert(schema.VIDEOS, [twin])
        ledger.insert(schema.MEDIA, [{**media, "video_id": twin["video_id"], "probe": json.loads(media["probe"])}])
        curate(workspace, demo(world), SerialEngine(), console)
        groups = "SELECT DISTINCT group_id FROM groups WHERE clip_id LIKE ?"
        assert ledger.rows(groups, ("lo-%",)) == ledger.rows(groups, (f"{old}%",)) != []
        # The clips that stand stay; those of the twin go, each naming its counterpart.
        sql = (
            "SELECT clip_id, reasons FROM clips WHERE video_id = ? AND json_extract(reasons, '$[#-1].kept') IS NOT NULL"
        )
        twins = {row[0]: json.loads(row[1])[-1] for row in ledger.rows(sql, (twin["video_id"],))}
        kept = ledger.rows("SELECT clip_id FROM clips WHERE video_id = ? AND verdict = 'keep' ORDER BY 1", (old,))
        assert twins == {
            clip_id.replace(old, twin["video_id"]): {
                "condition": "best of its duplicates",
                "kept": clip_id,
                "by": "bytes",
            }
            for (clip_id,) in kept
        }
        assert not ledger.value("SELECT 1 FROM splits WHERE clip_id LIKE 'lo-%'")
