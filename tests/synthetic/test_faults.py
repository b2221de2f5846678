"""Each kind of fault, planted alone, does to the decoded file what the truth says."""

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from v2a_data.engine import SerialEngine
from v2a_data.errors import ItemError, UsageError
from v2a_data.media.decode import Media, Picture
from v2a_data.media.limits import open_media
from v2a_data.media.probe import probe
from v2a_data.synthetic.faults import KINDS, NAMES, Fault, parse_faults
from v2a_data.synthetic.plan import TRANSFORMS, Form, VideoPlan, plan_video
from v2a_data.synthetic.render import render_video
from v2a_data.synthetic.truth import TABLES, Truth
from v2a_data.synthetic.world import plan_world, read_truth, render_world

SECONDS = 6.0
PLAIN = Form(width=128, height=72, fps=Fraction(25), rate_hz=16000, quality=18, gop_s=10.0)


class Film:
    """A decoded file: grey pictures with times, sound on the file's time line."""

    def __init__(self, path: Path) -> None:
        media = Media(open_media(path))
        self.times: list[float] = []
        pictures, parts = [], []
        self.rate_hz, self.sound_start_s, self.rotation = 0, 0.0, 0
        for item in media.decode():
            if isinstance(item, Picture):
                self.times.append(item.time_s)
                self.rotation = round(item.frame.rotation)
                pictures.append(np.rot90(item.frame.to_ndarray(format="gray"), self.rotation // 90))
            else:
                if not parts:
                    self.rate_hz, self.sound_start_s = item.rate_hz, item.time_s
                parts.append(item.samples)
        self.pictures = np.stack(pictures).astype(float)
        sound = np.concatenate(parts, axis=1)
        skip = round(self.sound_start_s * self.rate_hz)
        self.sound = np.pad(sound, ((0, 0), (skip, 0))) if skip > 0 else sound[:, -skip:]

    def between(self, start_s: float, stop_s: float) -> np.ndarray:
        return self.pictures[[start_s <= t < stop_s for t in self.times]]

    def heard(self, start_s: float, stop_s: float) -> np.ndarray:
        return self.sound[:, round(start_s * self.rate_hz) : round(stop_s * self.rate_hz)]


Make = Callable[..., tuple[VideoPlan, Truth, Film]]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """`film(fault, label=…, form=…)`: plan, truth and decoded file of a video with these faults only."""
    made: dict[object, tuple[VideoPlan, Truth, Film]] = {}

    def get(*faults: Fault, label: str = "Drum", form: Form = PLAIN, n: int = 1) -> tuple[VideoPlan, Truth, Film]:
        key = (faults, label, form, n)
        if key not in made:
            base = replace(plan_video(11, n, (label,), 72, (SECONDS, SECONDS)), form=form)
            plan = base.with_faults(*faults)
            folder = tmp_path_factory.mktemp("film")
            truth = render_video(plan, str(folder))
            made[key] = plan, truth, Film(folder / plan.file)
        return made[key]

    return get


def rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(sound**2)))


def window(truth: Truth, index: int) -> dict:
    return truth.windows[index]


def steps(pictures: np.ndarray) -> np.ndarray:
    return np.abs(np.diff(pictures, axis=0)).mean(axis=(1, 2))


def test_still(film: Make) -> None:
    _, truth, made = film(Fault("still", 2.0, 6.0))
    assert np.median(steps(made.between(2.0, 6.0))) < 0.05 < 0.3 < np.median(steps(made.between(0, 2)))
    assert [(w["still"], w["seen"]) for w in truth.windows] == [(0, True), (1, True), (1, True)]


def test_slideshow(film: Make) -> None:
    _, truth, made = film(Fault("slideshow", 0.0, 6.0, value=1.5))
    assert np.flatnonzero(steps(made.pictures) > 1.5).tolist() == [37, 74, 112]
    assert [w["slideshow"] for w in truth.windows] == [1, 1, 1]


