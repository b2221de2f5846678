"""Models that are here: hashed before they are used, without any network."""

import os
from pathlib import Path

import numpy as np
import pytest
from conftest_models import CLASSES, CLIP, TAGGER, clip_row, tagger_row
from hub import Hub
from test_pull import get

from v2a_data.errors import FatalError, MissingToolError, UsageError
from v2a_data.models import registry, store
from v2a_data.models.lock import LOCK_FILE
from v2a_data.models.registry import MODELS, ModelFile
from v2a_data.scorers.audio_tags import AudioTags
from v2a_data.scorers.base import VideoTap
from v2a_data.scorers.clip_topic import ClipTopic

WEIGHTS = "open_clip_model.safetensors"
STARTS = np.asarray([0.0, 2.0])


def topic(**more: object) -> ClipTopic:
    values = {"model": CLIP, "image_px": 32, "on": ("a plane",), "off": ("a drum",), **more}
    return ClipTopic(ClipTopic.Config(**values))  # type: ignore[arg-type]


def flip(path: Path) -> None:
    """Another byte in the middle, size and time as before."""
    before, body = path.stat(), bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def pulled(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Both models are here and the hub is gone."""
    get(clip_row())
    get(tagger_row())
    hub.files.clear()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    return folder


def test_scorers_work_offline_with_what_was_pulled(pulled: Path) -> None:
    clip, tags = topic(), AudioTags(AudioTags.Config(model=TAGGER, classes=("/m/0k5j",)))
    clip.open("cpu")
    tags.open("cpu")
    pictures = np.random.default_rng(0).integers(0, 255, (2, 1, 32, 40, 3), dtype=np.uint8)
    sound = np.random.default_rng(0).normal(0, 0.1, (1, 64000)).astype(np.float32)
    tap = VideoTap("sy-0-0", "x", STARTS, pictures, np.zeros((2, 1)), sound=sound, rate_hz=16000)
    seen, heard = clip.score([tap])[0].fields["seen"], tags.score([tap])[0].fields["heard"]
    assert ((seen > 0) & (seen < 1)).all()
    assert ((heard > 0) & (heard < 1)).all()
    for scorer, file in ((clip, WEIGHTS), (tags, "model.onnx")):
        assert scorer.model is not None
        assert scorer.model.sha256 == dict(store.expected(MODELS[scorer.config.model]))[file]
        assert scorer.model.licence == "none"


def test_a_missing_model_names_the_command(folder: Path) -> None:
    for scorer in (topic(), AudioTags(AudioTags.Config(model="ced-tiny"))):
        with pytest.raises(MissingToolError) as caught:
            scorer.open("cpu")
        assert caught.value.exit_code == 5
        assert caught.value.hint == f"run `v2a-data models pull {scorer.config.model}`"
        assert scorer.model is not None and scorer.model.sha256 is None


def test_any_model_of_open_clip_can_be_named(folder: Path) -> None:
    name = "ViT-B-32/laion2b_s34b_b79k"
    row = registry.find_row(name)
    assert row is not None
    assert (row.repo, [f.name for f in row.files]) == ("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", [WEIGHTS])
    with pytest.raises(MissingToolError) as caught:
        topic(model=name).open("cpu")
    assert caught.value.hint == f"run `v2a-data models pull {name}`"


@pytest.mark.parametrize("name", ["ViT-B-32-256/datacomp", "no/such", "ced-tniy", "a/../b", "/etc/passwd"])
def test_unknown_names_show_the_nearest(name: str, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"no model named .*(did you mean|known:)"):
        store.find(name)


def test_a_flipped_byte_is_found(pulled: Path) -> None:
    assert {check.result for check in store.verify(MODELS[CLIP])} == {"ok"}
    flip(pulled / CLIP / WEIGHTS)
    results = {check.file: check.result for check in store.verify(MODELS[CLIP])}
    assert results == {WEIGHTS: "damaged", f"{CLIP}.json": "ok"}
    store._sha256_of.cache_clear()  # as in a new process
    with pytest.raises(MissingToolError, match="is damaged") as caught:
        topic().open("cpu")
    assert caught.value.hint == f"run `v2a-data models pull {CLIP}`"


def test_a_rewritten_file_is_found_in_the_same_process(pulled: Path) -> None:
    store.find(TAGGER)
    (pulled / TAGGER / "model.onnx").write_bytes(b"other")
    with pytest.raises(MissingToolError, match="is damaged"):
        store.find(TAGGER)


def test_a_file_that_nobody_pulled_is_not_trusted(folder: Path) -> None:
    for file in MODELS[CLIP].files:
        (folder / CLIP).mkdir(parents=True, exist_ok=True)
        (folder / CLIP / file.name).write_bytes(b"x")
    with pytest.raises(MissingToolError, match="nothing says what it should be"):
        store.find(CLIP)


def test_the_tables_hash_needs_no_lock_file(pulled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pins = store.expected(MODELS[TAGGER])
    monkeypatch.setitem(MODELS, TAGGER, tagger_row(files=tuple(ModelFile(n, s) for n, s in pins.items())))
    (pulled / LOCK_FILE).unlink()
    assert store.find(TAGGER).sha256 == pins["model.onnx"] == store.recorded_sha256(TAGGER)


def test_the_recipes_sha256_is_enforced(pulled: Path) -> None:
    topic(sha256=store.recorded_sha256(CLIP)).open("cpu")
    with pytest.raises(MissingToolError, match="not the model of the recipe"):
        topic(sha256="0" * 64).open("cpu")
    with pytest.raises(MissingToolError, match="not the model of the recipe"):
        AudioTags(AudioTags.Config(model=TAGGER, sha256="0" * 64)).open("cpu")


def test_models_of_another_kind_are_refused(pulled: Path) -> None:
    with pytest.raises(UsageError, match="cannot be used here"):
        topic(model=TAGGER).open("cpu")
    for name in (CLIP, "efficientat-mn10", "ast-0.4593", "clap-htsat-unfused"):
        with pytest.raises(UsageError, match="cannot be used here"):
            AudioTags(AudioTags.Config(model=name)).open("cpu")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"models": {"a": {}}}', '{"models": 3}'])
def test_a_damaged_lock_file_is_said(text: str, folder: Path) -> None:
    folder.mkdir()
    (folder / LOCK_FILE).write_text(text)
    with pytest.raises(FatalError, match="is damaged"):
        store.find(CLIP)


def test_local_files_need_no_store(made: dict[str, Path], folder: Path) -> None:
    tags = AudioTags(AudioTags.Config(model=str(made["model.onnx"]), family="ced", classes=CLASSES[:1]))
    tags.open("cpu")
    topic(weights=str(made[WEIGHTS]), architecture_file=str(made[f"{CLIP}.json"])).open("cpu")
    assert not folder.exists()


def test_pictures_are_scaled_as_the_tag_says(
    made: dict[str, Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("open_clip.get_pretrained_cfg", lambda *_: {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)})
    scorer = topic(model=f"{CLIP}/tag", weights=str(made[WEIGHTS]), architecture_file=str(made[f"{CLIP}.json"]))
    scorer.open("cpu")
    assert tuple(scorer._model.visual.image_mean) == (0.5, 0.5, 0.5)
    assert tuple(scorer._model.visual.image_std) == (0.25, 0.25, 0.25)
