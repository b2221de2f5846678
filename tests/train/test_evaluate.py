"""The table: intervals by video, flags, baselines, the command and its files."""

import json
import shutil
import wave
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_metrics import RATE, row, synthetic
from typer.testing import CliRunner
from v2a.cli import app as v2a
from v2a.evaluate import evaluation_text, flags, judge
from v2a.metrics import METRICS
from v2a.metrics.bank import Setting
from v2a.metrics.base import Sound
from v2a.metrics.intervals import Figure, interval
from v2a.metrics.rows import BASELINES

from v2a_data.shards.read import open_shards


def test_one_video_has_no_width() -> None:
    found = interval([0.1, 0.5, 0.9], ["a", "a", "a"])
    assert (found.mean, found.low, found.high) == (pytest.approx(0.5), pytest.approx(0.5), pytest.approx(0.5))


def test_clips_of_one_video_are_drawn_together() -> None:
    rng = np.random.default_rng(0)
    levels = rng.standard_normal(40)
    together = interval(np.repeat(levels, 25).tolist(), [str(i) for i in range(40) for _ in range(25)])
    apart = interval(np.repeat(levels, 25).tolist(), [str(i) for i in range(1000)])
    once = interval(levels.tolist(), [str(i) for i in range(40)])
    # 25 copies say no more than one.
    assert (together.low, together.high) == (pytest.approx(once.low), pytest.approx(once.high))
    assert apart.high - apart.low < 0.4 * (together.high - together.low)  # type: ignore[operator]
    # The textbook's: mean ± 1.96 standard errors.
    error = 1.96 * levels.std(ddof=1) / np.sqrt(40)
    assert (once.high - once.low) / 2 == pytest.approx(error, rel=0.1)  # type: ignore[operator]


def test_values_that_are_missing_are_left_out() -> None:
    assert interval([None, 1.0, None, 3.0], ["a", "b", "c", "b"]) == interval([1.0, 3.0], ["b", "b"])
    assert interval([None], ["a"]) == Figure(None, None, None)
    assert interval([], []) == Figure(None, None, None)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 4)), min_size=1, max_size=12))
def test_the_mean_lies_inside(rows: list[tuple[float, int]]) -> None:
    found = interval([value for value, _ in rows], [str(group) for _, group in rows])
    assert found.mean == pytest.approx(np.mean([value for value, _ in rows]))
    low, high = min(v for v, _ in rows), max(v for v, _ in rows)
    assert low - 1e-9 <= found.low <= found.high <= high + 1e-9  # type: ignore[operator]


@pytest.mark.parametrize(
    ("energies", "low", "expected"),
    [
        ([1.0], 0.6, ()),
        ([0.1], 0.51, ()),
        ([10.0], 0.51, ()),
        ([0.09], 0.6, ("collapsed",)),
        ([11.0], 0.6, ("collapsed",)),
        ([0.01, 0.02, 9.0], 0.6, ("collapsed",)),
        ([1.0, 1.1, 900.0], 0.6, ()),
        ([None, 1.0], 0.5, ("not shown to follow the picture",)),
        ([0.0], 0.3, ("collapsed", "not shown to follow the picture")),
        ([None], None, ()),
    ],
)
def test_flags(energies: list[float | None], low: float | None, expected: tuple[str, ...]) -> None:
    figures = {"swap_auc_in_class": Figure(0.9, low, 1.0)}
    assert flags(figures, energies) == expected


def test_the_table_tells_the_real_sound_from_what_ignores_the_picture() -> None:
    clips = synthetic(8, 1.4)
    made = {
        "good": [Sound(0.8 * clip.real.samples, RATE) for clip in clips],
        "class only": row("class-matched shuffle", clips),
        "quiet": [Sound(0.01 * clip.real.samples, RATE) for clip in clips],
        "nothing": row("silence", clips),
    }
    result = judge(Setting(clips), made)
    assert (result.clips, result.videos) == (16, 16)
    rows = {row.name: row for row in result.rows}
    assert list(rows) == [*made, *BASELINES]
    assert [row.is_model for row in result.rows] == [True] * 4 + [False] * len(BASELINES)
    assert {name: rows[name].flags for name in made} == {
        "good": (),
        "class only": ("not shown to follow the picture",),
        "quiet": ("collapsed",),
        "nothing": ("collapsed", "not shown to follow the picture"),
    }
    assert all(rows[name].flags == () for name in BASELINES)
    headline = {name: found.figures["swap_auc_in_class"] for name, found in rows.items()}
    assert headline["real"] == Figure(1.0, 1.0, 1.0)
    assert headline["silence"] == Figure(0.5, 0.5, 0.5)
    shuffle = headline["class-matched shuffle"]
    assert shuffle.low < 0.5 < shuffle.high  # type: ignore[operator]
    assert headline["good"].low > 0.9  # type: ignore[operator]
    assert rows["real"].figures["onset_f1"].mean == rows["real"].figures["energy_ratio"].mean == 1.0
    assert rows["real"].figures["lsd"].mean == rows["real"].figures["mr_stft"].mean == 0.0
    # Without training clips, what is retrieved from them cannot be had.
    for name in ("mean", "nearest by motion", "nearest by pixels"):
        assert set(rows[name].figures.values()) == {Figure(None, None, None)}


