"""repair: only what is damaged is written again, byte for byte; what cannot be is named; killed and typed again, the same."""

import json
import shutil
from pathlib import Path

import pytest
from small_shards import QUIET, TEST, TRAIN, copy, edit, files, flip
from typer.testing import CliRunner

from v2a_data.cli import app
from v2a_data.engine import Engine, SerialEngine
from v2a_data.errors import UsageError
from v2a_data.files import sha256_file
from v2a_data.shards import repair as repairing
from v2a_data.shards.beside import write_beside
from v2a_data.shards.format import CARD_FILES, INDEX_FILE
from v2a_data.shards.index import ledger_rows
from v2a_data.shards.read import Entry
from v2a_data.shards.repair import RepairResult, repair
from v2a_data.shards.sums import SUMS_FILE
from v2a_data.shards.verify import verify
from v2a_data.workspace import Workspace


@pytest.fixture
def root(small: Path, tmp_path: Path) -> Path:
    return copy(small, tmp_path / "w")


class Watched:
    """An engine that is opened when it is needed, and says so."""

    opened = False

    def __call__(self) -> Engine:
        self.opened = True
        return SerialEngine()


def mend(root: Path, opener: Watched | None = None) -> RepairResult:
    with Workspace.open(root, "test") as workspace:
        recipe = workspace.recipe()
        assert recipe is not None
        return repair(workspace, recipe, opener or Watched(), QUIET)


def rows(root: Path, name: str) -> list[Entry]:
    with Workspace.read(root) as workspace:
        return ledger_rows(workspace.ledger, name)


def sound(root: Path) -> bool:
    return verify(root / "shards", SerialEngine(), QUIET, share=1.0).total == 0


def media_of(root: Path, key: str) -> Path:
    with Workspace.read(root) as workspace:
        path = workspace.ledger.value("SELECT path FROM media WHERE video_id = ?", (key.rpartition("_")[0],))
    return root / path


def places(root: Path) -> dict[str, tuple[int, int]]:
    found = [p for p in sorted((root / "shards").rglob("*")) if p.is_file()]
    return {p.relative_to(root / "shards").as_posix(): (p.stat().st_ino, p.stat().st_mtime_ns) for p in found}


def cut_off(path: Path, size: int) -> None:
    edit(path, lambda body: body.__delitem__(slice(size, None)))


def drop_block(path: Path, at: int) -> None:
    edit(path, lambda body: body.__delitem__(slice(at, at + 512)))


def test_nothing_to_mend_touches_nothing(root: Path) -> None:
    before, opener = places(root), Watched()
    result = mend(root, opener)
    assert result == RepairResult(checked=2)
    assert places(root) == before
    assert not opener.opened


