"""What a picture and a sound are recognised by after another size, crop, bit rate or codec: 64 bits per moment.

Both are the same kind of number: signs of the lowest waves of a cosine transform, over a small grey picture
averaged for 0.64 s, and over a patch of the sound's loudness in bands 1.92 s long. Signs do not change with
brightness, contrast or volume, and few of them with coding. Everything is numpy, as an ffmpeg program may come
without chromaprint, and as that needs more sound than a clip of 2 s has.

Waves and what they are held against are whole numbers: sums of those are the same on any machine with any number of
threads, and no sign hangs on the order of adding.

A hash of 0 means: nothing to go by. Black and plain pictures, frozen ones, silence and steady tones have none,
so they never look like each other.
"""

from functools import lru_cache

import numpy as np

# Goes up whenever the same file would give other hashes.
VERSION = 1
# Grey pictures asked of the decode: width, height, per second.
LUMA = (64, 36, 12.5)
RATE_HZ = 16000
# A picture hash every 0.32 s, a sound hash every 0.08 s.
PICTURE_STEP_S, SOUND_STEP_S = 0.32, 0.08
# What the edges of a re-upload may have lost: a share of width and height, on every side.
CROPS = (0.0, 0.04, 0.08, 0.12)
# Decoded before and after a span (whole steps), so that its first and last moments have their surroundings.
MARGIN_S = 0.96

_WAVES = 8
_BLOCK = 4  # grey pictures per picture step
_BAR_LEVEL = 28
_LEAST_CONTRAST = 3.0
# A step counts as still when hardly any pixel changes by more than coding noise.
_CHANGED_LEVELS, _CHANGED_SHARE = 3, 0.0015

_FRAME, _HOP, _HOPS_PER_ROW = 1024, 640, 2
_BANDS, _LOW_HZ, _HIGH_HZ = 24, 200.0, 6000.0
_ROWS = 24
_SOUND_WAVES = (4, 16)
_SILENT_DB, _FLOOR_DB = -60.0, -75.0
_LEAST_CHANGE_DB = 0.6
_LEVEL_DB, _WAVE_HEIGHT = 0.01, 1000


def picture_hashes(luma: np.ndarray) -> np.ndarray:
    """`(n, crops)` uint64 from `(m, h, w)` uint8 at `LUMA`'s rate: hash i is of the second from i * 0.32 s on.

    Column c is of the picture without `CROPS[c]` of each side. Black bars are cut off first.
    """
    luma = without_bars(luma)
    count = len(luma) // _BLOCK
    if count == 0 or min(luma.shape[1:]) < _WAVES:
        return np.zeros((max(0, count), len(CROPS)), np.uint64)
    blocks = luma[: count * _BLOCK].reshape(count, _BLOCK, *luma.shape[1:]).sum(axis=1, dtype=np.int32)
    shown = blocks + np.concatenate([blocks[1:], blocks[-1:]])
    good = (shown.std(axis=(1, 2)) >= _LEAST_CONTRAST * 2 * _BLOCK) & _moves(luma, count)
    hashes = np.zeros((count, len(CROPS)), np.uint64)
    for column, crop in enumerate(CROPS):
        down, across = _basis(luma.shape[1], crop, 0), _basis(luma.shape[2], crop, 1)
        hashes[:, column] = np.where(good, _pack(down @ shown @ across.T), 0)
    return hashes


