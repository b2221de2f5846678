"""Baseline rows that stand in every table: what a model must beat, and what it cannot."""

from collections.abc import Callable, Sequence

import numpy as np

from v2a.metrics.base import Clip, Sound

_SEED = 0


def _real(clips: Sequence[Clip]) -> list[Sound]:
    return [clip.real for clip in clips]


def _silence(clips: Sequence[Clip]) -> list[Sound]:
    return [Sound(np.zeros_like(clip.real.samples), clip.real.rate_hz) for clip in clips]


def _white_noise(clips: Sequence[Clip]) -> list[Sound]:
    rng = np.random.default_rng(_SEED)
    out = []
    for clip in clips:
        level = float(np.sqrt(np.mean(clip.real.samples**2)))
        out.append(Sound((level * rng.standard_normal(len(clip.real.samples))).astype(np.float32), clip.real.rate_hz))
    return out


def _shuffled(clips: Sequence[Clip]) -> list[Sound]:
    return _others(clips, lambda a, b: True)


def _class_shuffled(clips: Sequence[Clip]) -> list[Sound]:
    return _others(clips, lambda a, b: a.label == b.label)


def _others(clips: Sequence[Clip], fits: Callable[[Clip, Clip], bool]) -> list[Sound]:
    """Each clip gets the real sound of a random clip of another video that fits; silence where there is none."""
    rng = np.random.default_rng(_SEED)
    out = []
    for clip, silence in zip(clips, _silence(clips), strict=True):
        choices = [other for other in clips if other.group != clip.group and fits(clip, other)]
        out.append(choices[int(rng.integers(len(choices)))].real if choices else silence)
    return out


BASELINES: dict[str, Callable[[Sequence[Clip]], list[Sound]]] = {
    "real": _real,
    "class-matched shuffle": _class_shuffled,
    "shuffled": _shuffled,
    "white noise": _white_noise,
    "silence": _silence,
}
