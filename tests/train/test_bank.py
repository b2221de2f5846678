"""Baselines that know training clips: what is retrieved, from whom, and how much is held."""

from dataclasses import replace

import numpy as np
import pytest
from small import FORM, LENGTHS, sample_sound
from v2a.evaluate import decoded
from v2a.metrics.bank import COLUMNS, ROWS, Bank, Look, Setting, look, mean_waveform, nearest
from v2a.metrics.base import Clip, Sound
from v2a.metrics.rows import BASELINES
from v2a.metrics.training_bank import build_bank, chosen
from v2a.reading.decode import Decoder

from v2a_data.console import Console
from v2a_data.shards.read import ShardSet

RATE = 16000


def planes(luma: np.ndarray) -> np.ndarray:
    """Luma `(T, h, w)` with chroma that must not be seen."""
    chroma = np.random.default_rng(0).integers(0, 256, (len(luma), luma.shape[1] // 2, luma.shape[2]), np.uint8)
    return np.concatenate([luma.astype(np.uint8), chroma], axis=1)


@pytest.mark.parametrize(("height", "width"), [(9, 16), (36, 64), (144, 256), (22, 50)])
def test_a_look_is_the_mean_of_blocks(height: int, width: int) -> None:
    luma = np.random.default_rng(1).integers(0, 256, (3, height, width))
    found = look(planes(luma), height).pixels
    assert (found.shape, found.dtype) == ((3, ROWS, COLUMNS), np.float32)
    for row in range(ROWS):
        for column in range(COLUMNS):
            rows = slice(row * height // ROWS, (row + 1) * height // ROWS)
            columns = slice(column * width // COLUMNS, (column + 1) * width // COLUMNS)
            expected = luma[:, rows, columns].mean(axis=(1, 2)) / 255
            np.testing.assert_allclose(found[:, row, column], expected, rtol=1e-5)


def test_a_view_with_fewer_rows_than_blocks_has_a_look() -> None:
    luma = np.random.default_rng(1).integers(0, 256, (2, 4, 4))
    found = look(planes(luma), 4).pixels
    np.testing.assert_allclose(found[:, [0, 3, 5, 8]][:, :, [0, 5, 9, 15]], luma / 255, rtol=1e-6)


def test_motion_is_the_standardised_change() -> None:
    pixels = np.zeros((4, ROWS, COLUMNS), np.float32)
    pixels[1:] = 0.5
    pixels[3, 0, :8] = 0.0
    changes = np.asarray([0.5, 0.5, 0, 0.5 * 8 / (ROWS * COLUMNS)])
    level = np.log(changes + 1e-3)
    np.testing.assert_allclose(Look(pixels).motion, (level - level.mean()) / level.std(), rtol=1e-5)
    assert not Look(pixels[[0, 1]]).motion.any()  # as much all the time
    assert Look(pixels[:1]).motion.tolist() == [0.0]


def test_nearest_by_hand() -> None:
    wanted = np.asarray([1.0, 0.0, 1.0])
    others = [np.asarray(x) for x in ([0.0, 0.0, 0.0], [1.0, 0.0, 0.8, 9.0], [1.0, 0.0], [1.0, 0.0, 0.8])]
    assert nearest(wanted, others) == 1  # the first of equals; what lasts longer is compared while both last
    assert nearest(wanted, [others[0], others[2]]) == 0  # one that lasts too short a time only where all do
    assert nearest(wanted, [np.asarray([0.0]), others[2]]) == 1


def made_setting() -> tuple[Setting, list[Sound]]:
    """Eight training clips of which three, a little changed, are the test clips."""
    rng = np.random.default_rng(2)
    looks = [Look(rng.random((20 + i, ROWS, COLUMNS)).astype(np.float32)) for i in range(8)]
    sounds = [Sound(rng.standard_normal(1000 * (20 + i)).astype(np.float32), RATE, f"train-{i}") for i in range(8)]
    clips = [Clip(f"test-{i}", "x", f"test-{i}", Sound(np.zeros(20000, np.float32), RATE)) for i in range(3)]
    seen = [Look(looks[i].pixels[:20] + np.float32(0.001)) for i in (5, 0, 5)]
    bank = Bank(looks, mean_waveform([s.samples for s in sounds]), lambda i: sounds[i])
    return Setting(clips, seen, bank), sounds


@pytest.mark.parametrize("name", ["nearest by pixels", "nearest by motion"])
def test_the_nearest_clips_sound_is_the_answer(name: str) -> None:
    setting, sounds = made_setting()
    found = BASELINES[name](setting)
    assert found is not None
    assert [sound.of for sound in found] == ["train-5", "train-0", "train-5"]
    for sound, index in zip(found, (5, 0, 5), strict=True):
        assert np.array_equal(sound.samples, sounds[index].samples[:20000])


def test_motion_sees_when_and_pixels_see_what() -> None:
    """Training clip 0 stands as the test clip does and moves at another time, clip 1 the other way round."""

    def clip(level: float, moves: int) -> Look:
        pixels = np.full((10, ROWS, COLUMNS), level, np.float32)
        pixels[moves, :2] += 0.3
        return Look(pixels)

    setting, _ = made_setting()
    sounds = [Sound(np.full(20000, i, np.float32), RATE, str(i)) for i in range(2)]
    bank = Bank([clip(0.2, 3), clip(0.7, 6)], np.zeros(1), lambda i: sounds[i])
    asked = replace(setting, clips=setting.clips[:1], looks=[clip(0.2, 6)], bank=bank)
    by_pixels, by_motion = (BASELINES[f"nearest by {name}"](asked) for name in ("pixels", "motion"))
    assert by_pixels is not None and by_motion is not None
    assert (by_pixels[0].of, by_motion[0].of) == ("0", "1")


def test_the_mean_counts_a_sound_while_it_lasts() -> None:
    np.testing.assert_allclose(mean_waveform([np.asarray([1.0, 3.0]), np.asarray([2.0, 1.0, 5.0])]), [1.5, 2, 5])
    setting, sounds = made_setting()
    found = BASELINES["mean"](setting)
    assert found is not None and found[0] is found[1]
    np.testing.assert_allclose(found[0].samples, np.mean([s.samples[:20000] for s in sounds], axis=0), atol=1e-6)


def test_a_retrieved_sound_is_as_long_as_the_clip() -> None:
    setting, sounds = made_setting()
    longer = [replace(clip, real=Sound(np.zeros(30000, np.float32), RATE)) for clip in setting.clips]
    found = BASELINES["nearest by pixels"](replace(setting, clips=longer))
    assert found is not None
    assert np.array_equal(found[1].samples[:20000], sounds[0].samples)
    assert len(found[1].samples) == 30000 and not found[1].samples[20000:].any()


def test_without_training_clips_there_is_nothing_to_retrieve() -> None:
    setting, _ = made_setting()
    for name in ("mean", "nearest by pixels", "nearest by motion"):
        assert BASELINES[name](replace(setting, bank=None)) is None


def test_videos_of_test_clips_are_never_in_the_bank(coded: ShardSet) -> None:
    train = coded.entries
    test = [
        replace(train[1], split="test"),
        replace(train[0], key="other", group_id=train[3].group_id, split="test"),
    ]
    assert [e.key for e in chosen(train, test)] == [train[i].key for i in (0, 2, 4)]
    many = [replace(train[0], key=f"k{i}", group_id=f"g{i}") for i in range(50)]
    picked = chosen(many, test, most=7)
    assert len({e.key for e in picked}) == 7
    assert picked == chosen(many, test, most=7)


def test_a_bank_of_shards_finds_each_clip_again(coded: ShardSet) -> None:
    entries = coded.entries
    bank = build_bank(coded, entries, FORM, Console("test", quiet=True))
    decoder = Decoder(FORM)
    clips, looks = [], []
    for number, entry in enumerate(entries):
        shown, sound = decoded(decoder, coded.read(entry))
        clips.append(Clip(f"asked-{number}", "x", f"asked-{number}", Sound(sound, RATE)))
        looks.append(look(shown, FORM.height))
        np.testing.assert_array_equal(bank.looks[number].pixels, looks[-1].pixels)
        heard = bank.sound(number)
        assert heard.of == entry.key
        # FLAC of 16 bits
        np.testing.assert_allclose(heard.samples, sample_sound(number)[: len(heard.samples)], atol=1e-4)
    found = BASELINES["nearest by pixels"](Setting(clips, looks, bank))
    assert found is not None
    assert [sound.of for sound in found] == [entry.key for entry in entries]
    shortest = min(LENGTHS) // 2 * FORM.samples_per_frame
    expected = np.mean([clip.real.samples[:shortest] for clip in clips], axis=0)
    np.testing.assert_allclose(bank.mean[:shortest], expected, atol=1e-6)
