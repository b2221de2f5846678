"""The two models in the package: what they weigh, that they are the pinned ones, that they tell things apart."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from v2a_data.errors import MissingToolError
from v2a_data.models import store
from v2a_data.models.registry import MODELS, TINY
from v2a_data.scorers.audio_tags import AudioTags
from v2a_data.scorers.base import Prompts, VideoTap
from v2a_data.scorers.clip_topic import ClipTopic
from v2a_data.synthetic import SUBJECTS
from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.paint import Canvas
from v2a_data.synthetic.scene import Scene
from v2a_data.synthetic.things import THINGS

FILES = [path for name in TINY for path in store.place(MODELS[name]).values()]
PAIR = {"Dog": ("/m/0bt9lr", "a dog"), "Drum": ("/m/026t6", "a drum")}


def scene(label: str, seed: int) -> Scene:
    draws = [Draw(np.random.default_rng([55, seed, k])) for k in (1, 2)]
    return Scene(SUBJECTS[label](draws[0], 4.0), draws[1], 4.0)


def test_they_are_pinned_and_small() -> None:
    assert all(file.sha256 for name in TINY for file in MODELS[name].files)
    assert sum(path.stat().st_size for path in FILES) <= 10_000_000
    for name in TINY:
        assert {check.result for check in store.verify(MODELS[name])} == {"ok"}


def test_they_have_at_most_5_million_parameters() -> None:
    import onnx
    from safetensors import safe_open

    with safe_open(store.find("v2a-tiny-clip").weights, "np") as file:
        clip = sum(int(np.prod(file.get_slice(key).get_shape())) for key in file.keys())  # noqa: SIM118
        assert {file.get_slice(key).get_dtype() for key in file.keys()} <= {"F16", "I64"}  # noqa: SIM118
    graph = onnx.load(store.find("v2a-tiny-tagger").weights).graph
    assert clip + sum(int(np.prod(item.dims)) for item in graph.initializer) <= 5_000_000


@pytest.mark.parametrize("name", TINY)
def test_altered_files_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in FILES:
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(store, "PACKAGED", tmp_path)
    weights = store.find(name).weights
    data = bytearray(weights.read_bytes())
    data[-9] ^= 1
    weights.write_bytes(data)
    with pytest.raises(MissingToolError, match="damaged"):
        store.find(name)


def test_the_scorer_sees_which_of_two_labels_is_there() -> None:
    side = json.loads(FILES[1].read_text())["vision_cfg"]["image_size"]
    words = {label: prompt for label, (_, prompt) in PAIR.items()}
    prompts = {
        label: Prompts((words[label],), tuple(w for w in words.values() if w != words[label])) for label in words
    }
    scorer = ClipTopic(ClipTopic.Config("v2a-tiny-clip", image_px=side, labels=prompts))
    scorer.open("cpu")
    for label in PAIR:
        taps = []
        for seed in range(3):
            canvas = Canvas(256, 144)
            scene(label, seed).picture(canvas, 1.0)
            frames = _resized(canvas, side)[None, None]
            taps.append(VideoTap("v", label, np.zeros(1), frames=frames, frame_s=np.zeros((1, 1))))
        seen = [float(found.fields["seen"][0]) for found in scorer.score(taps)]
        assert np.median(seen) > 0.5, (label, seen)


def test_the_scorer_rejects_a_title_card() -> None:
    side = json.loads(FILES[1].read_text())["vision_cfg"]["image_size"]
    on, off = ("a dog",), ("a person talking to the camera", "a slide with text", "a title card with a logo")
    scorer = ClipTopic(ClipTopic.Config("v2a-tiny-clip", image_px=side, on=on, off=off))
    scorer.open("cpu")
    canvas, shown = Canvas(256, 144), scene("Dog", 7)
    seen = []
    for thing in (None, THINGS["title_card"](Draw(np.random.default_rng(8)), 4.0, shown.subject)):
        shown.picture(canvas, 1.0, shown=thing)
        small = _resized(canvas, side)[None, None]
        tap = VideoTap("v", "Dog", np.zeros(1), frames=small, frame_s=np.zeros((1, 1)))
        seen.append(float(scorer.score([tap])[0].fields["seen"][0]))
    assert seen[0] > 0.5 > seen[1]


def _resized(canvas: Canvas, side: int) -> np.ndarray:
    from PIL import Image

    picture = Image.fromarray(canvas.pixels()).resize((round(side * 16 / 9), side), Image.Resampling.BOX)
    return np.asarray(picture)


def test_the_scorer_hears_which_of_two_labels_sounds() -> None:
    scorer = AudioTags(AudioTags.Config("v2a-tiny-tagger", labels={k: (mid,) for k, (mid, _) in PAIR.items()}))
    scorer.open("cpu")
    for label, other in (("Dog", "Drum"), ("Drum", "Dog")):
        own, wrong = [], []
        for seed in range(3):
            sound = scene(label, seed).sound(16000)[None]
            starts = np.asarray([0.0, 2.0])
            taps = [VideoTap("v", name, starts, sound=sound, rate_hz=16000) for name in (label, other)]
            found = [float(np.nanmax(row.fields["heard"])) for row in scorer.score(taps)]
            own.append(found[0])
            wrong.append(found[1])
        assert np.median(own) > 0.5 > np.median(wrong), (label, own, wrong)
    silent = VideoTap("v", "Dog", np.zeros(1), sound=np.zeros((1, 32000), np.float32), rate_hz=16000)
    assert scorer.score([silent])[0].fields["heard"][0] < 0.3
