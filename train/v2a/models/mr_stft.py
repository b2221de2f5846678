"""Multi-resolution STFT loss of Yamamoto et al. 2020 (Parallel WaveGAN, arXiv:1910.11480).

At each resolution the spectral convergence and the mean absolute difference of log-magnitudes; their mean over the
resolutions. It does not ask for phases.
"""

import torch
from torch import Tensor

# Transform, hop and window in samples: the paper's, at 24 kHz there.
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
_POWER_FLOOR = 1e-7


def mr_stft(found: Tensor, right: Tensor) -> Tensor:
    """Loss of `found` (B, samples) against `right`; scalar, 0 when their magnitudes agree."""
    return torch.stack([_at(found, right, *resolution) for resolution in RESOLUTIONS]).mean()


def _at(found: Tensor, right: Tensor, size: int, step: int, width: int) -> Tensor:
    made, real = (_magnitudes(sound.float(), size, step, width) for sound in (found, right))
    convergence = torch.linalg.norm(real - made) / torch.linalg.norm(real)
    return convergence + (real.log() - made.log()).abs().mean()


def _magnitudes(sound: Tensor, size: int, step: int, width: int) -> Tensor:
    window = torch.hann_window(width, device=sound.device)
    # Silence around it, so that sounds shorter than a window have spectra too.
    spectra = torch.stft(sound, size, step, width, window, pad_mode="constant", return_complex=True)
    # Below the floor neither logarithms nor the root's slope may grow without bound.
    return (spectra.real.square() + spectra.imag.square()).clamp_min(_POWER_FLOOR).sqrt()
