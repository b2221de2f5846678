"""Leaks between datasets: counted exactly by id, time, bytes, picture and sound; and splits that leak by design."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rebuilding import at, call, run

from v2a_data import load_manifest, load_table
from v2a_data.curate.leaks import Item, _across, _in_time
from v2a_data.errors import ExitCode
from v2a_data.manifest import open_manifest
from v2a_data.shards.format import LEAKY
from v2a_data.shards.read import open_shards
from v2a_data.synthetic.world import read_truth

SMALL = ("--set", "shard.width=64", "--set", "shard.height=36", "--set", "fetch.sleep_s=[0, 0]")


@st.composite
def items(draw: st.DrawFn) -> list[Item]:
    """Clips of up to three sides and two videos, with times that meet, touch or not."""
    found = []
    for n in range(draw(st.integers(0, 14))):
        start_s = draw(st.integers(0, 8))
        stop_s = start_s + draw(st.integers(1, 4))
        found.append(Item(f"k{n}", draw(st.sampled_from("vw")), start_s, stop_s, draw(st.integers(0, 2))))
    return found


@settings(deadline=None)
@given(items())
def test_what_is_counted_is_what_all_pairs_give(some: list[Item]) -> None:
    same_video = [(a, b) for a in some for b in some if a.side < b.side and a.video_id == b.video_id]
    same_time = [(a, b) for a, b in same_video if a.start_s < b.stop_s and b.start_s < a.stop_s]
    for found, pairs in ((_across(some, lambda item: item.video_id), same_video), (_in_time(some), same_time)):
        assert (found.left, found.right) == (len({a.key for a, _ in pairs}), len({b.key for _, b in pairs}))
        assert found.pairs == len(pairs)
        assert len(found.examples) == min(20, len(pairs))
        assert {(a.key, b.key) for a, b in pairs} >= set(found.examples)


def test_one_video_may_have_very_many_clips_on_both_sides() -> None:
    count = 20_000
    some = [Item(f"k{n:06d}", "v", 10.0 * n, 10.0 * n + 10, side) for side in (0, 1) for n in range(count)]
    assert (_across(some, lambda item: item.video_id).pairs, _in_time(some).pairs) == (count**2, count)


def leaks(*words: object, code: ExitCode) -> dict:
    found, out, err = call("leaks", *words, "--json")
    assert found == code, err
    return json.loads(out)


def counts(found: dict) -> dict[str, tuple[int, int, int]]:
    return {kind: (by["clips_a"], by["clips_b"], by["pairs"]) for kind, by in found["by"].items()}


@pytest.fixture(scope="module")
def again(made: Path, world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other files of the same scenes under other ids: three that `made` has clips of, and one that it has not."""
    folder = tmp_path_factory.mktemp("again")
    have = sorted(set(load_manifest(made.parent / "m.parquet").video_id))
    files = read_truth(world, "videos").set_index("video_id").file
    other = next(name for name in files.index if name not in have and name.endswith(("-8", "-9", "-10", "-11")))
    (folder / "in").mkdir()
    for name in (*have[:3], other):
        shutil.copy(world / files[name], folder / "in")
    run("fetch", "--source", "local", "--input", folder / "in", "--recipe", "keep_all", *SMALL, *at(folder / "w"))
    run("curate", *at(folder / "w"))
    run("shard", *at(folder / "w"))
    return folder / "w" / "shards"


def test_a_dataset_leaks_into_itself_wholly(made: Path) -> None:
    manifest = made.parent / "m.parquet"
    rows = len(load_manifest(manifest))
    assert load_manifest(manifest).video_id.is_unique
    found = leaks(manifest, manifest, code=ExitCode.LEAKS)
    assert found["clips"] == [rows, rows]
    assert counts(found) == dict.fromkeys(("video", "time", "bytes"), (rows, rows, rows))
    assert found["not_compared"] == [
        "picture and sound: a manifest holds no fingerprints; give folders of shards"
    ]  # fmt: skip


def test_copies_under_other_ids_are_found_by_picture_and_by_sound(made: Path, again: Path) -> None:
    found = leaks(made / "shards", again, code=ExitCode.LEAKS)
    total = len(open_shards(made / "shards").entries)
    assert found["clips"] == [total, 4]
    nothing = (0, 0, 0)
    assert counts(found) == {
        "video": nothing, "time": nothing, "bytes": nothing, "picture": (3, 3, 3), "sound": (3, 3, 3)
    }  # fmt: skip
    by_picture = {tuple(pair) for pair in found["by"]["picture"]["examples"]}
    assert by_picture == {tuple(pair) for pair in found["by"]["sound"]["examples"]}
    assert {a.rpartition("_")[0] for a, _ in by_picture} == set(
        sorted(set(load_manifest(made.parent / "m.parquet").video_id))[:3]
    )


def test_splits_of_one_dataset_do_not_leak(made: Path) -> None:
    found = leaks(made / "shards", code=ExitCode.OK)
    assert sum(found["clips"]) == len(open_shards(made / "shards").entries)
    assert found["leaks"] is False
    assert set(counts(found).values()) == {(0, 0, 0)}


def test_what_cannot_be_compared_is_said(made: Path, again: Path) -> None:
    found = leaks(made.parent / "m.parquet", again, code=ExitCode.OK)
    assert set(found["by"]) == {"video", "time"}
    assert [words.partition(":")[0] for words in found["not_compared"]] == ["bytes", "picture and sound"]


def test_splits_within_a_video_are_marked_and_leak(world: Path, tmp_path: Path) -> None:
    rules = ("--set", "splits.by=within_video", "--set", "splits.gap_s=2", "--set", "splits.validation=0.0")
    form = ("--set", "splits.test=0.4", "--set", "clips.seconds=2", *SMALL)
    source = ("--source", "synthetic", "--input", world, "--limit", 2, "--recipe", "keep_all")
    run("fetch", *source, *rules, *form, *at(tmp_path / "w"))
    run("curate", *at(tmp_path / "w"))
    run("shard", *at(tmp_path / "w"))
    run("export", tmp_path / "m.parquet", *at(tmp_path / "w"))
    clips = load_table(tmp_path / "w", "clips").sort_values("clip_id")
    splits = load_table(tmp_path / "w", "splits").set_index("clip_id").split
    for _, rows in clips[clips.stop_s - clips.start_s == 2].groupby("video_id"):
        laid = [splits.get(name) for name in rows.clip_id]
        tests = round(0.4 * len(laid))
        assert laid == ["train"] * (len(laid) - tests - 1) + [None] + ["test"] * tests
    assert f"> **{LEAKY}**" in (tmp_path / "w" / "shards" / "README.md").read_text()
    assert pq.read_schema(tmp_path / "m.parquet").metadata[b"leaky"] == LEAKY.encode()
    assert open_manifest(tmp_path / "m.parquet").recipe.leaky
    found = leaks(tmp_path / "m.parquet", code=ExitCode.LEAKS)
    train, _, test = found["clips"]
    assert counts(found)["video"][:2] == (train, test)
    assert counts(found)["time"] == (0, 0, 0)
