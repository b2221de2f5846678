"""A train, seen by a camera that travels along.

State: the way run along the track. Speed moves sleepers and wheels and drives motor hum and rolling
noise; each rail joint that a bogie runs over jolts the carriage and clacks: the event.
"""

from functools import cached_property

import numpy as np

from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.paint import Canvas, shaded
from v2a_data.synthetic.palette import lacquer
from v2a_data.synthetic.subjects.base import Thing, pulses
from v2a_data.synthetic.tones import SYNTH_HZ, add_at, band_noise, damped_modes, harmonics, slow_curve

# Lengths in the picture are in units of 8 m.
_METRES = 8.0
_BOGIES = (0.34, -0.34)
_RAIL_Y = 0.33
_HALF = 0.82
_SLEEPER = 0.12


class RailTransport(Thing):
    """One train over one video."""

    def __init__(self, draw: Draw, duration_s: float) -> None:
        super().__init__(draw, duration_s)
        self.speed_mps = draw.uniform("speed_mps", 9.0, 16.0)
        self.rail_m = draw.uniform("rail_m", 12.0, 15.0)
        self.offset = draw.uniform("offset", 0.0, 1.0)
        self.ring_hz = draw.uniform("ring_hz", 180.0, 1300.0)
        self.thud_hz = draw.uniform("thud_hz", 45.0, 130.0)
        self.thud = draw.uniform("thud", 0.1, 0.7)
        self.hum_hz = draw.uniform("hum_hz", 50.0, 240.0)
        self.hum = draw.uniform("hum", 0.01, 0.08)
        self.roll_hz = draw.uniform("roll_hz", 400.0, 5000.0)
        self.rolling = draw.uniform("rolling", 0.04, 0.1)
        self.windows = draw.choice("windows", (3, 4, 5))
        self.nose = draw.choice("nose", (0.04, 0.12, 0.2))
        self._times = np.arange(0, duration_s + 1, 0.005)
        self._pace = 1 + 0.1 * slow_curve(draw.child("speed"), self._times, 4.0)
        self._way_m = np.cumsum(self.speed_mps * self._pace) * 0.005
        rng = draw.child("paint")
        self.body, self.stripe, self.roof = lacquer(rng), lacquer(rng), shaded(lacquer(rng), 0.7)
        self.ballast = shaded((128, 120, 110), rng.uniform(0.5, 1.2))
        self._stones = rng.random((40, 3))

    @cached_property
    def hits(self) -> tuple[np.ndarray, np.ndarray]:
        """Times (s) at which a bogie runs over a joint, and which bogie it is."""
        times, which = [], []
        for bogie, place in enumerate(_BOGIES):
            # A joint lies at every rail_m of track; the front bogie is ahead of the middle.
            at_m = self._way_m + place * _METRES + self.offset * self.rail_m
            joints = np.arange(np.ceil(at_m[0] / self.rail_m), at_m[-1] / self.rail_m) * self.rail_m
            times.append(np.interp(joints, at_m, self._times))
            which.append(np.full(len(joints), bogie))
        found, bogies = np.concatenate(times), np.concatenate(which)
        order = np.argsort(found)
        kept = order[found[order] < self.duration_s]
        return found[kept], bogies[kept]

    @property
    def events_s(self) -> np.ndarray:
        """A bogie runs over a joint."""
        return self.hits[0]

    def state(self, times_s: np.ndarray) -> np.ndarray:
        """The jolt, dying away after each joint."""
        return pulses(self.events_s, np.ones(len(self.events_s)), times_s, 0.09)

    def _jolt(self, time_s: float, bogie: int) -> float:
        """How far a bogie is thrown up (units of the picture)."""
        mine = self.hits[0][self.hits[1] == bogie]
        since = time_s - mine[mine <= time_s]
        if not len(since):
            return 0.0
        return float(0.06 * np.exp(-since[-1] / 0.09) * np.cos(2 * np.pi * 6 * since[-1]))

    def paint(self, canvas: Canvas, time_s: float) -> None:
        way = float(np.interp(time_s, self._times, self._way_m)) / _METRES
        front, rear = (self._jolt(time_s, bogie) for bogie in (0, 1))
        with self.pose.on(canvas), canvas.at(0, 0.02, 1.0):
            self._paint_track(canvas, way)
            for x, jolt in zip(_BOGIES, (front, rear), strict=True):
                self._paint_bogie(canvas, x, 0.4 * jolt, way)
            with canvas.at(0, -(front + rear) / 2, 1.0, (rear - front) / (_BOGIES[0] - _BOGIES[1])):
                self._paint_body(canvas)

    def _paint_track(self, canvas: Canvas, way: float) -> None:
        y = _RAIL_Y
        canvas.polygon(
            [(-_HALF, y + 0.01), (_HALF, y + 0.01), (_HALF + 0.06, y + 0.14), (-_HALF - 0.06, y + 0.14)], self.ballast
        )
        for place, depth, grey in self._stones:
            x = (place * 2 * _HALF - way) % (2 * _HALF) - _HALF
            canvas.ellipse(x, y + 0.03 + 0.1 * depth, 0.014, 0.009, shaded(self.ballast, 0.7 + 0.6 * grey))
        for k in range(int(2 * _HALF / _SLEEPER)):
            x = (k * _SLEEPER - way) % (int(2 * _HALF / _SLEEPER) * _SLEEPER) - _HALF
            canvas.polygon(
                [(x, y + 0.02), (x + 0.05, y + 0.02), (x + 0.055, y + 0.07), (x - 0.005, y + 0.07)], (84, 66, 52)
            )
        canvas.polygon([(-_HALF, y), (_HALF, y), (_HALF, y + 0.025), (-_HALF, y + 0.025)], (120, 116, 114))
        canvas.polygon([(-_HALF, y), (_HALF, y), (_HALF, y + 0.008), (-_HALF, y + 0.008)], (206, 206, 210))
        length = self.rail_m / _METRES
        first = (-(way + self.offset * length)) % length
        for x in np.arange(first - length, _HALF + length, length):
            if -_HALF < x < _HALF - 0.05:
                canvas.polygon(
                    [(x - 0.05, y - 0.004), (x + 0.05, y - 0.004), (x + 0.05, y + 0.034), (x - 0.05, y + 0.034)],
                    (66, 58, 54),
                )
                canvas.line(x, y - 0.006, x, y + 0.03, 0.012, (250, 226, 150))

    def _paint_bogie(self, canvas: Canvas, x: float, lift: float, way: float) -> None:
        y = _RAIL_Y - 0.075 - lift
        canvas.polygon(
            [(x - 0.2, y - 0.05), (x + 0.2, y - 0.05), (x + 0.15, y + 0.03), (x - 0.15, y + 0.03)], (58, 58, 62)
        )
        for shift in (-0.1, 0.1):
            canvas.ellipse(x + shift, y, 0.075, 0.075, (48, 48, 52))
            canvas.ellipse(x + shift, y, 0.058, 0.058, (146, 148, 152))
            for k in range(3):
                a = way / 0.075 + k * np.pi / 3
                dx, dy = 0.055 * np.cos(a), 0.055 * np.sin(a)
                canvas.line(x + shift - dx, y - dy, x + shift + dx, y + dy, 0.014, (70, 70, 76))
            canvas.ellipse(x + shift, y, 0.018, 0.018, (210, 190, 120))

    def _paint_body(self, canvas: Canvas) -> None:
        top, low, left, right, nose = -0.3, 0.22, -0.62, 0.66, self.nose
        canvas.polygon(
            [(left, top + 0.03), (right - nose, top + 0.03), (right, -0.02), (right, low), (left, low)], self.body
        )
        canvas.polygon([(left, low - 0.1), (right, low - 0.1), (right, low), (left, low)], shaded(self.body, 0.72))
        canvas.polygon([(left, 0.0), (right, 0.0), (right, 0.055), (left, 0.055)], self.stripe)
        canvas.polygon(
            [(left + 0.01, top), (right - nose - 0.02, top), (right - nose + 0.02, top + 0.06), (left, top + 0.06)],
            self.roof,
        )
        canvas.polygon(
            [(left, top + 0.06), (right - nose, top + 0.06), (right - nose, top + 0.085), (left, top + 0.085)],
            shaded(self.body, 1.25),
        )
        glass = (72, 92, 112)
        step = (right - nose - 0.18 - left) / self.windows
        for k in range(self.windows):
            x = left + 0.05 + k * step
            canvas.polygon([(x, -0.18), (x + 0.7 * step, -0.18), (x + 0.7 * step, -0.03), (x, -0.03)], glass)
            canvas.polygon(
                [(x, -0.18), (x + 0.3 * step, -0.18), (x + 0.1 * step, -0.03), (x, -0.03)], shaded(glass, 1.6)
            )
        canvas.polygon(
            [(right - nose - 0.12, -0.19), (right - nose, -0.19), (right - 0.02, -0.03), (right - nose - 0.12, -0.03)],
            shaded(glass, 0.8),
        )
        canvas.ellipse(right - 0.04, 0.12, 0.03, 0.03, (255, 244, 200))
        canvas.glow(right - 0.02, 0.12, 0.12, (255, 244, 200), 0.7)
        canvas.limb(right, 0.2, right + 0.06, 0.2, 0.02, 0.028, (50, 50, 54))
        canvas.line(-0.2, top, -0.1, top - 0.1, 0.014, (60, 60, 66))
        canvas.line(-0.1, top - 0.1, -0.22, top - 0.16, 0.014, (60, 60, 66))
        canvas.line(-0.3, top - 0.16, -0.14, top - 0.16, 0.016, (60, 60, 66))

    def dry(self) -> np.ndarray:
        times, rng = self.sound_times, self.draw.child("track")
        pace = np.interp(times, self._times, self._pace) * self.speed_mps / 12.5
        phase = 2 * np.pi * np.cumsum(self.hum_hz * pace) / SYNTH_HZ
        hum = harmonics(phase, SYNTH_HZ, self.hum_hz * pace, lambda k, _: 1 / k**0.8, 8)
        roll = band_noise(rng, self.samples, SYNTH_HZ, 80.0, self.roll_hz)
        out = pace**1.5 * (self.hum * hum + self.rolling * roll)
        ratios = np.asarray([1.0, 1.7, 2.76, 4.1, 5.4])
        clack = damped_modes(SYNTH_HZ, self.ring_hz * ratios, 0.035 / np.sqrt(ratios), 0.5 / ratios**0.7)
        thud = damped_modes(SYNTH_HZ, np.asarray([self.thud_hz]), np.asarray([0.07]), np.asarray([self.thud]))
        size = round(0.03 * SYNTH_HZ)
        for hit_s, bogie in zip(*self.hits, strict=True):
            loud = (1.0 if bogie == 0 else 0.8) * rng.uniform(0.8, 1.0)
            grit = rng.standard_normal(size) * np.exp(-np.arange(size) / (0.006 * SYNTH_HZ))
            for piece in (clack, thud, 0.35 * grit):
                add_at(out, loud * piece, float(hit_s), SYNTH_HZ)
        return np.tanh(out)
