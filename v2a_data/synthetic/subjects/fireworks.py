"""Rockets that rise and burst.

State: a list of bursts with places, sizes and colours. A rocket's trail climbs with a hiss; it bursts
into sparks that spread, fall and fade, with a crack, a boom and a crackle. An event is a burst.
"""

from functools import cached_property

import numpy as np

from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.paint import Canvas, Colour, mixed
from v2a_data.synthetic.palette import hued
from v2a_data.synthetic.subjects.base import Thing, beats, pulses
from v2a_data.synthetic.tones import SYNTH_HZ, add_at, band_noise

_LIFE_S = 1.3
_RISE_S = 0.55


class Fireworks(Thing):
    """One display over one video."""

    def __init__(self, draw: Draw, duration_s: float) -> None:
        super().__init__(draw, duration_s)
        self.burst_hz = draw.uniform("burst_hz", 0.9, 2.0)
        self.boom_hz = draw.uniform("boom_hz", 80.0, 600.0)
        self.crack_hz = draw.uniform("crack_hz", 1200.0, 6000.0)
        self.boom_s = draw.uniform("boom_s", 0.1, 0.28)
        self.crack = draw.uniform("crack", 0.3, 1.6)
        self.crackle = draw.uniform("crackle", 0.0, 0.14)
        self.hiss = draw.uniform("hiss", 0.02, 0.08)
        self.sparks = draw.choice("sparks", (70, 90, 110))

    @cached_property
    def events_s(self) -> np.ndarray:
        """Bursts."""
        return beats(self.draw.child("bursts"), self.duration_s, self.burst_hz, (0.6, 1.0, 1.0, 1.5))

    @cached_property
    def strengths(self) -> np.ndarray:
        """How large each burst is, 0.6..1."""
        return self.draw.child("strengths").uniform(0.6, 1.0, len(self.events_s))

    @cached_property
    def _shells(self) -> "list[_Shell]":
        rng = self.draw.child("shells")
        return [_Shell(rng, self.sparks, float(s)) for s in self.strengths]

    def state(self, times_s: np.ndarray) -> np.ndarray:
        """Brightness of the sparks."""
        return pulses(self.events_s, self.strengths, times_s, 0.35)

    def paint(self, canvas: Canvas, time_s: float) -> None:
        first, stop = np.searchsorted(self.events_s, [time_s - _LIFE_S, time_s + _RISE_S])
        with self.pose.on(canvas):
            for index in range(int(first), int(stop)):
                since = float(time_s - self.events_s[index])
                if since < 0:
                    self._shells[index].paint_rocket(canvas, 1 + since / _RISE_S)
                else:
                    self._shells[index].paint_sparks(canvas, since)

    def dry(self) -> np.ndarray:
        out, rng = np.zeros(self.samples), self.draw.child("powder")
        for burst_s, strength in zip(self.events_s, self.strengths, strict=True):
            add_at(out, strength**1.5 * self._bang(rng), burst_s, SYNTH_HZ)
            add_at(out, self.hiss * self._rise(rng), burst_s - _RISE_S, SYNTH_HZ)
            add_at(out, self.crackle * strength * self._crackle(rng), burst_s + 0.15, SYNTH_HZ)
        return np.tanh(out)

    def _bang(self, rng: np.random.Generator) -> np.ndarray:
        times = np.arange(round(5 * self.boom_s * SYNTH_HZ)) / SYNTH_HZ
        boom = band_noise(rng, len(times), SYNTH_HZ, 25.0, self.boom_hz) * np.exp(-times / self.boom_s)
        crack = band_noise(rng, len(times), SYNTH_HZ, 250.0, self.crack_hz) * np.exp(-times / (0.2 * self.boom_s))
        return 0.5 * boom + self.crack * crack

    def _rise(self, rng: np.random.Generator) -> np.ndarray:
        times = np.arange(round(_RISE_S * SYNTH_HZ)) / SYNTH_HZ
        return band_noise(rng, len(times), SYNTH_HZ, 1500.0, 5000.0) * np.clip(times / _RISE_S, 0, 1) ** 0.5

    def _crackle(self, rng: np.random.Generator) -> np.ndarray:
        times = np.arange(round(0.9 * SYNTH_HZ)) / SYNTH_HZ
        out = np.zeros(len(times))
        for start_s in np.sort(rng.beta(1.3, 2.5, 110) * 0.85):
            size = round(0.012 * SYNTH_HZ)
            add_at(
                out, rng.standard_normal(size) * np.exp(-np.arange(size) / (0.002 * SYNTH_HZ)), float(start_s), SYNTH_HZ
            )
        return 0.4 * out * np.exp(-times / 0.5)


