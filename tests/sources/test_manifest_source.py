"""The source of a rebuilt dataset: addresses made from ids, files known by their bytes, nothing read from a row."""

import hashlib
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rebuilding import call, changed

from v2a_data.errors import UsageError
from v2a_data.manifest import open_manifest
from v2a_data.recipe import load_recipe
from v2a_data.sources import SOURCES
from v2a_data.sources.base import Listing
from v2a_data.sources.manifest import FromManifest


def listing(folder: Path | None = None, **more: object) -> Listing:
    over = {"source": {"input": str(folder)}} if folder else {}
    return Listing(load_recipe("keep_all", over), Path("cache"), **more)  # type: ignore[arg-type]


def source(made: Path, out: Path, **values: object) -> FromManifest:
    """A manifest of one clip, that of the first row with other values."""

    def one(rows: list[dict]) -> None:
        rows[1:] = []
        rows[0].update(values)

    return FromManifest(open_manifest(changed(made.parent / "m.parquet", out / "m.parquet", one)))


def test_youtube_addresses_are_made_from_ids(made: Path, tmp_path: Path) -> None:
    native = "-0DdlOuIFUI"
    about = {"source": "youtube8m", "video_id": f"yt-{native}", "native_id": native, "key": f"yt-{native}_000000000"}
    found = source(made, tmp_path, **about, url=f"https://www.youtube.com/watch?v={native}")
    assert not found.offline
    (video,) = found.videos((), listing())
    assert (video.video_id, video.source, video.native_id, video.path) == (f"yt-{native}", "youtube8m", native, None)
    assert video.url == f"https://www.youtube.com/watch?v={native}"
    with pytest.raises(UsageError, match="column 'url'"):
        source(made, tmp_path, **about, url=f"https://www.youtube.com/watch?v={native}&x=1")
    assert found.count((), listing()) == 1


def test_local_files_are_known_by_their_bytes_alone(made: Path, tmp_path: Path) -> None:
    body = b"a video"
    sha256 = hashlib.sha256(body).hexdigest()
    video_id = f"lo-{sha256[:16]}"
    about = {"source": "local", "video_id": video_id, "native_id": "dog/a.mp4", "key": f"{video_id}_000000000"}
    found = source(made, tmp_path, **about, media_sha256=sha256, media_bytes=len(body))
    assert found.offline
    folder = tmp_path / "in"
    (folder / "dog").mkdir(parents=True)
    (folder / "dog" / "a.mp4").write_bytes(b"another")
    (missing,) = found.videos((), listing(folder))
    assert (missing.state, missing.reason, missing.path) == ("later", "not_in_input", None)
    (folder / os.fsdecode(b"b\xff.webm")).write_bytes(body)
    (video,) = found.videos((), listing(folder))
    assert (video.state, video.path.suffix, video.native_id) == ("listed", ".webm", "dog/a.mp4")
    (folder / "dog" / "a.mp4").write_bytes(body)
    assert next(found.videos((), listing(folder))).path.name == "a.mp4", "the one of that name first"
    assert list(found.videos((), listing(folder, known=frozenset({video_id})))) == []


def test_files_may_come_from_mirrors_of_lists(made: Path, tmp_path: Path) -> None:
    sha256 = hashlib.sha256(b"x").hexdigest()
    video_id = f"lo-{sha256[:16]}"
    about = {"video_id": video_id, "native_id": "-0DdlOuIFUI", "key": f"{video_id}_000000000", "media_sha256": sha256}
    assert source(made, tmp_path, **about, source="vggsound").offline
    for name in ("youtube8m", "synthetic", "ids"):
        with pytest.raises(UsageError, match="column 'source'"):
            source(made, tmp_path, **about, source=name)


def test_a_name_leads_nowhere_outside_of_the_input(made: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").write_bytes(b"x")
    (tmp_path / "in" / ".hidden").mkdir(parents=True)
    (tmp_path / "in" / ".hidden" / "secret.mp4").write_bytes(b"x")
    for name in ("secret.mp4", "a/secret.mp4"):
        found = source(made, tmp_path, native_id=name, media_bytes=1)
        assert next(found.videos((), listing(tmp_path / "in"))).path is None
    with pytest.raises(UsageError, match="column 'native_id'"):
        source(made, tmp_path, native_id="../secret.mp4")


def test_rendered_files_may_differ_where_the_name_is_right(made: Path, tmp_path: Path) -> None:
    row = pq.read_table(made.parent / "m.parquet").to_pylist()[0]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / row["native_id"]).write_bytes(b"rendered by another build")
    (video,) = source(made, tmp_path).videos((), listing(tmp_path / "in"))
    assert video.path == tmp_path / "in" / row["native_id"]
    assert (video.video_id, video.labels, video.source) == (row["video_id"], (row["label"],), "synthetic")


def test_what_is_missing_says_what_to_add(made: Path, tmp_path: Path) -> None:
    found = source(made, tmp_path)
    for folder, hint in ((None, "add --input DIR, the folder that holds the files"), (tmp_path / "none", None)):
        with pytest.raises(UsageError) as caught:
            found.count((), listing(folder))
        assert caught.value.hint == hint
    with pytest.raises(UsageError, match="needs a file"):
        SOURCES["manifest"]().count((), listing())
    code, _, err = call("fetch", "--source", "manifest", "--label", "Dog", "-w", tmp_path / "w")
    assert (code, "fetch --manifest FILE" in err) == (2, True)
    code, _, err = call("fetch", "--manifest", "/nowhere.parquet", "-w", tmp_path / "w")
    assert (code, "no such file" in err) == (2, True)