def test_black(film: Make) -> None:
    _, truth, made = film(Fault("black", 0.0, 3.0))
    assert made.between(0, 2.9).max() < 20
    assert made.between(3.1, 6).mean() > 20
    assert [(w["black"], w["seen"]) for w in truth.windows] == [(1, False), (0.5, True), (0, True)]


def test_silence_and_unheard(film: Make) -> None:
    clean = film()[2]
    _, truth, made = film(Fault("silence", 2.0, 4.0))
    assert rms(made.heard(2.1, 3.9)) < 1e-4 < 1e-3 < rms(made.heard(4.0, 6))
    assert [w["heard"] for w in truth.windows] == [True, False, True]
    _, truth, made = film(Fault("unheard", 0.0, 6.0))
    assert 1e-4 < rms(made.sound) < 0.5 * rms(clean.sound)
    assert np.abs(made.pictures - clean.pictures).mean() < 0.1
    assert [(w["seen"], w["heard"]) for w in truth.windows] == [(True, False)] * 3


def test_clipping_is_at_full_scale(film: Make) -> None:
    _, truth, made = film(Fault("clipping", 0.0, 6.0))
    assert np.mean(np.abs(made.sound) > 0.9) > 0.2
    assert np.mean(np.abs(film()[2].sound) > 0.9) == 0
    assert [w["clipping"] for w in truth.windows] == [1, 1, 1]


def test_antiphase_cancels(film: Make) -> None:
    _, truth, made = film(Fault("antiphase", 2.0, 6.0), form=replace(PLAIN, sound_kbit=128))
    left, right = made.heard(2.1, 6)
    assert rms(left + right) < 0.05 * rms(left)
    left, right = made.heard(0, 1.9)
    assert rms(left + right) > 1.5 * rms(left)
    assert [w["antiphase"] for w in truth.windows] == [0, 1, 1]
    plan = plan_video(11, 1, ("Drum",), 72, (SECONDS, SECONDS)).with_faults(Fault("antiphase", 0, 6))
    assert plan.form.layout == "stereo"


@pytest.mark.parametrize("shift_s", [0.73, -0.41])
def test_shift_is_what_the_truth_says(film: Make, shift_s: float) -> None:
    """Where the drum is heard and where it is seen to be hit, each by correlation with the truth's times."""
    plan, truth, made = film(Fault("shift", 0.0, 6.0, value=shift_s))
    assert truth.video["shift_s"] == shift_s
    assert all(row["sound_s"] - row["time_s"] == pytest.approx(shift_s) for row in truth.events)
    found = lag_to(made, [row["time_s"] for row in truth.events])
    assert found == pytest.approx(shift_s, abs=0.04)
    _, own, clean = film()
    assert lag_to(clean, [row["time_s"] for row in own.events]) == pytest.approx(0, abs=0.04)
    # The picture is the clean one, taken from another moment on.
    frames = round(plan.origin_s * 25)
    same = np.abs(made.pictures[:100] - clean.pictures[frames : frames + 100]).mean() if frames < 45 else 0
    assert same < 6


