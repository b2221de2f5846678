"""Mixing channels: nothing cancels, moment by moment, and what the scorers hear is what the sample holds."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from makers import decode_all, noise_track

from v2a_data.errors import ItemError
from v2a_data.media.check import sound_lag
from v2a_data.media.cut import cut
from v2a_data.media.decode import SoundChunk
from v2a_data.media.sound import Timeline, mix_blocks, mix_to
from v2a_data.media.spec import CutSpec
from v2a_data.media.tap import TapSpec, tap

SPEC = CutSpec(64, 36, Fraction(25), 16000, 1, 30)
ONE, OTHER, THIRD = (noise_track(11.0, 16000, seed) for seed in (1, 2, 3))


def like(heard: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.corrcoef(heard, wanted)[0, 1])


def rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(sound))))


def test_a_channel_against_the_loudest_is_left_out() -> None:
    assert like(mix_to(1, np.stack([ONE, -ONE]))[0], ONE) > 0.999
    assert abs(like(mix_to(1, np.stack([ONE + 0.3 * OTHER, -ONE + 0.3 * OTHER]))[0], ONE)) > 0.9
    surround = np.stack([ONE, -ONE, 0.5 * OTHER, 0 * ONE, 0.1 * THIRD, 0.1 * THIRD])
    assert like(mix_to(1, surround)[0], ONE) > 0.8
    rear = mix_to(2, np.stack([0 * ONE, 0 * ONE, 0 * ONE, 0 * ONE, ONE, -ONE]))
    assert rms(rear[0]) > 0.1 * rms(ONE)
    assert rms(rear[1]) > 0.1 * rms(ONE)


def test_channels_that_differ_are_meant_as_before() -> None:
    pair = np.stack([ONE, OTHER])
    assert np.allclose(mix_to(1, pair)[0], (ONE + OTHER) / 2, atol=1e-6)
    assert mix_to(2, pair) is pair
    assert np.array_equal(mix_to(2, ONE[None]), np.stack([ONE, ONE]))
    assert np.allclose(mix_to(1, np.zeros((2, 100), np.float32)), 0)


def test_blocks_are_mixed_each_in_its_own_way_and_faded() -> None:
    pair = np.stack([ONE, OTHER])
    pair[1, 32000:64000] = -ONE[32000:64000]
    out = mix_blocks(1, pair, 32000, 0, 80)[0]
    assert np.allclose(out[:31900], (ONE + OTHER)[:31900] / 2, atol=1e-6)
    assert np.allclose(out[32100:63900], ONE[32100:63900], atol=1e-6)
    assert np.abs(np.diff(out[31900:32100])).max() < 4 * np.abs(np.diff(out[:31900])).max()


def test_sound_that_cancels_for_a_while_stays_in_the_sample_as_the_scorers_hear_it(media, tmp_path: Path) -> None:
    pair = np.stack([ONE, ONE])
    pair[1, 4 * 16000 : 6 * 16000] *= -1
    path = media("partly.mkv", rate_hz=16000, audio_codec="pcm_s16le", sound=pair)
    (result,) = cut(str(path), [(0.0, 10.0)], SPEC, str(tmp_path))
    assert (result.reason, result.sound_error_samples) == (None, 0)
    _, sound, _ = decode_all(result.path)
    for second in range(10):
        assert rms(sound[0, second * 16000 : (second + 1) * 16000]) > 0.5 * rms(ONE)
    tap(str(path), TapSpec(tuple(np.arange(0.0, 10.0, 2.0)), 2.0, sound=("mono16k",)), str(tmp_path))
    heard = np.load(tmp_path / "sound-mono16k.npy")[: 10 * 16000, 0]
    assert like(heard, sound[0]) > 0.999
    # Alike to the sample but where one way of mixing fades into another.
    assert np.count_nonzero(np.abs(heard - sound[0]) > 1e-3) < 4 * 80 * 2


def tones(seconds: float, rate_hz: int, hz: float) -> np.ndarray:
    """A held note with harmonics and hardly any noise."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    note = sum(np.sin(2 * np.pi * k * hz * time_s) / k for k in (1, 2, 3, 5))
    return (0.2 * note + 0.005 * np.random.default_rng(0).standard_normal(len(time_s))).astype(np.float32)


@pytest.mark.parametrize("rate_hz", [22050, 44100, 48000])
@pytest.mark.parametrize("hz", [110.0, 220.5, 443.7, 1000.0])
def test_held_notes_are_cut_as_exactly_as_noise(rate_hz: int, hz: float, media, tmp_path: Path) -> None:
    note = tones(5.0, rate_hz, hz)
    path = media(f"note-{rate_hz}-{hz:g}.mkv", seconds=5.0, rate_hz=rate_hz, audio_codec="pcm_s16le", sound=note)
    for i, start_s in enumerate((0.25, 1.0, 1.337)):
        folder = tmp_path / str(i)
        folder.mkdir()
        (result,) = cut(str(path), [(start_s, start_s + 2.0)], SPEC, str(folder))
        assert (result.reason, result.sound_error_samples) == (None, 0)


def test_a_note_of_another_time_is_found_out() -> None:
    source = tones(4.0, 48000, 220.0)[None]
    heard = np.interp(np.arange(32000) / 16000 + 0.1, np.arange(len(source[0])) / 48000, source[0])[None]
    assert sound_lag(heard.astype(np.float32), 16000, source, 48000, 0.1) == 0
    with pytest.raises(ItemError, match="sound_shifted"):
        sound_lag(tones(2.0, 16000, 311.0)[None], 16000, source, 48000, 0.1)


def test_a_hole_of_hours_costs_no_memory() -> None:
    line = Timeline(0.0)
    chunk = np.ones((2, 48000), np.float32)
    line.lay(SoundChunk(0.0, chunk, 48000))
    pieces = line.lay(SoundChunk(20_000.0, chunk, 48000))
    assert sum(piece.shape[1] for piece in pieces) == 20_000 * 48000
    assert len({id(piece.base if piece.base is not None else piece) for piece in pieces}) <= 3
    assert line.stop_s == 20_001.0
    assert line.holes_s == [(1.0, 20_000.0)]
