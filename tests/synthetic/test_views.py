"""The steady view, turns of labels, and a dataset held against the truth of its world."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from v2a import demo

from v2a_data import schema
from v2a_data.engine import SerialEngine
from v2a_data.errors import UsageError
from v2a_data.ids import youtube_video_id
from v2a_data.recipe import load_recipe
from v2a_data.sources.youtube8m import YouTube8M
from v2a_data.synthetic.faults import NAMES, Fault
from v2a_data.synthetic.plan import Form, plan_video
from v2a_data.synthetic.render import Staged, pictures, render_video
from v2a_data.synthetic.server import WorldIndex
from v2a_data.synthetic.verdicts import judge_kept
from v2a_data.synthetic.world import WORLD_LABELS, parse_turns, plan_world, render_world
from v2a_data.workspace import Workspace


def test_turns_take_turns() -> None:
    assert parse_turns("Airplane:3, Drum") == ("Airplane", "Drum", "Airplane", "Airplane")
    assert parse_turns("Drum,Dog") == ("Drum", "Dog")
    assert [plan.label for plan in plan_world(0, 6, parse_turns("Drum:2,Dog"), 72, (4, 5))] == [
        "Drum", "Dog", "Drum", "Drum", "Dog", "Drum",
    ]  # fmt: skip
    with pytest.raises(UsageError, match="did you mean 'Drum'"):
        parse_turns("Drun")
    with pytest.raises(UsageError, match="Drum stands there twice"):
        parse_turns("Drum,Dog,Drum:3")
    for bad in ("Drum:0", "Drum:x", "Drum:100", "Drum:-1", "Drum:", "Dog,Drum:1:2"):
        with pytest.raises(UsageError, match="turns are a number from 1 to 99"):
            parse_turns(bad)


def test_the_demos_labels_are_all_listed(tmp_path: Path) -> None:
    render_world(plan_world(3, 11, (), 36, (2.0, 2.5)), tmp_path, SerialEngine(), lambda: None)
    source = load_recipe("demo").source
    index = WorldIndex(tmp_path)
    mids = {label: YouTube8M().mid(label, source).removeprefix("/m/") for label in WORLD_LABELS}
    assert {label: len(index.lists[mid]) for label, mid in mids.items()} == dict.fromkeys(WORLD_LABELS, 1)


def test_the_steady_view_is_the_same_video_in_one_form(tmp_path: Path) -> None:
    for n in range(12):
        full, steady = (plan_video(6, n, ("Drum", "Dog"), 72, (4.0, 5.0), view=view) for view in ("full", "steady"))
        assert (steady.label, steady.duration_s, steady.scene_n) == (full.label, full.duration_s, full.scene_n)
        assert steady.form == Form(width=128, height=72, gop_s=full.form.gop_s, quality=full.form.quality)
        values = Staged(steady).values
        differing = {name for name, value in Staged(full).values.items() if values[name] != value}
        # In the middle; and a narrow picture has its things smaller.
        assert differing <= {"x", "y", "size"}
    render_video(steady, str(tmp_path))
    with av.open(str(tmp_path / steady.file)) as file:
        picture, sound = file.streams.video[0], file.streams.audio[0]
        codecs = picture.codec_context.name, sound.codec_context.name
        assert codecs == ("h264", "aac")
        assert (picture.width, picture.height, picture.average_rate) == (128, 72, Fraction(25))


def test_nothing_moves_in_a_steady_room() -> None:
    def moved(view: str) -> float:
        plan = plan_video(8, 4, ("Drum",), 72, (4.0, 4.0), view=view).with_faults(Fault("offscreen", 0.0, 4.0))  # type: ignore[arg-type]
        frames = list(pictures(plan, Staged(plan), np.asarray([0.5, 1.5, 2.5])))
        return max(float(np.abs(frame.astype(int) - frames[0]).max()) for frame in frames)

    assert moved("steady") == 0
    assert moved("full") > 20


def test_the_demos_world_is_what_it_says() -> None:
    labels = parse_turns(",".join([*(f"{label}:{demo.TURNS}" for label in demo.TRAINED), *demo.CURATED]))
    assert set(labels) == set(WORLD_LABELS)
    plans = plan_world(0, 210, labels, 144, (10.1, 11.9), faults=dict.fromkeys(demo.FAULTS, demo.SHARE), view="steady")
    assert {fault.kind for plan in plans for fault in plan.faults} == set(demo.FAULTS)
    assert len(demo.FAULTS) >= 8
    assert 2200 < sum(plan.duration_s for plan in plans) <= 2400
    assert {(plan.form.width, plan.form.height) for plan in plans} == {(256, 144)}
    assert load_recipe("demo").train["labels"] == list(demo.TRAINED)


def test_copies_show_the_same_two_seconds_in_the_small_view() -> None:
    shares = {"near_duplicate": 0.5, "shift": 0.3, "part": 0.2}
    full = [plan_video(5, n, ("Drum",), 72, (6, 20), faults=shares) for n in range(80)]
    small = [plan_video(5, n, ("Drum",), 72, (6, 20), faults=shares, view="small") for n in range(80)]
    copies = [n for n in range(80) if full[n].transform]
    assert len(copies) > 20
    for n in copies:
        copy, original = small[n], small[full[n].scene_n]
        assert full[n].scene_n < n
        # The same time of the scene, but where a trimmed copy lacks it.
        begins, ends = full[n].origin_s, full[n].origin_s + full[n].duration_s
        assert copy.origin_s == pytest.approx(min(max(original.origin_s, begins), ends - 2), abs=1e-9)


def test_planning_takes_as_long_per_video_in_a_large_world() -> None:
    """No number of random draws grows with the world: the plan of video n looks at a bounded number of others."""
    shares = dict.fromkeys(NAMES, 0.2)
    made: list[int] = []
    original = np.random.default_rng

    def counted(*words: object) -> np.random.Generator:
        made[-1] += 1
        return original(*words)

    for n in (200, 20_000):
        most = 0
        for m in range(n, n + 60):
            made.append(0)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(np.random, "default_rng", counted)
                plan_video(5, m, ("Drum",), 72, (6, 20), faults=shares)
            most = max(most, made[-1])
        made.append(most)
        assert most < 140
    every = [plan_video(5, n, ("Drum", "Dog"), 72, (6, 20), faults={"near_duplicate": 1.0}) for n in range(20)]
    assert [bool(plan.transform) for plan in every] == [False] * 2 + [True] * 18


def test_truth_knows_no_sound_and_wrong_labels(tmp_path: Path) -> None:
    silent = plan_video(5, 0, ("Drum",), 36, (4, 4), sound=False, view="steady")
    assert [row["heard"] for row in render_video(silent, str(tmp_path)).windows] == [False, False]
    wrong = plan_video(5, 1, ("Drum",), 36, (4, 4), faults={"short": 1.0, "wrong_label": 1.0}, view="small")
    (window,) = render_video(wrong, str(tmp_path)).windows
    assert (window["seen"], window["heard"]) == (False, False)


def test_short_files_start_early_enough(tmp_path: Path) -> None:
    plans = [plan_video(5, n, ("Drum",), 36, (4, 4), faults={"short": 1.0}) for n in range(60)]
    latest = [max(plan.form.picture_start_s, plan.form.sound_start_s) / plan.duration_s for plan in plans]
    assert 0.29 < max(latest) <= 0.301
    for plan in [plan for plan, share in zip(plans, latest, strict=True) if share > 0.25][:4]:
        truth = render_video(plan, str(tmp_path))
        with av.open(str(tmp_path / plan.file)) as file:
            assert file.streams.audio
            first = next(file.decode(video=0))
            assert float(first.pts * first.time_base) == pytest.approx(truth.video["picture_start_s"], abs=0.03)


@pytest.mark.parametrize("served", [False, True])
def test_kept_clips_are_held_against_the_truth(tmp_path: Path, served: bool) -> None:
    """Of four videos of 8 s: right, a still from 4 s on, off screen throughout, and one that nobody kept."""
    plans = [replace(plan, duration_s=8.0, scene_s=8.0) for plan in plan_world(2, 4, ("Drum",), 36, (8, 8))]
    plans[1] = plans[1].with_faults(Fault("still", 4.0, 8.0))
    plans[2] = plans[2].with_faults(Fault("offscreen", 0.0, 8.0))
    world = tmp_path / "world"
    render_world(plans, world, SerialEngine(), lambda: None)
    recipe = load_recipe("keep_all")
    with Workspace.open(tmp_path / "w", "test", create=True) as workspace:
        workspace.adopt(recipe, force=False)
        for plan, start_s, verdict in (
            (plans[0], 0.0, "keep"),
            (plans[0], 4.0, "keep"),
            (plans[1], 0.0, "keep"),
            (plans[1], 4.0, "keep"),
            (plans[2], 0.0, "keep"),
            (plans[3], 0.0, "drop"),
        ):
            video = youtube_video_id(plan.native_id) if served else plan.video_id
            _insert(workspace, video, start_s, verdict, recipe.hash)
        found = judge_kept(workspace, world, 4.0)
    assert found.to_json() == {"kept": 5, "right": 3, "findable": 3, "found": 2}


def _insert(workspace: Workspace, video: str, start_s: float, verdict: str, recipe_hash: str) -> None:
    known = workspace.ledger.rows("SELECT 1 FROM videos WHERE video_id = ?", (video,))
    with workspace.ledger.transaction():
        if not known:
            row = {"video_id": video, "source": "synthetic", "labels": ["Drum"], "position": 0, "state": "fetched"}
            workspace.ledger.insert(schema.VIDEOS, [row])
        clip = {"clip_id": f"{video}_{round(start_s * 1000):09d}", "recipe_hash": recipe_hash, "video_id": video}
        span = {"start_s": start_s, "stop_s": start_s + 4, "label": "Drum", "verdict": verdict, "reasons": []}
        workspace.ledger.insert(schema.CLIPS, [clip | span])
