"""Taggers that take sound as it is: `(batch, samples)` float32 at 16 kHz; classes in `<model>.json`."""

import json
from pathlib import Path

import numpy as np

LIST = ".json"


def features(sound: np.ndarray) -> np.ndarray:
    """The sound itself."""
    return sound


def classes(path: Path) -> list[str]:
    """`{"classes": [mid, …]}`."""
    return list(json.loads(path.read_text(encoding="utf-8"))["classes"])
