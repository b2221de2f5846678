"""Tars as a source: what is taken, what is passed over, and what becomes of hostile and damaged ones."""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from listings import listing

from v2a_data.console import Console
from v2a_data.engine import SerialEngine
from v2a_data.fetch.stage import fetch
from v2a_data.recipe import load_recipe
from v2a_data.sources.base import Video
from v2a_data.sources.local import Local
from v2a_data.sources.vggsound import VGGSound
from v2a_data.workspace import Workspace


def tar(members: list[tuple[str, bytes] | tarfile.TarInfo], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=form) as file:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                file.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                file.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


def other(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def local(folder: Path, **more: object) -> list[Video]:
    return list(Local().videos(("x",), listing(folder, input=str(folder / "in"), **more)))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.tgz", "w:gz")])
def test_videos_in_tars_are_taken_and_all_else_is_passed_over(form: int, name: str, mode: str, place: Path) -> None:
    deep = "d" * 90 + "/" + "e" * 60 + ".mp4"
    members = [("dog/-a.mp4", b"aaa"), ("dog/a.json", b"{}"), ("../../c.WEBM", b"ccc"), (deep, b"d" * 1024)]
    (place / "in" / name).write_bytes(tar(members, mode, form))
    found = local(place)
    assert [v.source_key for v in found] == [f"{name}!dog/-a.mp4", f"{name}!../../c.WEBM", f"{name}!{deep}"]
    assert [v.path.read_bytes() for v in found] == [b"aaa", b"ccc", b"d" * 1024]
    assert {v.path.parent for v in found} == {place / "scratch"}
    assert Local().count(("x",), listing(place, input=str(place / "in"))) is None


def test_nothing_that_is_no_plain_file_is_taken(place: Path) -> None:
    (place / "secret.mp4").write_text("secret")
    bad = [
        other("l.mp4", tarfile.SYMTYPE, "../../secret.mp4"),
        other("h.mp4", tarfile.LNKTYPE, "/etc/passwd"),
        other("p.mp4", tarfile.FIFOTYPE),
        other("c.mp4", tarfile.CHRTYPE),
        other("f.mp4", tarfile.DIRTYPE),
    ]
    (place / "in" / "bad.tar").write_bytes(tar([*bad, ("good.mp4", b"good")]))
    assert [v.source_key for v in local(place)] == ["bad.tar!good.mp4"]
    assert len(list((place / "scratch").iterdir())) == 1


def test_a_member_that_is_too_large_is_a_row_and_is_not_unpacked(place: Path) -> None:
    (place / "in" / "a.tar.gz").write_bytes(tar([("big.mp4", bytes(5_000_000)), ("b.mp4", b"b")], "w:gz"))
    recipe = load_recipe("keep_all", {"source": {"input": str(place / "in")}, "fetch": {"max_bytes": 1_000_000}})
    limited = listing(place, input=str(place / "in"))
    found = list(Local().videos(("x",), type(limited)(recipe, limited.cache, scratch=limited.scratch)))
    assert [(v.source_key, v.state, v.reason) for v in found] == [
        ("a.tar.gz!big.mp4", "unusable", "too_large"),
        ("a.tar.gz!b.mp4", "listed", None),
    ]
    assert sum(path.stat().st_size for path in (place / "scratch").iterdir()) == 1


def damage(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


WHOLE = tar([("a.mp4", b"a" * 700), ("b.mp4", b"b" * 700)], form=tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    ("data", "taken"),
    [
        (WHOLE[: 512 + 1024 + 512 + 300], ["a.mp4"]),
        (WHOLE[: 512 + 1024 + 200], ["a.mp4"]),
        (WHOLE[:800], []),
        (damage(WHOLE, 512 + 1024 + 20, b"\xff"), ["a.mp4"]),
        (damage(WHOLE, 20, b"\xff"), []),
        (b"no tar at all" * 100, []),
        (b"", []),
    ],
    ids=["inside b", "inside b's header", "inside a", "b's header", "a's header", "noise", "empty"],
)
def test_a_damaged_tar_says_so_and_the_files_after_it_are_read(data: bytes, taken: list[str], place: Path) -> None:
    (place / "in" / "a.tar").write_bytes(data)
    (place / "in" / "z.mp4").write_bytes(b"z")
    found = local(place)
    assert [v.source_key for v in found if v.state == "listed"] == [*(f"a.tar!{name}" for name in taken), "z.mp4"]
    rows = [v for v in found if v.state == "later"]
    assert rows
    assert {v.reason for v in rows} == {"unreadable"}
    assert rows[-1].source_key == "a.tar"


def test_a_header_that_would_fill_the_memory_is_refused(place: Path) -> None:
    for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
        info = other("x", kind)
        info.size = 3_000_000_000
        header = info.tobuf(tarfile.GNU_FORMAT)
        (place / "in" / "a.tgz").write_bytes(gzip.compress(header + bytes(10_000_000)))
        (row,) = local(place)
        assert (row.state, "a header of 3000000000 bytes" in row.message) == ("later", True)


def test_a_mirror_in_tars_is_fetched_moved_and_taken_up_again(
    place: Path, media: Callable[..., Path], console: Console
) -> None:
    bodies = [media("short.mp4", seconds=2.0).read_bytes(), media("short too.mp4", seconds=3.0).read_bytes()]
    (place / "vggsound.csv").write_text("-CmISPGVFZ0,0,helicopter,train\n_CmISPGVFZ0,10,helicopter,train\n")
    names = ("v/-CmISPGVFZ0_000000.mp4", "v/_CmISPGVFZ0_000010.mp4")
    (place / "in" / "v.tar.gz").write_bytes(tar(list(zip(names, bodies, strict=True)), "w:gz"))
    source = {"name": "vggsound", "input": str(place / "in"), "lists": str(place)}
    recipe = load_recipe("keep_all", {"source": source, "labels": ["Helicopter"]})
    with Workspace.open(place / "w", "t") as workspace:
        for target, count in ((1, 1), (None, 2)):
            fetch(workspace, recipe, VGGSound(), SerialEngine(), console, target)
            assert workspace.ledger.counts("videos", "state") == {"fetched": count}
        rows = workspace.ledger.rows("SELECT source_key, native_id, source, url FROM videos ORDER BY position")
        left = [path for path in (place / "w").rglob("*.mp4") if "media" not in path.parts]
    assert [tuple(row) for row in rows] == [
        ("-CmISPGVFZ0_0", "-CmISPGVFZ0", "vggsound", None),
        ("_CmISPGVFZ0_10000", "_CmISPGVFZ0", "vggsound", None),
    ]
    assert left == []


def test_names_give_youtube_ids_when_asked(place: Path) -> None:
    (place / "in" / "-CmISPGVFZ0_000010.mp4").write_text("a")
    (place / "in" / "holiday.mp4").write_text("b")
    assert [v.native_id for v in local(place)] == ["-CmISPGVFZ0_000010.mp4", "holiday.mp4"]
    asked = local(place, file_names="youtube")
    assert [(v.native_id, v.source_key) for v in asked] == [
        ("-CmISPGVFZ0", "-CmISPGVFZ0_000010.mp4"),
        ("holiday.mp4", "holiday.mp4"),
    ]
