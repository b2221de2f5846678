"""Loudness, silence, clipping and anti-phase of each window, from the sound as it is in the source."""

from functools import lru_cache
from typing import ClassVar

import numpy as np

from v2a_data.scorers.base import Field, Needs, VideoTap, WindowScores, WithoutModel

_BLOCK_S = 0.05
_SILENT_DBFS = -60.0
_CLIPPED = 0.999
_LUFS_OFFSET = -0.691
_NO_POWER = 1e-12


class Loudness(WithoutModel):
    """ITU-R BS.1770 loudness without gating, share of silent 50 ms blocks and of clipped samples, anti-phase sides."""

    name: ClassVar[str] = "loudness"
    version: ClassVar[int] = 2
    writes: ClassVar[tuple[Field, ...]] = (
        Field("loudness_lufs", "LUFS", "K-weighted loudness of the window, null in silence"),
        Field("silence", "0..1", "share of the window in which the sound is missing or below -60 dBFS"),
        Field("clipping", "0..1", "share of samples at full scale"),
        Field("antiphase", "0..1", "how far the first two sides cancel in a mono mix, null in silence"),
    )

    @property
    def needs(self) -> Needs:
        return Needs(sound="source")

    def _score(self, tap: VideoTap) -> WindowScores:
        rows = [_measure(tap.window_sound(i), tap.rate_hz) for i in range(len(tap.window_start_s))]
        columns = np.asarray(rows, np.float32).reshape(-1, len(self.writes)).T
        fields = {field.name: column for field, column in zip(self.writes, columns, strict=True)}
        return WindowScores(fields, np.full(len(rows), np.nan))


def _measure(sound: np.ndarray, rate_hz: int) -> tuple[float, float, float, float]:
    if sound.shape[1] == 0:
        return np.nan, 1.0, np.nan, np.nan
    clipping = float(np.mean(np.abs(sound) >= _CLIPPED))
    return window_lufs(sound, rate_hz), _silence(sound, rate_hz), clipping, antiphase(sound)


def antiphase(sound: np.ndarray) -> float:
    """0 for mono, for equal and for unrelated sides of `(channels, samples)`, 1 where one is the other turned over.

    NaN in silence.
    """
    left, right = sound[0], sound[min(1, len(sound) - 1)]
    energy = float(left @ left + right @ right)
    return max(0.0, -2 * float(left @ right) / energy) if energy > _NO_POWER * sound.shape[1] else np.nan


def _silence(sound: np.ndarray, rate_hz: int) -> float:
    block = max(1, round(_BLOCK_S * rate_hz))
    whole = round(2.0 / _BLOCK_S)
    count = sound.shape[1] // block
    power = np.square(sound[:, : count * block].reshape(len(sound), count, block)).mean(axis=2).max(axis=0)
    loud = int(np.sum(power > 10 ** (_SILENT_DBFS / 10)))
    return 1.0 - min(loud, whole) / whole


def window_lufs(sound: np.ndarray, rate_hz: int) -> float:
    """Loudness of `(channels, samples)` in LUFS after ITU-R BS.1770-4, ungated; NaN in silence.

    The K-weighting is applied to the spectrum; surround channels after the third count 1.41.
    """
    size = 1 << int(np.ceil(np.log2(sound.shape[1])))
    spectrum = np.fft.rfft(sound, size, axis=1)
    energy = np.square(np.abs(spectrum)) * _gain(size, rate_hz)
    power = (2 * energy.sum(axis=1) - energy[:, 0]) / size / sound.shape[1]
    weights = np.ones(len(sound))
    if len(sound) == 6:
        weights = np.asarray([1.0, 1.0, 1.0, 0.0, 1.41, 1.41])
    total = float(np.sum(weights * power))
    return _LUFS_OFFSET + 10 * np.log10(total) if total > _NO_POWER else np.nan


@lru_cache(maxsize=4)
def _gain(size: int, rate_hz: int) -> np.ndarray:
    """What the K-weighting makes of the energy at each bin of a spectrum of `size` samples."""
    return np.asarray(np.abs(k_weighting(np.fft.rfftfreq(size, 1 / rate_hz))) ** 2)


def k_weighting(frequency_hz: np.ndarray) -> np.ndarray:
    """Response of BS.1770's two filters, in the analogue form that holds for any sample rate."""
    s = 2j * np.pi * frequency_hz
    high_w, high_q, high_gain = 2 * np.pi * 1681.974450955533, 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    band_gain = high_gain**0.4996667741545416
    shelf = (high_gain * s**2 + band_gain * high_w / high_q * s + high_w**2) / (s**2 + high_w / high_q * s + high_w**2)
    low_w, low_q = 2 * np.pi * 38.13547087602444, 0.5003270373238773
    return np.asarray(shelf * s**2 / (s**2 + low_w / low_q * s + low_w**2))