class _Shell:
    """One rocket: where it bursts, its sparks and colours."""

    def __init__(self, rng: np.random.Generator, sparks: int, strength: float) -> None:
        self.x, self.y = float(rng.uniform(-0.3, 0.3)), float(rng.uniform(-0.28, 0.02))
        self.reach = 0.5 * strength
        self.colours = (hued(rng, (0.4, 0.9), (0.9, 1.0)), hued(rng, (0.2, 0.9), (0.9, 1.0)))
        angles = np.arange(sparks) * 2.39996 + rng.normal(0, 0.15, sparks)
        # Directions over a ball, seen flat.
        height = rng.uniform(-1, 1, sparks)
        spread = np.sqrt(1 - height**2) * rng.uniform(0.85, 1.1, sparks)
        self._way = np.stack([spread * np.cos(angles), 0.9 * height * rng.uniform(0.85, 1.1, sparks)], axis=1)
        self._lean = float(rng.uniform(-0.12, 0.12))
        self._twinkle = rng.uniform(0, 6.3, sparks)

    def paint_rocket(self, canvas: Canvas, share: float) -> None:
        """The trail, `share` 0..1 of the way up."""
        for k in range(5):
            at, back = (max(0.0, share - 0.07 * n) for n in (k, k + 1))
            (x0, y0), (x1, y1) = self._path(at), self._path(back)
            canvas.line(x0, y0, x1, y1, 0.016 - 0.002 * k, (255, 220 - 24 * k, 140 - 22 * k, 255 - 45 * k))
        canvas.glow(*self._path(share), 0.06, (255, 240, 190), 0.9)

    def _path(self, share: float) -> tuple[float, float]:
        rise = 1 - (1 - share) ** 1.6
        return self.x + self._lean * (1 - rise), 0.5 + (self.y - 0.5) * rise

    def _spots(self, since_s: float) -> np.ndarray:
        grown = self.reach * (1 - np.exp(-4.2 * since_s))
        spots = self._way * grown
        spots[:, 1] += 0.09 * since_s**2
        return np.add(spots, (self.x, self.y))

    def paint_sparks(self, canvas: Canvas, since_s: float) -> None:
        left = 1 - since_s / _LIFE_S
        canvas.glow(self.x, self.y, 1.7 * self.reach, (20, 18, 26), 0.95 * left**0.5)
        if since_s < 0.16:
            flash = 1 - since_s / 0.16
            canvas.glow(self.x, self.y, 0.75 * self.reach + 0.15, (255, 246, 220), flash)
        heads, tails = self._spots(since_s), self._spots(max(0.0, since_s - 0.1 - 0.08 * left))
        for k, ((x0, y0), (x1, y1)) in enumerate(zip(heads.tolist(), tails.tolist(), strict=True)):
            glitter = 0.6 + 0.4 * np.sin(38 * since_s + self._twinkle[k])
            strong = int(255 * min(1.0, 1.5 * left) * (glitter if left < 0.6 else 1.0))
            red, green, blue = self._colour(k, since_s)
            canvas.line(x0, y0, x1, y1, 0.009, (red, green, blue, strong // 2))
            canvas.ellipse(x0, y0, 0.009, 0.009, (red, green, blue, strong))

    def _colour(self, k: int, since_s: float) -> Colour:
        return mixed((255, 250, 235), self.colours[k % 2], min(1.0, 3 * since_s))
