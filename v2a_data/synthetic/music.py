"""A bed of music: chords, a bass and a melody of decaying tones, without drums."""

import numpy as np

from v2a_data.synthetic.tones import add_at, swell

# Triads as steps of a major or minor scale, four bars each; semitones of both scales.
_TURNS = ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 4, 0), (0, 5, 1, 4), (0, 2, 3, 4))
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))


def music(rng: np.random.Generator, samples: int, rate_hz: int) -> np.ndarray:
    """Music in a key, tempo and instrument of its own, `(samples,)` float32 with its peak at 0.5.

    It begins in the middle of a bar, at full strength, and does not end.
    """
    beat_s = 60 / float(rng.uniform(70, 150))
    key_hz = 110 * 2 ** (float(rng.integers(12)) / 12) * float(rng.uniform(0.985, 1.015))
    scale = _SCALES[int(rng.integers(2))]
    turn = _TURNS[int(rng.integers(len(_TURNS)))]
    lead, pad = _Instrument(rng), _Instrument(rng)
    picked = bool(rng.random() < 0.6)
    out = np.zeros(samples)
    start_s = -float(rng.uniform(4, 8)) * beat_s
    step = int(rng.integers(7, 14))
    for bar in range(int((samples / rate_hz - start_s) / (4 * beat_s)) + 1):
        bar_s = start_s + bar * 4 * beat_s
        triad = [turn[bar % 4] + k for k in (0, 2, 4)]
        add_at(out, 0.8 * pad.note(rate_hz, _pitch(key_hz, scale, triad[0]) / 2, 4 * beat_s), bar_s, rate_hz)
        if picked:
            for k in range(8):
                pitch = _pitch(key_hz, scale, triad[k % 3] + 7 * (k % 4 == 3))
                add_at(out, 0.5 * pad.note(rate_hz, pitch, beat_s), bar_s + k * beat_s / 2, rate_hz)
        else:
            for k in triad:
                add_at(out, 0.4 * pad.note(rate_hz, _pitch(key_hz, scale, k), 4 * beat_s), bar_s, rate_hz)
        at = 0.0
        while at < 4:
            length = float(rng.choice([0.5, 1.0, 1.0, 2.0]))
            step = int(np.clip(step + rng.integers(-2, 3), 7, 18))
            if rng.random() < 0.85:
                tone = lead.note(rate_hz, _pitch(key_hz, scale, step), length * beat_s)
                add_at(out, float(rng.uniform(0.5, 0.9)) * tone, bar_s + at * beat_s, rate_hz)
            at += length
    return (out * (0.5 / max(float(np.abs(out).max()), 1e-9))).astype(np.float32)


class _Instrument:
    """How a note's overtones fall and how it rings: plucked, struck or bowed."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.falls = float(rng.uniform(0.8, 2.2))
        self.odd = float(rng.uniform(0.3, 1.0))
        self.ring_s = float(rng.uniform(0.25, 1.2))
        self.rise_s = float(rng.choice([0.004, 0.01, 0.06]))
        self.wobble = float(rng.uniform(0.0, 0.004))

    def note(self, rate_hz: int, pitch_hz: float, length_s: float) -> np.ndarray:
        """One tone that decays and is let go after its length."""
        samples = round((length_s + 0.12) * rate_hz)
        times = np.arange(samples) / rate_hz
        phase = 2 * np.pi * pitch_hz * (times + self.wobble / 5.5 * np.sin(5.5 * times))
        out = np.zeros(samples)
        for k in range(1, 9):
            if k * pitch_hz < 0.45 * rate_hz:
                strength = (1.0 if k % 2 else self.odd) / k**self.falls
                out += strength * np.exp(-times * (0.7 + 0.3 * k) / self.ring_s) * np.sin(k * phase)
        return out * swell(samples, rate_hz, self.rise_s, 0.12)


def _pitch(key_hz: float, scale: tuple[int, ...], step: int) -> float:
    """The pitch of a step of the scale, counted on over octaves."""
    octave, degree = divmod(step, len(scale))
    return float(key_hz * 2 ** (octave + scale[degree] / 12))
