"""CED (Dinkel et al. 2024) in ONNX without its front end: it takes a log-mel spectrogram `(batch, 64, frames)`.

The front end is the one CED was trained with, as its hub card and configuration publish it: 16 kHz, Hann window
(periodic) of 512 samples, step 160, frames centred with reflected edges, power, 64 HTK mel bands of unit height
from 0 to 8 kHz, 10·log10 with floor 1e-10, at most 120 dB below the loudest value of the window. It was written
from that description and has not been run against the real weights here.
"""

import csv
from functools import cache
from pathlib import Path

import numpy as np

LIST = "class_labels_indices.csv"
_RATE_HZ = 16000
_SIZE = 512
_STEP = 160
_BANDS = 64
_FLOOR = 1e-10
_RANGE_DB = 120.0


def features(sound: np.ndarray) -> np.ndarray:
    """`(n, samples)` float32 at 16 kHz → `(n, 64, 1 + samples // 160)` float32 in dB."""
    padded = np.pad(sound.astype(np.float32), ((0, 0), (_SIZE // 2, _SIZE // 2)), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _SIZE, axis=1)[:, ::_STEP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_SIZE) / _SIZE)
    power = np.abs(np.fft.rfft(frames * window.astype(np.float32), axis=2)) ** 2
    decibel = 10 * np.log10(np.maximum(power @ mel_filters().T, _FLOOR))
    loudest = decibel.max(axis=(1, 2), keepdims=True)
    return np.maximum(decibel, loudest - _RANGE_DB).transpose(0, 2, 1).astype(np.float32)


def classes(path: Path) -> list[str]:
    """AudioSet's `class_labels_indices.csv`: rows `index,mid,display_name`, each index once from 0 on."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = {int(row["index"]): row["mid"] for row in csv.DictReader(file)}
    if sorted(rows) != list(range(len(rows))):
        raise ValueError(f"{path}: the indices are not 0 to {len(rows) - 1}")
    return [rows[i] for i in range(len(rows))]


@cache
def mel_filters() -> np.ndarray:
    """Weights `(64, 257)` of the mel bands: triangles in Hz between points evenly spaced on the HTK mel scale."""
    top = 2595 * np.log10(1 + _RATE_HZ / 2 / 700)
    points = 700 * (10 ** (np.linspace(0, top, _BANDS + 2) / 2595) - 1)
    low, middle, high = points[:-2, None], points[1:-1, None], points[2:, None]
    bins = np.linspace(0, _RATE_HZ / 2, _SIZE // 2 + 1)[None]
    return np.maximum(0, np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)))
