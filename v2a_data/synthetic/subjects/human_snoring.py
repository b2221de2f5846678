"""A sleeper who snores.

State: the breath. Breathing in lifts chest and blanket, tips the head back, opens the mouth and
snores: a fluttering palate through the throat's formants; breathing out is soft. An event is the start
of a snore.
"""

from functools import cached_property

import numpy as np

from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.paint import Canvas, shaded
from v2a_data.synthetic.palette import cloth, skin
from v2a_data.synthetic.subjects.base import Thing, beats, bumps
from v2a_data.synthetic.tones import SYNTH_HZ, band_noise, formants, harmonics, slow_curve

_RISE_S = 0.1


class HumanSnoring(Thing):
    """One sleeper over one video."""

    def __init__(self, draw: Draw, duration_s: float) -> None:
        super().__init__(draw, duration_s)
        self.breath_hz = draw.uniform("breath_hz", 0.4, 0.75)
        self.flutter_hz = draw.uniform("flutter_hz", 28.0, 80.0)
        self.throat = draw.uniform("throat", 0.6, 1.7)
        self.rasp = draw.uniform("rasp", 0.2, 1.2)
        self.share = draw.uniform("share", 0.36, 0.48)
        self.belly = draw.uniform("belly", 0.1, 0.18)
        rng = draw.child("paint")
        self.skin, self.blanket, self.pillow = skin(rng), cloth(rng), shaded(cloth(rng), 1.2)
        self.hair = shaded((130, 92, 60), rng.uniform(0.2, 1.6))
        self.wood = shaded((150, 104, 66), rng.uniform(0.5, 1.2))
        self._cap = rng.random() < 0.4

    @cached_property
    def events_s(self) -> np.ndarray:
        """Snores."""
        return beats(self.draw.child("breaths"), self.duration_s, self.breath_hz, (0.95, 1.0, 1.1), loose=0.04)

    @cached_property
    def strengths(self) -> np.ndarray:
        """How deep each breath is, 0.7..1."""
        return self.draw.child("strengths").uniform(0.7, 1.0, len(self.events_s))

    @property
    def _in_s(self) -> float:
        return self.share / self.breath_hz

    def state(self, times_s: np.ndarray) -> np.ndarray:
        """The snore: flow of air breathed in, which is also how far the mouth is open."""
        hold = np.full(len(self.events_s), max(0.15, self._in_s - _RISE_S - 0.25))
        return bumps(self.events_s, self.strengths, times_s, _RISE_S, hold, 0.25)

    def chest(self, times_s: np.ndarray) -> np.ndarray:
        """Height of the chest 0..1: up while breathing in, slowly down after."""
        out = 0.55 / self.breath_hz
        return bumps(self.events_s, self.strengths, times_s, self._in_s, np.zeros(len(self.events_s)), out)

    def paint(self, canvas: Canvas, time_s: float) -> None:
        now = np.asarray([time_s])
        mouth, chest = float(self.state(now)[0]), float(self.chest(now)[0])
        with self.pose.on(canvas), canvas.at(0.1, 0.05, 1.15):
            self._paint_bed(canvas)
            with canvas.at(-0.34, 0.06, 1.0, -0.1 - 0.16 * mouth):
                self._paint_head(canvas, mouth, time_s)
            self._paint_blanket(canvas, chest)

    def _paint_bed(self, canvas: Canvas) -> None:
        canvas.polygon([(-0.62, -0.2), (-0.56, -0.2), (-0.56, 0.45), (-0.62, 0.45)], shaded(self.wood, 1.1))
        canvas.polygon([(0.52, 0.0), (0.58, 0.0), (0.58, 0.45), (0.52, 0.45)], shaded(self.wood, 0.9))
        canvas.polygon([(-0.58, 0.2), (0.54, 0.2), (0.54, 0.34), (-0.58, 0.34)], (232, 228, 220))
        canvas.polygon([(-0.6, 0.32), (0.56, 0.32), (0.56, 0.38), (-0.6, 0.38)], self.wood)
        canvas.ball(-0.38, 0.15, 0.19, 0.085, self.pillow)

    def _paint_head(self, canvas: Canvas, mouth: float, time_s: float) -> None:
        """In profile, face up: the nose points up, the chin to the right."""
        face = self.skin
        canvas.ellipse(-0.03, 0.0, 0.155, 0.13, self.hair)
        canvas.ball(0.0, -0.01, 0.15, 0.125, face)
        if self._cap:
            canvas.polygon([(-0.02, -0.13), (-0.15, -0.09), (-0.17, 0.06), (-0.36, 0.14)], self.blanket)
            canvas.ball(-0.36, 0.14, 0.035, 0.035, (240, 238, 230))
        # Nose, closed eye, brow, ear.
        canvas.polygon([(-0.01, -0.12), (0.03, -0.205), (0.055, -0.195), (0.065, -0.11)], shaded(face, 1.08))
        canvas.line(-0.05, -0.085, -0.012, -0.105, 0.014, shaded(face, 0.45))
        canvas.line(-0.085, -0.11, -0.03, -0.14, 0.02, self.hair)
        canvas.ellipse(-0.03, 0.035, 0.03, 0.022, shaded(face, 0.8))
        # Lips part and flutter while the snore lasts.
        gap = 0.012 + 0.085 * mouth + 0.012 * mouth * np.sin(2 * np.pi * 11 * time_s)
        canvas.polygon([(0.07, -0.125), (0.07 + gap, -0.1), (0.09 + 0.3 * gap, -0.02)], (92, 26, 32))
        canvas.limb(0.065, -0.125, 0.075, -0.09, 0.016, 0.014, (190, 96, 92))
        canvas.limb(0.08 + gap, -0.095, 0.085 + gap, -0.07, 0.016, 0.016, (190, 96, 92))
        canvas.limb(0.09 + gap, -0.075, 0.1 + 0.6 * gap, 0.0, 0.035, 0.05, shaded(face, 0.97))

    def _paint_blanket(self, canvas: Canvas, chest: float) -> None:
        rise = 0.1 + self.belly * (0.35 + 0.9 * chest)
        across = np.linspace(0, 1, 15)
        top = 0.22 - 0.08 * np.sin(np.pi * across) ** 0.5 - rise * np.exp(-(((across - 0.3) / 0.2) ** 2))
        top -= 0.1 * np.exp(-(((across - 0.95) / 0.05) ** 2))
        line = [(float(-0.22 + 0.76 * k), float(y)) for k, y in zip(across, top, strict=True)]
        canvas.polygon([*line, (0.56, 0.4), (-0.24, 0.37)], self.blanket)
        for n, share in enumerate((0.75, 0.5, 0.25)):
            inner = [(x, 0.38 - (0.38 - y) * share) for x, y in line]
            canvas.polygon([*inner, (0.56, 0.4), (-0.24, 0.37)], shaded(self.blanket, 0.92 - 0.1 * n))
        canvas.limb(*line[0], line[2][0], line[2][1], 0.03, 0.025, shaded(self.blanket, 1.3))
        canvas.limb(line[2][0], line[2][1] + 0.05, line[5][0], line[5][1] + 0.06, 0.028, 0.03, self.skin)

    def dry(self) -> np.ndarray:
        times, rng = self.sound_times, self.draw.child("air")
        snore = self.state(times)
        out = np.clip(self.chest(times) - snore, 0, 1) * (snore < 0.02)
        pitch = self.flutter_hz * (0.8 + 0.3 * snore) * (1 + 0.08 * slow_curve(rng, times, 0.3))
        phase = 2 * np.pi * np.cumsum(pitch) / SYNTH_HZ
        peaks = (self.throat * (280 + 240 * snore), self.throat * 1050, self.throat * 2300)
        widths = (130.0 * self.throat, 260.0, 420.0)
        voiced = harmonics(phase, SYNTH_HZ, pitch, lambda k, hz: 0.04 + formants(hz, peaks, widths), 44)
        rasp = band_noise(rng, self.samples, SYNTH_HZ, 300 * self.throat, 2600 * self.throat)
        gate = 0.35 + 0.65 * np.clip(np.sin(phase), 0, 1)
        air = band_noise(rng, self.samples, SYNTH_HZ, 700.0, 4000.0)
        return snore**1.3 * (0.35 * voiced + self.rasp * rasp * gate) + 0.05 * out * air