def without_bars(luma: np.ndarray) -> np.ndarray:
    """`(m, h, w)` without the rows and columns at its edges that stay black throughout."""
    if not len(luma):
        return luma
    bright = luma.max(axis=0) > _BAR_LEVEL
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    if not len(rows):
        return luma[:, :0, :0]
    return luma[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _moves(luma: np.ndarray, count: int) -> np.ndarray:
    """Whether anything moves in the two blocks that a hash is of, `(count,)`."""
    steps: np.ndarray = np.abs(np.diff(luma.astype(np.int16), axis=0)) > _CHANGED_LEVELS
    moved = np.zeros(len(luma), bool)
    moved[:-1] = np.mean(steps, axis=(1, 2)) > _CHANGED_SHARE
    blocks: np.ndarray = np.any(moved[: count * _BLOCK].reshape(count, _BLOCK), axis=1)
    return np.asarray(blocks | np.append(blocks[1:], False))


@lru_cache(maxsize=256)
def _basis(size: int, crop: float, first: int) -> np.ndarray:
    """`(8, size)`: waves `first` to `first + 7` over the middle of an edge, at the shares of pixels that lie in it."""
    edges = np.arange(size + 1) / size
    inside = np.clip(edges, crop, 1 - crop)
    share = np.diff(inside) * size
    centre = ((inside[:-1] + inside[1:]) / 2 - crop) / (1 - 2 * crop)
    waves = np.arange(first, first + _WAVES)[:, None]
    return _whole(np.cos(np.pi * waves * centre) * share)


def _whole(waves: np.ndarray) -> np.ndarray:
    return np.asarray(np.round(waves * _WAVE_HEIGHT), np.int64)


def _pack(values: np.ndarray) -> np.ndarray:
    """`(n,)` uint64: the signs of `(n, 8, 8)`, or of any 64 numbers each."""
    bits = np.packbits(values.reshape(len(values), 64) > 0, axis=1, bitorder="little")
    hashes: np.ndarray = bits.view("<u8")[:, 0].astype(np.uint64)
    return np.where(hashes == 0, np.uint64(1), hashes)


def sound_hashes(sound: np.ndarray) -> np.ndarray:
    """`(n,)` uint64 from `(samples,)` float32 at 16 kHz: hash i is of the 1.92 s around second i * 0.08."""
    levels = np.asarray(np.round(_levels(sound) / _LEVEL_DB), np.int64)
    count = len(levels)
    if not count:
        return np.zeros(0, np.uint64)
    # What lies beyond the ends is taken as their mirror image, so that a sample of 2 s has hashes too.
    padded = np.pad(levels, ((_ROWS // 2, _ROWS // 2), (0, 0)), mode="symmetric")
    patches = np.lib.stride_tricks.sliding_window_view(padded, _ROWS, axis=0)[:count]
    changes = patches * _ROWS - patches.sum(axis=2, keepdims=True)
    least = (_LEAST_CHANGE_DB / _LEVEL_DB * _ROWS) ** 2
    good = np.mean(np.square(changes), axis=(1, 2)) >= least
    good &= patches.max(axis=(1, 2)) > _SILENT_DB / _LEVEL_DB
    times, bands = _SOUND_WAVES
    along = _whole(np.cos(np.pi * np.arange(1, times + 1)[:, None] * (np.arange(_ROWS) + 0.5) / _ROWS))
    across = _whole(np.cos(np.pi * np.arange(bands)[:, None] * (np.arange(_BANDS) + 0.5) / _BANDS))
    values = across @ changes @ along.T
    return np.where(good, _pack(values), 0)


def _levels(sound: np.ndarray) -> np.ndarray:
    """`(rows, bands)` loudness in dB every 80 ms; row i begins at i * 80 ms."""
    count, per_row = len(sound) // (_HOP * _HOPS_PER_ROW), _HOPS_PER_ROW
    # Whole frames only: what is cut off in the middle sounds like a click, and clicks are like each other.
    hops = max(0, (len(sound) - _FRAME) // _HOP + 1) // per_row * per_row
    if hops == 0:
        return np.zeros((0, _BANDS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(sound, _FRAME)[: hops * _HOP : _HOP]
    edges, window = _band_edges(), np.hanning(_FRAME).astype(np.float32)
    # Mean power of a band's bins; a full-scale sine is near 0 dB.
    scale = (4 / _FRAME / np.diff(edges)).astype(np.float32)
    power = np.empty((hops, _BANDS), np.float32)
    for first in range(0, hops, 512):
        spectrum = np.abs(np.fft.rfft(frames[first : first + 512] * window, axis=1)) ** 2
        power[first : first + 512] = np.add.reduceat(spectrum, edges, axis=1)[:, :-1] * scale
    rows = power.reshape(-1, per_row, _BANDS).mean(axis=1)
    rows = np.pad(rows, ((0, count - len(rows)), (0, 0)), mode="edge")
    return np.asarray(np.maximum(10 * np.log10(rows + 1e-12), _FLOOR_DB), np.float32)


@lru_cache(maxsize=1)
def _band_edges() -> np.ndarray:
    """`(bands + 1,)` first bins of neighbouring bands, equally wide on the mel scale."""
    edges_hz = 700 * (np.geomspace(1 + _LOW_HZ / 700, 1 + _HIGH_HZ / 700, _BANDS + 1) - 1)
    return np.asarray(np.ceil(edges_hz * _FRAME / RATE_HZ), np.int64)
