"""Views of the same shards: crops by seeking, frame steps, rates that do not divide, grey, other shapes, tiling."""

from dataclasses import replace
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
import torch
from makers import Clip, make, noise_track, read_code
from small import FORM, LENGTHS, SHARD_FPS, Seen, sample_sound
from v2a.colour import rgb, video
from v2a.reading import decode
from v2a.reading.decode import Decoder, Target
from v2a.reading.form import Form, Grid
from v2a.reading.source import shard_source
from v2a.stream import ShardStream

from v2a_data.shards.read import ShardSet

FULL = Form(128, 72, SHARD_FPS, 16000)


def whole(mp4: bytes, form: Form, frames: int) -> tuple[np.ndarray, np.ndarray]:
    planes = np.empty(form.plane_shape(frames), np.uint8)
    sound = np.empty(frames * form.samples_per_frame, np.float32)
    assert Decoder(form).decode(mp4, SHARD_FPS, planes, sound) == (frames, len(sound))
    return planes, sound


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """10 s, a keyframe every 25 frames."""
    sound = noise_track(10, 16000, seed=9)
    clip = Clip(seconds=10, width=128, height=72, rate_hz=16000, channels=1, audio_codec="flac", sound=sound, gop=25)
    return make(tmp_path_factory.mktemp("long") / "l.mp4", clip).read_bytes()


