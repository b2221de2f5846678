"""Do the sound's beginnings come when the real sound's do, or all of them earlier or later?"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from v2a.metrics.base import Clip, Sound
from v2a.metrics.features import ENVELOPE_PER_SECOND, HOPS_PER_SECOND

_MOST_S = 0.5
# At either end the spectra see mirrored sound, and the first rise is 0: every sound would fit every other there.
_EDGE = 3
_FRAME = HOPS_PER_SECOND // ENVELOPE_PER_SECOND


class InSync:
    """1 where the lag of the onset strengths is at most 40 ms (a frame of video at 25 per second), else 0.

    The lag is where their cross-correlation within ±0.5 s is largest; a sound without any change is not in sync,
    and a real one without any cannot be judged. By chance a tenth is. Sound that is dense and regular has a
    largest value at many lags: read it beside the shuffled rows.
    """

    name: ClassVar[str] = "in_sync"
    source: ClassVar[str] = "this project; definition in train/v2a/metrics/in_sync.py"
    licence: ClassVar[str] = "Apache-2.0 (own code)"
    higher_is_better: ClassVar[bool | None] = True
    headline: ClassVar[bool] = False

    def __call__(self, generated: Sequence[Sound], clips: Sequence[Clip]) -> list[float | None]:
        out: list[float | None] = []
        for sound, clip in zip(generated, clips, strict=True):
            hops = min(len(sound.onset_strength), len(clip.real.onset_strength)) - _EDGE
            made, real = (s.onset_strength[_EDGE : max(_EDGE, hops)] for s in (sound, clip.real))
            found = lag(made, real)
            out.append(float(found is not None and abs(found) <= _FRAME) if np.any(real != real[:1]) else None)
        return out


def lag(made: np.ndarray, real: np.ndarray) -> int | None:
    """By how many hops `made` comes after `real`, as long; the smaller of equals; null where either is constant."""
    if not np.any(made != made[:1]) or not np.any(real != real[:1]):
        return None
    hops = len(real)
    a, b = (part - part.mean(dtype=np.float64) for part in (made, real))
    most = min(hops - 1, round(_MOST_S * HOPS_PER_SECOND))
    lags = sorted(range(-most, most + 1), key=abs)
    products = [float(a[max(0, k) : hops + min(0, k)] @ b[max(0, -k) : hops - max(0, k)]) for k in lags]
    return lags[int(np.argmax(products))]
