"""Are there onsets where the real sound has them?"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from v2a.metrics.base import Clip, Sound
from v2a.metrics.features import ONSET_TOLERANCE_S


class OnsetF1:
    """F1 of detected onsets against those of the real sound, matched one to one within 50 ms.

    1 when both have none. Pairs are made in order of time, which finds as many as there can be; nearest first
    can lose one. What is detected in the real sound stands for the truth, so the real sound scores 1. Dense
    regular clicks score well too: read it beside the shuffled rows.
    """

    name: ClassVar[str] = "onset_f1"
    source: ClassVar[str] = "as in mir_eval.onset, Raffel et al. 2014"
    licence: ClassVar[str] = "Apache-2.0 (own code)"
    higher_is_better: ClassVar[bool | None] = True
    headline: ClassVar[bool] = False

    def __call__(self, generated: Sequence[Sound], clips: Sequence[Clip]) -> list[float | None]:
        return [f1(sound.onsets, clip.real.onsets) for sound, clip in zip(generated, clips, strict=True)]


def f1(found: np.ndarray, wanted: np.ndarray, tolerance_s: float = ONSET_TOLERANCE_S) -> float:
    """F1 of times matched one to one, in order, within the tolerance."""
    if len(found) == 0 and len(wanted) == 0:
        return 1.0
    hits, next_wanted = 0, 0
    for time in np.sort(found):
        while next_wanted < len(wanted) and wanted[next_wanted] < time - tolerance_s:
            next_wanted += 1
        if next_wanted < len(wanted) and wanted[next_wanted] <= time + tolerance_s:
            hits += 1
            next_wanted += 1
    return 2 * hits / (len(found) + len(wanted))
