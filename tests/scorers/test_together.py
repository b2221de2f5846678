"""Co-activity of picture and sound: high for what moves as it sounds, about zero for another's sound."""

import numpy as np
import pytest
from makers import noise_track

from v2a_data.scorers.base import VideoTap, WindowScores
from v2a_data.scorers.together import Together, picture_curves, sound_curves
from v2a_data.synthetic import SUBJECTS
from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.paint import Canvas
from v2a_data.synthetic.scene import Scene

SECONDS = 12.0


def blinking(times_s: np.ndarray, seconds: float = SECONDS) -> np.ndarray:
    """A spot that lights up at times, on a grey ground."""
    luma = np.full((round(seconds * 12.5), 36, 64), 100, np.uint8)
    for time_s in times_s:
        luma[round(time_s * 12.5) + 1 : round(time_s * 12.5) + 3, 10:20, 20:30] = 200
    return luma


def clicking(times_s: np.ndarray, seconds: float = SECONDS) -> np.ndarray:
    """Clicks of 0.1 s over faint noise, `(samples,)` at 16 kHz."""
    sound, click = 0.01 * noise_track(seconds, 16000), noise_track(0.1, 16000, 1)
    for time_s in times_s:
        first = round(time_s * 16000)
        part = sound[first : first + len(click)]
        part += click[: len(part)]
    return sound


def score(luma: np.ndarray, sound: np.ndarray) -> WindowScores:
    starts, shown_s = np.arange(len(luma) // 25) * 2.0, np.arange(len(luma)) / 12.5
    tap = VideoTap("sy-0-0", "x", starts, luma=luma, luma_s=shown_s, sound=sound[None], rate_hz=16000)
    return Together(Together.Config()).score([tap])[0]


def test_events_that_are_seen_and_heard_at_once_stand_out() -> None:
    rng = np.random.default_rng(0)
    one, other = np.cumsum(rng.uniform(0.3, 1.2, 14)), np.cumsum(rng.uniform(0.3, 1.2, 14))
    one, other = one[one < 11.5], other[other < 11.5]
    own, wrong = score(blinking(one), clicking(one)), score(blinking(one), clicking(other))
    assert own.fields["together_z"].min() > 3
    assert wrong.fields["together_z"].max() < 2
    assert np.abs(own.fields["lag_s"]).max() <= 0.06


@pytest.mark.parametrize("late_s", [-0.08, 0.08])
def test_a_small_lag_is_named_and_a_large_one_is_not_together(late_s: float) -> None:
    times = np.cumsum(np.random.default_rng(1).uniform(0.4, 1.1, 12)) + 0.3
    times = times[times < 11]
    base = np.median(score(blinking(times), clicking(times)).fields["lag_s"])
    found = score(blinking(times), clicking(times + late_s))
    assert np.median(found.fields["lag_s"]) - base == pytest.approx(late_s, abs=0.03)
    assert found.fields["together_z"].min() > 3
    far = score(blinking(times), clicking(times + 5 * late_s))
    assert np.median(far.fields["together_z"]) < 2


@pytest.mark.parametrize("late_s", [-1.5, -0.3, 0.4, 1.9])
def test_sound_that_was_shifted_is_found_over_the_whole_video(late_s: float) -> None:
    times = 2.0 + np.cumsum(np.random.default_rng(2).uniform(0.3, 1.1, 11))
    own, moved = (score(blinking(times, 14.0), clicking(times + by, 14.0)).fields for by in (0.0, late_s))
    assert own["shifted_z"].max() < 0
    assert moved["shifted_z"].min() > 2
    assert np.ptp(moved["shifted_z"]) == 0
    assert moved["shifted_s"][0] == pytest.approx(late_s, abs=0.05)


def test_sound_of_something_else_is_not_called_shifted() -> None:
    rng = np.random.default_rng(3)
    one, other = (1.0 + np.cumsum(rng.uniform(0.3, 1.2, 14)) for _ in range(2))
    assert score(blinking(one[one < 11]), clicking(other[other < 11])).fields["shifted_z"].max() < 2


def test_what_cannot_be_compared_is_null() -> None:
    times = np.asarray([1.0, 2.5, 3.1, 5.0, 6.2])
    luma, sound = blinking(times), clicking(times)
    still, silent, steady = np.full_like(luma, 100), np.zeros_like(sound), np.sin(np.arange(len(sound)) * 0.4)
    for picture, heard in ((still, sound), (luma, silent), (luma, steady), (luma[:96], sound), (luma, sound[:100000])):
        found = score(picture, heard)
        assert np.isnan(found.fields["together_z"]).all()
        for name in ("lag_s", "shifted_z", "shifted_s"):
            assert np.isnan(found.fields[name]).all()
    starts = np.arange(6) * 2.0
    (mute,) = Together(Together.Config()).score([VideoTap("sy-0-0", "x", starts, luma=luma)])
    assert np.isnan(mute.fields["together_z"]).tolist() == [True] * 6
    # Nothing happens in the second half: its last windows have nothing to compare.
    late = np.concatenate([luma, still])
    found = score(late, clicking(times, 2 * SECONDS)).fields["together_z"]
    assert not np.isnan(found[:5]).any()
    assert np.isnan(found[-4:]).all()


def test_a_moving_camera_is_no_motion_and_a_moving_thing_is() -> None:
    ground = np.random.default_rng(0).integers(80, 120, (36, 90)).astype(np.uint8)
    pan = np.stack([ground[:, i : i + 64] for i in range(20)])
    thing = np.repeat(ground[None, :, :64], 20, axis=0)
    for i in range(20):
        thing[i, 12:24, 2 * i : 2 * i + 12] = 250
    assert picture_curves(thing)[0].min() > 2 * picture_curves(pan)[0].max()


def test_onsets_are_where_sound_begins() -> None:
    _, onsets = sound_curves(clicking(np.asarray([1.0, 3.0]), 4.0))
    strongest = np.sort(np.argsort(onsets)[-2:]) * 0.02
    assert strongest == pytest.approx([1.0, 3.0], abs=0.04)


@pytest.mark.parametrize("label", ["Dog", "Drum", "Fireworks"])
def test_things_of_the_synthetic_world_fit_their_own_sound_and_not_anothers(label: str) -> None:
    seconds = 10.0
    scenes = [
        Scene(SUBJECTS[name](Draw(np.random.default_rng(3)), seconds), Draw(np.random.default_rng(4)), seconds)
        for name in (label, "Printers")
    ]
    canvas, rows = Canvas(64, 36), []
    for i in range(round(seconds * 12.5)):
        scenes[0].picture(canvas, i / 12.5)
        rows.append(canvas.pixels().mean(axis=2))
    luma = np.stack(rows).astype(np.uint8)
    own, wrong = (score(luma, scene.sound(16000)).fields["together_z"] for scene in scenes)
    assert np.nanmean(own) > np.nanmean(wrong) + 1.5
