"""keep_media = false: media go once their clips are sharded, nothing is fetched twice, `repair` fetches what it needs."""

import json
import shutil
from pathlib import Path

import pytest
from rebuilding import at, call, run
from small_shards import copy, edit, files, flip
from worlds import RECIPE

from v2a_data.shards.format import INDEX_FILE
from v2a_data.shards.let_go import let_go
from v2a_data.synthetic.server import serve_world
from v2a_data.workspace import Workspace


@pytest.fixture
def root(small: Path, tmp_path: Path) -> Path:
    return copy(small, tmp_path / "w")


def media(root: Path) -> list[str]:
    return [name for name in files(root) if name.startswith("media/")]


def shards(root: Path) -> dict[str, bytes]:
    return {name: body for name, body in files(root).items() if name.startswith("shards/")}


def status(root: Path) -> dict:
    return json.loads(run("status", "--json", *at(root)))


def first_shard(root: Path) -> tuple[Path, int]:
    with Workspace.read(root) as workspace:
        name, row = workspace.ledger.rows("SELECT shard, index_row FROM samples WHERE state = 'written' ORDER BY 1")[0]
    return root / "shards" / name, json.loads(row)["mp4_offset"] + 300


def test_media_go_when_their_clips_are_sharded(root: Path) -> None:
    before = shards(root)
    assert len(media(root)) == 4
    out = run("shard", "--keep-media", "no", *at(root))
    assert "deleted the media of 4 videos" in out
    assert media(root) == []
    assert shards(root) == before
    values = status(root)
    assert values["media"] == {
        "here": {"files": 0, "bytes": 0},
        "deleted": {"files": 4, "bytes": values["media"]["deleted"]["bytes"]},
    }
    assert values["videos"]["by_state"] == {"fetched": 4}
    assert "media deleted after sharding: 4 files" in run("status", *at(root))


def test_by_recipe_and_only_what_is_done_with(root: Path) -> None:
    with Workspace.open(root, "test") as workspace, workspace.ledger.transaction():
        waiting, review = (
            row[0] for row in workspace.ledger.rows("SELECT DISTINCT video_id FROM clips ORDER BY 1 LIMIT 2")
        )
        # One has a clip that is in no shard, one a clip that somebody is to look at.
        workspace.ledger.execute("UPDATE clips SET verdict = 'review' WHERE video_id = ?", (review,))
        workspace.ledger.execute("DELETE FROM samples WHERE clip_id LIKE ?", (f"{waiting}%",))
        workspace.ledger.execute("INSERT INTO plans VALUES ('p', 'score', 'n', 0, 0, ?)", (waiting,))
    recipe = root / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("keep_media = true", "keep_media = false"))
    with Workspace.open(root, "test") as workspace:
        gone = let_go(workspace, workspace.recipe())
    assert gone.files == 2
    left = {Path(name).stem for name in media(root)}
    assert left == {waiting, review}


def test_media_stay_where_their_shard_is_not_what_was_written(root: Path) -> None:
    path, offset = first_shard(root)
    flip(path, offset)
    name = path.relative_to(root / "shards").as_posix()
    with Workspace.read(root) as workspace:
        sql = "SELECT DISTINCT video_id FROM samples JOIN clips USING (clip_id) WHERE shard = ?"
        mine = {row[0] for row in workspace.ledger.rows(sql, (name,))}
    code, out, err = call("shard", "--keep-media", "no", "--json", *at(root))
    assert (code, json.loads(out)["damaged_shards"]) == (0, [name])
    assert f"{name}: not what was written" in err
    assert {Path(left).stem for left in media(root)} == mine
    path.unlink()
    assert json.loads(run("shard", "--keep-media", "no", "--json", *at(root)))["media_deleted"] == 0
    assert run("repair", *at(root))
    assert len(media(root)) == len(mine)
    run("shard", "--keep-media", "no", *at(root))
    assert media(root) == []


def test_media_of_refused_clips_stay(root: Path) -> None:
    with Workspace.open(root, "test") as workspace, workspace.ledger.transaction():
        clip_id = workspace.ledger.value("SELECT MIN(clip_id) FROM samples")
        sql = "UPDATE samples SET state = 'refused', reason = 'timed_out' WHERE clip_id = ?"
        workspace.ledger.execute(sql, (clip_id,))
    with Workspace.open(root, "test") as workspace:
        recipe = workspace.recipe()
        assert recipe is not None
        assert let_go(workspace, recipe).files == 3
    assert [Path(left).stem for left in media(root)] == [clip_id.rpartition("_")[0]]


