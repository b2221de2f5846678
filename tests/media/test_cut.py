"""Cuts: the codes in picture and sound come back from where they were, or the span is refused."""

import hashlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from makers import decode_all, noise_track, read_code

from v2a_data.errors import ItemError
from v2a_data.media.check import sound_lag
from v2a_data.media.cut import cut
from v2a_data.media.spec import CutSpec

SPEC = CutSpec(256, 144, Fraction(25), 16000, 1, 18)

SOURCES = {
    "mp4 25 fps AAC": {"name": "a.mp4"},
    "mp4 30 fps AAC, GOP 5 s": {"name": "b.mp4", "fps": Fraction(30), "gop": 150},
    "mkv 29.97 fps AAC 48 kHz": {"name": "c.mkv", "fps": Fraction(30000, 1001), "rate_hz": 48000},
    "mp4 12.5 fps": {"name": "d.mp4", "fps": Fraction(25, 2)},
    "mp4 60 fps mono": {"name": "e.mp4", "fps": Fraction(60), "channels": 1},
    "mkv PCM": {"name": "f.mkv", "audio_codec": "pcm_s16le", "rate_hz": 22050},
    "mkv 5.1": {"name": "g.mkv", "channels": 6, "rate_hz": 48000, "audio_codec": "flac"},
}
SPANS = [(0.0, 2.0), (2.32, 6.32), (6.5, 10.5)]


@pytest.mark.parametrize("kind", SOURCES)
def test_picture_and_sound_are_exactly_where_they_were(kind: str, media, tmp_path: Path) -> None:
    options = dict(SOURCES[kind])
    path = media(options.pop("name"), **options)
    fps = float(options.get("fps", 25))
    for (start_s, stop_s), result in zip(SPANS, cut(str(path), SPANS, SPEC, str(tmp_path)), strict=True):
        frames = round((stop_s - start_s) * 25)
        assert (result.reason, result.frames, result.audio_samples) == (None, frames, frames * 640)
        assert result.sound_error_samples == 0
        shown, sound, times = decode_all(result.path)
        assert len(shown) == frames
        assert sound.shape == (1, frames * 640)
        assert np.allclose(times, np.arange(frames) / 25)
        for i in range(0, frames, 7):
            wanted_s = start_s + i / 25
            assert abs(read_code(shown[i]) / fps - wanted_s) <= 0.5 / fps + 1e-3  # Matroska rounds to 1 ms
        assert result.picture_error_s <= 0.5 / fps + 1e-3


@pytest.mark.parametrize(("rate_hz", "codec"), [(44100, "pcm_s16le"), (48000, "flac"), (16000, "pcm_s16le")])
def test_sound_is_the_source_sound_to_the_sample(rate_hz: int, codec: str, media, tmp_path: Path) -> None:
    path = media(f"exact-{rate_hz}.mkv", rate_hz=rate_hz, audio_codec=codec, channels=1)
    (result,) = cut(str(path), [(3.0, 5.0)], SPEC, str(tmp_path))
    _, sound, _ = decode_all(result.path)
    source = noise_track(11.0, rate_hz)
    # An outside reference: the band-limited source read off at the samples' times through its spectrum.
    spectrum = np.fft.rfft(source)
    exact = np.fft.irfft(spectrum[: 11 * 8000 + 1] if rate_hz > 16000 else spectrum, 11 * 16000) * 16000 / rate_hz
    assert np.abs(sound[0] - exact[48000:80000]).max() < 2e-3


def test_sixteen_bit_sources_at_the_sample_rate_are_kept_bit_for_bit(media, tmp_path: Path) -> None:
    path = media("bits.mkv", rate_hz=16000, audio_codec="pcm_s16le", channels=1)
    (result,) = cut(str(path), [(1.0, 3.0)], SPEC, str(tmp_path))
    _, cut_sound, _ = decode_all(result.path)
    _, source, _ = decode_all(str(path))
    assert np.array_equal(cut_sound[0], source[0, 16000:48000])


def test_late_sound_is_placed_by_its_timestamps(media, tmp_path: Path) -> None:
    path = media("late.mkv", late_s=0.25, audio_codec="pcm_s16le", channels=1, rate_hz=16000)
    start, on_time = cut(str(path), [(0.0, 2.0), (2.0, 4.0)], SPEC, str(tmp_path))
    _, sound, _ = decode_all(on_time.path)
    expected = noise_track(11.0, 16000)[round(1.75 * 16000) : round(3.75 * 16000)]
    assert np.abs(sound[0] - expected).max() < 1e-3
    assert (start.reason, start.path) == ("short", None)
    assert start.message == "sound starts 0.250 s late"


