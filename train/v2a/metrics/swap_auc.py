"""Does the sound fit its own video better than another's? The headline: 0.5 for any sound that ignores the picture."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from v2a.metrics.base import Clip, Sound

# With more clips than this, each is compared with a fixed random choice of others.
_MOST_OTHERS = 200


class SwapAuc:
    """P(sim(generated_i, real_i) > sim(generated_i, real_j)) + ½ P(equal), over other clips j.

    sim is the Pearson correlation of centred log-mel spectra. Silence and any sound that is the same
    for all videos score exactly 0.5 on average; the real sound scores 1.
    """

    name: ClassVar[str] = "swap_auc"
    source: ClassVar[str] = "this project; definition in train/v2a/metrics/swap_auc.py"
    licence: ClassVar[str] = "Apache-2.0 (own code)"
    higher_is_better: ClassVar[bool | None] = True
    headline: ClassVar[bool] = False  # knowing the class is enough to win it
    in_class: ClassVar[bool] = False

    def __call__(self, generated: Sequence[Sound], clips: Sequence[Clip]) -> list[float | None]:
        made = [centred(sound) for sound in generated]
        real = [centred(clip.real) for clip in clips]
        return [self._one(i, made[i], real, clips, generated[i].of) for i in range(len(clips))]

    def _one(
        self, i: int, made: np.ndarray, real: Sequence[np.ndarray], clips: Sequence[Clip], donor: str | None
    ) -> float | None:
        """A shuffled sound is not compared with the clip that it was taken from: it would lose by construction."""
        others = [
            j
            for j, clip in enumerate(clips)
            if clip.group != clips[i].group
            and clip.key != donor
            and (not self.in_class or clip.label == clips[i].label)
        ]
        if not others:
            return None
        if len(others) > _MOST_OTHERS:
            others = sorted(np.random.default_rng(i).choice(others, _MOST_OTHERS, replace=False).tolist())
        own = similarity(made, real[i])
        rivals = np.asarray([similarity(made, real[j]) for j in others])
        return float(np.mean((own > rivals) + 0.5 * (own == rivals)))


class SwapAucInClass(SwapAuc):
    """The same among clips of the same label: knowing the class is not enough to score above 0.5."""

    name: ClassVar[str] = "swap_auc_in_class"
    headline: ClassVar[bool] = True
    in_class: ClassVar[bool] = True


def centred(sound: Sound) -> np.ndarray:
    """Its log-mel spectrum less the mean over bands and frames."""
    mel = sound.log_mel
    # Summed in float64, so that a constant gives exact zeros and silence fits all videos alike.
    return mel - mel.mean(dtype=np.float64)


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson over the frames both have; 0 where one is constant."""
    frames = min(a.shape[1], b.shape[1])
    x, y = a[:, :frames], b[:, :frames]
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(np.sum(x * y)) / norm if norm > 1e-6 else 0.0
