"""A drum and two sticks.

State: a list of hits with strengths. A stick rises before a hit by as much as the hit is strong and
falls on the skin at its time; the skin dips and glows, and sounds with the modes of a membrane whose
pitch follows the drawn size. An event is a hit.
"""

from functools import cached_property
from itertools import pairwise

import numpy as np

from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.paint import Canvas, shaded
from v2a_data.synthetic.palette import lacquer, metal, skin
from v2a_data.synthetic.subjects.base import Thing, beats, last_before, pulses
from v2a_data.synthetic.tones import SYNTH_HZ, add_at, damped_modes, noise

# Zeros of Bessel functions over the first one: the overtones of a round membrane.
_MODES = np.asarray([1.0, 1.593, 2.136, 2.296, 2.653, 2.918, 3.156, 3.5])
_FALL_S = 0.06
_REACH = 0.36


class Drum(Thing):
    """One drummer over one video."""

    def __init__(self, draw: Draw, duration_s: float) -> None:
        super().__init__(draw, duration_s)
        self.radius = draw.uniform("radius", 0.26, 0.42)
        self.tension = draw.uniform("tension", 0.5, 4.0)
        self.pitch_hz = 45.0 * self.tension / self.radius
        self.tempo_hz = draw.uniform("tempo_hz", 1.4, 3.2)
        self.decay_s = draw.uniform("decay_s", 0.08, 0.2)
        self.bright = draw.uniform("bright", 0.0, 1.0)
        self.depth = draw.uniform("depth", 0.3, 0.5)
        rng = draw.child("paint")
        self.shell, self.hoop, self.hand = lacquer(rng), metal(rng), skin(rng)
        self.head = shaded((240, 234, 220), rng.uniform(0.7, 1.0))
        self.stick = shaded((225, 190, 130), rng.uniform(0.6, 1.1))

    @cached_property
    def events_s(self) -> np.ndarray:
        """The hits."""
        hits = beats(self.draw.child("pattern"), self.duration_s, self.tempo_hz, (0.5, 1.0, 1.0, 1.0, 1.5, 2.0))
        return hits[np.diff(hits, prepend=-1.0) > 0.13]

    @cached_property
    def strengths(self) -> np.ndarray:
        """How hard each hit is, 0.4..1."""
        return self.draw.child("strengths").uniform(0.4, 1.0, len(self.events_s))

    def state(self, times_s: np.ndarray) -> np.ndarray:
        """Swing of the skin, dying away after each hit."""
        return pulses(self.events_s, self.strengths, times_s, 0.09)

    def paint(self, canvas: Canvas, time_s: float) -> None:
        index, since = last_before(self.events_s, time_s)
        ring = self.strengths[index] * np.exp(-since / 0.09) if index >= 0 else 0.0
        with self.pose.on(canvas):
            self._paint_shell(canvas)
            self._paint_head(canvas, ring, since)
            for side in (0, 1):
                self._paint_stick(canvas, time_s, side)

    def _paint_shell(self, canvas: Canvas) -> None:
        r, low, flat = self.radius, self.depth, 0.33 * self.radius
        edge = np.linspace(-1, 1, 15)
        for left, right in pairwise(edge.tolist()):
            xl, xr = r * np.sin(left * np.pi / 2), r * np.sin(right * np.pi / 2)
            yl, yr = flat * np.cos(left * np.pi / 2), flat * np.cos(right * np.pi / 2)
            lit = 0.55 + 0.75 * np.cos((left + 0.4) * np.pi / 2) ** 2
            canvas.polygon([(xl, yl), (xr, yr), (xr, low + yr), (xl, low + yl)], shaded(self.shell, lit))
            for top, high in ((0.0, 0.05), (low - 0.03, 0.05)):
                canvas.polygon(
                    [(xl, yl + top), (xr, yr + top), (xr, yr + top + high), (xl, yl + top + high)],
                    shaded(self.hoop, lit + 0.1),
                )
        for k in (-0.75, -0.25, 0.25, 0.75):
            x, y = r * np.sin(k * np.pi / 2), flat * np.cos(k * np.pi / 2)
            canvas.line(x, y + 0.05, x, y + low - 0.03, 0.012, shaded(self.hoop, 1.2))
            canvas.ellipse(x, y + 0.5 * low, 0.016, 0.035, shaded(self.hoop, 1.35))

    def _paint_head(self, canvas: Canvas, ring: float, since: float) -> None:
        r, flat = self.radius, 0.33 * self.radius
        dip = 0.05 * ring * np.cos(2 * np.pi * 12 * since) if ring > 0.01 else 0.0
        canvas.ellipse(0, 0, r, flat, shaded(self.hoop, 1.15))
        canvas.ellipse(0, 0, 0.95 * r, 0.94 * flat, shaded(self.head, 0.72 + 0.35 * ring))
        canvas.ellipse(-0.05 * r, dip, 0.8 * r, 0.76 * flat, shaded(self.head, 0.82 + 0.4 * ring))
        canvas.ellipse(0, dip, 0.3 * r, 0.28 * flat, shaded(self.head, 0.66 + 0.6 * ring))

    def _paint_stick(self, canvas: Canvas, time_s: float, side: int) -> None:
        lift, sign = self._lift(time_s, side), -1 if side == 0 else 1
        hand = (sign * (self.radius + 0.16), -0.16 - 0.4 * lift)
        tip = (sign * 0.2 * self.radius, -0.02 - lift)
        butt = (hand[0] + 0.22 * (hand[0] - tip[0]), hand[1] + 0.22 * (hand[1] - tip[1]))
        elbow = (hand[0] + sign * 0.18, hand[1] + 0.16)
        canvas.limb(*elbow, *hand, 0.06, 0.045, shaded(self.hand, 0.8))
        canvas.limb(*butt, *tip, 0.02, 0.013, self.stick)
        canvas.ellipse(*tip, 0.026, 0.022, shaded(self.stick, 1.2))
        canvas.ball(*hand, 0.055, 0.05, self.hand)

    def _lift(self, time_s: float, side: int) -> float:
        """Height of a stick's tip above the skin: up before its hit by the hit's strength, then down fast."""
        hits, strengths = self.events_s[side::2], self.strengths[side::2]
        after = int(np.searchsorted(hits, time_s))
        height = 0.05
        if after < len(hits):
            ahead, rise_s = hits[after] - time_s, min(0.35, 0.45 / self.tempo_hz)
            if ahead < _FALL_S:
                height = _REACH * strengths[after] * ahead / _FALL_S
            elif ahead < rise_s:
                height += (_REACH * strengths[after] - 0.05) * (rise_s - ahead) / (rise_s - _FALL_S)
        if after > 0 and time_s - hits[after - 1] < 0.08:
            height = min(height, 0.05 * (time_s - hits[after - 1]) / 0.08)
        return float(height)

    def dry(self) -> np.ndarray:
        out, rng = np.zeros(self.samples), self.draw.child("cracks")
        falling = self.decay_s / np.sqrt(_MODES)
        # From a bare skin to rattling snares.
        fade = np.exp(-np.arange(int(0.15 * SYNTH_HZ)) / ((0.003 + 0.035 * self.bright**2) * SYNTH_HZ))
        for hit_s, strength in zip(self.events_s, self.strengths, strict=True):
            loud = strength**1.5 * (1 / _MODES) ** (1.6 - 0.8 * strength - 0.5 * self.bright)
            add_at(out, 0.25 * damped_modes(SYNTH_HZ, self.pitch_hz * _MODES, falling, loud), hit_s, SYNTH_HZ)
            crack = noise(rng, len(fade), 0.0) * fade
            add_at(out, (0.05 + 0.9 * self.bright**2) * strength**1.5 * crack, hit_s, SYNTH_HZ)
        return np.tanh(out)
