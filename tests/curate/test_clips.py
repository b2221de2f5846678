"""Stretches and clips: every second ends in exactly one row, with its reason."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2a_data.curate.clips import Stretch, lay
from v2a_data.curate.rules import parse_rules
from v2a_data.curate.stretches import runs, window_marks
from v2a_data.recipe import ClipsSection
from v2a_data.windows import window_starts

MARKS = st.lists(st.sampled_from(["keep", "review", "drop"]), min_size=1, max_size=40)


def stretches(marks: list[str], strengths: list[float] | None = None) -> list[Stretch]:
    values = strengths or [0.5] * len(marks)
    return [
        Stretch(2.0 * a, 2.0 * b, marks[a], [] if marks[a] == "keep" else [{"condition": "c"}], list(values[a:b]))
        for a, b in runs(marks)
    ]


@given(MARKS, st.sampled_from(["fixed", "natural"]), st.sampled_from([2.0, 4.0, 10.0]), st.none() | st.integers(0, 3))
def test_every_second_is_in_exactly_one_row(marks: list[str], length: str, seconds: float, cap: int | None) -> None:
    rules = ClipsSection(length=length, seconds=seconds, max_per_video=cap)  # type: ignore[arg-type]
    rows = list(lay(stretches(marks), rules, "Drum", 25.0))
    edges = [(row["start_s"], row["stop_s"]) for row in rows]
    assert edges[0][0] == 0.0
    assert edges[-1][1] == 2.0 * len(marks)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(edges))
    assert all(row["reasons"] for row in rows if row["verdict"] != "keep")
    kept = [row for row in rows if row["verdict"] == "keep"]
    for row in kept:
        width = row["stop_s"] - row["start_s"]
        assert width == seconds if length == "fixed" else 2.0 <= width <= seconds
        assert all(marks[i] == "keep" for i in range(round(row["start_s"] / 2), round(row["stop_s"] / 2)))
    if cap is not None:
        assert len(kept) <= cap


def test_fixed_clips_stand_back_to_back_from_the_stretch_start() -> None:
    rows = list(lay(stretches(["drop"] + ["keep"] * 12), ClipsSection(), "Drum", 25.0))
    assert [(r["start_s"], r["stop_s"], r["verdict"]) for r in rows] == [
        (0.0, 2.0, "drop"),
        (2.0, 12.0, "keep"),
        (12.0, 22.0, "keep"),
        (22.0, 26.0, "drop"),
    ]
    assert rows[-1]["reasons"] == [{"condition": "stretch >= 10 s", "seconds": 4.0}]


def test_natural_clips_split_long_stretches_into_equal_parts() -> None:
    rows = list(lay(stretches(["keep"] * 8), ClipsSection(length="natural"), "Drum", 25.0))
    assert [(r["start_s"], r["stop_s"]) for r in rows] == [(0.0, 8.0), (8.0, 16.0)]


def test_the_strongest_stay_above_the_cap() -> None:
    strengths = [0.1] * 5 + [0.9] * 5 + [0.5] * 5
    rows = list(lay(stretches(["keep"] * 15, strengths), ClipsSection(max_per_video=2), "Drum", 25.0))
    assert [r["verdict"] for r in rows] == ["drop", "keep", "keep"]
    assert rows[0]["reasons"] == [{"condition": "at most 2 per video"}]


def test_slow_sources_are_dropped_whole() -> None:
    rows = list(lay(stretches(["keep"] * 5), ClipsSection(min_source_fps=20.0), "Drum", 12.5))
    assert [r["verdict"] for r in rows] == ["drop"]
    assert rows[0]["reasons"] == [{"condition": "source fps >= 20", "fps": 12.5}]
    assert [r["verdict"] for r in lay(stretches(["keep"] * 5), ClipsSection(min_source_fps=20.0), "Drum", 19.995)] == [
        "keep"
    ]


def test_marks_follow_the_rules() -> None:
    rules = parse_rules({"keep": "seen >= 0.5", "review": "seen >= 0.3"}, ["seen"], where="r")
    assert window_marks(rules, {"seen": np.asarray([0.6, 0.4, 0.1, np.nan])}, 4) == ["keep", "review", "drop", "review"]
    assert window_marks(parse_rules({}, [], where="r"), {}, 2) == ["keep", "keep"]


def test_only_a_null_that_decides_sends_to_review() -> None:
    texts = {"keep": "seen >= 0.6 and voice <= 0.3", "review": "heard >= 0.4 and not voice <= 0.3"}
    rules = parse_rules(texts, ["seen", "heard", "voice"], where="r")
    # keep: open, false, false, false; review: false, open, false though null, open though keep is false.
    columns = {
        "seen": np.asarray([np.nan, 0.1, 0.1, 0.9]),
        "heard": np.asarray([0.1, 0.9, np.nan, np.nan]),
        "voice": np.asarray([0.1, np.nan, 0.1, 0.9]),
    }
    assert window_marks(rules, columns, 4) == ["review", "review", "drop", "review"]


@pytest.mark.parametrize(
    ("duration_s", "start_s", "stop_s", "expected"),
    [
        (10.0, None, None, [0, 2, 4, 6, 8]),
        (9.97, None, None, [0, 2, 4, 6, 8]),
        (9.9, None, None, [0, 2, 4, 6]),
        (1.9, None, None, []),
        (100.0, 30.5, 40.5, [30.5, 32.5, 34.5, 36.5, 38.5]),
        (33.0, 30.0, 40.0, [30.0]),
        (20.0, 30.0, 40.0, []),
    ],
)
def test_windows(duration_s: float, start_s: float | None, stop_s: float | None, expected: list[float]) -> None:
    assert window_starts(duration_s, start_s, stop_s).tolist() == expected