@pytest.mark.parametrize(
    ("options", "span", "words"),
    [
        ({"name": "gap.mkv", "drop": (3.0, 3.5)}, (2.0, 4.0), "picture stands still for 0.5"),
        ({"name": "longsound.mkv", "sound": noise_track(13.0, 44100)}, (10.0, 12.0), "picture ends 1.000"),
        ({"name": "a.mp4"}, (10.0, 12.0), "sound ends 0.99"),
        ({"name": "head.mkv", "drop": (0.0, 1.0)}, (0.0, 2.0), "picture starts 1.000 s late"),
        ({"name": "earlyend.mkv", "sound": noise_track(5.0, 44100)}, (4.0, 6.0), "sound ends 0.98"),
    ],
)
def test_spans_that_are_not_filled_are_refused(options: dict, span: tuple, words: str, media, tmp_path: Path) -> None:
    (result,) = cut(str(media(options.pop("name"), **options)), [span], SPEC, str(tmp_path))
    assert (result.reason, result.path) == ("short", None)
    assert words in result.message
    assert list(tmp_path.iterdir()) == []


def test_variable_frame_rate_keeps_the_nearest_frame(media, tmp_path: Path) -> None:
    path = media("vfr.mkv", fps=Fraction(50), drop=(4.0, 4.02))
    (result,) = cut(str(path), [(3.0, 5.0)], SPEC, str(tmp_path))
    shown, _, _ = decode_all(result.path)
    assert result.reason is None
    found = np.asarray([read_code(frame) for frame in shown]) / 50
    assert np.allclose(found[:10], 3.0 + np.arange(10) / 25)
    # Where the frame is missing, the nearest one stands.
    assert result.picture_error_s == pytest.approx(0.02, abs=0.011)


def test_anti_phase_stereo_does_not_vanish(media, tmp_path: Path) -> None:
    one = noise_track(11.0, 44100)
    path = media("anti.mkv", sound=np.stack([one, -one]), audio_codec="pcm_s16le")
    (result,) = cut(str(path), [(0.0, 2.0)], SPEC, str(tmp_path))
    _, sound, _ = decode_all(result.path)
    assert np.sqrt(np.mean(sound**2)) > 0.5 * np.sqrt(np.mean(one**2))


def test_silence_has_nothing_to_correlate(media, tmp_path: Path) -> None:
    (result,) = cut(str(media("mute.mp4", silent_track=True)), [(0.0, 2.0)], SPEC, str(tmp_path))
    assert (result.reason, result.sound_error_samples) == (None, None)


def test_same_bytes_whatever_is_cut_along(media, tmp_path: Path) -> None:
    path = str(media("b.mp4", fps=Fraction(30), gop=150))
    together = [tmp_path / "t" / f"{i:06d}.mp4" for i in range(2)]
    (tmp_path / "t").mkdir()
    (tmp_path / "o").mkdir()
    cut(path, [(0.0, 4.0), (6.0, 10.0)], SPEC, str(tmp_path / "t"))
    cut(path, [(6.0, 10.0)], SPEC, str(tmp_path / "o"))
    alone = tmp_path / "o" / "000000.mp4"
    assert hashlib.sha256(together[1].read_bytes()).digest() == hashlib.sha256(alone.read_bytes()).digest()


def test_portrait_is_padded_upright(media, tmp_path: Path) -> None:
    path = media("portrait.mp4", width=144, height=256)
    (result,) = cut(str(path), [(0.0, 2.0)], SPEC, str(tmp_path))
    shown, _, _ = decode_all(result.path)
    assert shown[0].shape == (144, 256)
    inner = 144 * 144 // 256
    left = (256 - inner) // 2
    assert shown[5][:, : left - 4].max() < 30
    assert shown[5][:, left + inner + 4 :].max() < 30
    assert shown[5][:, left + 4 : left + inner - 4].mean() > 40


def test_lag_is_found_where_there_is_one() -> None:
    source = noise_track(4.0, 48000)[None]
    heard = np.fft.irfft(np.fft.rfft(source[0])[: 4 * 8000 + 1], 64000)[None] / 3
    for shift in (0, 1, 37, -200):
        moved = np.roll(heard, shift, axis=1)[:, 1600:33600]
        assert sound_lag(moved, 16000, source, 48000, 0.1) == shift
    for wrong in (np.zeros((1, 32000)), noise_track(2.0, 16000, seed=7)[None]):
        with pytest.raises(ItemError, match="sound_shifted"):
            sound_lag(wrong, 16000, source, 48000, 0.1)
    quiet = np.zeros_like(source)
    assert sound_lag(np.zeros((1, 32000)), 16000, quiet, 48000, 0.1) is None


def test_lag_is_found_in_sound_that_lies_mostly_above_the_samples_band() -> None:
    low = 0.02 * noise_track(4.0, 48000)
    whistle = 0.5 * np.sin(2 * np.pi * 14500 * np.arange(len(low)) / 48000)
    heard = np.fft.irfft(np.fft.rfft(low)[: 4 * 8000 + 1], 64000)[None] / 3
    source = (low + whistle).astype(np.float32)[None]
    assert sound_lag(heard[:, 1600:33600].astype(np.float32), 16000, source, 48000, 0.1) == 0
    assert sound_lag(np.zeros((1, 32000)), 16000, whistle.astype(np.float32)[None], 48000, 0.1) is None


def test_a_file_without_sound_is_refused_whole(media, tmp_path: Path) -> None:
    with pytest.raises(ItemError, match="no_sound"):
        cut(str(media("nosound.mp4", no_sound=True, seconds=3.0)), [(0.0, 2.0)], SPEC, str(tmp_path))
