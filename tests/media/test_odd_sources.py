"""Every odd source has one defined way through a cut, told from the codes that come out."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.video.reformatter import Colorspace
from coded import Coded, make_coded, track
from readback import KINDS, SPEC, check, cut_coded, decode, read_codes, read_cut

from v2a_data.errors import ItemError
from v2a_data.media.cut import cut
from v2a_data.media.tap import TapSpec, luma_name, tap

SIX = Coded("six.mp4", seconds=6.0)
PCM = Coded("six.mkv", seconds=6.0, audio_codec="pcm_s16le")
VP9 = {key: getattr(KINDS["codec"], key) for key in ("video_codec", "video_options", "audio_codec", "rate_hz")}
HEVC = {"video_codec": "libx265", "video_options": (("preset", "ultrafast"), ("x265-params", "log-level=none"))}
B_FRAMES = KINDS["gop"].video_options


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_turned_pictures_are_shown_upright(turn: int, tmp_path: Path) -> None:
    form = replace(SIX, rotation=turn)
    (result,) = cut_coded(form, tmp_path, (1.3, 3.3))
    check(result, form)


@pytest.mark.parametrize(
    ("changes", "box"),
    [
        ({"aspect": Fraction(2)}, (0, 18, 128, 36)),
        ({"aspect": Fraction(1, 2), "name": "narrow.mkv"}, (32, 0, 64, 72)),
        ({"aspect": Fraction(2), "name": "wide.ts", "offset_s": 5.0}, (0, 18, 128, 36)),
        ({"aspect": Fraction(2), "rotation": 90}, (0, 18, 128, 36)),
    ],
)
def test_pixels_become_square_and_the_rest_is_black(changes: dict, box: tuple, tmp_path: Path) -> None:
    form = replace(SIX, **changes)
    (result,) = cut_coded(form, tmp_path, (1.0, 3.0))
    frames, _ = decode(result.path)
    inside = in_box(frames, box)
    assert np.array_equal(read_codes(inside, (box[2] / 16, box[3] / 9)), nearest(form, 1.0))
    assert bars_are_black(frames, box)


@pytest.mark.parametrize(
    ("changes", "spec", "box"),
    [
        ({"name": "odd.webm", "width": 427, "height": 241, "cell": 16, **VP9}, (256, 144), (0, 0, 256, 144)),
        ({"name": "portrait.webm", "width": 241, "height": 427, "cell": 24, **VP9}, (256, 144), (86, 0, 82, 144)),
        ({"name": "tiny.mp4", "width": 51, "height": 19, "pix_fmt": "yuv444p"}, (128, 72), (0, 12, 128, 48)),
        ({"name": "wide.mp4", "width": 640, "height": 72, "cell": 32}, (128, 72), (0, 28, 128, 14)),
    ],
)
def test_odd_sizes_keep_their_shape(changes: dict, spec: tuple, box: tuple, tmp_path: Path) -> None:
    form = replace(SIX, **changes)
    (result,) = cut_coded(form, tmp_path, (1.0, 3.0), spec=replace(SPEC, width=spec[0], height=spec[1]))
    assert result.reason is None
    frames, _ = decode(result.path)
    cell = (form.cell * box[2] / form.width, form.cell * box[3] / form.height)
    assert np.array_equal(read_codes(in_box(frames, box), cell), nearest(form, 1.0))
    assert bars_are_black(frames, box)


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv"])
def test_sound_that_starts_late_stays_late(name: str, tmp_path: Path) -> None:
    form = replace(PCM if name.endswith("mkv") else SIX, name=name, sound_s=0.25)
    first, second = cut_coded(form, tmp_path, (0.0, 2.0), (2.0, 4.0))
    assert (first.reason, first.path) == ("short", None)
    assert first.message.startswith("sound starts 0.2")
    check(second, form)


@pytest.mark.parametrize("name", ["early.mp4", "early.mkv"])
def test_sound_that_starts_before_the_picture_stays_early(name: str, tmp_path: Path) -> None:
    form = replace(PCM if name.endswith("mkv") else SIX, name=name, picture_s=0.3)
    first, second = cut_coded(form, tmp_path, (0.0, 2.0), (2.0, 4.0))
    assert (first.reason, first.message, first.path) == ("short", "picture starts 0.300 s late", None)
    check(second, form)


def test_a_start_that_is_a_little_late_is_filled_with_silence(tmp_path: Path) -> None:
    form = replace(PCM, sound_s=0.03, rate_hz=16000)
    (result,) = cut_coded(form, tmp_path, (0.0, 2.0))
    assert abs(read_cut(result.path, form, 0.0).late_samples) < 0.5
    _, sound = decode(result.path)
    assert not sound[0, :480].any()
    assert np.abs(sound[0, 480:] - track(6.0, 16000)[480:32000]).max() < 1e-3


@pytest.mark.parametrize(
    ("hidden_s", "changes"),
    [(0.48, {}), (0.5, {}), (1.37, {"name": "edit.mov", "audio_codec": "pcm_s16le"}), (0.5, {"video_options": B_FRAMES})],
)  # fmt: skip
def test_what_an_edit_list_hides_is_not_there(hidden_s: float, changes: dict, tmp_path: Path) -> None:
    form = replace(SIX, hidden_s=hidden_s, **changes)
    for result in cut_coded(form, tmp_path, (0.0, 2.0), (2.5, 4.5)):
        check(result, form)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("p.mp4", "aac"),
        ("p.mov", "aac"),
        ("p.mkv", "aac"),
        ("p.flv", "aac"),
        ("p.ts", "aac"),
        ("p.mp4", "libmp3lame"),
        ("p.mkv", "libmp3lame"),
        ("p.ts", "ac3"),
        ("p.mp4", "libopus"),
        ("p.webm", "libopus"),
    ],
)
def test_what_an_encoder_puts_before_the_sound_is_taken_off(name: str, codec: str, tmp_path: Path) -> None:
    rates = {"libopus": 48000} | dict.fromkeys(("aac", "libmp3lame", "ac3"), 44100)
    form = replace(
        SIX, **(VP9 if name == "p.webm" else {}) | {"name": name, "audio_codec": codec, "rate_hz": rates[codec]}
    )
    for result in cut_coded(form, tmp_path, (0.0, 2.0), (2.5, 4.5)):
        check(result, form)


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
def test_telephone_sound_is_exact_too(codec: str, tmp_path: Path) -> None:
    form = replace(SIX, name=f"{codec}.mkv", audio_codec=codec, rate_hz=8000, channels=1)
    for result in cut_coded(form, tmp_path, (0.0, 2.0), (2.5, 4.5)):
        check(result, form)


def test_sound_in_the_centre_of_six_channels_is_heard(tmp_path: Path) -> None:
    form = replace(PCM, channels=6, gains=(0, 0, 1, 0, 0, 0))
    (result,) = cut_coded(form, tmp_path, (1.0, 3.0))
    check(result, form)


@pytest.mark.parametrize(
    ("gains", "level"),
    [((1, -1), 1.0), ((1, -1, 0, 0, 0, 0), 1 / 5), ((0.5, -0.5, 0.05, 0, 0.5, -0.5), (0.5 + 0.05 + 0.5) / 4)],
)
def test_channels_against_each_other_do_not_vanish(gains: tuple[float, ...], level: float, tmp_path: Path) -> None:
    form = replace(PCM, channels=len(gains), gains=gains)
    (result,) = cut_coded(form, tmp_path, (1.0, 3.0))
    check(result, form)
    _, sound = decode(result.path)
    whole = track(6.0, 44100)[44100 : 3 * 44100]
    assert sound.std() == pytest.approx(level * whole.std(), rel=0.02)


def test_six_channels_become_two_with_the_rest_shared(tmp_path: Path) -> None:
    form = replace(PCM, channels=6, gains=(1, 0, 0, 0, 0, 0), rate_hz=48000)
    spec = replace(SPEC, channels=2, rate_hz=48000)
    (result,) = cut_coded(form, tmp_path, (1.0, 3.0), spec=spec)
    _, (left, right) = decode(result.path)
    assert np.abs(left - track(6.0, 48000)[48000:144000] / 2).max() < 1e-3
    assert np.abs(right).max() < 1e-3


@pytest.mark.parametrize("name", ["open.mp4", "open.mkv", "open.ts"])
def test_a_start_beside_a_keyframe_of_an_open_group_is_exact(name: str, tmp_path: Path) -> None:
    form = replace(SIX, name=name, fps=Fraction(30), gop=60, video_options=B_FRAMES)
    for start_s in (1.9, 1.96, 2.0, 2.04, 2.1):
        (result,) = cut_coded(form, tmp_path, (start_s, start_s + 2))
        check(result, form)


@pytest.mark.parametrize("fps", [Fraction(10), Fraction(50), Fraction(120)])
def test_other_frame_rates_give_the_nearest_frames(fps: Fraction, tmp_path: Path) -> None:
    form = replace(SIX, fps=fps)
    (result,) = cut_coded(form, tmp_path, (1.013, 3.013))
    check(result, form)


def test_frames_at_any_time_give_the_nearest_ones(tmp_path: Path) -> None:
    form = replace(PCM, variable=True)
    for result in cut_coded(form, tmp_path, (0.0, 2.0), (2.513, 4.513)):
        check(result, form)


@pytest.mark.parametrize(
    ("gap", "message"),
    [
        ({"picture_gap": (2.0, 2.5)}, "picture stands still for 0.560 s"),
        ({"sound_gap": (2.0, 2.5)}, "sound has a hole of 0.511 s"),
    ],
)
def test_a_span_over_a_gap_is_refused_and_its_neighbours_are_exact(gap: dict, message: str, tmp_path: Path) -> None:
    form = replace(PCM, seconds=8.0, rate_hz=48000, **gap)
    before, over, after = cut_coded(form, tmp_path, (0.0, 1.9), (1.9, 4.0), (4.0, 6.0))
    assert (over.reason, over.path) == ("short", None)
    assert over.message.startswith(message)
    check(before, form)
    check(after, form)


def test_a_gap_of_a_packet_leaves_the_rest_in_place(tmp_path: Path) -> None:
    form = replace(PCM, sound_gap=(2.0, 2.015))
    (result,) = cut_coded(form, tmp_path, (1.0, 4.0))
    check(result, form)


def test_an_old_avi_is_exact(tmp_path: Path) -> None:
    options = {"name": "old.avi", "video_codec": "mpeg4", "video_options": (("b", "2M"),), "audio_codec": "pcm_s16le"}
    form = replace(SIX, **options)
    for result in cut_coded(form, tmp_path, (0.0, 2.0), (2.5, 4.5)):
        check(result, form)


def test_pictures_without_presentation_times_are_refused(tmp_path: Path) -> None:
    form = replace(SIX, name="b.avi", audio_codec="pcm_s16le", video_options=B_FRAMES)
    (result,) = cut_coded(form, tmp_path, (1.0, 3.0))
    assert (result.reason, result.path) == ("short", None)


@pytest.mark.parametrize(("marked", "expected"), [(None, 0), (1, 1)])
def test_of_several_streams_the_default_or_first_one_counts(
    marked: int | None, expected: int, tmp_path: Path
) -> None:  # fmt: skip
    forms = [replace(PCM, name="one.mkv"), replace(PCM, name="two.mkv", fps=Fraction(20), rate_hz=48000)]
    paths = [make_coded(tmp_path, form) for form in forms]
    joined = join(paths, tmp_path / "both.mkv", marked)
    (result,) = cut(str(joined), [(1.0, 3.0)], SPEC, str(tmp_path))
    check(result, forms[expected])


def test_a_cover_picture_is_no_picture(tmp_path: Path) -> None:
    source = make_coded(tmp_path, SIX)
    (result,) = cut(str(with_cover(source, tmp_path / "cover.mp4")), [(1.0, 3.0)], SPEC, str(tmp_path))
    check(result, SIX)
    with pytest.raises(ItemError, match="no_picture"):
        cut(str(with_cover(source, tmp_path / "song.mp4", "audio")), [(1.0, 3.0)], SPEC, str(tmp_path))


@pytest.mark.parametrize(("kept", "reason"), [("audio", "no_picture"), ("video", "no_sound")])
def test_files_with_one_half_are_refused_whole(kept: str, reason: str, tmp_path: Path) -> None:
    with av.open(str(make_coded(tmp_path, SIX))) as source, av.open(str(tmp_path / "half.mp4"), "w") as out:
        copy(source, out, kept)
    with pytest.raises(ItemError) as caught:
        cut(str(tmp_path / "half.mp4"), [(1.0, 3.0)], SPEC, str(tmp_path))
    assert caught.value.reason == reason


def test_a_span_in_which_the_sound_changes_is_refused_and_its_neighbours_are_exact(tmp_path: Path) -> None:
    path, (first, second) = spliced(tmp_path, {"channels": 1}, {"channels": 2})
    before, over, after = cut(str(path), [(1.0, 3.0), (4.0, 8.0), (8.5, 10.5)], SPEC, str(tmp_path))
    assert (over.reason, over.message, over.path) == ("sound_changes", "1x44100 Hz to 2x44100", None)
    check(before, first)
    check(replace(after, start_s=2.5, stop_s=4.5), second)


def test_scorers_hear_nothing_after_the_sound_changed_and_see_on(tmp_path: Path) -> None:
    path, _ = spliced(tmp_path, {"channels": 1}, {"channels": 2})
    tap(str(path), TapSpec((0.0, 2.0, 4.0, 6.0, 8.0), 2.0, luma=((64, 36, 12.5),), sound=("source",)), str(tmp_path))
    assert len(np.load(tmp_path / "sound-source.npy")) == pytest.approx(6 * 44100, abs=3000)
    assert np.load(tmp_path / f"{luma_name(64, 36, 12.5)}-s.npy")[-1] > 9.0


def test_a_picture_that_changes_its_size_keeps_its_place(tmp_path: Path) -> None:
    path, _ = spliced(tmp_path, {}, {"width": 256, "height": 144, "cell": 16})
    (result,) = cut(str(path), [(4.0, 8.0)], SPEC, str(tmp_path))
    assert np.array_equal(read_codes(decode(result.path)[0]), np.arange(99, 199) % 150)


@pytest.mark.parametrize(
    "changes",
    [
        {"pix_fmt": "yuv444p"},
        {"pix_fmt": "yuv422p10le"},
        {"pix_fmt": "yuvj420p"},
        {"pix_fmt": "yuv420p", "matrix": Colorspace.ITU709},
        {"pix_fmt": "yuv420p10le", **HEVC},
    ],
)
def test_all_pixel_formats_give_one_colour(changes: dict, tmp_path: Path) -> None:
    red, green, blue = 200, 90, 40
    form = replace(SIX, patch=(red, green, blue), **changes)
    (result,) = cut_coded(form, tmp_path, (1.0, 3.0))
    check(result, form)
    with av.open(result.path) as container:
        planes = next(container.decode(video=0)).to_ndarray()
    found = planes[50:66, 80:120].mean(), planes[72:].reshape(2, 36, 64)[:, 24:34, 40:60].mean((1, 2))
    # ITU-R BT.601, limited range.
    luma = 16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255
    chroma = [128 + (-37.797 * red - 74.203 * green + 112 * blue) / 255, 128 + (112 * red - 93.786 * green - 18.214 * blue) / 255]  # fmt: skip
    assert found[0] == pytest.approx(luma, abs=2)
    assert found[1] == pytest.approx(chroma, abs=2)


def nearest(form: Coded, start_s: float) -> np.ndarray:
    """Numbers of the frames nearest to 50 grid times; the source's rate is the grid's."""
    assert form.fps == SPEC.fps
    return np.arange(50) + round((start_s - form.zero_s) * 25)


def in_box(frames: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """`(n, h, w)` luma inside (left, top, width, height)."""
    left, top, width, height = box
    return frames[:, top : top + height, left : left + width]


def bars_are_black(frames: np.ndarray, box: tuple[int, int, int, int]) -> bool:
    """All that is 4 px or more outside the box is black, and the box is not."""
    left, top, width, height = box
    outside = np.ones(frames.shape[1:], bool)
    outside[max(0, top - 4) : top + height + 4, max(0, left - 4) : left + width + 4] = False
    return bool((frames[:, outside] < 28).all() and in_box(frames, box).mean() > 60)


def copy(source: av.container.InputContainer, out: av.container.OutputContainer, kind: str) -> None:
    """One kind of stream, packet by packet."""
    (stream,) = [s for s in source.streams if s.type == kind]
    target = out.add_stream_from_template(stream)
    for packet in source.demux(stream):
        if packet.dts is not None:
            packet.stream = target
            out.mux(packet)


def join(paths: list[Path], target: Path, marked: int | None) -> Path:
    """All streams of all files in one; the streams of file `marked` alone are flagged as default."""
    sources = [av.open(str(path)) for path in paths]
    with av.open(str(target), "w") as out:
        streams = {}
        for n, source in enumerate(sources):
            for stream in source.streams:
                streams[n, stream.index] = out.add_stream_from_template(stream)
                streams[n, stream.index].disposition = Disposition.default if n == marked else Disposition(0)
        for n, source in enumerate(sources):
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = streams[n, packet.stream.index]
                    out.mux(packet)
            source.close()
    return target


def with_cover(source: Path, target: Path, *kinds: str) -> Path:
    """The file's streams, or those of `kinds`, after a still picture that is marked as attached."""
    with av.open(str(source)) as file, av.open(str(target), "w") as out:
        cover = out.add_stream("mjpeg", rate=25)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        streams = {s.index: out.add_stream_from_template(s) for s in file.streams if not kinds or s.type in kinds}
        picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), format="rgb24")
        out.mux([*cover.encode(picture.reformat(format="yuvj420p")), *cover.encode(None)])
        for packet in file.demux():
            if packet.dts is not None and packet.stream.index in streams:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    return target


def spliced(folder: Path, first: dict, second: dict) -> tuple[Path, list[Coded]]:
    """Two MPEG-TS sources of 6 s end to end in one file, as broadcasts are."""
    parts = [replace(SIX, name=f"{n}.ts", offset_s=5.0 + 6 * n, **c) for n, c in enumerate((first, second))]
    path = folder / "spliced.ts"
    path.write_bytes(b"".join(make_coded(folder, part).read_bytes() for part in parts))
    return path, parts
