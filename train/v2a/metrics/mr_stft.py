"""How far are the spectra from the real ones, at three resolutions?"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from v2a.metrics.base import Clip, Sound

# FFT, hop and window in samples: those of the source.
RESOLUTIONS = ((512, 50, 240), (1024, 120, 600), (2048, 240, 1200))
POWER_FLOOR = 1e-7
_SILENT = 1e-10
# Spectra taken at once: few enough to stay in the processor's cache.
_AT_ONCE = 64


class MultiResolutionStft:
    """Spectral convergence ‖|Y| − |X|‖ / ‖|Y|‖ plus mean of |ln|X| − ln|Y||, averaged over three resolutions.

    X is generated, Y real; null where the real one is silent. As with `lsd`, dull sound does not score badly.
    """

    name: ClassVar[str] = "mr_stft"
    source: ClassVar[str] = "Yamamoto, Song and Kim 2020, Parallel WaveGAN, arXiv:1910.11480, section 2.2"
    licence: ClassVar[str] = "Apache-2.0 (own code)"
    higher_is_better: ClassVar[bool | None] = False
    headline: ClassVar[bool] = False

    def __call__(self, generated: Sequence[Sound], clips: Sequence[Clip]) -> list[float | None]:
        return [
            distance(sound.samples, clip.real.samples) if np.mean(clip.real.samples**2) > _SILENT else None
            for sound, clip in zip(generated, clips, strict=True)
        ]


def distance(generated: np.ndarray, real: np.ndarray) -> float:
    """The distance of two sounds over the samples that both have; 0 for the same."""
    samples = min(len(generated), len(real))
    parts = [_at_one(generated[:samples], real[:samples], *resolution) for resolution in RESOLUTIONS]
    return float(np.mean(parts))


def _at_one(generated: np.ndarray, real: np.ndarray, size: int, hop: int, window: int) -> float:
    """Convergence and logarithms at one resolution, summed up in pieces."""
    x, y = (_frames(sound, size, hop, window) for sound in (generated, real))
    difference = energy = logarithms = 0.0
    for first in range(0, len(x), _AT_ONCE):
        a, b = (_magnitudes(frames[first : first + _AT_ONCE], size) for frames in (x, y))
        difference += float(np.square(b - a).sum(dtype=np.float64))
        energy += float(np.square(b).sum(dtype=np.float64))
        logarithms += float(np.abs(np.log(a) - np.log(b)).sum(dtype=np.float64))
    return float(np.sqrt(difference / energy)) + logarithms / (len(x) * (size // 2 + 1))


def _frames(sound: np.ndarray, size: int, hop: int, window: int) -> np.ndarray:
    """`(samples / hop + 1, window)`: frame k is centred on sample k · hop, edges mirrored."""
    half = size // 2
    padded = np.pad(sound.astype(np.float32), half, mode="reflect" if len(sound) > half else "constant")
    inner = padded[half - window // 2 :]
    return np.lib.stride_tricks.sliding_window_view(inner, window)[::hop][: len(sound) // hop + 1]


def _magnitudes(frames: np.ndarray, size: int) -> np.ndarray:
    """`(n, size / 2 + 1)`, floor √1e-7. Zeros that fill a frame up to `size` may stand on either side of it."""
    window = frames.shape[1]
    hann = np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window), np.float32)
    spectra = np.fft.rfft(frames * hann, size, axis=1)
    return np.sqrt(np.maximum(spectra.real**2 + spectra.imag**2, POWER_FLOOR))