def test_nothing_is_fetched_or_judged_again(root: Path, tmp_path: Path) -> None:
    run("shard", "--keep-media", "no", *at(root))
    before = shards(root)
    for words in (("fetch",), ("curate",), ("shard",)):
        run(*words, *at(root))
    assert media(root) == []
    assert shards(root) == before
    with Workspace.read(root) as workspace:
        assert workspace.ledger.value("SELECT COUNT(*) FROM attempts WHERE stage = 'fetch'") == 4
    code = call("curate", "--set", "rules.keep=motion >= 0", "--set", "scorers.together={}", "--force", *at(root))[0]
    assert code == 0
    with Workspace.read(root) as workspace:
        assert workspace.ledger.counts("videos", "state") == {"fetched": 4}, "nothing becomes unusable for it"


def test_a_kill_between_mark_and_deletion_is_made_good(root: Path) -> None:
    with Workspace.open(root, "test") as workspace:
        workspace.ledger.execute("UPDATE media SET deleted = 'sharded'")
    assert len(media(root)) == 4
    run("shard", "--keep-media", "no", *at(root))
    assert media(root) == []


def test_removal_needs_no_media(root: Path) -> None:
    run("shard", "--keep-media", "no", *at(root))
    with Workspace.read(root) as workspace:
        video_id = workspace.ledger.value("SELECT MIN(video_id) FROM videos")
    run("remove", "--ids", video_id, "-w", root)
    assert json.loads(run("verify", "--deep", "--json", *at(root)))["findings"] == []


def test_repair_fetches_again_and_lets_go_again(root: Path, small: Path) -> None:
    run("shard", "--keep-media", "no", *at(root))
    path, offset = first_shard(root)
    flip(path, offset)
    values = json.loads(run("repair", "--json", *at(root)))
    assert (len(values["same"]), values["irreparable"]) == (1, [])
    assert shards(root) == shards(small)
    assert media(root) == []


def test_repair_says_what_cannot_be_had_again(root: Path, small: Path, tmp_path: Path) -> None:
    run("shard", "--keep-media", "no", *at(root))
    path, offset = first_shard(root)
    flip(path, offset)
    world = tmp_path / "world"
    shutil.copytree(small.parent / "world", world)
    for video in (world / "videos").iterdir():
        edit(video, lambda body: body.__setitem__(-1, body[-1] ^ 1))
    code, out, _ = call("repair", "--set", f"source.input={world}", "--json", *at(root))
    (lost,) = json.loads(out)["irreparable"]
    assert code == 3
    assert "its media were deleted after sharding" in lost["why"]
    assert "hash differs" in lost["why"]
    assert media(root) == []
    # Its source is back: so is the sample.
    assert call("repair", *at(root))[0] == 0
    assert shards(root) == shards(small)


def test_shards_that_cannot_be_made_again_are_not_taken_back(root: Path) -> None:
    run("shard", "--keep-media", "no", *at(root))
    run("curate", "--set", "clips.seconds=4", "--force", *at(root))
    code, _, err = call("shard", "--force", *at(root))
    assert (code, "could not be made again: their media were deleted" in err) == (2, True), err
    assert (root / "shards" / INDEX_FILE).is_file()


def test_a_word_that_is_neither_yes_nor_no(root: Path) -> None:
    for command in ("shard", "fetch"):
        code, _, err = call(command, "--keep-media", "maybe", *at(root))
        assert (code, "expected yes or no" in err) == (2, True)


def test_repair_fetches_again_over_http(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As from a site: by the address that the ledger has, through yt-dlp."""
    monkeypatch.setattr("v2a_data.fetch.ytdlp.Downloader._before_retry", lambda self, n: 0.0)
    root = tmp_path / "w"
    with serve_world(world) as address:
        sets = (
            f"source.label_url={address}/2/j/v/{{mid}}.js",
            f"source.lookup_url={address}/2/j/i/{{prefix}}/{{id}}.js",
            f"source.watch_url={address}/media/{{id}}.mp4",
            "shard.width=64",
            "shard.height=36",
        )
        more = ("--keep-media", "no", "--limit", 3, *(word for item in sets for word in ("--set", item)))
        run("fetch", "--recipe", RECIPE, *more, *at(root))
        run("curate", *at(root))
        run("shard", *at(root))
        with Workspace.read(root) as workspace:
            kept = workspace.ledger.value("SELECT COUNT(*) FROM media WHERE deleted IS NULL")
            assert workspace.ledger.value("SELECT COUNT(*) FROM media WHERE deleted IS NOT NULL") >= 1
        before = shards(root)
        assert len(media(root)) == kept
        path, offset = first_shard(root)
        flip(path, offset)
        assert json.loads(run("repair", "--json", *at(root)))["irreparable"] == []
        assert shards(root) == before
        assert len(media(root)) == kept
    flip(path, offset)
    code, out, _ = call("repair", "--json", *at(root))
    assert code == 3
    assert "a new fetch failed: transport" in json.loads(out)["irreparable"][0]["why"]
