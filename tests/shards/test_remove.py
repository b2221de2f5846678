"""remove: nothing that names a video stays, everything else stays as it was, and the video does not come back."""

import json
import sqlite3
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from named_everywhere import GONE, STAYS, naming
from rebuilding import at, call, run
from small_shards import QUIET, copy, files, flip

from v2a_data import schema
from v2a_data.engine import SerialEngine
from v2a_data.errors import UsageError
from v2a_data.ledger import Ledger
from v2a_data.removal import tables
from v2a_data.removal.find import parse_wanted
from v2a_data.shards.index import ledger_rows, ledger_shards
from v2a_data.shards.read import Entry
from v2a_data.shards.verify import verify
from v2a_data.tables import load_table
from v2a_data.workspace import Workspace


@pytest.fixture
def root(named: Path, tmp_path: Path) -> Path:
    return copy(named, tmp_path / "w")


def sound(root: Path) -> bool:
    return verify(root / "shards", SerialEngine(), QUIET, share=1.0).total == 0


def removed(root: Path, *words: object) -> dict:
    code, out, err = call("remove", *words, "-w", root, "--json")
    assert code == 0, (out, err)
    return json.loads(out)


def shards_of(root: Path) -> list[str]:
    with Workspace.read(root) as workspace:
        return list(ledger_shards(workspace.ledger))


def rows_of(root: Path) -> dict[str, Entry]:
    with Workspace.read(root) as workspace:
        return {row.key: row for name in shards_of(root) for row in ledger_rows(workspace.ledger, name)}


def keys(root: Path) -> set[str]:
    return set(pq.read_table(root / "shards" / "index.parquet")["key"].to_pylist())


def test_the_workspace_names_it_everywhere_at_first(root: Path) -> None:
    found = naming(root, GONE)
    kinds = {name.partition("/")[0].partition("-")[0] for name in found}
    assert kinds >= {
        "cache",
        "checkpoints",
        "ledger.sqlite",
        "media",
        "reports",
        "runs",
        "scores",
        "shards",
        "texts.csv",
    }
    with Workspace.read(root) as workspace:
        dump = workspace.ledger.dump()
    tables = {name for name, rows in dump.items() if GONE in json.dumps(rows, default=bytes.hex)}
    assert tables == {
        *("videos", "media", "channels", "plans", "scored", "stretches", "clips", "fingerprints"),
        *("groups", "splits", "votes", "asked", "samples"),
    }


def test_not_a_byte_names_it_afterwards(root: Path) -> None:
    values = removed(root, "--ids", GONE)
    assert naming(root, GONE) == []
    assert (values["videos"], values["media_files"], values["rows"]["votes"], values["left"]) == (1, 1, 1, [])
    assert sorted(path.name for path in root.glob("ledger.sqlite*")) == ["ledger.sqlite"]


def test_everything_else_stays_as_it_was(root: Path, named: Path) -> None:
    before = files(named)
    values = removed(root, "--ids", GONE)
    after = files(root)
    same = {name for name in after if before.get(name) == after[name]}
    changed = {name for name in before if name.endswith(".tar")} - same
    assert changed == {f"shards/{name}" for name in values["shards"]["shards"]}
    assert len(changed) < len(shards_of(root))
    for name in (*same, "checkpoints/v/last.json"):
        assert after[name] == before[name]
    assert all(name in after for name in before if name.startswith("media/") and GONE not in name)
    assert after["cache/audioset/list.csv"] == f"# a list\n{STAYS}, 0, 10\n".encode()
    assert after["reports/rebuild.csv"] == f"clip_id,video_id\n{STAYS}_000000000,{STAYS}\n".encode()
    assert json.loads(after["runs/old.json"])["argv"] == ["v2a-data", "explain", "(removed)_000000000"]
    assert after["texts.csv"].decode().splitlines() == ["video_id,text", f"{STAYS},another drum"]
    rows = {name: load_table(root, name) for name in ("videos", "votes", "clips", "attempts")}
    assert set(rows["videos"].video_id) == {"sy-0-0", "sy-0-1", STAYS}
    assert list(rows["votes"].video_id) == [STAYS]
    assert rows["attempts"].message.dropna().iloc[-1] == "like (removed)_000000000, and yt-(removed)"
    with Workspace.read(root) as workspace:
        sql = "SELECT verdict, condition, clips FROM tallies ORDER BY 1, 2"
        tallies = [tuple(row) for row in workspace.ledger.rows(sql)]
        counted = workspace.ledger.counts("clips", "verdict")
    assert {verdict: n for verdict, condition, n in tallies if not condition} == counted