def test_a_crop_from_anywhere_is_that_part_of_the_whole_and_is_decoded_from_its_keyframe(
    long: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    planes, sound = whole(long, FULL, 250)
    decoded: list[int] = []
    place = decode._Pictures.place
    monkeypatch.setattr(
        decode._Pictures, "place", lambda self, frame, i, scaler: (decoded.append(i), place(self, frame, i, scaler))
    )
    for start in (0, 1, 24, 25, 26, 99, 100, 137, 199, 200):
        crop, heard = np.zeros(FULL.plane_shape(50), np.uint8), np.zeros(50 * 640, np.float32)
        decoded.clear()
        assert Decoder(FULL).fill(long, SHARD_FPS, [Target(start, crop, heard)]) == (50, 50 * 640)
        assert np.array_equal(crop, planes[start : start + 50])
        assert np.array_equal(heard, sound[start * 640 : (start + 50) * 640])
        assert decoded[0] == start // 25 * 25
        assert len(decoded) <= start % 25 + 50 + 25


def test_several_crops_of_one_sample_are_decoded_at_once(long: bytes) -> None:
    planes, sound = whole(long, FULL, 250)
    crops, heard = np.zeros((3, *FULL.plane_shape(20)), np.uint8), np.zeros((3, 20 * 640), np.float32)
    starts = (130, 47, 67)
    targets = [Target(start, crops[i], heard[i]) for i, start in enumerate(starts)]
    assert Decoder(FULL).fill(long, SHARD_FPS, targets) == (60, 60 * 640)
    for i, start in enumerate(starts):
        assert np.array_equal(crops[i], planes[start : start + 20])
        assert np.array_equal(heard[i], sound[start * 640 : (start + 20) * 640])


@pytest.mark.parametrize("step", [1, 2, 5])
def test_frame_steps_are_every_nth_frame(long: bytes, step: int) -> None:
    form = replace(FULL, fps=SHARD_FPS / step)
    planes, sound = whole(long, form, 250 // step)
    all_planes, all_sound = whole(long, FULL, 250)
    assert np.array_equal(planes, all_planes[::step])
    assert np.array_equal(sound, all_sound)


def test_vegas_frames_of_1024_audio_samples_are_the_nearest_ones(long: bytes) -> None:
    """156 frames of 64 ms, each within half a frame of the shards of its time, with its own 1,024 samples."""
    form = replace(FULL, fps=Fraction(125, 8))
    grid = Grid(form, SHARD_FPS)
    assert (form.samples_per_frame, grid.length(250)) == (1024, 156)
    shown = [grid.shown(i) for i in range(156)]
    assert shown[:6] == [0, 2, 3, 5, 6, 8] and shown[-1] == 248
    assert max(abs(index / 25 - i / 15.625) for i, index in enumerate(shown)) <= 0.02
    planes, sound = whole(long, form, 156)
    all_planes, all_sound = whole(long, FULL, 250)
    assert np.array_equal(planes, all_planes[shown])
    assert np.array_equal(sound, all_sound[: 156 * 1024])
    crop, heard = np.zeros(FULL.plane_shape(30), np.uint8), np.zeros(30 * 1024, np.float32)
    assert Decoder(form).fill(long, SHARD_FPS, [Target(101, crop, heard)]) == (30, 30 * 1024)
    assert np.array_equal(crop, planes[101:131]) and np.array_equal(heard, sound[101 * 1024 : 131 * 1024])


def test_every_view_frame_exists_whatever_the_rates() -> None:
    for fps in (Fraction(25), Fraction(24), Fraction(20), Fraction(125, 8), Fraction(10), Fraction(8), Fraction(1)):
        grid = Grid(Form(8, 8, fps, 48000), SHARD_FPS)
        for frames in range(1, 300):
            shown = [grid.shown(i) for i in range(grid.length(frames))]
            assert shown == sorted(set(shown)) and all(0 <= index < frames for index in shown)
            assert all(abs(index / SHARD_FPS - i / fps) <= Fraction(1, 50) for i, index in enumerate(shown))


def test_grey_is_the_luma_of_the_coloured_view(long: bytes) -> None:
    grey = replace(FULL, grey=True)
    planes, _ = whole(long, grey, 250)
    assert planes.shape == (250, 72, 128)
    coloured, _ = whole(long, FULL, 250)
    assert np.array_equal(planes, coloured[:, :72])
    shown = video(torch.from_numpy(planes[None, :5]), grey)
    assert shown.shape == (1, 1, 5, 72, 128)
    assert shown.min() >= 0 and shown.max() <= 1
    colours = torch.from_numpy(coloured[None, :5])
    assert torch.equal(video(colours, FULL), rgb(colours, 128, 72))
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1, 1)
    assert (shown - (rgb(colours, 128, 72) * weights).sum(1, keepdim=True)).abs().mean() < 0.02


@pytest.mark.parametrize(("fit", "inside"), [("pad", slice(48, 174)), ("crop", slice(0, 224))])
def test_224_grey_keeps_shapes(long: bytes, fit: str, inside: slice) -> None:
    """16:9 pictures are never squeezed into squares: padded with black, or cropped."""
    planes, _ = whole(long, Form(224, 224, SHARD_FPS, 16000, fit, grey=True), 250)  # type: ignore[arg-type]
    rows = planes.reshape(250, 224, 224).astype(int)
    assert planes.shape == (250, 224, 224)
    blank = np.ones(224, bool)
    blank[inside] = False
    assert (rows[:, blank] == 16).all()
    if fit == "pad":
        assert [read_code(picture[inside], 224 / 128) for picture in rows.astype(np.uint8)][:3] == [0, 1, 2]


@pytest.mark.parametrize("workers", [0, 1])
def test_short_samples_are_repeated_to_the_crop(coded: ShardSet, workers: int) -> None:
    """Picture and sound together, at training alone; the shards stay as they are."""
    entries, crop = coded.split("train"), 70
    lengths = [frames // 2 for frames in LENGTHS]
    source = shard_source(coded, entries, FORM, workers)
    with ShardStream(source, entries, crop, 5, 3, tile=True) as stream:
        (seen,) = (Seen.of(crops) for crops in islice(stream, 1))
    assert sorted(seen.keys) == sorted(entry.key for entry in entries)
    planes = np.frombuffer(seen.frames, np.uint8).reshape(5, crop, 54, 64)
    sounds = np.frombuffer(seen.sound, np.float32).reshape(5, crop * 1280)
    for row, key in enumerate(seen.keys):
        number = [entry.key for entry in entries].index(key)
        length = lengths[number]
        assert [read_code(plane[:36], 0.5) for plane in planes[row]] == [2 * (i % length) for i in range(crop)]
        once = sample_sound(number)[: length * 1280]
        np.testing.assert_allclose(sounds[row], np.tile(once, 3)[: crop * 1280], atol=1.01 / 32768)


def test_one_crop_anywhere_per_sample(coded: ShardSet) -> None:
    entries = coded.split("train")
    starts: dict[str, set[int]] = {}
    with ShardStream(shard_source(coded, entries, FORM, 0), entries, 8, 5, 3, crops="one") as stream:
        for crops in islice(stream, 12):
            assert sorted(crops.keys) == sorted(entry.key for entry in entries)
            for row, (key, start) in enumerate(zip(crops.keys, crops.start_frames, strict=True)):
                starts.setdefault(key, set()).add(start)
                assert read_code(crops.frames[row, 0, :36], 0.5) == 2 * start
    assert all(len(found) > 5 for found in starts.values())
