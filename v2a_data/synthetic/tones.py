"""Sound for the synthetic world: damped modes, coloured noise, slow random curves, voices."""

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files

import numpy as np

# Strength of overtone k whose pitch over time is given (Hz).
Gain = Callable[[int, np.ndarray], "np.ndarray | float"]

VOICE_RATE_HZ = 16000
_VOICES = 6
# Things sound at this rate; other rates are made from it, so that all hold the same sound.
SYNTH_HZ = 24000
# Octave bands from 31 Hz to 16 kHz.
BANDS_HZ = 31.25 * 2.0 ** np.arange(10)


def noise(rng: np.random.Generator, samples: int, tilt: float) -> np.ndarray:
    """Noise with power falling by `tilt` (0 white, 1 pink, 2 brown), unit standard deviation."""
    size = _quick(samples)
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


def resampled(sound: np.ndarray, rate_hz: int, wanted_hz: int, samples: int) -> np.ndarray:
    """The same sound at another rate, `(samples,)` float32: its spectrum cut or padded."""
    if rate_hz == wanted_hz:
        return np.pad(sound[:samples], (0, max(0, samples - len(sound)))).astype(np.float32)
    # Whole tenths of a second, so that both lengths are whole and the transform is quick.
    tenths = -(-len(sound) * 10 // rate_hz)
    size, wanted = tenths * rate_hz // 10, tenths * wanted_hz // 10
    spectrum = np.fft.rfft(sound, size)
    bins = min(size, wanted) // 2 + 1
    kept = np.zeros(wanted // 2 + 1, complex)
    kept[:bins] = spectrum[:bins]
    return np.fft.irfft(kept, wanted)[:samples].astype(np.float32) * np.float32(wanted / size)


def filtered(sound: np.ndarray, rate_hz: int, frequencies_hz: np.ndarray, gains_db: np.ndarray) -> np.ndarray:
    """Sound through a zero-phase filter given by points (frequency, gain), straight in log frequency."""
    size = _quick(len(sound) + rate_hz // 20)
    spectrum = np.fft.rfft(sound, size)
    bins = np.maximum(np.fft.rfftfreq(size, 1 / rate_hz), 1.0)
    spectrum *= 10 ** (np.interp(np.log(bins), np.log(frequencies_hz), gains_db) / 20)
    return np.fft.irfft(spectrum, size)[: len(sound)]


def band_noise(rng: np.random.Generator, samples: int, rate_hz: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Noise between two frequencies with soft edges (24 dB per octave), unit standard deviation."""
    size = _quick(samples)
    bins = np.maximum(np.fft.rfftfreq(size, 1 / rate_hz), 1.0)
    gain = 1 / (1 + (low_hz / bins) ** 4) / (1 + (bins / high_hz) ** 4)
    values = np.fft.irfft(np.fft.rfft(rng.standard_normal(size)) * gain, size)[:samples]
    return values / max(float(values.std()), 1e-9)


def reverberated(sound: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Sound through a room's impulse response, same length."""
    size = _quick(len(sound) + len(room))
    return np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(room, size), size)[: len(sound)]


def harmonics(phase: np.ndarray, rate_hz: int, base_hz: np.ndarray, gain: Gain, count: int) -> np.ndarray:
    """A tone with overtones: `gain(k, k * base_hz)` is the strength of overtone k over time.

    Overtones fade out towards half the rate.
    """
    out = np.zeros(len(phase))
    once = np.exp(1j * phase)
    power = np.ones(len(phase), complex)
    for k in range(1, count + 1):
        power = power * once
        pitch = k * base_hz
        fade = np.clip((0.48 * rate_hz - pitch) / (0.05 * rate_hz), 0, 1)
        out += power.imag * gain(k, pitch) * fade
    return out


def formants(pitch_hz: np.ndarray, peaks_hz: Sequence[float | np.ndarray], widths_hz: Sequence[float]) -> np.ndarray:
    """Gain of a mouth (0..about 1) at these frequencies: a sum of resonances."""
    total = np.zeros_like(pitch_hz, float)
    for n, (peak, width) in enumerate(zip(peaks_hz, widths_hz, strict=True)):
        total = total + 1 / (1 + ((pitch_hz - peak) / width) ** 2) / (1 + 0.6 * n)
    return total


def add_at(out: np.ndarray, piece: np.ndarray, start_s: float, rate_hz: int) -> None:
    """Add a piece to a track where it starts, cut at the ends."""
    first = round(start_s * rate_hz)
    skip = max(0, -first)
    stop = min(len(out), first + len(piece))
    if stop > first + skip:
        out[first + skip : stop] += piece[skip : stop - first]


def swell(samples: int, rate_hz: int, rise_s: float, fall_s: float) -> np.ndarray:
    """A piece's loudness 0..1: up within `rise_s`, down within `fall_s` at its end."""
    times = np.arange(samples) / rate_hz
    left = (samples - 1 - np.arange(samples)) / rate_hz
    return np.clip(times / max(rise_s, 1e-6), 0, 1) * np.clip(left / max(fall_s, 1e-6), 0, 1)


def _quick(samples: int) -> int:
    """The next length whose transform is quick: 2, 3, 4 or 5 quarters of a power of two and so on."""
    power = 1 << max(4, int(np.ceil(np.log2(max(samples, 2)))))
    return next(size for size in (power // 2 + power // 8, power * 3 // 4, power) if size >= samples)


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
