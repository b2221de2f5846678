"""The synthetic world keeps its promises: same seed same bytes, and its truth is what the files hold."""

import hashlib
import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from makers import decode_all
from typer.testing import CliRunner
from worlds import even, shared_plans

from v2a_data.cli import app
from v2a_data.engine import SerialEngine
from v2a_data.errors import UsageError
from v2a_data.synthetic import WORLD_VERSION
from v2a_data.synthetic.plan import Fault, VideoPlan
from v2a_data.synthetic.world import plan_world, read_truth, read_world, render_world

SMALL = (4, ("Airplane", "Drum"), 36, (2.0, 3.0))
LABELS = ("Airplane", "Drum")
FAULTS = ("still", "silence", "voice")


def small(folder: Path, seed: int = 0) -> dict:
    return render_world(plan_world(seed, *SMALL), folder, SerialEngine(), lambda: None)


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("first")
    small(folder)
    return folder


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[VideoPlan]]:
    """Each label with each fault from 2 to 4 s of 6 s, and each without any."""
    base = [even(plan) for plan in plan_world(5, 8, LABELS, 72, (6.0, 6.0))]
    kinds = [kind for kind in (*FAULTS, None) for _ in LABELS]
    plans = [p.with_faults(*([Fault(k, 2.0, 4.0)] if k else [])) for p, k in zip(base, kinds, strict=True)]
    folder = tmp_path_factory.mktemp("planted")
    render_world(plans, folder, SerialEngine(), lambda: None)
    return folder, plans


def with_fault(planted: tuple[Path, list[VideoPlan]], kind: str | None) -> list[tuple[VideoPlan, Path]]:
    folder, plans = planted
    found = [(p, folder / p.file) for p in plans if (p.faults[0].kind if p.faults else None) == kind]
    assert [p.label for p, _ in found] == list(LABELS)
    return found


def test_same_seed_same_bytes_and_another_seed_another_world(first: Path, tmp_path: Path) -> None:
    about = small(tmp_path / "again")
    assert hashes(tmp_path / "again") == hashes(first)
    assert json.loads((first / "world.json").read_text()) == about
    assert (about["version"], about["seed"], about["videos"], about["synthetic"]) == (WORLD_VERSION, 0, 4, True)
    other = small(tmp_path / "other", seed=1)
    assert (other["plan"] != about["plan"], other["hash"] != about["hash"]) == (True, True)
    videos = [{h for n, h in hashes(f).items() if n.startswith("videos/")} for f in (first, tmp_path / "other")]
    assert [len(v) for v in videos] == [4, 4]
    assert not videos[0] & videos[1]


def test_the_truth_names_every_file_with_its_hash(first: Path) -> None:
    truth = read_truth(first, "videos")
    found = hashes(first)
    assert dict(zip(truth.file, truth.sha256, strict=True)) == {
        n: h for n, h in found.items() if n.startswith("videos/")
    }
    assert truth.label.tolist() == ["Airplane", "Drum"] * 2
    assert [row.video_id for row in read_world(first)] == truth.video_id.tolist()


def test_a_stopped_rendering_goes_on_to_the_same_world(first: Path, tmp_path: Path) -> None:
    half = shutil.copytree(first, tmp_path / "half")
    (half / "world.json").unlink()
    (half / "videos" / read_world(first)[2].file.removeprefix("videos/")).unlink()
    kept = (half / "videos" / read_world(first)[1].file.removeprefix("videos/")).stat().st_mtime_ns
    with pytest.raises(UsageError, match="not a finished world"):
        read_world(half)
    small(half)
    assert hashes(half) == hashes(first)
    assert (half / "videos" / read_world(first)[1].file.removeprefix("videos/")).stat().st_mtime_ns == kept


def test_another_plan_is_refused_in_the_same_folder(first: Path) -> None:
    before = hashes(first)
    for plans in (plan_world(1, *SMALL), plan_world(0, *SMALL, sound=False)):
        with pytest.raises(UsageError, match="holds another world"):
            render_world(plans, first, SerialEngine(), lambda: None)
    assert hashes(first) == before


def test_a_dry_run_renders_nothing(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["synth", str(tmp_path / "w"), "--videos", "3", "--dry-run", "--json"])
    assert (done.exit_code, json.loads(done.stdout)["videos"]) == (0, 3)
    assert list(tmp_path.iterdir()) == []


