"""Fingerprints: what a re-upload leaves as it is, and what has nothing to go by."""

import numpy as np
from PIL import Image

from v2a_data.media.fingerprint import (
    CROPS,
    RATE_HZ,
    SOUND_STEP_S,
    picture_hashes,
    sound_hashes,
    without_bars,
)


def scene(seed: int, pictures: int = 50, width: int = 160, height: int = 90) -> np.ndarray:
    """Soft blobs that swing, `(m, h, w)` uint8: no two seeds show the same."""
    rng = np.random.default_rng(seed)
    x, y = np.linspace(0, 1, width), np.linspace(0, 1, height)[:, None]
    at, size, level = rng.uniform(0, 1, (12, 2)), rng.uniform(0.05, 0.2, 12), rng.uniform(-80, 80, 12)
    swing = rng.uniform(-0.1, 0.1, (12, 2))
    out = np.full((pictures, height, width), 120.0)
    for time in range(pictures):
        for (cx, cy), (dx, dy), s, amount in zip(at, swing, size, level, strict=True):
            by = np.sin(2 * time / 12.5 + 9 * cx)
            moved = ((x - cx - dx * by) ** 2 + (y - cy - dy * by) ** 2) / s**2
            out[time] += amount * np.exp(-moved)
    return out.clip(16, 235).astype(np.uint8)


def small(pictures: np.ndarray, box: tuple[int, int, int, int] | None = None) -> np.ndarray:
    """As the decode hands them out: 64x36, of a part of the picture."""
    return np.stack([np.asarray(Image.fromarray(p).resize((64, 36), Image.Resampling.BOX, box=box)) for p in pictures])


def apart(one: np.ndarray, other: np.ndarray) -> float:
    known = (one != 0) & (other != 0)
    assert known.sum() >= 0.5 * len(one)
    return float(np.bitwise_count(one[known] ^ other[known]).mean())


def test_size_brightness_and_coding_noise_change_few_bits() -> None:
    pictures = scene(1)
    rng = np.random.default_rng(0)
    again = np.stack([np.asarray(Image.fromarray(p).resize((110, 62))) for p in pictures]).astype(float)
    again = (0.8 * again + 20 + rng.normal(0, 3, again.shape)).clip(0, 255).astype(np.uint8)
    one, other = picture_hashes(small(pictures)), picture_hashes(small(again))
    assert one.shape == (50 // 4, len(CROPS))
    assert apart(one[:, 0], other[:, 0]) < 4


def test_a_crop_of_a_tenth_is_told_by_its_form_and_other_scenes_are_far() -> None:
    pictures = scene(2)
    cropped = picture_hashes(small(pictures, box=(16, 9, 144, 81)))
    whole = picture_hashes(small(pictures))
    forms = [apart(whole[:, form], cropped[:, 0]) for form in range(len(CROPS))]
    assert min(forms) < 6 < 12 < forms[0], "the crop of 10 % lies between the forms of 8 and of 12 %"
    others = [apart(whole[:, 0], picture_hashes(small(scene(seed)))[:, 0]) for seed in range(3, 13)]
    assert min(others) > 18


def test_black_bars_are_cut_off() -> None:
    pictures = small(scene(4))
    barred = np.full((50, 36, 64), 16, np.uint8)
    barred[:, 6:30] = pictures[:, 6:30]
    assert without_bars(barred).shape == (50, 24, 64)
    # The bars leave nothing but the picture between them to be hashed.
    np.testing.assert_array_equal(picture_hashes(barred), picture_hashes(pictures[:, 6:30]))


def test_black_plain_and_still_pictures_have_nothing_to_go_by() -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 2, (50, 36, 64))
    black = 16 + noise
    plain = 120 + noise
    card = small(scene(5, pictures=1)).repeat(50, axis=0)
    for pictures in (black, plain, card + noise):
        assert not picture_hashes(pictures.astype(np.uint8)).any()
    assert not picture_hashes(np.zeros((0, 36, 64), np.uint8)).any()


def bursts(seed: int, seconds: float = 6.0) -> np.ndarray:
    """Noises of other lengths and pitches, one after the other."""
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    sound = 0.001 * rng.standard_normal(len(times))
    for start_s in np.arange(0, seconds, 0.25):
        hz, decay_s = rng.uniform(200, 5000), rng.uniform(0.05, 0.4)
        after = np.maximum(times - start_s, 0)
        tone = np.sin(2 * np.pi * hz * after + rng.uniform(0, 6)) + 0.3 * rng.standard_normal(len(times))
        sound += rng.uniform(0.02, 0.2) * (times >= start_s) * np.exp(-after / decay_s) * tone
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def test_volume_noise_and_a_shift_of_half_a_step_change_few_bits() -> None:
    sound = bursts(1)
    rng = np.random.default_rng(0)
    again = (0.3 * sound + 0.0005 * rng.standard_normal(len(sound))).astype(np.float32)
    one, other = sound_hashes(sound), sound_hashes(again)
    assert len(one) == round(6 / SOUND_STEP_S)
    assert apart(one, other) < 5
    later = sound_hashes(again[round(RATE_HZ * 20.5 * SOUND_STEP_S) :])
    assert apart(one[25:65], later[5:45]) < 12
    assert min(apart(one, sound_hashes(bursts(seed))) for seed in range(2, 6)) > 22


def test_silence_and_steady_tones_have_nothing_to_go_by() -> None:
    times = np.arange(4 * RATE_HZ) / RATE_HZ
    rng = np.random.default_rng(0)
    hiss = 1e-5 * rng.standard_normal(len(times))
    for sound in (0 * times, hiss, 0.3 * np.sin(2 * np.pi * 1000 * times)):
        inside = sound_hashes(sound.astype(np.float32))
        assert not inside.any(), "two silences are not the same sound"
    assert len(sound_hashes(np.zeros(0, np.float32))) == 0
