"""The trainings of the tiny models run from nothing to files that the registry's readers take."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from safetensors.numpy import load_file

pytestmark = pytest.mark.slow
SCRIPTS = Path(__file__).parents[2] / "train" / "tiny_training"


def train(script: str, folder: Path, *words: str) -> str:
    command = [sys.executable, SCRIPTS / script, "--data", folder / "data", "--out", folder, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_both_trainings_run_from_nothing(tmp_path: Path) -> None:
    words = train("clip.py", tmp_path, "--scenes", "66", "--epochs", "1")
    weights = load_file(tmp_path / "v2a-tiny-clip.safetensors")
    assert sum(value.size for value in weights.values()) < 3_500_000
    assert {value.dtype for value in weights.values() if value.dtype.kind == "f"} == {np.dtype("float16")}
    assert "sha256" in words
    train("tagger.py", tmp_path, "--scenes", "330", "--steps", "3")
    session = onnxruntime.InferenceSession(str(tmp_path / "v2a-tiny-tagger.onnx"), providers=["CPUExecutionProvider"])
    chances = session.run(None, {"sound": np.zeros((2, 32000), np.float32)})[0]
    about = json.loads((tmp_path / "v2a-tiny-tagger.json").read_text())
    assert chances.shape == (2, len(about["classes"]))
    assert np.isfinite(chances).all()
    # The same seed again takes what is rendered, another number of scenes does not.
    assert "scenes," not in train("clip.py", tmp_path, "--scenes", "66", "--epochs", "1")
    assert "frames.npy" in train("clip.py", tmp_path, "--scenes", "55", "--epochs", "1")