def test_no_sound_means_no_sound_stream(tmp_path: Path) -> None:
    words = [
        "synth",
        str(tmp_path),
        "--videos",
        "2",
        "--lines",
        "36",
        "--seconds",
        "1-2",
        "--no-sound",
        "--faults",
        "none",
    ]
    done = CliRunner().invoke(app, [*words, "--workers", "0", "-q"])
    assert done.exit_code == 0, done.stderr
    files = sorted((tmp_path / "videos").iterdir())
    assert len(files) == 2
    for path in files:
        with av.open(str(path)) as container:
            assert [stream.type for stream in container.streams] == ["video"]
    assert read_truth(tmp_path, "videos").faults.tolist() == ["[]", "[]"]


def test_files_have_the_form_that_was_planned(planted: tuple[Path, list[VideoPlan]]) -> None:
    folder, plans = planted
    for plan in plans:
        form = plan.form
        with av.open(str(folder / plan.file)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            size = (form.height, form.width) if form.rotation % 180 else (form.width, form.height)
            assert (video.width, video.height) == size
            assert float(video.average_rate) == pytest.approx(float(form.fps), abs=0.1)
            assert (audio.rate, audio.layout.name) == (form.rate_hz, form.layout)
            codecs = (video.codec_context.codec.canonical_name, audio.codec_context.codec.canonical_name)
            assert codecs == (form.video_codec, form.sound_codec)
            assert sum(1 for _ in container.decode(video=0)) == round(6.0 * form.fps)


def test_every_planted_fault_is_in_the_truth(world: Path) -> None:
    plans = {p.video_id: p for p in shared_plans()}
    videos, windows = read_truth(world, "videos"), read_truth(world, "windows")
    assert {row.video_id: json.loads(row.faults) for row in videos.itertuples()} == {
        video_id: sorted({f.kind for f in plan.faults}) for video_id, plan in plans.items()
    }
    assert sum(bool(plan.faults) for plan in plans.values()) >= 3
    for row in windows.itertuples():
        inside = row.start_s + (np.arange(2000) + 0.5) / 1000
        for kind in FAULTS:
            spans = [f for f in plans[row.video_id].faults if f.kind == kind]
            share = (
                np.mean(np.any([(inside >= f.start_s) & (inside < f.stop_s) for f in spans], axis=0)) if spans else 0
            )
            assert getattr(row, kind) == pytest.approx(share, abs=1e-3), (row.video_id, row.window_index, kind)


def changes(plan: VideoPlan, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean change of grey from frame to frame, from 2 to 4 s and outside."""
    frames, _, times = decode_all(str(path))
    steps = np.abs(np.diff(np.stack(frames).astype(int), axis=0)).mean(axis=(1, 2))
    first_s = np.asarray(times[:-1])
    inside = (first_s >= 2.0) & (first_s < 4.0 - 1.5 / float(plan.form.fps))
    return steps[inside], steps[~inside]


def test_a_still_fault_stands_still_and_nothing_else_does(planted: tuple[Path, list[VideoPlan]]) -> None:
    for plan, path in with_fault(planted, "still"):
        inside, outside = changes(plan, path)
        # Coding noise, most of it at keyframes, is all that changes.
        assert np.mean(inside < 0.06) > 0.85
        assert inside.mean() < 0.1 < 0.3 < outside.mean()
    for kind in ("silence", "voice", None):
        for plan, path in with_fault(planted, kind):
            inside, _ = changes(plan, path)
            assert inside.mean() > 0.2, (kind, plan.label)


def level(sound: np.ndarray, rate_hz: int, start_s: float, stop_s: float) -> float:
    piece = sound[:, round(start_s * rate_hz) : round(stop_s * rate_hz)]
    return float(20 * np.log10(max(1e-9, np.sqrt(np.mean(piece**2)))))


def test_a_silent_fault_is_silent_and_the_rest_is_heard(planted: tuple[Path, list[VideoPlan]]) -> None:
    for plan, path in with_fault(planted, "silence"):
        _, sound, _ = decode_all(str(path))
        # A codec frame on either side carries sound of its neighbours.
        assert level(sound, plan.form.rate_hz, 2.05, 3.95) < -60
        assert min(level(sound, plan.form.rate_hz, 0, 2), level(sound, plan.form.rate_hz, 4, 6)) > -45
    truth = read_truth(planted[0], "windows").set_index(["video_id", "window_index"])
    silent = {plan.video_id for plan, _ in with_fault(planted, "silence")}
    expected = {(p.video_id, i): not (p.video_id in silent and i == 1) for p in planted[1] for i in range(3)}
    assert truth.heard.to_dict() == expected


def test_voices_are_heard_in_voice_windows_only(planted: tuple[Path, list[VideoPlan]]) -> None:
    from v2a_data.media.tap import TapSpec, tap
    from v2a_data.scorers.base import VideoTap
    from v2a_data.scorers.speech import Speech

    speech = Speech(Speech.Config())
    speech.open("cpu")
    starts = np.asarray([0.0, 2.0, 4.0])

    def voices(path: Path, folder: Path) -> np.ndarray:
        folder.mkdir(exist_ok=True)
        tap(str(path), TapSpec(tuple(starts), 2.0, sound=("mono16k",)), str(folder))
        sound = np.load(folder / "sound-mono16k.npy").T
        return speech.score([VideoTap("sy-0-0", "x", starts, sound=sound, rate_hz=16000)])[0].fields["voice"]

    for kind in (*FAULTS, None):
        for plan, path in with_fault(planted, kind):
            before, during, after = voices(path, planted[0] / "taps")
            assert max(before, after) < 0.3, (kind, plan.label)
            assert (during > 0.6) == (kind == "voice"), (kind, plan.label, during)


def rises(sound: np.ndarray, rate_hz: int) -> np.ndarray:
    """Times at which the energy above 1.5 kHz jumps: an outside method, made for clicks."""
    spectrum = np.fft.rfft(sound)
    spectrum[np.fft.rfftfreq(len(sound), 1 / rate_hz) < 1500] = 0
    high = np.fft.irfft(spectrum, len(sound))
    hop = rate_hz // 200
    energy = np.square(high[: len(high) // hop * hop].reshape(-1, hop)).mean(axis=1)
    log = 10 * np.log10(energy + 1e-8)
    # Against the 40 ms before, so that the codec's pre-echo does not count as the start.
    before = np.asarray([log[max(0, i - 8) : max(1, i)].mean() for i in range(len(log))])
    jump = log - before
    tops = [i for i in range(len(jump)) if jump[i] > 6 and jump[i] == jump[max(0, i - 10) : i + 11].max()]
    return np.asarray(tops) / 200


def paired(truth: np.ndarray, found: np.ndarray) -> tuple[int, float]:
    """How many true times have their own found time within 50 ms, and the median distance of those."""
    left, distances = list(found), []
    for time_s in truth:
        near = min(left, key=lambda t: abs(t - time_s), default=np.inf)
        if abs(near - time_s) <= 0.05:
            left.remove(near)
            distances.append(abs(near - time_s))
    return len(distances), float(np.median(distances)) if distances else np.inf


def test_drum_hits_are_where_the_truth_says(world: Path) -> None:
    events = read_truth(world, "events")
    clean = [
        r for r in read_truth(world, "videos").itertuples() if r.label == "Drum" and r.faults in ("[]", '["still"]')
    ]
    assert len(clean) >= 3
    total = hit = extra = 0
    for row in clean:
        with av.open(str(world / row.file)) as container:
            rate_hz = container.streams.audio[0].rate
        _, sound, _ = decode_all(str(world / row.file))
        truth = events[events.video_id == row.video_id].time_s.to_numpy()
        found = rises(sound[0], rate_hz)
        pairs, distance = paired(truth, found)
        assert distance <= 0.02, row.video_id
        # The same times half a beat later must not fit: this is no dense comb that fits anything.
        assert paired(truth + 0.11, found)[0] < 0.6 * pairs
        total, hit, extra = total + len(truth), hit + pairs, extra + len(found) - pairs
    assert total > 40
    assert hit / total >= 0.95
    assert extra / total <= 0.05


def test_planes_are_loudest_near_their_closest_pass(planted: tuple[Path, list[VideoPlan]]) -> None:
    events = read_truth(planted[0], "events")
    for plan, path in with_fault(planted, None)[:1]:
        _, sound, _ = decode_all(str(path))
        near = events[events.video_id == plan.video_id].time_s
        passes = [t for t in near if 0.5 < t < 5.5]
        assert passes
        loud = [level(sound, plan.form.rate_hz, t - 0.25, t + 0.25) for t in passes]
        assert min(loud) > level(sound, plan.form.rate_hz, 0, 6) + 1
