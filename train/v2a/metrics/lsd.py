"""How far are the spectra from the real ones?"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from v2a.metrics.base import Clip, Sound
from v2a.metrics.features import FLOOR, spectrogram


class LogSpectralDistance:
    """Mean over frames of sqrt(mean over bins of (ln|X| − ln|Y|)²). Low for dull sounds too: never read alone."""

    name: ClassVar[str] = "lsd"
    source: ClassVar[str] = "Gray and Markel 1976, Distance measures for speech processing"
    licence: ClassVar[str] = "Apache-2.0 (own code)"
    higher_is_better: ClassVar[bool | None] = False
    headline: ClassVar[bool] = False

    def __call__(self, generated: Sequence[Sound], clips: Sequence[Clip]) -> list[float | None]:
        out: list[float | None] = []
        for sound, clip in zip(generated, clips, strict=True):
            a, b = (np.log(np.maximum(spectrogram(s.samples, s.rate_hz), FLOOR)) for s in (sound, clip.real))
            frames = min(a.shape[1], b.shape[1])
            out.append(float(np.mean(np.sqrt(np.mean((a[:, :frames] - b[:, :frames]) ** 2, axis=0)))))
        return out
