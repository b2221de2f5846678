"""A folder of one's own, and lists of ids one brings."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from v2a_data.console import Console
from v2a_data.engine import SerialEngine
from v2a_data.errors import NothingError, UsageError
from v2a_data.fetch.stage import fetch
from v2a_data.recipe import load_recipe
from v2a_data.sources.base import Listing
from v2a_data.sources.ids import Ids, native_id
from v2a_data.sources.local import Local, folder_labels
from v2a_data.workspace import Workspace


def listing(folder: Path, **more: object) -> Listing:
    return Listing(load_recipe("keep_all", {"source": {"name": "local", "input": str(folder)}}), folder, **more)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, body in {
        "dog/a.mp4": b"a",
        "dog/-b.mp4": b"b",
        "cat/c ü.webm": b"c",
        ".hidden/x.mp4": b"x",
        "cat/.y": b"y",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(body)
    return tmp_path


def test_labels_come_from_parent_folders_and_ids_from_bytes(folder: Path) -> None:
    videos = {v.source_key: v for v in Local().videos((), listing(folder))}
    assert videos.keys() == {"dog/a.mp4", "dog/-b.mp4", "cat/c ü.webm"}
    assert videos["dog/a.mp4"].labels == ("dog",)
    assert videos["dog/a.mp4"].video_id == "lo-" + hashlib.sha256(b"a").hexdigest()[:16]
    assert folder_labels(folder) == ("cat", "dog")


def test_an_asked_label_is_used_unless_the_folder_is_one_of_them(folder: Path) -> None:
    assert {v.labels for v in Local().videos(("pet",), listing(folder))} == {("pet",)}
    assert {v.labels for v in Local().videos(("cat", "dog"), listing(folder))} == {("cat",), ("dog",)}


def test_known_files_are_not_hashed_again(folder: Path) -> None:
    rest = list(Local().videos((), listing(folder, known=frozenset({"dog/a.mp4", "dog/-b.mp4"}))))
    assert [v.source_key for v in rest] == ["cat/c ü.webm"]


def test_missing_input_says_what_to_add(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        list(Local().videos((), Listing(load_recipe("keep_all"), tmp_path)))
    assert caught.value.hint == "add --input DIR, the folder that holds the files"
    with pytest.raises(UsageError, match="not a folder"):
        list(Local().videos((), listing(tmp_path / "nowhere")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingError, match="holds no files"):
        list(Local().videos((), listing(tmp_path / "empty")))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0sf943sWZls", "0sf943sWZls"),
        ("-0DdlOuIFUI", "-0DdlOuIFUI"),
        ("https://www.youtube.com/watch?v=0sf943sWZls&t=4s", "0sf943sWZls"),
        ("https://youtu.be/0sf943sWZls?si=x", "0sf943sWZls"),
        ("https://www.youtube.com/shorts/0sf943sWZls", "0sf943sWZls"),
        ("https://www.youtube.com/embed/0sf943sWZls", "0sf943sWZls"),
    ],
)
def test_ids_and_addresses(line: str, expected: str) -> None:
    assert native_id(line) == expected


@pytest.mark.parametrize(
    "line", ["AccessDenie", "file:///0sf943sWZls", "https://example.org/", "x" * 12, "https://y/watch?v=short"]
)
def test_lines_without_an_id_are_named(line: str) -> None:
    with pytest.raises(UsageError, match="neither a YouTube id nor an address"):
        native_id(line)


def test_lists_skip_comments_and_repeats_and_want_a_label(tmp_path: Path) -> None:
    source = Ids(["# mine", "0sf943sWZls", "", "https://youtu.be/0sf943sWZls", "-0DdlOuIFUI"])
    empty = Listing(load_recipe("airplane"), tmp_path)
    assert [v.video_id for v in source.videos(("Dog",), empty)] == ["yt-0sf943sWZls", "yt--0DdlOuIFUI"]
    with pytest.raises(UsageError, match="need a label"):
        list(source.videos((), empty))
    with pytest.raises(NothingError):
        list(Ids(["#"]).videos(("Dog",), empty))


def test_a_name_that_is_no_text_and_a_file_that_cannot_be_read_are_rows(
    media: Callable[..., Path], tmp_path: Path, console: Console
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(media("short.mp4", seconds=2.0), os.fsencode(folder) + b"/bad\xff\xfe.mp4")
    (folder / "unreadable.mp4").symlink_to("/proc/self/mem")
    recipe = load_recipe("keep_all", {"source": {"name": "local", "input": str(folder)}, "labels": ["x"]})
    with Workspace.open(tmp_path / "w", "t") as workspace:
        for _ in range(2):
            fetch(workspace, recipe, Local(), SerialEngine(), console, None)
        rows = workspace.ledger.rows("SELECT source_key, state, reason FROM videos ORDER BY 1")
        assert [tuple(row) for row in rows] == [
            ("bad\\xff\\xfe.mp4", "fetched", None),
            ("unreadable.mp4", "later", "unreadable"),
        ]
        (folder / "unreadable.mp4").unlink()
        shutil.copy(media("short too.mp4", seconds=3.0), folder / "unreadable.mp4")
        fetch(workspace, recipe, Local(), SerialEngine(), console, None)
        assert workspace.ledger.counts("videos", "state") == {"fetched": 2}
