"""VGGSound: its lists with and without a header, its mirrors' file names, and files in place of YouTube."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from listings import listing

from v2a_data.errors import FatalError, NothingError, UsageError
from v2a_data.sources.uploads import Upload, upload_of
from v2a_data.sources.vggsound import VGGSound, classes, read_clips

LIST = """---g-f_I2yQ,1,people marching,test
--0PQM4-hqg,30,waterfall burbling,train
_-17MsgVmcA,200,"railroad car, train wagon",train
-CmISPGVFZ0,0,playing volleyball,train
-CmISPGVFZ0,10,helicopter,train
--96EN9NUQM,242,helicopter,test
"""


def write(folder: Path, text: str = LIST) -> Path:
    path = folder / "vggsound.csv"
    path.write_text(text)
    return path


def videos(labels: tuple[str, ...], folder: Path, known: frozenset[str] = frozenset(), **source: object) -> list:
    return list(VGGSound().videos(labels, listing(folder, known, lists=str(folder), **source)))


def test_both_forms_of_the_list_and_the_test_list_are_read(tmp_path: Path) -> None:
    rows = [row[1:] for row in read_clips(write(tmp_path))]
    assert rows[2] == ("_-17MsgVmcA", 200.0, "railroad car, train wagon", "train")
    named = [row[1:] for row in read_clips(write(tmp_path, "filename,start,desc,split\n" + LIST))]
    assert named == rows
    test_list = 'glLQrEijrKg_000300.mp4,playing hammond organ\n---g-f_I2yQ_000001.mp4,"a, b"\n'
    assert [row[1:] for row in read_clips(write(tmp_path, test_list))] == [
        ("glLQrEijrKg", 300.0, "playing hammond organ", "test"),
        ("---g-f_I2yQ", 1.0, "a, b", "test"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        (LIST + "--96EN9NUQM,242,railroad car, train wagon,test\n", 7, "5 columns"),
        (LIST + "--96EN9NUQM,242\n", 7, "2 columns"),
        (LIST + "#NAME?,242,helicopter,test\n", 7, "'#NAME?' is no YouTube id"),
        (LIST + "--96EN9NUQM,1:20,helicopter,test\n", 7, "'1:20' is no start in seconds"),
        (LIST + "--96EN9NUQM,242,helicopter,tes", 7, "'tes' is no split"),
        (LIST + '--96EN9NUQM,242,"railroad', 7, "unexpected end of data"),
        (LIST + "--96EN9NUQM,242,,test\n", 7, "'' is no label"),
        ("glLQrEijrKg_300.mp4,playing hammond organ\n", 1, "not of the form ID_000034.mp4"),
        ("a,b,c\n", 1, "3 columns"),
        ("", 1, "the list is empty"),
    ],
)
def test_damaged_lists_are_refused_with_their_line(text: str, line: int, why: str, tmp_path: Path) -> None:
    with pytest.raises(FatalError) as caught:
        list(read_clips(write(tmp_path, text)))
    assert caught.value.message.startswith(f"vggsound.csv, line {line}: ")
    assert why in caught.value.message


def test_labels_go_by_class_synonym_and_alias(tmp_path: Path) -> None:
    assert classes(("playing volleyball",)) == {"playing volleyball": ("playing volleyball",)}
    assert classes(("train wagon",)) == {"railroad car, train wagon": ("train wagon",)}
    assert classes(("Airplane",)).keys() == {"airplane", "airplane flyby"}
    assert classes(("airplane flyby",)).keys() == {"airplane flyby"}
    assert classes(("Waterfall", "Water flowing"))["waterfall burbling"] == ("Water flowing", "Waterfall")
    with pytest.raises(NothingError, match="did you mean 'playing volleyball'"):
        classes(("playing voleyball",))


def test_clips_are_spans_of_uploads_one_of_each_and_test_only_when_asked(tmp_path: Path) -> None:
    write(tmp_path)
    (video,) = videos(("Helicopter",), tmp_path)
    assert (video.video_id, video.wanted_start_s, video.wanted_stop_s) == ("yt--CmISPGVFZ0", 10.0, 20.0)
    both = videos(("Helicopter", "playing volleyball"), tmp_path, subsets=["train", "test"])
    assert [(v.source_key, v.labels, v.position) for v in both] == [
        ("-CmISPGVFZ0_0", ("playing volleyball",), 3),
        ("--96EN9NUQM_242000", ("Helicopter",), 5),
    ]
    assert videos(("Helicopter",), tmp_path, frozenset({"-CmISPGVFZ0_10000"})) == []
    assert VGGSound().count(("Helicopter",), listing(tmp_path, lists=str(tmp_path))) == 1
    assert VGGSound().count(("Helicopter",), listing(tmp_path)) is None
    with pytest.raises(UsageError, match="VGGSound has no 'balanced'"):
        videos(("Helicopter",), tmp_path, subsets=["balanced"])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("--PJHxphWEs_000034.mp4", Upload("--PJHxphWEs", (34.0,))),
        ("--PJHxphWEs_34000_44000.mp4", Upload("--PJHxphWEs", (34.0,))),
        ("--PJHxphWEs_0_10000.mp4", Upload("--PJHxphWEs", (0.0,))),
        ("--PJHxphWEs_34.mp4", Upload("--PJHxphWEs", (34.0,))),
        ("--PJHxphWEs_34_44.webm", Upload("--PJHxphWEs", (34.0,))),
        ("--PJHxphWEs_30.000_40.000.mp4", Upload("--PJHxphWEs", (30.0,))),
        ("--PJHxphWEs_000058_000068.mp4", Upload("--PJHxphWEs", (58.0,))),
        ("a_b_c_d_e_f_30000.mp4", Upload("a_b_c_d_e_f", (30000.0, 30.0))),
        ("a_b_c_d_e_f.mp4", Upload("a_b_c_d_e_f")),
        ("a_b_c_d_e_f", Upload("a_b_c_d_e_f")),
        ("Y-0DdlOuIFUI.wav", Upload("-0DdlOuIFUI")),
        ("Some title, 4 [x] [-0DdlOuIFUI].mkv", Upload("-0DdlOuIFUI")),
        ("holiday.mp4", None),
        ("AccessDenie_000034.mp4", None),
        ("--PJHxphWEs_a.mp4", None),
        ("--PJHxphWEs_1_2_3.mp4", None),
        ("video_00000.mp4", Upload("video_00000")),
    ],
)
def test_names_of_mirrors(name: str, expected: Upload | None) -> None:
    assert upload_of(name) == expected


@given(st.text("Ab0_-", min_size=11, max_size=11), st.integers(0, 99_999))
def test_ids_with_underscores_and_dashes_keep_all_their_characters(native: str, start: int) -> None:
    for name in (f"{native}_{start:06d}.mp4", f"{native}_{start}_{start + 10}.mp4"):
        assert upload_of(name) == Upload(native, (float(start),))
    assert upload_of(f"{native}_{1000 * start}_{1000 * start + 10_000}.mp4") == Upload(native, (float(start),))


def test_a_mirror_gives_files_the_labels_of_the_list(tmp_path: Path) -> None:
    write(tmp_path)
    mirror = tmp_path / "mirror" / "any"
    mirror.mkdir(parents=True)
    for name in ("-CmISPGVFZ0_000010.mp4", "_-17MsgVmcA_200000_210000.mp4", "-CmISPGVFZ0_000099.mp4", "other.mp4"):
        (mirror / name).write_text(name)
    labels = ("Helicopter", "Rail transport", "Water flowing")
    found = videos(labels, tmp_path, input=str(tmp_path / "mirror"))
    assert [(v.source_key, v.native_id, v.labels, v.state) for v in found] == [
        ("-CmISPGVFZ0_10000", "-CmISPGVFZ0", ("Helicopter",), "listed"),
        ("_-17MsgVmcA_200000", "_-17MsgVmcA", ("Rail transport",), "listed"),
        ("--0PQM4-hqg_30000", "--0PQM4-hqg_30000", ("Water flowing",), "later"),
    ]
    first = found[0]
    assert first.video_id == "lo-" + hashlib.sha256(b"-CmISPGVFZ0_000010.mp4").hexdigest()[:16]
    assert (first.url, first.wanted_start_s, first.wanted_stop_s, first.path) == (
        None, None, None, mirror / "-CmISPGVFZ0_000010.mp4",
    )  # fmt: skip
    assert found[2].reason == "not_in_input"
    known = frozenset(v.source_key for v in found[:2])
    assert [v.source_key for v in videos(labels, tmp_path, known, input=str(tmp_path / "mirror"))] == [
        "--0PQM4-hqg_30000"
    ]
