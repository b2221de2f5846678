"""Sound features that the models and the metrics share (CONTRACTS, "Sound features").

Hop = rate / 50, window 1024 at 16 kHz; 80 mel bands from 0 to 8 kHz; logarithms with floor 1e-5;
envelope = RMS per 40 ms; onsets by spectral flux with an adaptive threshold.
"""

from functools import cache

import numpy as np

WINDOW = 1024
MELS = 80
MEL_TOP_HZ = 8000.0
FLOOR = 1e-5
HOPS_PER_SECOND = 50
ENVELOPE_PER_SECOND = 25
ONSET_TOLERANCE_S = 0.05
ONSET_RISE_DB = 1.5
ONSET_SHARE = 0.07
QUIET = 1e-4


def hop(rate_hz: int) -> int:
    """Audio samples between spectra."""
    return rate_hz // HOPS_PER_SECOND


def spectrogram(sound: np.ndarray, rate_hz: int) -> np.ndarray:
    """Magnitudes `(WINDOW / 2 + 1, samples / hop)`; column k is centred on sample k · hop, edges mirrored."""
    step = hop(rate_hz)
    padded = np.pad(sound.astype(np.float32), WINDOW // 2, mode="reflect" if len(sound) > WINDOW // 2 else "constant")
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::step][: len(sound) // step]
    return np.abs(np.fft.rfft(frames * _hann(), axis=1)).astype(np.float32).T


@cache
def _hann() -> np.ndarray:
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW), np.float32)


@cache
def mel_filters(rate_hz: int) -> np.ndarray:
    """`(MELS, WINDOW / 2 + 1)` triangles on Slaney's mel scale with equal areas."""
    top = min(MEL_TOP_HZ, rate_hz / 2)
    edges = _mel_to_hz(np.linspace(0.0, _hz_to_mel(top), MELS + 2))
    bins = np.fft.rfftfreq(WINDOW, 1 / rate_hz)
    rising = (bins[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins[None]) / (edges[2:] - edges[1:-1])[:, None]
    weights = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return np.asarray(weights, np.float32)


def _hz_to_mel(hz: float) -> float:
    return hz / (200.0 / 3) if hz < 1000.0 else 15.0 + np.log(hz / 1000.0) / (np.log(6.4) / 27.0)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15.0, mel * (200.0 / 3), 1000.0 * np.exp((mel - 15.0) * (np.log(6.4) / 27.0)))


def log_mel(sound: np.ndarray, rate_hz: int) -> np.ndarray:
    """`(MELS, frames)` natural logarithms of mel magnitudes, floor 1e-5."""
    return np.log(np.maximum(mel_filters(rate_hz) @ spectrogram(sound, rate_hz), FLOOR))


def envelope(sound: np.ndarray, rate_hz: int) -> np.ndarray:
    """RMS per 40 ms."""
    size = rate_hz // ENVELOPE_PER_SECOND
    blocks = sound[: len(sound) // size * size].reshape(-1, size).astype(np.float64)
    return np.sqrt(np.mean(blocks**2, axis=1))


def onset_strength(sound: np.ndarray, rate_hz: int) -> np.ndarray:
    """Spectral flux per frame: mean rise of the log-mel bands in dB, non-negative."""
    mel = mel_filters(rate_hz) @ spectrogram(sound, rate_hz)
    power_db = 20 * np.log10(np.maximum(mel, FLOOR))
    power_db = np.maximum(power_db, power_db.max() - 80.0) if power_db.size else power_db
    rise = np.maximum(0.0, np.diff(power_db, axis=1, prepend=power_db[:, :1]))
    return rise.mean(axis=0)


def onsets(sound: np.ndarray, rate_hz: int) -> np.ndarray:
    """Times (s) of onsets: local maxima of the flux that stand out of their neighbourhood.

    A frame counts when it is the largest within 60 ms, lies above the mean of 200 ms around it by
    1.5 dB and by 0.07 of the sound's range of flux, and comes more than 60 ms after the onset before.
    Steady noise has none.
    """
    flux = onset_strength(sound, rate_hz)
    if flux.size == 0 or float(np.abs(sound).max()) < QUIET:
        return np.zeros(0)
    rise = max(ONSET_RISE_DB, ONSET_SHARE * float(flux.max() - flux.min()))
    found: list[int] = []
    for i in range(len(flux)):
        nearby, around = flux[max(0, i - 3) : i + 4], flux[max(0, i - 10) : i + 11]
        if flux[i] == nearby.max() and flux[i] >= around.mean() + rise and (not found or i - found[-1] > 3):
            found.append(i)
    return np.asarray(found) / HOPS_PER_SECOND
