"""Sound for the synthetic world: damped modes, coloured noise, slow random curves, voices."""

from functools import cache
from importlib.resources import files

import numpy as np

VOICE_RATE_HZ = 16000
_VOICES = 6


def noise(rng: np.random.Generator, samples: int, tilt: float) -> np.ndarray:
    """Noise with power falling by `tilt` (0 white, 1 pink, 2 brown), unit standard deviation."""
    size = 1 << max(4, int(np.ceil(np.log2(max(samples, 2)))))
    spectrum = np.fft.rfft(rng.standard_normal(size))
    bins = np.arange(len(spectrum))
    spectrum *= np.maximum(bins, size / 2000) ** (-tilt / 2)
    spectrum[0] = 0
    values = np.fft.irfft(spectrum, size)[:samples]
    return values / max(float(values.std()), 1e-9)


def slow_curve(rng: np.random.Generator, times_s: np.ndarray, period_s: float) -> np.ndarray:
    """A smooth random curve within about −1..1 that turns round every `period_s` or so."""
    phases = rng.uniform(0, 2 * np.pi, 3)
    factors = rng.uniform(0.6, 1.6, 3)
    waves = [np.sin(2 * np.pi * times_s / (period_s * f) + p) for p, f in zip(phases, factors, strict=True)]
    return np.mean(waves, axis=0) * 1.3


def damped_modes(rate_hz: int, frequencies_hz: np.ndarray, decays_s: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
    """One strike: a sum of sines that die away, long enough for the slowest to fade."""
    times = np.arange(int(rate_hz * 5 * float(decays_s.max()))) / rate_hz
    waves = np.sin(2 * np.pi * frequencies_hz[:, None] * times) * np.exp(-times / decays_s[:, None])
    return (amplitudes[:, None] * waves).sum(axis=0)


@cache
def voice(index: int) -> np.ndarray:
    """One of the shipped utterances, `(samples,)` float32 at 16 kHz."""
    import av

    with (
        (files("v2a_data.synthetic") / "voice" / f"utterance_{index % _VOICES}.ogg").open("rb") as file,
        av.open(file, "r") as container,
    ):
        resampler = av.AudioResampler(format="flt", layout="mono", rate=VOICE_RATE_HZ)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def speech(rng: np.random.Generator, samples: int, rate_hz: int) -> np.ndarray:
    """Talking without long pauses, `(samples,)`."""
    parts, total = [], 0
    while total < samples:
        words = voice(int(rng.integers(_VOICES)))
        positions = np.arange(int(len(words) * rate_hz / VOICE_RATE_HZ)) * VOICE_RATE_HZ / rate_hz
        part = np.interp(positions, np.arange(len(words)), words)
        parts.append(part)
        total += len(part)
    return np.concatenate(parts)[:samples]
