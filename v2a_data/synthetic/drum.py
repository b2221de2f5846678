"""A drum and two sticks.

State: a list of hits with strengths. A stick rises before a hit by as much as the hit is strong and
falls on the skin at its time; the skin dips and glows, and sounds with the modes of a membrane whose
pitch follows the drawn size.
"""

import numpy as np

from v2a_data.synthetic.paint import Canvas, any_colour, shaded, texture
from v2a_data.synthetic.tones import damped_modes, noise, slow_curve

# Zeros of Bessel functions over the first one: the overtones of a round membrane.
_MODES = np.asarray([1.0, 1.593, 2.136, 2.296, 2.653, 2.918, 3.156, 3.5])
_FALL_S = 0.06


class Drum:
    """One drummer over one video."""

    def __init__(self, rng: np.random.Generator, duration_s: float) -> None:
        self._rng = np.random.default_rng(rng.integers(2**63))
        self.duration_s = duration_s
        self.radius = float(rng.uniform(0.28, 0.46))
        self.pitch_hz = 56.0 / self.radius
        self.tempo_hz = float(rng.uniform(1.1, 3.2))
        self.decay_s = float(rng.uniform(0.08, 0.22))
        self.place = (float(rng.uniform(0.4, 0.6)), float(rng.uniform(0.6, 0.72)))
        self.skin = any_colour(rng, 150, 235)
        self.shell = any_colour(rng, 30, 180)
        self.stick = shaded((225, 190, 130), float(rng.uniform(0.8, 1.1)))
        self.hits_s, self.strengths = _pattern(rng, duration_s, self.tempo_hz)
        wall = any_colour(rng, 40, 160)
        self._wall = texture(rng, 900, 500, shaded(wall, 0.7), shaded(wall, 1.2), coarse=8)
        self._times = np.arange(0, duration_s + 1, 0.02)
        self._sway = 0.01 * slow_curve(rng, self._times, 2.5)

    @property
    def parameters(self) -> dict[str, float]:
        return {"radius": self.radius, "pitch_hz": self.pitch_hz, "tempo_hz": self.tempo_hz, "decay_s": self.decay_s}

    @property
    def events_s(self) -> np.ndarray:
        """The hits."""
        return self.hits_s

    def paint(self, canvas: Canvas, time_s: float) -> None:
        sway = float(np.interp(time_s, self._times, self._sway))
        canvas.backdrop(self._wall, 0.3 + sway, 0.1 + sway / 2)
        x, y = self.place[0] * canvas.aspect, self.place[1]
        since, strength = self._last_hit(time_s)
        ring = strength * np.exp(-since / 0.09) if since >= 0 else 0.0
        dip = 0.05 * ring * np.cos(2 * np.pi * 12 * max(since, 0.0))
        depth = 0.55 * self.radius
        canvas.polygon(
            [(x - self.radius, y), (x + self.radius, y), (x + 0.92 * self.radius, 1.1), (x - 0.92 * self.radius, 1.1)],
            self.shell,
        )
        canvas.ellipse(x, y, self.radius, 0.42 * depth, shaded(self.shell, 1.3))
        canvas.ellipse(x, y + dip, 0.93 * self.radius, 0.36 * depth, shaded(self.skin, 0.8 + 0.45 * ring))
        for side in (0, 1):
            self._paint_stick(canvas, x, y, time_s, side)

    def _paint_stick(self, canvas: Canvas, x: float, y: float, time_s: float, side: int) -> None:
        lift = self._lift(time_s, side)
        sign = -1 if side == 0 else 1
        hand = (x + sign * (self.radius + 0.22), y - 0.12)
        tip = (x + sign * 0.25 * self.radius, y - 0.02 - lift)
        canvas.line(*hand, *tip, 0.035, self.stick)
        canvas.ellipse(*tip, 0.045, 0.045, shaded(self.stick, 1.15))
        canvas.ellipse(*hand, 0.06, 0.06, (205, 160, 130))

    def _lift(self, time_s: float, side: int) -> float:
        """Height of a stick's tip above the skin: up before its hit by the hit's strength, then down fast."""
        mine = slice(side, None, 2)
        hits, strengths = self.hits_s[mine], self.strengths[mine]
        after = int(np.searchsorted(hits, time_s))
        height = 0.05
        if after < len(hits):
            ahead, rise_s = hits[after] - time_s, min(0.35, 0.45 / self.tempo_hz)
            if ahead < _FALL_S:
                height = 0.42 * strengths[after] * ahead / _FALL_S
            elif ahead < rise_s:
                height += (0.42 * strengths[after] - 0.05) * (rise_s - ahead) / (rise_s - _FALL_S)
        if after > 0 and time_s - hits[after - 1] < 0.08:
            height = min(height, 0.05 * (time_s - hits[after - 1]) / 0.08)
        return float(height)

    def _last_hit(self, time_s: float) -> tuple[float, float]:
        before = int(np.searchsorted(self.hits_s, time_s, side="right")) - 1
        if before < 0:
            return -1.0, 0.0
        return float(time_s - self.hits_s[before]), float(self.strengths[before])

    def sound(self, rate_hz: int) -> np.ndarray:
        samples = round(self.duration_s * rate_hz)
        out = np.zeros(samples + rate_hz * 2)
        falling = self.decay_s / np.sqrt(_MODES)
        for hit_s, strength in zip(self.hits_s, self.strengths, strict=True):
            loud = strength**1.5 * (1 / _MODES) ** (1.4 - 0.8 * strength)
            strike = damped_modes(rate_hz, self.pitch_hz * _MODES, falling, loud)
            crack = noise(self._rng, int(0.02 * rate_hz), 0.0) * np.exp(
                -np.arange(int(0.02 * rate_hz)) / (0.004 * rate_hz)
            )
            first = round(hit_s * rate_hz)
            out[first : first + len(strike)] += 0.25 * strike[: len(out) - first]
            out[first : first + len(crack)] += 0.12 * strength**2 * crack
        out = out[:samples] + 0.002 * noise(self._rng, samples, 1.2)
        return np.tanh(out).astype(np.float32)


def _pattern(rng: np.random.Generator, duration_s: float, tempo_hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Hit times and strengths: beats with rests, doubled and displaced ones."""
    hits: list[float] = []
    time_s = float(rng.uniform(0.1, 1.0))
    while time_s < duration_s - 0.05:
        hits.append(time_s)
        step = 1 / tempo_hz * float(rng.choice([0.5, 1.0, 1.0, 1.0, 1.5, 2.0]))
        time_s += max(0.16, step * float(rng.uniform(0.92, 1.08)))
    return np.asarray(hits), rng.uniform(0.35, 1.0, len(hits))