def lag_to(made: Film, times_s: list[float]) -> float:
    """The lag at which loudness rises fit these times best."""
    hop = made.rate_hz // 200
    loud = made.sound[0][: made.sound.shape[1] // hop * hop].reshape(-1, hop)
    log = np.log(np.square(loud).mean(axis=1) + 1e-7)
    rises = np.maximum(np.diff(log, prepend=log[0]), 0)
    comb = np.zeros(len(rises))
    comb[[round(t * 200) for t in times_s if t < SECONDS - 0.01]] = 1
    wide = np.convolve(comb, np.hanning(9), "same")
    lags = np.arange(-400, 401)
    fits = [np.dot(np.roll(wide, lag), rises) for lag in lags]
    return float(lags[int(np.argmax(fits))]) / 200


def silero(made: Film, folder: Path) -> np.ndarray:
    from v2a_data.scorers.base import VideoTap
    from v2a_data.scorers.speech import Speech

    speech = Speech(Speech.Config())
    speech.open("cpu")
    starts = np.asarray([0.0, 2.0, 4.0])
    sound = np.stack([made.heard(start, start + 2).mean(axis=0) for start in starts])
    return speech.score([VideoTap("sy-0-0", "x", starts, sound=sound.reshape(1, -1), rate_hz=16000)])


def test_voice_is_speech_and_music_is_not(film: Make, tmp_path: Path) -> None:
    found = {}
    for kind in ("voice", "music"):
        _, truth, made = film(Fault(kind, 2.0, 6.0), label="Airplane")
        found[kind] = [row.fields["voice"] for row in silero(made, tmp_path)]
        clean = film(label="Airplane")[2]
        assert rms(made.heard(2, 6)) > 1.1 * rms(clean.heard(2, 6))
        assert [(w[kind], w["heard"]) for w in truth.windows] == [(0, True), (1, True), (1, True)]
    values = np.asarray(found["voice"], float).ravel()
    assert (values[0] < 0.3, values[1:].min() > 0.6) == (True, True), values
    assert np.asarray(found["music"], float).max() < 0.3


def test_wrong_sound_drowns_the_thing(film: Make) -> None:
    _, truth, made = film(Fault("wrong_sound", 2.0, 6.0, what="Chainsaw"))
    clean = film()[2].heard(2.0, 6.0)[0]
    there = made.heard(2.0, 6.0)[0][: len(clean)]
    assert abs(np.corrcoef(clean, there)[0, 1]) < 0.4
    assert [w["heard"] for w in truth.windows] == [True, False, False]


@pytest.mark.parametrize("what", ["toy", "poster", "paper_plane", "slide", "title_card", "person_talking"])
def test_another_thing_is_shown(film: Make, what: str) -> None:
    _, truth, made = film(Fault("other_thing", 2.0, 6.0, what=what), label="Airplane")
    _, _, clean = film(label="Airplane")
    assert np.abs(made.between(2, 6) - clean.between(2, 6)).mean() > 2
    assert np.abs(made.between(0, 2) - clean.between(0, 2)).mean() < 0.5
    assert [(w["seen"], w["heard"], w["other_thing"]) for w in truth.windows] == [(True, True, 0)] + [
        (False, False, 1)
    ] * 2


def test_offscreen_part_and_cut(film: Make) -> None:
    _, _, clean = film()
    _, truth, made = film(Fault("offscreen", 2.0, 6.0))
    assert np.abs(made.between(2, 6) - clean.between(2, 6)).mean() > 1
    assert np.abs(made.sound - clean.sound).max() < 0.01
    assert [(w["seen"], w["heard"]) for w in truth.windows] == [(True, True), (False, True), (False, True)]
    _, truth, made = film(Fault("part", 2.0, 4.0))
    inside, outside = (np.abs(made.between(*t) - clean.between(*t)).mean() for t in ((2.1, 3.9), (4.1, 6.0)))
    assert inside < 0.5 * outside
    assert rms(made.heard(4.1, 6)) < 0.5 * rms(clean.heard(4.1, 6))
    assert [(w["seen"], w["heard"]) for w in truth.windows] == [(False, False), (True, True), (False, False)]
    _, truth, made = film(Fault("cut", 3.0, 6.0, what="Dog"))
    assert int(np.argmax(steps(made.pictures))) == 74
    assert [(w["seen"], w["cut"]) for w in truth.windows] == [(True, 0), (True, 0.5), (False, 1)]


def test_a_wrong_label_shows_another_thing(film: Make) -> None:
    _, truth, made = film(Fault("wrong_label", 0.0, 6.0, what="Airplane"), n=2)
    real = film(label="Airplane", n=2)[2]
    assert (truth.video["label"], truth.video["subject"]) == ("Drum", "Airplane")
    assert np.abs(made.pictures - real.pictures).mean() < 0.1
    assert not truth.events
    assert not any(w["seen"] or w["heard"] for w in truth.windows)


def test_short_and_truncated(tmp_path: Path) -> None:
    plans = plan_world(1, 4, ("Drum",), 72, (6.0, 8.0), faults={"short": 1.0})
    render_world(plans, tmp_path / "short", SerialEngine(), lambda: None)
    for plan in plans:
        assert 0.5 <= plan.duration_s <= 1.9
        found = probe(str(tmp_path / "short" / plan.file), 60)
        # An uneven last frame may be a frame or two early, or count for longer.
        assert found.duration_s == pytest.approx(plan.duration_s, abs=0.25)
    assert not len(read_truth(tmp_path / "short", "windows"))
    plans = plan_world(2, 6, ("Drum",), 72, (4.0, 5.0), faults={"truncated": 1.0})
    render_world(plans, tmp_path / "cut", SerialEngine(), lambda: None)
    ended = []
    for plan in plans:
        if plan.form.container == "mp4" and not plan.form.faststart:
            with pytest.raises(ItemError, match="not_media"):
                open_media(tmp_path / "cut" / plan.file)
        else:
            ended.append(max(Film(tmp_path / "cut" / plan.file).times) / plan.duration_s)
    assert len(ended) >= 3
    assert max(ended) < 0.95


def test_near_duplicates_show_the_same_scene(tmp_path: Path) -> None:
    plans = plan_world(4, 12, ("Drum",), 72, (4.0, 4.5), faults={"near_duplicate": 0.75})
    render_world(plans, tmp_path, SerialEngine(), lambda: None)
    videos, groups = read_truth(tmp_path, "videos").set_index("video_id"), read_truth(tmp_path, "groups")
    copies = videos[videos["transform"] != ""]
    assert len(set(copies["transform"])) >= 4 and set(copies["transform"]) <= set(TRANSFORMS)
    members = {m for _, m in groups[["group_id", "video_id"]].itertuples(index=False)}
    assert members == set(copies.index) | set(copies.duplicate_of)
    assert videos.sha256.nunique() == len(videos)
    first = {
        row.Index: thumbs(tmp_path, row.file, row.duration_s / 2)
        for row in videos[videos["transform"] == ""].itertuples()
    }
    for row in copies.itertuples():
        of = videos.loc[row.duplicate_of]
        moment = row.duration_s / 2
        there = moment + (row.amount if row.transform == "trimmed" else 0)
        mine, its = thumbs(tmp_path, row.file, moment), thumbs(tmp_path, of.file, there)
        near = np.abs(mine - its).mean()
        others = [np.abs(mine - thumb).mean() for name, thumb in first.items() if name != row.duplicate_of]
        assert near < 0.8 * min(others), (row.transform, near, min(others))
        assert json.loads(row.faults) == ["near_duplicate"]
        if row.transform == "trimmed":
            assert row.duration_s < of.duration_s


def thumbs(folder: Path, file: str, time_s: float) -> np.ndarray:
    made = Film(folder / file)
    frame = made.pictures[int(np.argmin(np.abs(np.asarray(made.times) - time_s)))]
    high, wide = frame.shape
    return frame[: high // 9 * 9, : wide // 9 * 9].reshape(9, high // 9, 9, wide // 9).mean(axis=(1, 3))


@pytest.mark.parametrize("container", ["mp4", "webm", "mkv"])
@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotated_files_are_upright_for_who_honours_the_flag(film: Make, container: str, rotation: int) -> None:
    codecs = {"video_codec": "vp9", "sound_codec": "opus", "rate_hz": 48000} if container == "webm" else {}
    form = replace(PLAIN, container=container, rotation=rotation, **codecs)
    _, _, made = film(form=form)
    clean = film()[2]
    assert made.rotation % 360 == rotation
    assert made.pictures.shape[1:] == (72, 128)
    assert np.abs(made.pictures - clean.pictures).mean() < 4


@pytest.mark.parametrize("container", ["mp4", "webm", "mkv"])
def test_rotated_files_are_upright_through_our_own_tap(film: Make, container: str, tmp_path: Path) -> None:
    from v2a_data.media.tap import TapSpec, luma_name, tap

    codecs = {"video_codec": "vp9", "sound_codec": "opus", "rate_hz": 48000} if container == "webm" else {}
    shown = []
    for rotation in (0, 90):
        base = plan_video(11, 1, ("Drum",), 72, (2.1, 2.1))
        plan = replace(base, form=replace(PLAIN, container=container, rotation=rotation, **codecs))
        folder = tmp_path / str(rotation)
        render_video(plan, str(folder))
        found = probe(str(folder / plan.file), 60)
        assert found.picture.rotation % 360 == rotation
        (folder / "tap").mkdir()
        tap(str(folder / plan.file), TapSpec((0.0,), 2.0, luma=((64, 36, 12.5),)), str(folder / "tap"))
        shown.append(np.load(folder / "tap" / f"{luma_name(64, 36, 12.5)}.npy").astype(float))
    assert np.abs(shown[0] - shown[1]).mean() < 4


def test_a_variable_rate_varies(film: Make) -> None:
    even, uneven = (np.diff(film(form=replace(PLAIN, variable=v))[2].times) for v in (False, True))
    assert even.std() < 0.001 < 0.008 < uneven.std()
    assert uneven.max() > 0.06
    assert len(uneven) < len(even)


@pytest.mark.parametrize("container", ["mp4", "mkv", "webm"])
@pytest.mark.parametrize(("picture_s", "sound_s"), [(0.0, 0.31), (0.27, 0.0)])
def test_late_and_early_sound_is_in_step(film: Make, container: str, picture_s: float, sound_s: float) -> None:
    codecs = {"video_codec": "vp9", "sound_codec": "opus", "rate_hz": 48000} if container == "webm" else {}
    form = replace(PLAIN, container=container, picture_start_s=picture_s, sound_start_s=sound_s, **codecs)
    _, truth, made = film(form=form)
    assert made.times[0] == pytest.approx(picture_s, abs=0.03)
    # In mp4 the 1024 samples before an AAC stream's start are played when it starts late.
    assert made.sound_start_s == pytest.approx(sound_s, abs=0.07)
    events = [row["time_s"] for row in truth.events if row["time_s"] > 0.4]
    assert lag_to(made, events) == pytest.approx(0, abs=0.04)
    # Pictures are where the clean file has them.
    clean = film()[2]
    assert np.abs(made.between(2.0, 2.5)[:10] - clean.between(2.0, 2.5)[:10]).mean() < 4


def test_the_small_view_is_two_seconds_of_the_same_scene(tmp_path: Path) -> None:
    full = plan_world(6, 3, ("Drum",), 72, (6.0, 7.0))
    small = plan_world(6, 3, ("Drum",), 72, (6.0, 7.0), view="small")
    for planned, b in list(zip(full, small, strict=True))[:2]:
        a = replace(planned, form=PLAIN)
        render_video(a, str(tmp_path / "full"))
        render_video(b, str(tmp_path / "small"))
        one, two = Film(tmp_path / "full" / a.file), Film(tmp_path / "small" / b.file)
        assert (two.pictures.shape[1:], two.rate_hz, len(two.pictures)) == ((36, 64), 16000, 25)
        assert two.sound.shape[1] == pytest.approx(32000, abs=1100)
        big = one.between(b.origin_s, b.origin_s + 2)[::2]
        shrunk = big.reshape(len(big), 36, 2, 64, 2).mean(axis=(2, 4))
        count = min(len(shrunk), 25)
        assert np.abs(shrunk[:count] - two.pictures[:count]).mean() < 5


def test_form_tells_nothing_of_label_or_fault() -> None:
    """Chi-square of each field of the form against label and against each kind, over 1,500 planned videos."""
    shares = dict.fromkeys(NAMES, 0.1)
    plans = [plan_video(21, n, ("Airplane", "Drum", "Dog"), None, (12, 90), faults=shares) for n in range(1500)]
    label = np.asarray([plan.label for plan in plans])
    kinds = [{fault.kind for fault in plan.faults} for plan in plans]
    worst = []
    for name in (
        "container",
        "video_codec",
        "fps",
        "variable",
        "rotation",
        "quality",
        "layout",
        "sound_kbit",
        "height",
    ):
        values = np.asarray([str(getattr(plan.form, name)) for plan in plans])
        worst.append(chi(values, label))
        # A mono file has no phase between its sides.
        told = [kind for kind in NAMES if (kind, name) != ("antiphase", "layout")]
        worst += [chi(values, np.asarray([kind in of for of in kinds])) for kind in told]
    # About standard normal each under independence; 180 looks.
    assert max(worst) < 4.2, max(worst)
    assert 0.8 < np.mean([any(kinds_of) for kinds_of in kinds]) < 0.95


def chi(a: np.ndarray, b: np.ndarray) -> float:
    """How far Pearson's chi-square is above what independence gives, in standard deviations (Wilson-Hilferty)."""
    rows, columns = np.unique(a, return_inverse=True)[1], np.unique(b, return_inverse=True)[1]
    table = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(table, (rows, columns), 1)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    value, free = ((table - expected) ** 2 / expected).sum(), (len(table) - 1) * (table.shape[1] - 1)
    return float(((value / free) ** (1 / 3) - (1 - 2 / (9 * free))) / np.sqrt(2 / (9 * free)))


def test_specs() -> None:
    assert parse_faults("none") == {}
    assert set(parse_faults("all")) == set(NAMES) == {kind.name for kind in KINDS}
    assert parse_faults("still:0.2, voice:1") == {"still": 0.2, "voice": 1.0}
    with pytest.raises(UsageError, match="'stil'; did you mean 'still'"):
        parse_faults("stil:0.2")
    for bad in ("still", "still:2", "still:-1", "still:x", ""):
        with pytest.raises(UsageError):
            parse_faults(bad)


def test_shares_are_kept_and_every_column_is_documented(tmp_path: Path) -> None:
    plans = [plan_video(9, n, ("Drum",), None, (12, 40), faults={"still": 0.2, "voice": 0.1}) for n in range(1000)]
    for kind, share in (("still", 0.2), ("voice", 0.1)):
        assert np.mean([any(f.kind == kind for f in p.faults) for p in plans]) == pytest.approx(share, abs=0.04)
    render_world(plan_world(9, 2, ("Drum",), 36, (2, 3)), tmp_path, SerialEngine(), lambda: None)
    for table in TABLES:
        assert tuple(read_truth(tmp_path, table.name).columns) == table.names
        assert all(column.meaning for column in table.columns)


def test_everything_at_once_renders_and_is_the_same_again(tmp_path: Path) -> None:
    shares = dict.fromkeys(NAMES, 0.35)
    for folder in ("one", "two"):
        plans = plan_world(13, 6, (), 72, (4.0, 5.0), faults=shares, ood=True)
        render_world(plans, tmp_path / folder, SerialEngine(), lambda: None)
    first, second = ((tmp_path / f / "world.json").read_text() for f in ("one", "two"))
    assert first == second
    videos = read_truth(tmp_path / "one", "videos")
    assert videos.ood.all()
    for row in videos.itertuples():
        if "truncated" not in row.faults:
            with av.open(str(tmp_path / "one" / row.file)) as file:
                frame = next(file.decode(video=0))
                sideways = row.rotation % 180 == 90
                assert (frame.width, frame.height) == ((row.height, row.width) if sideways else (row.width, row.height))
