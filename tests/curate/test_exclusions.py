"""Exclusion lists: the forms in which other datasets name their test videos."""

from pathlib import Path

import pytest

from v2a_data.curate.exclusions import read_exclusions
from v2a_data.errors import UsageError

A, B, C = "---g-f_I2yQ", "0aB3_-xYz12", "zZ9-8_7654a"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{A}\n{B}\n", {A, B}),
        (f"{A},1,people marching,test\n{B},30,airplane,train\n{C},4,\"dog, barking\",test\n", {A, C}),
        (f"# Segments csv created Sun Mar  5 2017\n# YTID, start_seconds, end_seconds, positive_labels\n"
         f"{A}, 30.000, 40.000, \"/m/09x0r,/t/dd00088\"\n{B}, 0.000, 10.000, \"/m/07yv9\"\n", {A, B}),
        (f"split,label,video_id\ntest,x,yt-{A}\nvalidation,x,yt-{B}\ntrain,x,yt-{C}\n", {A, B}),
        (f"\ufeffid\n{A}\nnot an id\n\n", {A}),
    ],
    ids=["column", "vggsound", "audioset", "named", "mark"],
)  # fmt: skip
def test_ids_are_read(text: str, found: set[str], tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    path.write_text(text, encoding="utf-8")
    assert read_exclusions([str(path)]) == {f"yt-{native}": "ids.csv" for native in found}


@pytest.mark.parametrize("content", [b"", b"name\nno id here\n", b"\xff\xfe\x00"])
def test_a_file_without_ids_is_an_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"ids\.csv"):
        read_exclusions([str(path)])
