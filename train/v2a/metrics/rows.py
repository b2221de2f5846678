"""Baseline rows that stand in every table: what a model must beat, and what it cannot."""

from collections.abc import Callable

import numpy as np

from v2a.metrics.bank import Look, Setting, nearest
from v2a.metrics.base import Clip, Sound

_SEED = 0


def _real(setting: Setting) -> list[Sound]:
    return [clip.real for clip in setting.clips]


def _silence(setting: Setting) -> list[Sound]:
    return [Sound(np.zeros_like(clip.real.samples), clip.real.rate_hz) for clip in setting.clips]


def _white_noise(setting: Setting) -> list[Sound]:
    rng = np.random.default_rng(_SEED)
    out = []
    for clip in setting.clips:
        level = float(np.sqrt(np.mean(clip.real.samples**2)))
        out.append(Sound((level * rng.standard_normal(len(clip.real.samples))).astype(np.float32), clip.real.rate_hz))
    return out


def _mean(setting: Setting) -> list[Sound] | None:
    if setting.bank is None:
        return None
    mean, rate_hz = setting.bank.mean, setting.clips[0].real.rate_hz
    made = {size: Sound(_fitted(mean, size), rate_hz) for size in {len(clip.real.samples) for clip in setting.clips}}
    return [made[len(clip.real.samples)] for clip in setting.clips]


def _nearest_by_pixels(setting: Setting) -> list[Sound] | None:
    return _retrieved(setting, lambda look: look.pixels)


def _nearest_by_motion(setting: Setting) -> list[Sound] | None:
    return _retrieved(setting, lambda look: look.motion)


def _retrieved(setting: Setting, of: Callable[[Look], np.ndarray]) -> list[Sound] | None:
    """Each clip gets the real sound of the training clip that looks most like it."""
    bank = setting.bank
    if bank is None:
        return None
    known = [of(look) for look in bank.looks]
    out = []
    for clip, look in zip(setting.clips, setting.looks, strict=True):
        found = bank.sound(nearest(of(look), known))
        out.append(Sound(_fitted(found.samples, len(clip.real.samples)), found.rate_hz, found.of))
    return out


def _fitted(sound: np.ndarray, samples: int) -> np.ndarray:
    """Cut to so many samples, or with silence behind it."""
    return np.pad(sound[:samples], (0, max(0, samples - len(sound))))


def _shuffled(setting: Setting) -> list[Sound]:
    return _others(setting, lambda a, b: True)


def _class_shuffled(setting: Setting) -> list[Sound]:
    return _others(setting, lambda a, b: a.label == b.label)


def _others(setting: Setting, fits: Callable[[Clip, Clip], bool]) -> list[Sound]:
    """Each clip gets the real sound of a random clip of another video that fits; silence where there is none."""
    rng = np.random.default_rng(_SEED)
    out = []
    for clip, silence in zip(setting.clips, _silence(setting), strict=True):
        choices = [other for other in setting.clips if other.group != clip.group and fits(clip, other)]
        out.append(choices[int(rng.integers(len(choices)))].real if choices else silence)
    return out


# Null where the setting has no training clips.
BASELINES: dict[str, Callable[[Setting], list[Sound] | None]] = {
    "real": _real,
    "nearest by motion": _nearest_by_motion,
    "nearest by pixels": _nearest_by_pixels,
    "class-matched shuffle": _class_shuffled,
    "shuffled": _shuffled,
    "mean": _mean,
    "white noise": _white_noise,
    "silence": _silence,
}
