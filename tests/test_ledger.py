"""The ledger and the workspace: transactions, versions, locks, a full disk."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from worlds import RECIPE

from v2a_data import recipe as recipes
from v2a_data import schema
from v2a_data.curate.clips import drop
from v2a_data.errors import BusyError, DiskError, UsageError
from v2a_data.files import disk_error, is_disk_error, whole_file
from v2a_data.ledger import Ledger
from v2a_data.tables import load_manifest, load_table
from v2a_data.workspace import Workspace

VIDEO = {"video_id": "sy-0-1", "source": "synthetic", "labels": ["B", "A"], "position": 0, "state": "listed"}


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        with pytest.raises(RuntimeError), ledger.transaction():
            ledger.insert(schema.VIDEOS, [VIDEO])
            raise RuntimeError
        assert ledger.value("SELECT COUNT(*) FROM videos") == 0
        with ledger.transaction():
            ledger.insert(schema.VIDEOS, [VIDEO])
        assert ledger.rows("SELECT labels FROM videos")[0]["labels"] == '["B","A"]'


def test_a_table_of_an_earlier_version_gets_its_new_columns(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger(path) as ledger:
        ledger.execute("ALTER TABLE votes DROP COLUMN note")
        ledger.execute("ALTER TABLE votes DROP COLUMN topic")
        ledger.execute("INSERT INTO votes VALUES (1, 'sy-0-1', 0, 'a', 1, 0, '[]', '', 1, 'Dog')")
    with Ledger(path) as ledger:
        row = ledger.rows("SELECT * FROM votes")[0]
        assert (row["rater"], row["label"], row["note"]) == ("a", "Dog", None)


def test_media_without_a_video_are_refused(tmp_path: Path) -> None:
    row = {"video_id": "sy-0-9", "path": "x", "bytes": 1, "sha256": "0", "probe": {}}
    with Ledger(tmp_path / "l.sqlite") as ledger, pytest.raises(sqlite3.IntegrityError), ledger.transaction():
        ledger.insert(schema.MEDIA, [row])


def test_every_column_says_what_it_means() -> None:
    for table in (*schema.TABLES, schema.INDEX):
        assert table.meaning
        assert set(table.key) <= set(table.names)
        for column in table.columns:
            assert len(column.meaning) > 2, (table.name, column.name)
            if column.name.endswith("_s"):
                assert column.unit == "s"


def test_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger(path) as ledger:
        ledger.set_meta("schema_version", "99")
    with pytest.raises(UsageError, match="workspace version 99, this program reads 3"):
        Ledger(path)


def clip(number: int, verdict: str, seconds: float, *conditions: str) -> dict[str, object]:
    start_s = 10.0 * number
    return {
        "clip_id": f"sy-0-1_{round(start_s * 1000):09d}",
        "recipe_hash": "r" if number < 10 else "other",
        "video_id": "sy-0-1",
        "start_s": start_s,
        "stop_s": start_s + seconds,
        "label": "A",
        "verdict": verdict,
        "reasons": [{"condition": condition, "windows": 1} for condition in conditions],
    }


CLIPS = [
    clip(0, "keep", 10.0),
    clip(1, "drop", 2.1, "seen >= 0.5", "heard >= 0.5"),
    clip(2, "drop", 4.2, "seen >= 0.5"),
    clip(3, "review", 0.7, "voice <= 0.3"),
    clip(11, "drop", 2.0, "seen >= 0.5"),
]
TALLIES = [
    ("other", "drop", "", 1, 2_000_000),
    ("other", "drop", "seen >= 0.5", 1, 2_000_000),
    ("r", "drop", "", 2, 6_300_000),
    ("r", "drop", "heard >= 0.5", 1, 2_100_000),
    ("r", "drop", "seen >= 0.5", 2, 6_300_000),
    ("r", "keep", "", 1, 10_000_000),
    ("r", "review", "", 1, 700_000),
    ("r", "review", "voice <= 0.3", 1, 700_000),
]


def test_clips_are_tallied_as_they_are_added(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        with ledger.transaction():
            ledger.insert(schema.VIDEOS, [VIDEO])
            ledger.insert(schema.CLIPS, CLIPS[:3])
        with ledger.transaction():
            ledger.insert(schema.CLIPS, CLIPS[2:], existing="ignore")  # the third one is there already
        with pytest.raises(RuntimeError), ledger.transaction():
            ledger.insert(schema.CLIPS, [clip(7, "keep", 10.0)])
            raise RuntimeError
        assert [tuple(row) for row in ledger.rows("SELECT * FROM tallies ORDER BY 1, 2, 3")] == TALLIES


def test_tallies_follow_a_clip_that_changes_its_verdict(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        with ledger.transaction():
            ledger.insert(schema.VIDEOS, [VIDEO])
            ledger.insert(schema.CLIPS, CLIPS)
        kept = ledger.value("SELECT clip_id FROM clips WHERE verdict = 'keep' ORDER BY 1 LIMIT 1")
        recipe_hash = ledger.value("SELECT recipe_hash FROM clips WHERE clip_id = ?", (kept,))
        with ledger.transaction():
            drop(ledger, recipe_hash, kept, {"condition": "best of its duplicates", "kept": "x"})
        followed = [tuple(row) for row in ledger.rows("SELECT * FROM tallies ORDER BY 1, 2, 3")]
        with ledger.transaction():
            ledger.execute("DELETE FROM tallies")
            ledger.execute(schema.TALLY_ALL_CLIPS)
        assert followed == [tuple(row) for row in ledger.rows("SELECT * FROM tallies ORDER BY 1, 2, 3")]
        assert any(row[1:3] == ("drop", "best of its duplicates") and row[3] == 1 for row in followed)
        assert followed != TALLIES


def test_a_ledger_of_version_1_is_brought_up_to_date_by_a_command_that_writes(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger(path) as ledger, ledger.transaction():
        ledger.insert(schema.VIDEOS, [VIDEO])
        ledger.insert(schema.CLIPS, CLIPS)
        ledger.execute("DROP TRIGGER clips_added")
        ledger.execute("DROP TRIGGER clips_changed")
        ledger.execute("DROP TABLE tallies")
        ledger.set_meta("schema_version", "1")
    with pytest.raises(UsageError, match="workspace version 1, this program reads 3") as caught:
        Ledger(path, read_only=True)
    assert caught.value.hint == "`v2a-data curate` brings it up to date"
    for _ in range(2):
        with Ledger(path) as ledger:
            assert [tuple(row) for row in ledger.rows("SELECT * FROM tallies ORDER BY 1, 2, 3")] == TALLIES
    with Ledger(path) as ledger, ledger.transaction():
        ledger.insert(schema.CLIPS, [clip(4, "keep", 10.0)])
    with Ledger(path, read_only=True) as ledger:
        sql = "SELECT clips, microseconds FROM tallies WHERE recipe_hash = 'r' AND verdict = 'keep'"
        assert tuple(ledger.rows(sql)[0]) == (2, 20_000_000)


def test_a_file_that_is_no_ledger_says_so(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    path.write_bytes(b"not a database at all, not even close to one" * 100)
    with pytest.raises(Exception, match="not a database") as caught:
        Ledger(path)
    assert "another workspace" in str(caught.value.hint)


def test_two_commands_on_one_workspace(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from v2a_data.workspace import Workspace\n"
        "w = Workspace.open(Path(sys.argv[1]), 'curate'); print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(BusyError, match=rf"in use by `curate` \(process {other.pid} on "):
            Workspace.open(tmp_path, "shard")
        assert Workspace.read(tmp_path).ledger.value("SELECT COUNT(*) FROM videos") == 0
    finally:
        other.kill()
        other.wait()
    Workspace.open(tmp_path, "shard").close()


def test_a_changed_recipe_needs_force(tmp_path: Path) -> None:
    old, new = recipes.load_recipe(RECIPE), recipes.load_recipe(RECIPE, {"clips": {"seconds": 4}})
    with Workspace.open(tmp_path, "t") as workspace:
        workspace.adopt(old, force=False)
        workspace.adopt(old, force=False)
        with pytest.raises(UsageError) as caught:
            workspace.adopt(new, force=False)
        assert "clips.seconds: 10.0 → 4.0" in caught.value.message
        assert "--force" in caught.value.hint
        assert workspace.recipe() == old
        workspace.adopt(new, force=True)
        assert workspace.recipe() == new


def test_leftovers_of_killed_commands_are_removed(tmp_path: Path) -> None:
    with Workspace.open(tmp_path, "t") as workspace:
        (workspace.tmp / "cut-1").mkdir()
        (tmp_path / "media" / "ab").mkdir(parents=True)
        (tmp_path / "media" / "ab" / ".tmp-x.mp4").touch()
        (tmp_path / "media" / "ab" / "keep.mp4").touch()
    with Workspace.open(tmp_path, "t") as workspace:
        assert list(workspace.tmp.iterdir()) == []
    assert [p.name for p in (tmp_path / "media" / "ab").iterdir()] == ["keep.mp4"]


@pytest.mark.parametrize("extension", ["mp4", ".MP4", "../../x", "", "e\x00f", "verylongextension"])
def test_media_paths_stay_inside(extension: str, tmp_path: Path) -> None:
    with Workspace.open(tmp_path, "t") as workspace:
        path = workspace.media_path("yt--0DdlOuIFUI", extension)
        assert path.resolve().is_relative_to(tmp_path.resolve() / "media")
        with pytest.raises(ValueError, match="not a video id"):
            workspace.media_path("../../etc/passwd", "mp4")


def test_a_broken_block_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), whole_file(tmp_path / "x.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_disk_trouble_is_told_from_other_trouble() -> None:
    full = OSError(28, "No space left on device", "/somewhere")
    assert is_disk_error(full)
    assert isinstance(disk_error(full), DiskError)
    assert disk_error(full).exit_code == 7
    assert not is_disk_error(FileNotFoundError(2, "no"))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_ends_clearly_and_leaves_a_usable_workspace(tmp_path: Path, world: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("cannot mount here")
    try:
        command = [sys.executable, "-m", "v2a_data", "fetch", "--source", "synthetic", "--input", str(world)]
        command += ["--recipe", RECIPE, "-w", str(disk / "w"), "--workers", "0", "-q"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 7, done.stderr
        assert "cannot write" in done.stderr or "full" in done.stderr
        with Workspace.read(disk / "w") as workspace:
            listed = {r["path"]: r["bytes"] for r in workspace.ledger.rows("SELECT path, bytes FROM media")}
        assert all((disk / "w" / path).stat().st_size == size for path, size in listed.items())
        subprocess.run(["mount", "-o", "remount,size=60m", str(disk)], check=True)
        assert subprocess.run(command, capture_output=True, text=True, check=False).returncode == 0
        with Workspace.read(disk / "w") as workspace:
            assert workspace.ledger.value("SELECT COUNT(*) FROM videos WHERE state = 'fetched'") == 12
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def test_tables_are_pandas_frames(tmp_path: Path) -> None:
    with Workspace.open(tmp_path, "t") as workspace, workspace.ledger.transaction():
        workspace.ledger.insert(schema.VIDEOS, [VIDEO])
    frame = load_table(tmp_path, "videos")
    assert frame.labels.tolist() == [["B", "A"]]
    assert load_manifest(tmp_path).empty
