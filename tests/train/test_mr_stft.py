"""The multi-resolution STFT loss against librosa's transform."""

import librosa
import numpy as np
import pytest
import torch
from makers import noise_track
from v2a.models.mr_stft import RESOLUTIONS, mr_stft


def librosas(found: np.ndarray, right: np.ndarray) -> float:
    total = 0.0
    for size, step, width in RESOLUTIONS:
        options = {"n_fft": size, "hop_length": step, "win_length": width, "pad_mode": "constant"}
        made, real = (np.sqrt(np.maximum(np.abs(librosa.stft(x, **options)) ** 2, 1e-7)) for x in (found, right))
        total += np.linalg.norm(real - made) / np.linalg.norm(real) + np.abs(np.log(real / made)).mean()
    return float(total / len(RESOLUTIONS))


@pytest.mark.filterwarnings("ignore:n_fft=2048 is too large")
@pytest.mark.parametrize("samples", [1300, 4000])
def test_it_is_the_papers_by_librosas_spectra(samples: int) -> None:
    found, right = (noise_track(1.0, 16000, seed=seed)[:samples] for seed in (1, 2))
    ours = mr_stft(torch.from_numpy(found)[None], torch.from_numpy(right)[None])
    assert float(ours) == pytest.approx(librosas(found, right), rel=1e-3)


def test_phases_cost_nothing_and_another_pitch_much() -> None:
    time = torch.arange(16000) / 16000
    tone = 0.3 * torch.sin(2 * torch.pi * 440 * time)[None]
    shifted = 0.3 * torch.cos(2 * torch.pi * 440 * time)[None]
    other = 0.3 * torch.sin(2 * torch.pi * 880 * time)[None]
    assert float(mr_stft(tone, tone)) == 0
    assert float(mr_stft(-tone, tone)) == pytest.approx(0, abs=1e-5)
    assert float(mr_stft(shifted, tone)) < 0.2 * float(mr_stft(other, tone))


def test_silence_on_either_side_has_a_finite_loss_and_gradient() -> None:
    for found, right in (
        (0.1 * torch.randn(1, 4000), torch.zeros(1, 4000)),
        (torch.zeros(1, 4000), torch.rand(1, 4000)),
    ):
        x = found.clone().requires_grad_()
        loss = mr_stft(x, right)
        loss.backward()
        assert x.grad is not None and bool(torch.isfinite(loss)) and bool(torch.isfinite(x.grad).all())