DAMAGE = {
    "mp4": (lambda path, row: flip(path, row.mp4_offset + 100), True),
    "JSON": (lambda path, row: flip(path, row.json_offset + 10), False),
    "header": (lambda path, row: flip(path, row.mp4_offset - 500), False),
    "end": (lambda path, row: flip(path, path.stat().st_size - 5), False),
    "truncated": (lambda path, row: cut_off(path, row.mp4_offset + 10), True),
    "empty": (lambda path, row: cut_off(path, 0), True),
    "missing": (lambda path, row: path.unlink(), True),
    "moved up": (lambda path, row: drop_block(path, 0), True),
    "more": (lambda path, row: path.write_bytes(path.read_bytes() + bytes(512)), False),
    "swapped files": (lambda path, row: shutil.copyfile(path.parents[1] / TRAIN, path), True),
    "link": (lambda path, row: (path.unlink(), path.symlink_to("/dev/zero")), True),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_the_damaged_shard_is_what_it_was_and_no_other_is_touched(name: str, small: Path, root: Path) -> None:
    change, recut = DAMAGE[name]
    change(root / "shards" / TEST, rows(root, TEST)[1])
    before, opener = places(root), Watched()
    result = mend(root, opener)
    assert (result.same, result.other, result.lost, result.whole) == ([TEST], [], [], True)
    assert result.beside == []
    assert opener.opened == recut, "media are decoded only where the old bytes do not do"
    assert files(root / "shards") == files(small / "shards")
    after = places(root)
    assert after.pop(TEST) != before.pop(TEST, None)
    assert after == before
    with Workspace.read(root) as mended, Workspace.read(small) as built:
        assert mended.ledger.dump() == built.ledger.dump()
    assert not list((root / "tmp").iterdir())


@pytest.mark.parametrize("name", [INDEX_FILE, SUMS_FILE, *CARD_FILES])
@pytest.mark.parametrize("how", ["flip", "missing"])
def test_a_damaged_table_is_written_again_from_the_ledger(name: str, how: str, small: Path, root: Path) -> None:
    path = root / "shards" / name
    flip(path, 300) if how == "flip" else path.unlink()
    before = places(root)
    result = mend(root)
    assert (result.whole, name in result.beside, result.same) == (True, True, [])
    assert files(root / "shards") == files(small / "shards")
    assert {k: v for k, v in places(root).items() if k.endswith(".tar")} == {
        k: v for k, v in before.items() if k.endswith(".tar")
    }


def test_shard_itself_does_not_vouch_for_a_flipped_index(small: Path, root: Path) -> None:
    flip(root / "shards" / INDEX_FILE, 300)
    done = CliRunner().invoke(app, ["shard", "-w", str(root), "--workers", "0", "-q"])
    assert done.exit_code == 0, done.stderr
    assert files(root / "shards") == files(small / "shards")


def test_media_that_are_gone_make_the_damaged_sample_irreparable(root: Path) -> None:
    first, second = rows(root, TEST)
    for row in (first, second):
        media_of(root, row.key).unlink()
    flip(root / "shards" / TEST, first.mp4_offset + 7)
    result = mend(root)
    assert [(one.shard, one.key) for one in result.lost] == [(TEST, first.key)]
    assert "media is gone" in result.lost[0].why
    assert (result.partly, result.whole, INDEX_FILE in result.beside) == ([TEST], False, True)
    assert [row.key for row in rows(root, TEST)] == [second.key]
    assert rows(root, TEST)[0].sha256 == second.sha256, "what was whole stays as it is"
    assert sound(root)
    with Workspace.read(root) as workspace:
        found = workspace.ledger.rows(
            "SELECT state, reason, message, shard FROM samples WHERE clip_id = ?", (first.key,)
        )
        assert tuple(found[0])[:2] == ("refused", "irreparable")
        assert TEST in found[0]["message"]
        assert found[0]["shard"] == TEST, "where it comes back to"
        assert workspace.ledger.value("SELECT samples FROM shards WHERE shard = ?", (TEST,)) == 1
        assert workspace.ledger.value("SELECT COUNT(*) FROM attempts WHERE class = 'irreparable'") == 1
    before = places(root)
    assert mend(root) == RepairResult(checked=2)
    assert places(root) == before


def without(root: Path, aside: Path, keys: list[str]) -> None:
    """The media of these samples out of the way."""
    aside.mkdir()
    for key in keys:
        media = media_of(root, key)
        media.rename(aside / media.name)


def put_back(root: Path, aside: Path, keys: list[str]) -> None:
    for key in keys:
        media = media_of(root, key)
        shutil.copyfile(aside / media.name, media)


@pytest.mark.parametrize("count", [1, 2])
def test_irreparable_samples_come_back_with_their_media(count: int, small: Path, root: Path, tmp_path: Path) -> None:
    """One of two samples, then both: the shard that was gone is there again."""
    keys = [row.key for row in rows(root, TEST)][:count]
    without(root, tmp_path / "aside", keys)
    for row in rows(root, TEST)[:count]:
        flip(root / "shards" / TEST, row.mp4_offset)
    assert [one.key for one in mend(root).lost] == keys
    assert (root / "shards" / TEST).exists() == (count == 1)
    opener = Watched()
    assert mend(root, opener).whole
    assert not opener.opened, "their media are still gone"
    put_back(root, tmp_path / "aside", keys)
    result = mend(root)
    assert (result.refilled, result.same, result.other, result.lost) == ([TEST], [], [], [])
    assert files(root / "shards") == files(small / "shards")
    with Workspace.read(root) as mended, Workspace.read(small) as built:
        assert mended.ledger.dump() == built.ledger.dump()
    assert mend(root).refilled == []


def test_the_first_of_two_comes_back_alone_and_other_media_do_not(small: Path, root: Path, tmp_path: Path) -> None:
    first, second = [row.key for row in rows(root, TEST)]
    without(root, tmp_path / "aside", [first, second])
    (root / "shards" / TEST).unlink()
    mend(root)
    put_back(root, tmp_path / "aside", [first])
    media_of(root, second).write_bytes(b"another video")
    assert mend(root).refilled == [TEST]
    assert [row.key for row in rows(root, TEST)] == [first]
    assert sound(root)
    put_back(root, tmp_path / "aside", [second])
    assert mend(root).refilled == [TEST]
    assert files(root / "shards") == files(small / "shards")


def test_media_that_are_back_but_cannot_be_cut_stay_irreparable(root: Path, tmp_path: Path) -> None:
    key = rows(root, TEST)[0].key
    without(root, tmp_path / "aside", [key])
    flip(root / "shards" / TEST, rows(root, TEST)[0].mp4_offset)
    mend(root)
    (tmp_path / "aside" / media_of(root, key).name).write_bytes(b"no video")
    put_back(root, tmp_path / "aside", [key])
    with Workspace.open(root, "test") as workspace:
        workspace.ledger.execute(
            "UPDATE media SET sha256 = ? WHERE video_id = ?",
            (sha256_file(media_of(root, key)), key.rpartition("_")[0]),
        )
    before = places(root)
    result = mend(root)
    assert [one.key for one in result.lost] == [key]
    assert "could not be cut again" in result.lost[0].why
    assert (result.refilled, places(root) == before) == ([], True)


def test_without_media_what_the_ledger_knows_still_mends(small: Path, root: Path) -> None:
    """A damaged JSON is made again from ledger and scores; the picture and sound are taken from the old bytes."""
    row = rows(root, TEST)[0]
    media_of(root, row.key).unlink()
    flip(root / "shards" / TEST, row.json_offset)
    assert mend(root).same == [TEST]
    assert files(root / "shards") == files(small / "shards")


def test_media_that_changed_are_not_cut(root: Path) -> None:
    row = rows(root, TEST)[0]
    media = media_of(root, row.key)
    body = media.read_bytes()
    media.unlink()
    media.write_bytes(body + b"x")
    flip(root / "shards" / TEST, row.mp4_offset)
    result = mend(root)
    assert [one.key for one in result.lost] == [row.key]
    assert "hash differs" in result.lost[0].why


def test_a_shard_that_loses_all_is_gone(root: Path) -> None:
    keys = [row.key for row in rows(root, TEST)]
    for key in keys:
        media_of(root, key).unlink()
    (root / "shards" / TEST).unlink()
    result = mend(root)
    assert sorted(one.key for one in result.lost) == keys
    assert result.emptied == [TEST]
    assert sound(root)
    assert not (root / "shards" / TEST).exists()
    with Workspace.read(root) as workspace:
        assert workspace.ledger.value("SELECT COUNT(*) FROM shards") == 1
    assert mend(root) == RepairResult(checked=1)


def written_by_another_build(root: Path) -> str:
    """The ledger holds other hashes for one sample and its shard than this build makes; the file is damaged."""
    row = rows(root, TEST)[1]
    flip(root / "shards" / TEST, row.mp4_offset)
    with Workspace.open(root, "test") as workspace:
        sql = "UPDATE samples SET index_row = json_set(index_row, '$.sha256', ?) WHERE clip_id = ?"
        workspace.ledger.execute(sql, ("1" * 64, row.key))
        workspace.ledger.execute("UPDATE shards SET sha256 = ? WHERE shard = ?", ("2" * 64, TEST))
        recipe = workspace.recipe()
        assert recipe is not None
        write_beside(workspace, recipe)
    return row.key


def test_another_build_is_said_and_recorded(small: Path, root: Path) -> None:
    key = written_by_another_build(root)
    with Workspace.open(root, "test") as workspace:
        this = workspace.ledger.meta(f"build/{TEST}")
        workspace.ledger.set_meta(f"build/{TEST}", "an older one")
    result = mend(root)
    assert (result.other, result.same, result.whole, INDEX_FILE in result.beside) == ([TEST], [], True, True)
    assert sound(root)
    assert files(root / "shards") == files(small / "shards"), "here the other build is this one"
    with Workspace.read(root) as workspace:
        assert workspace.ledger.value("SELECT sha256 FROM shards WHERE shard = ?", (TEST,)) != "2" * 64
        assert workspace.ledger.meta(f"build/{TEST}") == f"{this} / an older one"
    assert next(row for row in rows(root, TEST) if row.key == key).sha256 != "1" * 64
    with Workspace.read(root) as mended, Workspace.read(small) as built:
        assert mended.ledger.dump() == built.ledger.dump()
    assert mend(root) == RepairResult(checked=2)


class KilledError(Exception):
    """Where a kill would be."""


@pytest.mark.parametrize("place", ["_record", "_cut", "_write"])
@pytest.mark.parametrize("kind", ["lost", "other build", "back"])
def test_killed_in_between_and_typed_again(
    place: str, kind: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "lost":
        row = rows(root, TEST)[0]
        media_of(root, row.key).unlink()
        flip(root / "shards" / TEST, row.mp4_offset)
    elif kind == "back":
        keys = [row.key for row in rows(root, TEST)]
        without(root, tmp_path / "aside", keys)
        (root / "shards" / TEST).unlink()
        mend(root)
        put_back(root, tmp_path / "aside", keys)
    else:
        written_by_another_build(root)
    (root / "shards" / TRAIN).unlink()
    undisturbed = copy(root, tmp_path / "undisturbed")
    mend(undisturbed)

    def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(repairing._Mend, place, killed)
        with pytest.raises(KilledError):
            mend(root)
    mend(root)
    assert sound(root)
    assert files(root / "shards") == files(undisturbed / "shards")
    with Workspace.read(root) as one, Workspace.read(undisturbed) as two:
        assert one.ledger.dump() == two.ledger.dump()


def test_killed_before_the_index_was_written(root: Path, small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flip(root / "shards" / TEST, 5000)
    (root / "shards" / INDEX_FILE).unlink()

    def killed(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(repairing, "write_beside", killed)
        with pytest.raises(KilledError):
            mend(root)
    assert INDEX_FILE in mend(root).beside
    assert files(root / "shards") == files(small / "shards")


def test_the_command(root: Path, small: Path) -> None:
    def call(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["repair", "-w", str(root), "--workers", "0", *words])
        return done.exit_code, done.stdout

    flip(root / "shards" / TEST, 5000)
    before = places(root)
    code, out = call("--dry-run")
    assert (code, f"would write again: {TEST}" in out, places(root) == before) == (0, True, True)
    assert call("--set", "shard.crf=30")[0] == 2
    code, out = call()
    assert (code, "byte for byte what it was" in out) == (0, True)
    assert files(root / "shards") == files(small / "shards")
    (root / "shards" / "train" / "more-train-000009.tar").write_bytes(b"x")
    code, out = call("--json")
    assert (code, [f["shard"] for f in json.loads(out)["left"]]) == (3, ["train/more-train-000009.tar"])
    (root / "shards" / "train" / "more-train-000009.tar").unlink()
    row = rows(root, TRAIN)[0]
    media_of(root, row.key).unlink()
    flip(root / "shards" / TRAIN, row.mp4_offset)
    code, out = call()
    assert (code, f"irreparable: {row.key} of {TRAIN}" in out) == (3, True)
    assert call()[0] == 0
    status = CliRunner().invoke(app, ["status", "-w", str(root), "--json"])
    assert json.loads(status.stdout)["samples"]["refused"] == {"irreparable": 1}


def test_shards_of_another_recipe_are_left_alone(root: Path) -> None:
    flip(root / "shards" / TEST, 5000)
    before = places(root)
    with Workspace.open(root, "test") as workspace:
        workspace.ledger.execute("UPDATE shards SET recipe_hash = 'another'")
        recipe = workspace.recipe()
        assert recipe is not None
        with pytest.raises(UsageError, match="holds shards of recipe another"):
            repair(workspace, recipe, Watched(), QUIET)
    assert places(root) == before
