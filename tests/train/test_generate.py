"""Sound for any video: exact lengths, the same whatever the pieces, flat memory, nothing left behind."""

import json
import shutil
import tracemalloc
import wave
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from makers import coded_frame, decode_all
from typer.testing import CliRunner
from v2a.cli import app as v2a
from v2a.generate import SoundMaker, faded, generate_file, to_pcm
from v2a.models.audio_fc import AudioFc, CodeShape
from v2a.models.vqvae3d import Vqvae3d
from v2a.reading.form import Form

from v2a_data.errors import ItemError

FORM = Form(32, 20, Fraction(25, 2), 16000)
CPU = torch.device("cpu")


def maker(form: str, time: int = 1, seconds: float = 0.64) -> SoundMaker:
    """Random weights: a sound that depends on every frame."""
    torch.manual_seed(0)
    encoder = Vqvae3d(
        Vqvae3d.Config(channels=(4, 6), strides=((time, 2, 2), (1, 2, 2)), codes=32, time_kernel=1)
    ).eval()
    frames = round(seconds * FORM.fps)
    shape = CodeShape(frames // time, 5, 8, 6, 1280 * time, 16000)
    decoder = AudioFc(AudioFc.Config(form=form, hidden=8, iterations=2), shape).eval()  # type: ignore[arg-type]
    decoder.level.fill_(-1.0)
    with torch.no_grad():
        encoder.quantizer.book.mul_(3)
        decoder.layers[-1].weight.mul_(4)
    made = SoundMaker(encoder, decoder, FORM, CPU)
    if form == "tied":  # as short as the literal one, so that tests see many stretches
        made.stretch, made.overlap = frames, time
    return made


def planes(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(16, 235, (frames, 30, 32), dtype=np.uint8)


MAKERS = [(form, time) for form in ("tied", "literal") for time in (1, 2)]


@pytest.mark.parametrize(("form", "time"), MAKERS)
@pytest.mark.parametrize("frames", [1, 2, 7, 8, 9, 10, 15, 16, 17, 40, 41])
def test_any_length_has_its_samples(form: str, time: int, frames: int) -> None:
    sound = maker(form, time).whole(planes(frames))
    assert sound.shape == (frames * 1280,)
    assert sound.dtype == np.float32
    assert np.abs(sound).max() <= 1
    # No stretch was left empty.
    assert all(np.abs(sound[i * 1280 : (i + 1) * 1280]).max() > 1e-4 for i in range(frames))


def test_a_stretch_is_ten_seconds_or_the_literal_window() -> None:
    tied, literal = maker("tied", 2), maker("literal", 2)
    tied = SoundMaker(tied.encoder, tied.decoder, FORM, CPU)
    assert (tied.stretch, tied.overlap) == (124, 12)
    assert (literal.stretch, literal.overlap) == (8, 2)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(MAKERS), st.lists(st.integers(1, 23), min_size=1, max_size=6))
def test_the_size_of_the_pieces_changes_no_sample(kind: tuple[str, int], sizes: list[int]) -> None:
    made, video = maker(*kind), planes(sum(sizes))
    pieces = np.split(video, np.cumsum(sizes)[:-1])
    streamed = np.concatenate(list(made.stream(iter(pieces))))
    assert np.array_equal(streamed, made.whole(video))


def test_no_frames_are_no_sound() -> None:
    assert list(maker("tied").stream(iter([]))) == []


@pytest.mark.parametrize("form", ["tied", "literal"])
def test_sound_follows_its_own_part_of_the_video(form: str) -> None:
    made, video = maker(form), planes(60)
    other = video.copy()
    other[30] = planes(1, seed=9)
    moved = np.flatnonzero(made.whole(video) != made.whole(other)) / 1280
    assert moved.size > 0
    # A stretch is 8 frames; with the one it overlaps, nothing farther away can hear the change.
    assert 30 - 2 * made.stretch < moved.min() < moved.max() < 30 + 2 * made.stretch
    assert moved.min() <= 31 and moved.max() >= 30


def test_stretches_are_joined_at_equal_power() -> None:
    rng = np.random.default_rng(0)
    tail, sound = 0.2 * rng.standard_normal((2, 40000)).astype(np.float32)
    joined = faded(tail[:20000], sound)
    assert np.array_equal(joined[20000:], sound[20000:])
    assert joined[0] == tail[0]
    assert joined[19999] == pytest.approx(sound[19999], abs=1e-5)
    for part in np.split(joined[:20000], 4):  # independent sounds keep their power through the fade
        assert np.mean(part**2) == pytest.approx(0.04, rel=0.06)
    assert np.array_equal(faded(None, sound), sound)


def block_rms(sound: np.ndarray, size: int = 320) -> np.ndarray:
    """Loudness per 20 ms."""
    return np.sqrt(np.mean(sound[: len(sound) // size * size].reshape(-1, size).astype(np.float64) ** 2, axis=1))


def tone(hz: float, phase: float = 0.0, samples: int = 16000) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(samples) / 16000 + phase)).astype(np.float32)


ENDS = {
    "the same": (tone(440), tone(440)),
    "a phase apart": (tone(440), tone(440, 1.0)),
    "against each other": (tone(440), tone(440, np.pi)),
    "beating": (tone(440), tone(443)),
    "half the same": (tone(440), np.concatenate([tone(440, samples=8000), tone(970, samples=8000)])),
    "one loud": (tone(440), 0.1 * tone(440)),
    "silence": (tone(440), np.zeros(16000, np.float32)),
    "a constant": (np.full(16000, 0.9, np.float32), np.full(16000, 0.9, np.float32)),
}


@pytest.mark.parametrize("name", ENDS)
def test_no_seam_is_louder_than_the_signal(name: str) -> None:
    tail, sound = ENDS[name]
    joined = faded(tail, sound)
    assert joined.dtype == np.float32 and len(joined) == len(sound)
    louder = np.maximum(block_rms(tail), block_rms(sound))
    # Where agreement ends at once, its mean over 32 ms is late by half of that.
    room = np.full(len(louder), 1.03)
    if name == "half the same":
        room[24:26] = 1.2
    assert (block_rms(joined) <= room * louder + 1e-6).all()
    if name in ("the same", "a constant"):  # nothing is heard of the seam
        np.testing.assert_allclose(block_rms(joined), block_rms(sound), rtol=0.01)


@pytest.mark.parametrize("kind", MAKERS)
def test_no_seam_of_generated_sound_is_louder_than_its_stretches(kind: tuple[str, int]) -> None:
    made, video = maker(*kind), planes(40)
    whole, stretch, step = made.whole(video), made.stretch, made.stretch - made.overlap
    # Each place by itself, as the one or two stretches that cover it have it.
    loudest = np.zeros(len(whole) // 320)
    first = 0
    while first < len(video):
        rms = block_rms(made._sound(video[first : first + stretch]))
        here = slice(first * 4, first * 4 + len(rms))
        loudest[here] = np.maximum(loudest[here], rms)
        first += step
    # Neighbouring blocks count too: the power between two stretches is smoothed over 32 ms.
    padded = np.pad(loudest, 2, mode="edge")
    nearby = np.max([padded[i : i + len(loudest)] for i in range(5)], axis=0)
    assert (block_rms(whole) <= 1.05 * nearby).all()


def peak_bytes(made: SoundMaker, pieces: int) -> int:
    """The most that numpy held while sound for so many pieces was made and thrown away."""

    def source() -> Iterator[np.ndarray]:
        for i in range(pieces):
            yield planes(25, seed=i)

    tracemalloc.start()
    try:
        samples = sum(len(sound) for sound in made.stream(source()))
        assert samples == pieces * 25 * 1280
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("form", ["tied", "literal"])
def test_memory_does_not_grow_with_the_length(form: str) -> None:
    made = maker(form)
    peak_bytes(made, 2)  # what is made once
    short, long = peak_bytes(made, 4), peak_bytes(made, 40)
    assert long < short + planes(25).nbytes


def resident_bytes() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["tied", "literal"])
def test_two_hours_at_flat_memory(form: str) -> None:
    made = maker(form, seconds=10.08)
    total, piece = 7200 * 25 // 2, planes(250)
    heard, samples, early, most = iter(made.stream(piece for _ in range(total // 250))), 0, 0, 0
    for sound in heard:
        samples += len(sound)
        if samples < 600 * 16000:
            early = max(early, resident_bytes())  # in the first ten minutes
        most = max(most, resident_bytes())
    assert samples == 7200 * 16000
    assert most - early < 20e6
    print(f"{form}: {early / 1e6:.0f} MB in the first ten minutes, {most / 1e6:.0f} MB in two hours")


def test_pcm_is_rounded_clipped_and_little_endian() -> None:
    sound = np.asarray([0, 1, -1, 2, -2, 0.5, 1e-6], np.float32)
    assert to_pcm(sound).tolist() == [0, 32767, -32767, 32767, -32768, 16384, 0]
    assert to_pcm(np.asarray([1 / 32767], np.float32)).tobytes() == b"\x01\x00"


def wav(path: Path) -> tuple[int, np.ndarray]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        return file.getframerate(), np.frombuffer(file.readframes(file.getnframes()), "<i2")


VIDEOS = {
    "short": {"seconds": 0.2},
    "10 fps": {"seconds": 3.0, "fps": Fraction(10)},
    "60 fps": {"seconds": 1.5, "fps": Fraction(60)},
    "NTSC": {"seconds": 2.0, "fps": Fraction(30000, 1001)},
    "gray": {"seconds": 2.0, "pix_fmt": "gray"},
    "a gap": {"seconds": 3.0, "drop": (1.0, 1.6)},
    "several stretches": {"seconds": 24.3, "width": 96, "height": 64},
}


@pytest.mark.parametrize("name", VIDEOS)
def test_the_sound_is_as_long_as_the_video(media, tmp_path: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    video = media(f"silent {name}.mp4", no_sound=True, **VIDEOS[name])
    made = maker("tied")
    made.stretch, made.overlap = 125, 12
    counted: list[int] = []
    frames = generate_file(made, video, tmp_path / "out.wav", counted.append)
    rate, sound = wav(tmp_path / "out.wav")
    assert rate == 16000
    assert len(sound) == frames * FORM.samples_per_frame
    assert abs(len(sound) / rate - VIDEOS[name]["seconds"]) <= 0.08
    assert np.abs(sound).max() > 0
    assert sum(counted) == frames
    assert [path.name for path in tmp_path.iterdir()] == ["out.wav"]


@pytest.fixture
def vfr(tmp_path: Path) -> Path:
    """Frames at uneven times, up to 2.92 s."""
    path = tmp_path / "vfr.mp4"
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=1000)
        video.width, video.height, video.pix_fmt, video.time_base = 96, 64, "yuv420p", Fraction(1, 1000)
        video.codec_context.time_base = Fraction(1, 1000)
        for number, at_ms in enumerate([0, 40, 200, 210, 600, 1000, 1700, 1740, 1780, 2400, 2880, 2920]):
            frame = av.VideoFrame.from_ndarray(coded_frame(number, 96, 64), format="rgb24")
            frame.pts, frame.time_base = at_ms, Fraction(1, 1000)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


def test_uneven_frames_keep_their_time(vfr: Path, tmp_path: Path) -> None:
    frames = generate_file(maker("tied"), vfr, tmp_path / "out.wav", lambda _: None)
    assert len(wav(tmp_path / "out.wav")[1]) == frames * 1280
    assert abs(frames * 0.08 - 2.96) <= 0.08


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".MP4"])
def test_the_picture_is_kept_and_the_sound_added(media, tmp_path: Path, suffix: str) -> None:  # type: ignore[no-untyped-def]
    video = media("with sound.mp4", seconds=2.0)  # its own sound is left away
    target = tmp_path / f"out{suffix}"
    frames = generate_file(maker("tied"), video, target, lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    shown, heard, _ = decode_all(str(target))
    before, _, _ = decode_all(str(video))
    assert len(shown) == len(before) == 50
    assert all(np.array_equal(a, b) for a, b in zip(shown, before, strict=True))
    with av.open(str(target)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
        rate = container.streams.audio[0].rate
    assert abs(heard.shape[1] / rate - frames * 0.08) <= 0.08
    generate_file(maker("tied"), video, tmp_path / "out.wav", lambda _: None)
    raw = wav(tmp_path / "out.wav")[1] / 32768
    count = min(len(raw), heard.shape[1])
    if rate == 16000:  # coded with loss, but the same sound at the same time
        assert np.corrcoef(raw[:count], heard.mean(axis=0)[:count])[0, 1] > 0.8


@pytest.mark.parametrize("kind", ["garbage", "no picture", "empty"])
def test_an_undecodable_video_leaves_nothing(media, tmp_path: Path, kind: str) -> None:  # type: ignore[no-untyped-def]
    source, out = tmp_path / "in.mp4", tmp_path / "out"
    out.mkdir()
    if kind == "no picture":
        with wave.open(str(source), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(bytes(32000))
    else:
        source.write_bytes(b"" if kind == "empty" else np.random.default_rng(0).bytes(50_000))
    with pytest.raises(ItemError) as caught:
        generate_file(maker("tied"), source, out / "out.mp4", lambda _: None)
    assert caught.value.reason == {"no picture": "no_picture", "empty": "empty_file", "garbage": "not_media"}[kind]
    assert list(out.iterdir()) == []


def test_a_failure_keeps_the_output_that_was_there(tmp_path: Path) -> None:
    target = tmp_path / "out.wav"
    target.write_bytes(b"before")
    (tmp_path / "in.mp4").write_bytes(b"not a video")
    with pytest.raises(ItemError):
        generate_file(maker("tied"), tmp_path / "in.mp4", target, lambda _: None)
    assert target.read_bytes() == b"before"


def test_a_video_cut_off_in_the_middle_gives_what_there_is_or_nothing(media, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    body = media("silent cut.mkv", no_sound=True, seconds=4.0).read_bytes()
    (tmp_path / "in.mkv").write_bytes(body[: len(body) // 2])
    frames = generate_file(maker("tied"), tmp_path / "in.mkv", tmp_path / "out.wav", lambda _: None)
    assert 10 < frames < 45
    assert len(wav(tmp_path / "out.wav")[1]) == frames * 1280


def call(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(v2a, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("form", ["tied", "literal"])
def test_the_command_makes_sound(trained: Path, media, tmp_path: Path, form: str) -> None:  # type: ignore[no-untyped-def]
    video = media("silent two seconds.mp4", no_sound=True, seconds=2.0)
    at = ["-w", trained, "--set", f"train.form={form}"]
    code, out, err = call("generate", video, "-o", tmp_path / "new" / "a.wav", *at, "--json")
    assert code == 0, err
    values = json.loads(out)
    assert values["written"] == {str(tmp_path / "new" / "a.wav"): pytest.approx(2.0, abs=0.08)}
    assert values["failed"] == {}
    first = (tmp_path / "new" / "a.wav").read_bytes()
    code, _, err = call("generate", video, "-o", tmp_path / "new" / "a.wav", *at)
    assert (code, "--force overwrites" in err) == (2, True)
    assert call("generate", video, "-o", tmp_path / "new" / "a.wav", *at, "--force")[0] == 0
    assert (tmp_path / "new" / "a.wav").read_bytes() == first  # the same video, the same sound


def test_a_folder_with_a_bad_video_is_partly_done(trained: Path, media, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "in").mkdir()
    shutil.copy(media("silent two seconds.mp4", no_sound=True, seconds=2.0), tmp_path / "in" / "good.mp4")
    whole = (tmp_path / "in" / "good.mp4").read_bytes()
    (tmp_path / "in" / "bad.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "in" / "notes.txt").write_text("no video")
    code, out, err = call("generate", tmp_path / "in", "-o", tmp_path / "out", "-w", trained, "--json")
    assert code == 3
    assert list(json.loads(out)["failed"]) == [str(tmp_path / "in" / "bad.mp4")]
    assert "bad.mp4" in err
    assert "notes.txt" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.mp4"]
    code, _, err = call("generate", tmp_path / "in" / "bad.mp4", "-o", tmp_path / "bad.wav", "-w", trained)
    assert (code, "no sound was made" in err) == (4, True)


def test_no_video_is_replaced_by_its_own_sound_and_twins_keep_apart(trained: Path, media, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.mp4", "a.m4v"):
        shutil.copy(media("silent two seconds.mp4", no_sound=True, seconds=2.0), folder / name)
    before = (folder / "a.mp4").read_bytes()
    (folder / "b.mp4").write_bytes(before)
    code, _, err = call("generate", folder, "-o", folder, "-w", trained, "--force")
    assert (code, "that is a video to read" in err) == (2, True)
    assert (folder / "b.mp4").read_bytes() == before
    assert call("generate", folder, "-o", tmp_path / "out", "-w", trained)[0] == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.m4v.mp4", "a.mp4.mp4", "b.mp4"]


def test_dry_run_and_mistakes_write_nothing(trained: Path, media, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    video = media("silent two seconds.mp4", no_sound=True, seconds=2.0)
    code, out, _ = call("generate", video, "-o", tmp_path / "a.wav", "-w", trained, "--dry-run", "--json")
    assert (code, json.loads(out)["files"]) == (0, [str(tmp_path / "a.wav")])
    code, _, err = call("generate", video, "-o", tmp_path / "a.txt", "-w", trained)
    assert (code, "expected a .wav, .mp4 or .mkv file" in err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_the_view_is_the_trained_one_whatever_the_recipe_says_now(trained: Path) -> None:
    from v2a.config import load_train_config

    config = load_train_config({"config": "demo", "view": {"width": 128, "height": 72}})
    made = SoundMaker.load(config, trained / "checkpoints", CPU)
    assert made.form == replace(FORM, width=32, height=20)