def test_the_text_has_every_row_and_the_intervals_of_the_headline() -> None:
    clips = synthetic(2)
    values = judge(Setting(clips), {"nothing": row("silence", clips)}).to_json()
    lines = evaluation_text(values).splitlines()
    assert lines[0].split() == ["4", "test", "clips", "of", "4", "videos", *METRICS]
    assert len(lines) == 1 + 1 + len(BASELINES)
    assert lines[1].startswith("nothing (collapsed) (not shown to follow the picture)  0.500 [0.500, 0.500]")
    json.loads(json.dumps(values, allow_nan=False))


def test_a_metric_that_cannot_be_measured_is_a_dash() -> None:
    clips = synthetic(1)  # no other clip of the class
    values = judge(Setting(clips), {}).to_json()
    assert values["rows"][0]["swap_auc_in_class"] == {"mean": None, "low": None, "high": None}
    assert evaluation_text(values).splitlines()[1].split()[:2] == ["real", "-"]


def run(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(v2a, [str(word) for word in words])
    return done.exit_code, done.stdout, done.stderr


def test_the_command_judges_both_forms(trained: Path) -> None:
    code, out, err = run("evaluate", "-w", trained, "--json")
    assert code == 0, err
    values = json.loads(out)
    test = open_shards(trained / "shards").split("test")
    assert values["clips"] == len(test) >= 2
    assert values["videos"] == len({entry.group_id for entry in test})
    assert [row["name"] for row in values["rows"]] == ["audio_fc tied", "audio_fc literal", *BASELINES]
    real = next(row for row in values["rows"] if row["name"] == "real")
    assert real["swap_auc"]["mean"] == real["onset_f1"]["mean"] == real["energy_ratio"]["mean"] == 1.0
    folder = trained / "reports" / "evaluate"
    written = json.loads((folder / "evaluation.json").read_text())
    assert written == {key: values[key] for key in written}
    assert values["labels"] == dict(Counter(sorted(entry.label for entry in test)))
    for name in ("mean", "nearest by pixels", "nearest by motion"):
        found = next(row for row in values["rows"] if row["name"] == name)
        assert found["energy_ratio"]["mean"] is not None
    video = values["video"]
    assert (video["clips"], video["frames"], video["codes"]) == (len(test), len(test) * 125, 32)
    assert [row["name"] for row in video["rows"]] == ["vqvae3d", "mean frame", "untrained codebook"]
    shown = sorted(path.stem for path in (folder / "codes").glob("*.png"))
    assert shown == sorted(entry.key for entry in test)[:6]
    for name in ("audio_fc tied", "audio_fc literal"):
        made = sorted((folder / "generated" / name).iterdir())
        assert [path.stem for path in made] == sorted(entry.key for entry in test)
        for path in made:
            with wave.open(str(path)) as file:
                assert (file.getnframes(), file.getframerate()) == (160000, 16000)


def test_another_shard_set_is_judged_beside_the_own(trained: Path, tmp_path: Path) -> None:
    """Its test clips, against the training clips of the workspace, into a folder of its own."""
    shutil.copytree(trained / "shards", tmp_path / "ood")
    code, out, err = run("evaluate", "-w", trained, "--json")
    own = (trained / "reports" / "evaluate" / "evaluation.json").stat().st_mtime_ns
    assert code == 0, err
    shutil.rmtree(tmp_path / "ood" / "train")
    code, other, err = run("evaluate", "-w", trained, "--shards", tmp_path / "ood", "--json")
    assert code == 0, err
    assert json.loads(other) == json.loads(out)
    (beside,) = (trained / "reports").glob("evaluate-ood-??????")
    assert json.loads((beside / "evaluation.json").read_text())["labels"] == json.loads(out)["labels"]
    assert (trained / "reports" / "evaluate" / "evaluation.json").stat().st_mtime_ns == own


def test_without_training_clips_of_other_videos_it_is_said(trained: Path, tmp_path: Path) -> None:
    """Only checkpoints are there, and shards elsewhere."""
    for name in ("checkpoints", "shards"):
        shutil.copytree(trained / name, tmp_path / ("w" if name == "checkpoints" else ".") / name)
    shutil.copy(trained / "recipe.toml", tmp_path / "w" / "recipe.toml")
    code, out, err = run("evaluate", "-w", tmp_path / "w", "--shards", tmp_path / "shards", "--json")
    assert code == 0, err
    assert "no training clips of other videos" in err
    rows = {row["name"]: row for row in json.loads(out)["rows"]}
    assert list(rows) == ["audio_fc tied", "audio_fc literal", *BASELINES]
    for name in ("mean", "nearest by pixels", "nearest by motion"):
        assert all(rows[name][metric]["mean"] is None for metric in METRICS)


def test_a_dry_run_counts(built: Path) -> None:
    code, out, _ = run("evaluate", "-w", built, "--dry-run", "--json")
    assert (code, json.loads(out)["clips"]) == (0, len(open_shards(built / "shards").split("test")))


def test_a_damaged_clip_is_named(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "shards", tmp_path / "shards")
    entry = open_shards(tmp_path / "shards").split("test")[0]
    path = tmp_path / "shards" / entry.shard
    body = bytearray(path.read_bytes())
    body[entry.mp4_offset + entry.mp4_bytes // 2] ^= 1
    path.write_bytes(body)
    code, _, err = run("evaluate", "-w", trained, "--shards", tmp_path / "shards")
    assert (code, f"sample {entry.key} is damaged" in err) == (1, True)
