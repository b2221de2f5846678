"""The tap gives each scorer what it declared, at the times it says."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from makers import decode_all, noise_track, read_code

from v2a_data.errors import ItemError
from v2a_data.media.picture import Scaler
from v2a_data.media.probe import probe
from v2a_data.media.tap import TapSpec, frames_name, luma_name, tap
from v2a_data.schema import WINDOW_S
from v2a_data.scorers.base import VideoTap
from v2a_data.scorers.motion import Motion
from v2a_data.windows import window_starts


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


# Name and options of a file, and the windows in which it has no frame.
ODD = [
    ("slow.mp4", {"fps": Fraction(5)}, []),
    ("ntsc.mkv", {"fps": Fraction(30000, 1001), "gop": 300}, []),
    ("late.mp4", {"drop": (0.0, 1.7)}, []),
    ("vfr.mp4", {"drop": (2.6, 5.4)}, []),
    ("hole.mkv", {"drop": (2.6, 8.1), "gop": 300}, [2, 3]),
    ("edge.mp4", {"drop": (2.0, 4.0)}, [1]),
    ("later.mp4", {"drop": (0.0, 4.5)}, [0, 1]),
    ("vp9.webm", {"seconds": 6.0, "video_codec": "libvpx-vp9", "audio_codec": "libopus", "rate_hz": 48000}, []),
]


@pytest.mark.parametrize(("name", "options", "empty"), ODD, ids=[name for name, _, _ in ODD])
def test_every_window_has_a_frame_of_its_own_or_none(
    name: str, options: dict, empty: list[int], media, tmp_path: Path
) -> None:
    path = media(f"odd-{name}", **options)
    starts = window_starts(probe(str(path), 3600.0).duration_s)
    shown = np.asarray(decode_all(str(path))[2])
    has_one = [bool(np.any((shown >= start) & (shown < start + WINDOW_S))) for start in starts]
    assert [i for i, has in enumerate(has_one) if not has] == empty
    spec = TapSpec(tuple(starts.tolist()), WINDOW_S, ((1, 144), (3, 144)), ((64, 36, 12.5),))
    tap(str(path), spec, str(tmp_path))
    fps = float(options.get("fps", 25))
    for count in (1, 3):
        frames = load(tmp_path, frames_name(count, 144))
        times = load(tmp_path, f"{frames_name(count, 144)}-s")
        for i, start in enumerate(starts):
            if i in empty:
                assert np.isnan(times[i]).all()
                assert frames[i].max() == 0
                continue
            assert np.all((times[i] >= start) & (times[i] < start + WINDOW_S))
            assert [read_code(frame) for frame in frames[i]] == np.round(times[i] * fps).astype(int).tolist()
    luma, luma_s = load(tmp_path, luma_name(64, 36, 12.5)), load(tmp_path, f"{luma_name(64, 36, 12.5)}-s")
    view = VideoTap("lo-0", "x", starts, luma=luma, luma_s=luma_s)
    (found,) = Motion(Motion.Config()).score([view])
    for values in found.fields.values():
        assert np.flatnonzero(np.isnan(values)).tolist() == empty


def test_a_frame_from_before_its_window_gives_way_to_the_next_one(media, tmp_path: Path) -> None:
    path = media("odd-vfr.mp4", drop=(2.6, 5.4))
    tap(str(path), TapSpec((2.0, 4.0), 2.0, ((1, 144),)), str(tmp_path))
    # On screen at 3 s and at 5 s is the frame of 2.56 s; that of 5.4 s is the first one of the second window.
    assert load(tmp_path, f"{frames_name(1, 144)}-s").reshape(-1) == pytest.approx([2.56, 5.4], abs=1e-3)


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuvj420p", "yuv444p", "yuv420p10le", "nv12", "rgb24", "gray"])
def test_luma_is_that_of_the_picture_in_any_format(pix_fmt: str) -> None:
    grey = np.linspace(0, 255, 128)[None, :] * np.ones((72, 1))
    frame = av.VideoFrame.from_ndarray(np.repeat(grey[..., None], 3, axis=2).astype(np.uint8), format="rgb24")
    frame = frame.reformat(format=pix_fmt)
    found = Scaler().luma(frame, 64, 36)
    wanted = 16 + 219 * grey.reshape(36, 2, 64, 2).mean(axis=(1, 3)) / 255
    assert found.shape == (36, 64)
    assert np.abs(found - wanted).max() <= 2


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
