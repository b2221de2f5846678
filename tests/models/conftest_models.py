"""A models folder of its own, a hub on loopback, and two small models in the real formats."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hub import COMMIT, Hub, serve
from tiny import make_ced, make_clip, make_tagger

from v2a_data.models import registry, store
from v2a_data.models.registry import ModelFile, ModelRow

CLIP = "v2a-hub-clip"
TAGGER = "v2a-hub-tagger"
CLASSES = ("/m/0cmf2", "/m/04rlf", "/m/026t6", "/m/09x0r")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """File name → file of a random CLIP and a random tagger."""
    folder = tmp_path_factory.mktemp("made")
    architecture, weights = make_clip(folder, steps=0, name=CLIP)
    tagger = make_ced(folder, CLASSES)
    return {
        architecture.name: architecture,
        "open_clip_model.safetensors": weights,
        "model.onnx": tagger,
        "class_labels_indices.csv": folder / "class_labels_indices.csv",
    }


def clip_row(**more: object) -> ModelRow:
    files = (ModelFile("open_clip_model.safetensors"), ModelFile(f"{CLIP}.json"))
    about = {"licence": "none", "source": "random", "note": "a test"}
    values = {"kind": "clip", "scorer": "clip_topic", "repo": "org/clip", "files": files, **about, **more}
    return ModelRow(name=CLIP, **values)  # type: ignore[arg-type]


def tagger_row(**more: object) -> ModelRow:
    files = (ModelFile("model.onnx"), ModelFile("class_labels_indices.csv"))
    about = {"licence": "none", "source": "random", "note": "a test", "family": "ced", "revision": COMMIT}
    values = {"kind": "tagger", "scorer": "audio_tags", "repo": "org/tagger", "files": files, **about, **more}
    return ModelRow(name=TAGGER, **values)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder, empty; the table has the two small models beside its own."""
    monkeypatch.setenv("V2A_MODELS", str(tmp_path / "models"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(registry.MODELS, CLIP, clip_row())
    monkeypatch.setitem(registry.MODELS, TAGGER, tagger_row())
    return tmp_path / "models"


@pytest.fixture
def hub(made: dict[str, Path], folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The hub that has both, as the endpoint."""
    with serve(Hub()) as served:
        for name, path in made.items():
            served.put(
                "org/tagger" if name in ("model.onnx", "class_labels_indices.csv") else "org/clip",
                name,
                path.read_bytes(),
            )
        monkeypatch.setenv("HF_ENDPOINT", served.address)
        yield served


@pytest.fixture
def tiny(made: dict[str, Path], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A build that has two models of no sense in the place of its own tiny ones, unpinned."""
    packaged = tmp_path / "tiny"
    packaged.mkdir()
    _, weights = make_clip(packaged, steps=0, name="v2a-tiny-clip")
    shutil.move(weights, packaged / "v2a-tiny-clip.safetensors")
    make_tagger(packaged, ("/m/0cmf2", "/m/04rlf"), name="v2a-tiny-tagger")
    monkeypatch.setattr(store, "PACKAGED", packaged)
    for name in registry.TINY:
        row = registry.MODELS[name]
        unpinned = tuple(ModelFile(file.name) for file in row.files)
        monkeypatch.setitem(registry.MODELS, name, replace(row, files=unpinned))
    return packaged
