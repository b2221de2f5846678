"""Measures of the link between a thing's truth, its picture and its sound.

They look at pixels and samples only, so that what the truth says can be checked against them.
"""

import numpy as np

from v2a_data.synthetic.paint import Canvas
from v2a_data.synthetic.subject import Painted, Subject

FPS = 50.0
# An event may show this much before and after its time (s): a stick falls before a hit.
_EARLY_S, _LATE_S = 0.1, 0.14


def motion(thing: Painted, seconds: float, fps: float = FPS) -> np.ndarray:
    """Mean absolute change of brightness from frame to frame (0..255), `(seconds * fps,)`, on a grey ground."""
    canvas, last, found = Canvas(128, 72), None, []
    for index in range(round(seconds * fps)):
        canvas.clear((128, 128, 128))
        thing.paint(canvas, index / fps)
        frame = canvas.pixels().astype(np.float32).mean(axis=2)
        found.append(0.0 if last is None else float(np.abs(frame - last).mean()))
        last = frame
    if len(found) > 1:
        found[0] = found[1]
    return np.asarray(found)


def follows(curve: np.ndarray, activity: np.ndarray, rate_hz: float) -> tuple[float, float]:
    """How well a measured curve follows an activity: highest correlation over small lags, and the lag (s).

    A positive lag: the curve comes after.
    """
    lags = range(-round(_EARLY_S * rate_hz), round(_LATE_S * rate_hz) + 1)
    scores = [(_correlation(_shift(curve, -lag), activity), lag / rate_hz) for lag in lags]
    return max(scores)


def seen(subject: Subject, moves: np.ndarray, fps: float = FPS) -> tuple[float, float]:
    """How well motion follows the state or its change, and the lag (s)."""
    state = subject.state(np.arange(len(moves)) / fps)
    change = np.abs(np.gradient(state))
    rises = np.maximum(np.gradient(state), 0)
    return max(follows(np.sqrt(moves), np.sqrt(curve), fps) for curve in (state, change, rises))


def heard(subject: Subject, envelope: np.ndarray, rate_hz: float) -> tuple[float, float]:
    """How well a loudness curve (RMS per block) follows the state, and the lag (s)."""
    state = subject.state((np.arange(len(envelope)) + 0.5) / rate_hz)
    return follows(np.log(envelope + 1e-3), np.log(state + 0.05), rate_hz)


def matched(found_s: np.ndarray, wanted_s: np.ndarray, tolerance_s: float) -> float:
    """F1 of found times against wanted ones, one to one, 1 where both are empty."""
    left, hits = list(found_s), 0
    for wanted in wanted_s:
        near = min(left, key=lambda t: abs(t - wanted), default=None)
        if near is not None and abs(near - wanted) <= tolerance_s:
            hits += 1
            left.remove(near)
    total = len(found_s) + len(wanted_s)
    return 2 * hits / total if total else 1.0


def recalled(found_s: np.ndarray, wanted_s: np.ndarray, tolerance_s: float) -> float:
    """Share of the wanted times with a found one within the tolerance."""
    if not len(wanted_s):
        return 1.0
    return float(np.mean([np.abs(found_s - w).min(initial=np.inf) <= tolerance_s for w in wanted_s]))


def _shift(curve: np.ndarray, steps: int) -> np.ndarray:
    if steps == 0:
        return curve
    pad = np.full(abs(steps), curve[0] if steps > 0 else curve[-1])
    return np.concatenate([pad, curve[:-steps]]) if steps > 0 else np.concatenate([curve[-steps:], pad])


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if a.std() < 1e-9 or b.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
