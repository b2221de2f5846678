"""Models of one's own by path: joint embeddings and offset classifiers, their licences, and what does not fit."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from tiny import SYNC_OFFSETS_S, make_embed, make_sync

from v2a_data.errors import FatalError, MissingToolError, UsageError
from v2a_data.files import sha256_file
from v2a_data.scorers.av_embed import AvEmbed
from v2a_data.scorers.av_sync import AvSync
from v2a_data.scorers.base import VideoTap

RED, BLUE = (255, 0, 0), (0, 0, 255)


def tone(hz: float, seconds: float, rate_hz: int = 16000) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)[None]


def shown(colour: tuple[int, int, int], sound: np.ndarray, rate_hz: int = 16000) -> VideoTap:
    """Two windows of one colour, wider than high."""
    frames = np.full((2, 2, 32, 40, 3), colour, np.uint8)
    return VideoTap("x", "x", np.asarray([0.0, 2.0]), frames, np.ones((2, 2)), sound=sound, rate_hz=rate_hz)


def embed(path: Path, **more: str) -> AvEmbed:
    scorer = AvEmbed(AvEmbed.Config(str(path), **more))
    scorer.open("cpu")
    return scorer


def test_pictures_lie_with_their_sounds(tmp_path: Path) -> None:
    scorer = embed(make_embed(tmp_path))
    low, high = tone(150, 4), tone(4000, 4)
    taps = [shown(RED, low), shown(RED, high), shown(BLUE, low), shown(BLUE, high)]
    values = [found.fields["av_similarity"] for found in scorer.score(taps)]
    assert min(values[0].min(), values[3].min()) > 0.95
    assert max(values[1].max(), values[2].max()) < 0.1
    # The cosine of the two models' own outputs.
    import onnxruntime

    seen, heard = (onnxruntime.InferenceSession(str(tmp_path / f"{name}.onnx")) for name in ("picture", "sound"))
    picture = np.tile(np.asarray(RED, np.float32)[None, None, :, None, None] / 255, (1, 2, 1, 32, 32))
    a, b = seen.run(None, {"picture": picture})[0][0], heard.run(None, {"sound": high[:, :32000]})[0][0]
    assert values[1][0] == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)


def test_windows_without_picture_or_sound_are_null(tmp_path: Path) -> None:
    tap = shown(RED, tone(150, 2))
    blind = shown(RED, tone(150, 4))
    blind.frame_s[0] = np.nan
    short, unseen = (found.fields["av_similarity"] for found in embed(make_embed(tmp_path)).score([tap, blind]))
    assert np.isnan(short).tolist() == [False, True]
    assert np.isnan(unseen).tolist() == [True, False]


def test_sound_is_given_at_the_models_rate(tmp_path: Path) -> None:
    scorer = embed(make_embed(tmp_path, sound={"rate_hz": 8000}))
    assert scorer.needs.sound == "source"
    # The tiny model counts in its own samples: 150 Hz at 8 kHz is low, 3 kHz is high.
    stereo = np.repeat(tone(150, 4, 44100), 2, axis=0)
    low, high = scorer.score([shown(RED, stereo, 44100), shown(RED, tone(3000, 4, 44100), 44100)])
    assert low.fields["av_similarity"].min() > 0.95
    assert high.fields["av_similarity"].max() < 0.1


def test_a_licence_that_asks_for_more_has_to_be_accepted_by_name(tmp_path: Path) -> None:
    path = make_embed(tmp_path, licence="CC-BY-NC-4.0", name="imagebind")
    for more in ({}, {"accept_licence": "MIT"}):
        with pytest.raises(UsageError, match=r"imagebind comes under 'CC-BY-NC-4\.0'") as caught:
            embed(path, **more)
        assert caught.value.hint == 'read it, then write accept_licence = "CC-BY-NC-4.0" into [scorers.av_embed]'
    assert embed(path, accept_licence="CC-BY-NC-4.0").model.licence == "CC-BY-NC-4.0"


def test_the_hash_is_that_of_what_sha256sum_prints(tmp_path: Path) -> None:
    path = make_embed(tmp_path)
    lines = "".join(f"{sha256_file(path / n)}  {n}\n" for n in ("about.json", "picture.onnx", "sound.onnx"))
    sha256 = hashlib.sha256(lines.encode()).hexdigest()
    assert embed(path, sha256=sha256).model.sha256 == sha256
    make_embed(tmp_path, name="another")
    with pytest.raises(MissingToolError, match="its sha256 differs"):
        embed(path, sha256=sha256)


@pytest.mark.parametrize("file", ["about.json", "picture.onnx", "sound.onnx"])
def test_a_missing_file_is_named(file: str, tmp_path: Path) -> None:
    (make_embed(tmp_path) / file).unlink()
    with pytest.raises(MissingToolError, match=f"has no {file}"):
        embed(tmp_path)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = make_embed(tmp_path, size=3)
    with pytest.raises(UsageError, match="unknown key 'size'"):
        embed(path)
    with pytest.raises(UsageError, match="are above 0"):
        embed(make_embed(tmp_path, sound={"rate_hz": 0}))
    (path / "about.json").write_text("{")
    with pytest.raises(UsageError, match="is no JSON"):
        embed(path)
    make_embed(tmp_path)
    (path / "sound.onnx").write_bytes(b"no model")
    with pytest.raises(MissingToolError, match="holds no ONNX model"):
        embed(path)
    make_embed(tmp_path)
    make_sync(tmp_path / "other")
    scorer = embed(path)
    scorer._sessions[1] = scorer._sessions[0]
    scorer._folder.inputs = lambda tap, first: (np.zeros((2, 3, 32, 32), np.float32),) * 2
    assert scorer.score([shown(RED, tone(150, 4))])[0].fields["av_similarity"] == pytest.approx([1, 1])


def flashing(late: int, windows: int = 4) -> VideoTap:
    """Flashes of 0.2 s at odd times; the sound of each comes `late` steps of 0.2 s after it."""
    steps = np.random.default_rng(0).random(10 * windows) < 0.2
    frames = np.zeros((windows, 10, 32, 32, 3), np.uint8)
    frames.reshape(-1, 32, 32, 3)[steps] = 255
    sound = np.repeat(np.roll(steps, late), 3200).astype(np.float32)[None]
    starts = np.arange(windows) * 2.0
    return VideoTap("x", "x", starts, frames, np.ones((windows, 10)), sound=sound, rate_hz=16000)


def sync(path: Path) -> AvSync:
    scorer = AvSync(AvSync.Config(str(path)))
    scorer.open("cpu")
    return scorer


@pytest.mark.parametrize("late", [-2, -1, 0, 1, 2])
def test_the_offset_is_named(late: int, tmp_path: Path) -> None:
    (found,) = sync(make_sync(tmp_path)).score([flashing(late)])
    assert found.fields["sync_offset_s"].tolist() == pytest.approx([0.2 * late] * 4)
    in_step = found.fields["sync_prob"]
    assert (in_step.min() > 0.9) if abs(late) <= 1 else (in_step.max() < 0.1)


def test_windows_share_what_the_model_looks_at(tmp_path: Path) -> None:
    scorer = sync(make_sync(tmp_path))
    assert [scorer._first(flashing(0), index) for index in range(4)] == [0, 0, 1, 2]
    lonely, blind = flashing(0, windows=1), flashing(0)
    blind.frame_s[2] = np.nan
    alone, some = (found.fields["sync_prob"] for found in scorer.score([lonely, blind]))
    assert np.isnan(alone).tolist() == [True]
    assert np.isnan(some).tolist() == [False, False, True, True]


def test_classifiers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FatalError, match=r"gave \(2, 5\) for 2 x 3 offsets"):
        sync(make_sync(tmp_path, offsets_s=SYNC_OFFSETS_S[:3])).score([flashing(0)])
    with pytest.raises(UsageError, match="offsets_s name every output"):
        sync(make_sync(tmp_path, offsets_s=()))
    with pytest.raises(UsageError, match="missing windows"):
        (make_embed(tmp_path) / "model.onnx").touch()
        sync(tmp_path)
