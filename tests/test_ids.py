"""Ids are safe as file names and are read back from the right."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2a_data import ids

YOUTUBE = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", min_size=11, max_size=11)


@given(YOUTUBE, st.integers(0, 999_999_999))
def test_clip_ids_read_back(native: str, start_ms: int) -> None:
    if native == "AccessDenie":
        return
    video = ids.youtube_video_id(native)
    clip = ids.clip_id(video, start_ms / 1000)
    assert ids.split_clip_id(clip) == (video, start_ms / 1000)
    assert Path(clip).name == clip
    assert not clip.startswith("-")


@pytest.mark.parametrize("bad", ["", "short", "AccessDenie", "../../etc/pa", "a" * 12, "abcdefghij\n", "abc def ghi"])
def test_what_is_no_youtube_id(bad: str) -> None:
    assert not ids.is_youtube_id(bad)
    with pytest.raises(ValueError, match="not a YouTube id"):
        ids.youtube_video_id(bad)


@given(st.text())
def test_no_text_becomes_a_path_outside(text: str) -> None:
    try:
        checked = ids.check_video_id(text)
    except ValueError:
        return
    assert "/" not in checked
    assert ".." not in checked
    assert checked[:3] in ("yt-", "lo-", "sy-", "y8-")


@given(st.text())
def test_clean_text_holds_no_control_or_direction_characters(text: str) -> None:
    cleaned = ids.clean_text(text)
    assert cleaned.isprintable()
    assert len(cleaned) <= 2000


@given(st.text())
def test_slugs_are_file_names(text: str) -> None:
    assert ids.slug(text).replace("_", "a").isalnum()
    assert ids.slug(text).isascii()


def test_synthetic_ids_are_stable() -> None:
    assert ids.synthetic_video_id(3, 14) == "sy-3-14"
    assert ids.synthetic_native_id(3, 14) == ids.synthetic_native_id(3, 14)
    assert ids.is_youtube_id(ids.synthetic_native_id(3, 14))
    assert len({ids.synthetic_native_id(0, n) for n in range(5000)}) == 5000
