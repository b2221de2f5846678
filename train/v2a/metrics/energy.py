"""Is it as loud as the real sound? A model that collapsed to silence shows here."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from v2a.metrics.base import Clip, Sound

COLLAPSED_BELOW = 0.1
COLLAPSED_ABOVE = 10.0


class EnergyRatio:
    """Energy of the generated over that of the real sound; null where the real one is silent."""

    name: ClassVar[str] = "energy_ratio"
    source: ClassVar[str] = "this project; definition in train/v2a/metrics/energy.py"
    licence: ClassVar[str] = "Apache-2.0 (own code)"
    higher_is_better: ClassVar[bool | None] = None
    headline: ClassVar[bool] = False

    def __call__(self, generated: Sequence[Sound], clips: Sequence[Clip]) -> list[float | None]:
        out: list[float | None] = []
        for sound, clip in zip(generated, clips, strict=True):
            real = float(np.mean(clip.real.samples.astype(np.float64) ** 2))
            out.append(float(np.mean(sound.samples.astype(np.float64) ** 2)) / real if real > 1e-10 else None)
        return out