def test_touched_shards_are_whole_and_their_samples_keep_their_bytes(root: Path, named: Path) -> None:
    old = rows_of(named)
    removed(root, "--ids", GONE)
    assert sound(root)
    assert keys(root) == {key for key in old if not key.startswith(GONE)}
    new = rows_of(root)
    for key, row in new.items():
        # A group that was called by the video has another name now; the media bytes are the same.
        renamed = key.startswith(STAYS)
        assert (row.sha256 == old[key].sha256) is not renamed
        assert row.group_id == (STAYS if renamed else old[key].group_id)
        body = (root / "shards" / row.shard).read_bytes()
        before = (named / "shards" / old[key].shard).read_bytes()
        media = slice(row.mp4_offset, row.mp4_offset + row.mp4_bytes)
        assert body[media] == before[old[key].mp4_offset : old[key].mp4_offset + old[key].mp4_bytes]
    card = (root / "shards" / "README.md").read_text()
    assert f"{len(new)} samples" in card or str(len(new)) in card


def test_media_are_not_needed(root: Path) -> None:
    for path in (root / "media").rglob("*.*"):
        path.unlink()
    removed(root, "--ids", GONE)
    assert sound(root)
    assert naming(root, GONE) == []


def test_the_rest_of_the_commands_go_on(root: Path) -> None:
    removed(root, "--ids", GONE)
    assert "fetched" in run("status", *at(root))
    for words in (("curate",), ("shard",), ("repair",)):
        assert call(*words, *at(root))[0] == 0
    assert naming(root, GONE) == []


def test_it_is_refused_by_any_source(root: Path, tmp_path: Path) -> None:
    removed(root, "--ids", GONE)
    out = json.loads(run("fetch", *at(root), "--json"))
    assert (out["fetched"], out["refused"]) == (0, 1)
    assert "removed earlier" in run("fetch", *at(root))
    assert naming(root, GONE) == []
    texts = tmp_path / "t.csv"
    texts.write_text(f"video_id,text\n{GONE},x\n")
    code, _, err = call("shard", "--text", texts, *at(root))
    assert (code, "1 rows are about videos that were removed" in err) == (2, True)


def test_ids_that_are_not_here_are_refused_too(root: Path) -> None:
    values = removed(root, "--ids", "-0DdlOuIFUI,https://youtu.be/abcdefghijk")
    assert (values["videos"], values["elsewhere"]) == (0, 2)
    assert naming(root, "-0DdlOuIFUI", "abcdefghijk") == []
    with Workspace.read(root) as workspace:
        recipe = workspace.recipe()
    assert recipe is not None
    ids = root.parent / "ids.txt"
    ids.write_text("-0DdlOuIFUI\nabcdefghijk\n")
    more = ("--ids-file", ids, "--label", recipe.labels[0], "--source", "ids", "--force", "--ids-only")
    assert json.loads(run("fetch", *more, *at(root), "--json"))["refused"] == 2
    assert naming(root, "-0DdlOuIFUI", "abcdefghijk") == []


def test_a_channel_goes_with_all_its_videos(root: Path) -> None:
    values = removed(root, "--channel", "https://www.youtube.com/channel/UCgone")
    assert values["videos"] == 1
    assert naming(root, GONE, "UCgone") == []


def test_a_dry_run_changes_nothing(root: Path) -> None:
    before = files(root)
    code, out, _ = call("remove", "--ids", GONE, "--dry-run", "-w", root)
    assert code == 0
    assert "would remove 1 videos" in out
    assert {name: body for name, body in files(root).items() if "ledger" not in name} == {
        name: body for name, body in before.items() if "ledger" not in name
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "nothing to remove"),
        (("--ids", "../../etc"), "neither a YouTube id"),
        (("--ids", f"{GONE}_000000000"), "is a clip"),
    ],
)
def test_what_cannot_be_meant_is_said(words: tuple[str, ...], message: str, root: Path) -> None:
    code, _, err = call("remove", *words, "-w", root)
    assert code == 2
    assert message in err


def test_all_samples_of_a_shard(root: Path) -> None:
    name = rows_of(root)[next(key for key in rows_of(root) if key.startswith(GONE))].shard
    whole = {row.key.rpartition("_")[0] for row in rows_of(root).values() if row.shard == name}
    values = removed(root, *(word for video_id in whole for word in ("--ids", video_id)))
    assert values["shards"]["emptied"] == [name]
    assert not (root / "shards" / name).exists()
    assert sound(root)


def test_a_damaged_neighbour_is_left_to_repair(root: Path) -> None:
    shard = next(row.shard for key, row in rows_of(root).items() if key.startswith(GONE))
    row = next(row for key, row in rows_of(root).items() if row.shard == shard and not key.startswith(GONE))
    flip(root / "shards" / shard, row.mp4_offset + 500)
    code, out, _ = call("remove", "--ids", GONE, "-w", root, "--json")
    assert (code, json.loads(out)["shards"]["damaged"]) == (3, [row.key])
    assert call("repair", *at(root))[0] == 0
    assert row.key in keys(root)
    assert sound(root)


def test_a_file_that_cannot_be_changed_is_named(root: Path) -> None:
    (root / "own notes.txt").write_text(f"about {GONE}")
    code, out, _ = call("remove", "--ids", GONE, "-w", root)
    assert code == 3
    assert "left: own notes.txt still names one" in out


