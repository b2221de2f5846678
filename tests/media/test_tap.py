"""The tap gives each scorer what it declared, at the times it says."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from makers import noise_track, read_code

from v2a_data.errors import ItemError
from v2a_data.media.probe import probe
from v2a_data.media.tap import TapSpec, frames_name, luma_name, tap


def load(folder: Path, stem: str) -> np.ndarray:
    return np.load(folder / f"{stem}.npy", allow_pickle=False)


def test_frames_are_those_on_screen_at_the_middle_of_each_window(media, tmp_path: Path) -> None:
    path = media("b.mp4", fps=Fraction(30), gop=150)
    spec = TapSpec((0.0, 2.0, 4.0), 2.0, frames=((1, 144), (4, 144)))
    tap(str(path), spec, str(tmp_path))
    one, four = load(tmp_path, frames_name(1, 144)), load(tmp_path, frames_name(4, 144))
    assert one.shape == (3, 1, 144, 256, 3)
    assert four.shape == (3, 4, 144, 256, 3)
    times = load(tmp_path, f"{frames_name(4, 144)}-s")
    wanted = np.asarray([[s + 0.25 + 0.5 * k for k in range(4)] for s in (0.0, 2.0, 4.0)])
    assert np.all((times <= wanted + 1e-3) & (wanted - times < 1 / 30))
    numbers = [read_code(frame) for frame in four.reshape(-1, 144, 256, 3)]
    assert numbers == np.round(times.reshape(-1) * 30).astype(int).tolist()


def test_luma_follows_its_own_clock(media, tmp_path: Path) -> None:
    path = media("a.mp4")
    tap(str(path), TapSpec((2.0, 4.0), 2.0, luma=((64, 36, 12.5),)), str(tmp_path))
    luma, times = load(tmp_path, luma_name(64, 36, 12.5)), load(tmp_path, f"{luma_name(64, 36, 12.5)}-s")
    assert luma.shape == (50, 36, 64)
    assert np.allclose(times, 2.0 + np.arange(50) * 0.08)


def test_sound_starts_at_the_first_window_at_both_rates(media, tmp_path: Path) -> None:
    path = media("tap.mkv", audio_codec="pcm_s16le", channels=1, rate_hz=48000)
    facts = tap(str(path), TapSpec((2.0, 4.0), 2.0, sound=("source", "mono16k")), str(tmp_path))
    source, mono = load(tmp_path, "sound-source"), load(tmp_path, "sound-mono16k")
    truth = noise_track(11.0, 48000)
    assert facts["rate_hz"] == 48000
    assert source.shape[1] == 1
    assert np.abs(source[: 4 * 48000, 0] - truth[2 * 48000 : 6 * 48000]).max() < 1e-3
    lower = np.fft.irfft(np.fft.rfft(truth)[: 11 * 8000 + 1], 11 * 16000) / 3
    assert np.abs(mono[1600 : 4 * 16000 - 1600, 0] - lower[2 * 16000 + 1600 : 6 * 16000 - 1600]).max() < 2e-3


def test_what_nobody_needs_is_not_made(media, tmp_path: Path) -> None:
    tap(str(media("a.mp4")), TapSpec((0.0,), 2.0, sound=("mono16k",)), str(tmp_path))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["sound-mono16k.npy"]


def test_probe_measures_instead_of_believing(media) -> None:
    found = probe(str(media("b.mp4", fps=Fraction(30), gop=150)), 3600.0)
    assert found.picture.frames == 330
    assert found.picture.fps == pytest.approx(30.0, rel=1e-3)
    assert found.duration_s == pytest.approx(11.0, abs=1e-3)
    assert found.picture.keyframes == 3
    assert (found.sound.rate_hz, found.sound.channels, found.sound.codec) == (44100, 2, "aac")


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"name": "nosound.mp4", "no_sound": True, "seconds": 3.0}, "no_sound"), ({"name": "a.mp4"}, "too_long")],
)
def test_probe_refuses_with_a_reason(options: dict, reason: str, media) -> None:
    with pytest.raises(ItemError) as caught:
        probe(str(media(options.pop("name"), **options)), 5.0)
    assert caught.value.reason == reason
