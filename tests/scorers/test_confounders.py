"""Slides, hard cuts, sides that cancel, and voices that belong to the label."""

import numpy as np
import pytest
from makers import noise_track

from v2a_data.scorers.base import VideoTap
from v2a_data.scorers.loudness import Loudness, antiphase
from v2a_data.scorers.motion import Motion
from v2a_data.scorers.speech import Speech, is_voice
from v2a_data.synthetic import SUBJECTS
from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.paint import Canvas
from v2a_data.synthetic.scene import Scene
from v2a_data.synthetic.tones import voice

STEPS = 25  # of 80 ms in a window


def seen(luma: np.ndarray) -> dict[str, np.ndarray]:
    starts = np.arange(len(luma) // STEPS) * 2.0
    tap = VideoTap("x", "x", starts, luma=luma.astype(np.uint8), luma_s=np.arange(len(luma)) / 12.5)
    return Motion(Motion.Config()).score([tap])[0].fields


def scene(label: str, seed: int, seconds: float = 4.0) -> np.ndarray:
    """What the label's scene looks like in small, `(n, 36, 64)`."""
    draws = (Draw(np.random.default_rng([seed, k])) for k in (1, 2))
    canvas, rows = Canvas(64, 36), []
    made = Scene(SUBJECTS[label](next(draws), seconds), next(draws), seconds)
    for i in range(round(seconds * 12.5)):
        made.picture(canvas, i / 12.5)
        rows.append(canvas.pixels().mean(axis=2))
    return np.stack(rows)


def test_slides_are_stills_that_follow_one_another() -> None:
    one, other = scene("Dog", 1)[:1], scene("Drum", 2)[:1]
    show = np.concatenate([np.repeat(one, 40, axis=0), np.repeat(other, 35, axis=0)])
    found = seen(show)
    assert found["slideshow"].tolist() == [1, 1, 1]
    assert found["still"] == pytest.approx([1, 24 / 25, 1])
    assert found["cuts"].tolist() == [0, 1, 0]
    # A still picture is no slide, even where a keyframe changes it a little.
    refreshed = np.repeat(one, 75, axis=0)
    refreshed[40:] += np.where(np.arange(64) % 9 == 0, 5, 0)
    found = seen(refreshed)
    assert found["still"].min() >= 24 / 25
    assert found["slideshow"].tolist() == found["cuts"].tolist() == [0, 0, 0]
    # Nor is a freeze within a moving picture.
    moving = scene("Drum", 2, 6.0)
    moving[20:40] = moving[20]
    assert seen(moving)["slideshow"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("label", list(SUBJECTS))
def test_hard_cuts_are_counted_where_they_are(label: str) -> None:
    others = [name for name in SUBJECTS if name != label]
    film = np.concatenate([scene(label, 3)[:30], scene(others[0], 4)[:30], scene(others[5], 5)[:40]])
    assert seen(film)["cuts"].tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("label", list(SUBJECTS))
def test_what_moves_and_flashes_is_no_cut(label: str) -> None:
    film = scene(label, 6, 6.0)
    assert seen(film)["cuts"].tolist() == [0, 0, 0]
    lit = film.copy()
    for first, long in ((10, 1), (40, 2), (60, 3)):
        lit[first : first + long] = 0.2 * lit[first : first + long] + 200
    assert seen(lit)["cuts"].tolist() == [0, 0, 0]


def test_sides_that_cancel() -> None:
    one, other = noise_track(2.0, 16000, 0), noise_track(2.0, 16000, 1)
    assert antiphase(np.stack([one, -one])) == pytest.approx(1.0, abs=1e-6)
    assert antiphase(np.stack([one, one])) == antiphase(one[None]) == 0.0
    assert antiphase(np.stack([one, other])) < 0.05
    # A part of one side turned over in the other: -2ab / (a² + b²) with b = a/2.
    assert antiphase(np.stack([one, -0.5 * one])) == pytest.approx(0.8, abs=1e-6)
    silent = np.zeros((2, 32000), np.float32)
    tap = VideoTap(
        "x", "x", np.asarray([0.0, 2.0, 4.0]), sound=np.concatenate([np.stack([one, -one]), silent], 1), rate_hz=16000
    )
    found = Loudness(Loudness.Config()).score([tap])[0].fields["antiphase"]
    assert found[0] == pytest.approx(1.0, abs=1e-6)
    assert np.isnan(found).tolist() == [False, True, True]


def test_a_voice_does_not_count_where_the_label_is_one() -> None:
    talk = np.concatenate([voice(1), voice(2)])[:32000]
    scorer = Speech(Speech.Config(allowed=("Auction",)))
    scorer.open("cpu")
    starts = np.asarray([0.0, 2.0])
    taps = [VideoTap("x", label, starts, sound=talk[None], rate_hz=16000) for label in ("Dog", "Auction", "Singing")]
    dog, auction, singing = (found.fields["voice"] for found in scorer.score(taps))
    assert dog[0] > 0.6
    assert auction[0] == singing[0] == 0
    # Without sound nothing is measured, whatever the label.
    assert np.isnan([dog[1], auction[1], singing[1]]).all()


def test_audioset_says_which_labels_are_voices() -> None:
    voices = ("Speech", "Male speech", "Laughter", "Baby cry", "Singing", "Human voice", "Human sounds", "Vocal music")
    assert all(is_voice(label) for label in (*voices, "Music"))
    assert not any(is_voice(label) for label in ("Dog", "Drum", "Airplane", "Snoring", "no such label"))
