"""Does the loudness rise and fall with the real sound's?"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from v2a.metrics.base import Clip, Sound, pearson
from v2a.metrics.features import envelope


class EnvelopeCorrelation:
    """Pearson correlation of log(RMS + 1e-3) per 40 ms; 0 where either is constant.

    40 ms is a frame of video at 25 per second, whatever the model's view. A sound that is loud at the right
    times scores well with any timbre.
    """

    name: ClassVar[str] = "envelope_corr"
    source: ClassVar[str] = "this project; definition in train/v2a/metrics/envelope.py"
    licence: ClassVar[str] = "Apache-2.0 (own code)"
    higher_is_better: ClassVar[bool | None] = True
    headline: ClassVar[bool] = False

    def __call__(self, generated: Sequence[Sound], clips: Sequence[Clip]) -> list[float | None]:
        out: list[float | None] = []
        for sound, clip in zip(generated, clips, strict=True):
            a, b = (np.log(envelope(s.samples, s.rate_hz) + 1e-3) for s in (sound, clip.real))
            frames = min(len(a), len(b))
            out.append(pearson(a[:frames], b[:frames]) or 0.0)
        return out