def test_half_a_removal_holds_other_commands_until_it_is_done(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("v2a_data.removal.remove.sweep", stop)
    assert call("remove", "--ids", GONE, "-w", root)[0] == 130
    code, _, err = call("curate", *at(root))
    assert (code, "a removal was interrupted" in err) == (2, True)
    monkeypatch.undo()
    removed(root)
    assert naming(root, GONE) == []
    assert call("curate", *at(root))[0] == 0


def test_a_salted_hash_tells_nothing_without_its_salt(root: Path, tmp_path: Path) -> None:
    other = copy(root, tmp_path / "other")
    hashes = []
    for place in (root, other):
        removed(place, "--ids", GONE)
        with Workspace.read(place) as workspace:
            hashes.append([row[0] for row in workspace.ledger.rows("SELECT hash FROM removed")])
    assert len(hashes[0]) == len(hashes[1]) == 1
    assert hashes[0] != hashes[1]


def test_ledgers_of_version_2_learn_it(root: Path) -> None:
    with Ledger(root / "ledger.sqlite") as ledger, ledger.transaction():
        ledger.execute("DROP TABLE removed")
        ledger.execute("ALTER TABLE videos DROP COLUMN title")
        ledger.execute("ALTER TABLE media DROP COLUMN deleted")
        ledger.execute("DROP TRIGGER clips_gone")
        ledger.set_meta("schema_version", "2")
    with pytest.raises(UsageError, match="workspace version 2"):
        Workspace.read(root)
    removed(root, "--ids", GONE)
    assert naming(root, GONE) == []
    with sqlite3.connect(root / "ledger.sqlite") as db:
        assert db.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone() == ("3",)


def test_a_rebuilt_dataset_forgets_rows_of_its_manifest(made: Path, tmp_path: Path, world: Path) -> None:
    root, manifest = tmp_path / "rebuilt", made.parent / "m.parquet"
    run("fetch", "--manifest", manifest, "--input", world, *at(root))
    run("curate", *at(root))
    video_id = pq.read_table(manifest)["video_id"].to_pylist()[0]
    assert "manifest.parquet" in naming(root, video_id)
    values = removed(root, "--ids", video_id)
    assert values["swept"]["edited"] == ["manifest.parquet"]
    assert naming(root, video_id) == []
    # The published file is still taken for what this workspace follows, but for that video.
    again = json.loads(run("fetch", "--manifest", manifest, *at(root), "--json"))
    assert (again["fetched"], again["missing"]) == (0, [])
    assert naming(root, video_id) == []
    run("shard", *at(root))
    assert not any(key.startswith(video_id) for key in keys(root))


def test_every_table_that_names_videos_or_clips_is_gone_through() -> None:
    naming_ones = {t.name for t in schema.TABLES if {"video_id", "clip_id", "item"} & set(t.names)}
    assert naming_ones == {*tables.BY_VIDEO, *tables.BY_CLIP, "plans", "starts"}


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("UCuAXFkgsw1L7xaCfnd5JJOw", "UCuAXFkgsw1L7xaCfnd5JJOw"),
        ("https://www.youtube.com/channel/UCuAXFkgsw1L7xaCfnd5JJOw/videos?view=0", "UCuAXFkgsw1L7xaCfnd5JJOw"),
        ("https://www.youtube.com/@BBCNews/videos", "@BBCNews"),
        ("https://www.youtube.com/", None),
        ("videos", None),
        ("a", None),
    ],
)
def test_a_channel_is_an_id_or_a_handle_and_no_other_word(typed: str, name: str | None) -> None:
    if name is None:
        with pytest.raises(UsageError, match="neither a channel's id nor an address with one"):
            parse_wanted((), (typed,))
    else:
        assert parse_wanted((), (typed,)).channels == {name}


def test_damaged_scores_and_lists_do_not_stand_in_its_way(root: Path) -> None:
    with Workspace.read(root) as workspace:
        parts = [row[0] for row in workspace.ledger.rows("SELECT path FROM parts ORDER BY 1")]
    (root / parts[0]).write_bytes((root / parts[0]).read_bytes()[:100])
    (root / "cache" / "youtube8m").mkdir(parents=True, exist_ok=True)
    (root / "cache" / "youtube8m" / "05czz6l.json").write_text('["abcd')
    with Workspace.open(root, "test") as workspace, workspace.ledger.transaction():
        sql = "UPDATE videos SET source = 'youtube8m', source_key = 'abcd' WHERE video_id = ?"
        workspace.ledger.execute(sql, (GONE,))
    removed(root, "--ids", GONE)
    assert naming(root, GONE) == []
    with Workspace.read(root) as workspace:
        listed = {row[0] for row in workspace.ledger.rows("SELECT path FROM parts")}
    assert listed == set(parts[1:])
    run("curate", *at(root))
    with Workspace.read(root) as workspace:
        sql = "SELECT COUNT(*) FROM videos v WHERE state = 'fetched' AND (SELECT COUNT(*) FROM scored s WHERE s.video_id = v.video_id) < ?"
        assert workspace.ledger.value(sql, (len({Path(name).parent for name in parts}),)) == 0
