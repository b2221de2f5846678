"""Shard files: same members same bytes, read by stock webdataset, and nothing runs while reading."""

import io
import json
import pickle
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from v2a_data import schema
from v2a_data.errors import FatalError, UsageError
from v2a_data.shards.format import SAMPLE_FIELDS, ordered, shard_name, shard_number
from v2a_data.shards.read import Entry, ShardSet, open_shards
from v2a_data.shards.tar import Member, write_shard


def sample(key: str, **more: object) -> dict:
    return {**dict.fromkeys(SAMPLE_FIELDS), "key": key, "label": "x", **more}


@pytest.fixture
def members(tmp_path: Path) -> list[Member]:
    out = []
    for i, key in enumerate(("yt--0DdlOuIFUI_000000000", "lo-00aa_000010000", "sy-1-2_000000000")):
        path = tmp_path / f"{i}.bin"
        path.write_bytes(bytes([i]) * (1000 + i))
        out.append(Member(key, sample(key, start_s=float(i)), path))
    return out


def entry(place: dict, **more: object) -> Entry:
    base = {
        "shard": "s.tar",
        "frames": 1,
        "audio_samples": 1,
        "duration_s": 1.0,
        "label": "x",
        "split": "train",
        "group_id": "g",
    }
    return Entry(**{**base, **place, **more})


def test_order_of_members_and_time_of_writing_change_nothing(members: list[Member], tmp_path: Path) -> None:
    one = write_shard(tmp_path / "one.tar", members)
    two = write_shard(tmp_path / "two.tar", members[::-1])
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    assert one.sha256 == two.sha256
    with tarfile.open(tmp_path / "one.tar") as tar:
        infos = tar.getmembers()
    assert [i.name for i in infos] == [
        f"{m.key}.{k}" for m in sorted(members, key=lambda m: m.key) for k in ("json", "mp4")
    ]
    assert {i.mtime for i in infos} == {0}
    assert {i.type for i in infos} == {tarfile.REGTYPE}


def test_stock_webdataset_reads_it(members: list[Member], tmp_path: Path) -> None:
    import webdataset

    write_shard(tmp_path / "s.tar", members)
    read = {s["__key__"]: s for s in webdataset.WebDataset(str(tmp_path / "s.tar"), shardshuffle=False)}
    assert read.keys() == {m.key for m in members}
    for member in members:
        assert read[member.key]["mp4"] == member.media.read_bytes()
        assert json.loads(read[member.key]["json"]) == ordered(member.values)


def test_the_index_finds_every_member(members: list[Member], tmp_path: Path) -> None:
    written = write_shard(tmp_path / "s.tar", members)
    shards = ShardSet(tmp_path, ())
    for place in written.places:
        read = shards.read(entry(place), verify=True)
        member = next(m for m in members if m.key == place["key"])
        assert (read.mp4, read.values) == (member.media.read_bytes(), ordered(member.values))


def test_damage_is_found(members: list[Member], tmp_path: Path) -> None:
    written = write_shard(tmp_path / "s.tar", members)
    place, other = entry(written.places[0]), written.places[1]
    body = bytearray((tmp_path / "s.tar").read_bytes())
    body[place.mp4_offset + 5] ^= 1
    (tmp_path / "flipped.tar").write_bytes(body)
    (tmp_path / "cut.tar").write_bytes(body[: place.mp4_offset + 10])
    shards = ShardSet(tmp_path, ())
    with pytest.raises(FatalError, match="is damaged"):
        shards.read(entry(written.places[0], shard="flipped.tar"), verify=True)
    with pytest.raises(FatalError, match="ends inside sample"):
        shards.read(entry(written.places[0], shard="cut.tar"))
    swapped = {**written.places[0], "json_offset": other["json_offset"], "json_bytes": other["json_bytes"]}
    with pytest.raises(FatalError, match="holds the JSON of"):
        shards.read(entry(swapped))


@pytest.mark.parametrize("name", ["../s.tar", "/etc/passwd", "a/../../s.tar"])
def test_no_index_leads_outside(name: str, members: list[Member], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    written = write_shard(tmp_path / "s.tar", members)
    with pytest.raises(FatalError, match="outside"):
        ShardSet(tmp_path / "in", ()).read(entry(written.places[0], shard=name))


def test_pickles_in_shards_stay_bytes(tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self) -> tuple:
            return (canary.touch, ())

    body = pickle.dumps(Evil())
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for kind in ("json", "mp4", "pkl", "pyd", "pth"):
            info = tarfile.TarInfo(f"k.{kind}")
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
        offset = tar.getmember("k.json").offset_data
    with pytest.raises((ValueError, FatalError)):
        ShardSet(tmp_path, ()).read(
            entry(
                {
                    "key": "k",
                    "mp4_offset": offset,
                    "mp4_bytes": 5,
                    "json_offset": offset,
                    "json_bytes": len(body),
                    "sha256": "",
                }
            )
        )
    assert not canary.exists()


@pytest.mark.parametrize("key", ["a.b", "a/b", "", "../x", "a b", "ü"])
def test_keys_that_break_readers_are_refused(key: str, tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"x")
    with pytest.raises(FatalError, match="cannot be the key"):
        write_shard(tmp_path / "s.tar", [Member(key, sample(key), tmp_path / "m")])
    assert not (tmp_path / "s.tar").exists()


def test_every_sample_has_the_same_fields_in_the_same_order() -> None:
    assert list(ordered(dict.fromkeys(reversed(SAMPLE_FIELDS)))) == list(SAMPLE_FIELDS)
    with pytest.raises(ValueError, match="sample fields differ"):
        ordered({**dict.fromkeys(SAMPLE_FIELDS), "extra": 1})


def test_names_of_shards() -> None:
    name = shard_name("airplane", "train", 12)
    assert name == "train/airplane-train-000012.tar"
    assert shard_number(name) == 12


def test_a_folder_without_an_index_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        open_shards(tmp_path)
    assert "v2a-data shard" in caught.value.hint


def test_the_index_schema_is_the_entry() -> None:
    assert [c.name for c in schema.INDEX.columns] == list(Entry.__dataclass_fields__)


@settings(max_examples=30)
@given(st.text(), st.text())
def test_any_text_survives(label: str, text: str) -> None:
    values = ordered(
        sample("k", label=label.encode("utf-8", "replace").decode(), text=text.encode("utf-8", "replace").decode())
    )
    assert json.loads(json.dumps(values, ensure_ascii=False).encode()) == values
