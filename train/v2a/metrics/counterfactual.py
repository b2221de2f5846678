"""Does a swapped video move the sound? Two videos of one label change places; their sounds should go with them."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from v2a.metrics.base import Clip, Sound
from v2a.metrics.swap_auc import centred, similarity

# With more clips of a label than this, each changes places with a fixed random choice of them.
_MOST_OTHERS = 50


class Counterfactual:
    """P(s_ii + s_jj > s_ij + s_ji) + ½ P(equal), over clips j of the same label and another video.

    s_ij is the similarity, as in `swap_auc`, of the sound generated for video i and the real sound of clip j: each
    of two sounds is judged against both clips, the one whose video it was made for and the one whose place it
    takes. That a real sound is like everything, or a generated one, cancels out, which in `swap_auc_in_class` it
    does only on average. A sound that is the same for all videos scores exactly 0.5 with every clip, whatever it is.
    """

    name: ClassVar[str] = "counterfactual"
    source: ClassVar[str] = "this project; definition in train/v2a/metrics/counterfactual.py"
    licence: ClassVar[str] = "Apache-2.0 (own code)"
    higher_is_better: ClassVar[bool | None] = True
    headline: ClassVar[bool] = False

    def __call__(self, generated: Sequence[Sound], clips: Sequence[Clip]) -> list[float | None]:
        made = [centred(sound) for sound in generated]
        real = [centred(clip.real) for clip in clips]
        own = [similarity(a, b) for a, b in zip(made, real, strict=True)]
        out: list[float | None] = []
        for i in range(len(clips)):
            others = _others(i, generated, clips)
            kept = [own[i] + own[j] for j in others]
            swapped = [similarity(made[i], real[j]) + similarity(made[j], real[i]) for j in others]
            wins = [(a > b) + 0.5 * (a == b) for a, b in zip(kept, swapped, strict=True)]
            out.append(float(np.mean(wins)) if wins else None)
        return out


def _others(i: int, generated: Sequence[Sound], clips: Sequence[Clip]) -> list[int]:
    """Clips that may change places with clip i: a shuffled sound not with the one that it was taken from."""
    found = [
        j
        for j, clip in enumerate(clips)
        if clip.label == clips[i].label
        and clip.group != clips[i].group
        and generated[i].of != clip.key
        and generated[j].of != clips[i].key
    ]
    if len(found) <= _MOST_OTHERS:
        return found
    return sorted(np.random.default_rng(i).choice(found, _MOST_OTHERS, replace=False).tolist())
