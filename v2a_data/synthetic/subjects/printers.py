"""An inkjet printer at work.

State: where its carriage is. Each stroke across the page buzzes with the motor's steps and hisses;
between strokes the paper is fed with a short whirr. An event is the start of a stroke.
"""

from functools import cached_property

import numpy as np

from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.paint import Canvas, shaded
from v2a_data.synthetic.palette import hued, lacquer
from v2a_data.synthetic.subjects.base import Thing, beats, bumps
from v2a_data.synthetic.tones import SYNTH_HZ, add_at, band_noise, harmonics

_RISE_S = 0.04
_FALL_S = 0.06
_LINE = 0.045


class Printers(Thing):
    """One printer over one video."""

    def __init__(self, draw: Draw, duration_s: float) -> None:
        super().__init__(draw, duration_s)
        self.stroke_hz = draw.uniform("stroke_hz", 1.2, 2.2)
        self.step_hz = draw.uniform("step_hz", 80.0, 800.0)
        self.buzz = draw.uniform("buzz", 0.2, 1.0)
        self.hiss = draw.uniform("hiss", 0.1, 0.5)
        self.hiss_hz = draw.uniform("hiss_hz", 800.0, 5500.0)
        self.share = draw.uniform("share", 0.55, 0.7)
        rng = draw.child("paint")
        self.body, self.lid, self.ink = lacquer(rng), lacquer(rng), hued(rng, (0.3, 0.9), (0.2, 0.7))
        self.page = hued(rng, (0.0, 0.4), (0.6, 1.0))
        self.slot = hued(rng, (0.0, 0.4), (0.12, 0.5))
        self._words = rng.uniform(0.25, 1.0, 64)
        self._times = np.arange(0, duration_s + 1, 0.005)

    @cached_property
    def events_s(self) -> np.ndarray:
        """Strokes of the carriage."""
        return beats(self.draw.child("strokes"), self.duration_s, self.stroke_hz, (1.0, 1.0, 1.0, 1.5), loose=0.03)

    @property
    def _hold_s(self) -> float:
        return self.share / self.stroke_hz - _RISE_S - _FALL_S

    def state(self, times_s: np.ndarray) -> np.ndarray:
        """Speed of the carriage."""
        count = len(self.events_s)
        return bumps(self.events_s, np.ones(count), times_s, _RISE_S, np.full(count, self._hold_s), _FALL_S)

    @cached_property
    def _run(self) -> np.ndarray:
        """Way of the carriage in strokes: whole after each."""
        run = np.cumsum(self.state(self._times)) * 0.005
        return run / (self._hold_s + (_RISE_S + _FALL_S) / 2)

    def fed(self, time_s: float) -> float:
        """Lines fed so far: the paper moves on just before each stroke."""
        ahead = (time_s - self.events_s) / 0.12 + 1
        return float(np.clip(ahead, 0, 1).sum())

    def paint(self, canvas: Canvas, time_s: float) -> None:
        run = float(np.interp(time_s, self._times, self._run))
        whole, part = int(run), run - int(run)
        across = part if whole % 2 == 0 else 1 - part
        speed = float(self.state(np.asarray([time_s]))[0])
        with self.pose.on(canvas), canvas.at(0, 0, 1.0):
            self._paint_back(canvas)
            self._paint_carriage(canvas, -0.3 + 0.6 * across, speed)
            self._paint_front(canvas, speed)
            self._paint_page(canvas, self.fed(time_s))

    def _paint_back(self, canvas: Canvas) -> None:
        canvas.polygon([(-0.28, -0.44), (0.28, -0.44), (0.33, -0.22), (-0.33, -0.22)], shaded(self.lid, 0.7))
        canvas.polygon([(-0.24, -0.41), (0.24, -0.41), (0.28, -0.22), (-0.28, -0.22)], self.page)
        canvas.polygon([(-0.5, -0.14), (-0.44, -0.24), (0.44, -0.24), (0.5, -0.14)], shaded(self.body, 1.25))
        canvas.polygon([(-0.5, -0.14), (0.5, -0.14), (0.5, 0.3), (-0.5, 0.3)], self.body)
        canvas.polygon([(-0.42, -0.1), (0.42, -0.1), (0.42, 0.1), (-0.42, 0.1)], self.slot)
        canvas.line(-0.42, -0.03, 0.42, -0.03, 0.022, (170, 172, 178))
        canvas.line(-0.42, -0.035, 0.42, -0.035, 0.008, (226, 228, 232))

    def _paint_carriage(self, canvas: Canvas, x: float, speed: float) -> None:
        wide = 0.085
        canvas.polygon([(x - wide, -0.085), (x + wide, -0.085), (x + wide, 0.065), (x - wide, 0.065)], (214, 216, 220))
        canvas.polygon([(x - wide, 0.035), (x + wide, 0.035), (x + wide, 0.075), (x - wide, 0.075)], (120, 122, 128))
        for k, colour in enumerate(((30, 170, 220), (220, 50, 140), (240, 210, 40), (40, 40, 44))):
            left = x - wide + 0.014 + 0.04 * k
            canvas.polygon([(left, -0.07), (left + 0.03, -0.07), (left + 0.03, 0.02), (left, 0.02)], colour)
        canvas.glow(x, 0.085, 0.1, (160, 220, 255), 0.7 * speed)

    def _paint_front(self, canvas: Canvas, speed: float) -> None:
        canvas.polygon([(-0.5, 0.1), (0.5, 0.1), (0.5, 0.3), (-0.5, 0.3)], shaded(self.body, 0.88))
        canvas.polygon([(-0.5, 0.27), (0.5, 0.27), (0.48, 0.32), (-0.48, 0.32)], shaded(self.body, 0.6))
        canvas.polygon([(-0.36, 0.15), (0.36, 0.15), (0.36, 0.21), (-0.36, 0.21)], shaded(self.slot, 0.7))
        lamp = (90, 255, 120) if speed > 0.3 else (40, 96, 54)
        canvas.ellipse(0.43, 0.16, 0.018, 0.018, lamp)
        canvas.ellipse(0.43, 0.22, 0.018, 0.018, (200, 160, 60))
        canvas.polygon([(-0.47, 0.14), (-0.4, 0.14), (-0.4, 0.19), (-0.47, 0.19)], (150, 190, 170))

    def _paint_page(self, canvas: Canvas, fed: float) -> None:
        """The printed sheet comes out below, line by line; a new one after eight lines."""
        out = 0.04 + (fed % 8) * _LINE * 0.85
        low = 0.19 + out
        canvas.polygon([(-0.3, 0.19), (0.3, 0.19), (0.31, low), (-0.31, low)], self.page)
        canvas.polygon([(-0.31, low), (0.31, low), (0.31, low + 0.012), (-0.31, low + 0.012)], shaded(self.page, 0.7))
        lines = int(fed % 8)
        for k in range(lines + 1):
            y = low - 0.025 - k * _LINE * 0.85
            if y < 0.2:
                break
            length = self._words[(int(fed // 8) * 8 + lines - k) % 64]
            canvas.polygon(
                [(-0.25, y - 0.02), (-0.25 + 0.5 * length, y - 0.02), (-0.25 + 0.5 * length, y), (-0.25, y)], self.ink
            )

    def dry(self) -> np.ndarray:
        times, rng = self.sound_times, self.draw.child("motor")
        speed = self.state(times)
        steps = self.step_hz * (0.7 + 0.3 * speed)
        phase = 2 * np.pi * np.cumsum(steps) / SYNTH_HZ
        motor = harmonics(phase, SYNTH_HZ, steps, lambda k, _: 1.0 / k**0.5 if k % 2 else 0.4 / k, 15)
        hiss = band_noise(rng, self.samples, SYNTH_HZ, 0.5 * self.hiss_hz, 1.6 * self.hiss_hz)
        out = speed * (0.3 * self.buzz * motor + self.hiss * hiss)
        self._add_feeds(out, rng)
        return np.tanh(out)

    def _add_feeds(self, out: np.ndarray, rng: np.random.Generator) -> None:
        size = round(0.1 * SYNTH_HZ)
        times = np.arange(size) / SYNTH_HZ
        shape = np.sin(np.pi * times / 0.1)
        whirr = shape * np.sign(np.sin(2 * np.pi * 0.45 * self.step_hz * times)) * 0.012
        click = rng.standard_normal(round(0.02 * SYNTH_HZ))
        click *= np.exp(-np.arange(len(click)) / (0.004 * SYNTH_HZ))
        for start_s in self.events_s:
            add_at(out, whirr, float(start_s) - 0.12, SYNTH_HZ)
            add_at(out, 0.3 * click, float(start_s), SYNTH_HZ)
