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

_RISE_S = 0.06
_FACE = [
    (-0.13, -0.03), (-0.115, -0.1), (-0.07, -0.14), (-0.035, -0.13), (-0.01, -0.2), (0.018, -0.205), (0.03, -0.15),
    (0.05, -0.15), (0.062, -0.13), (0.05, -0.06), (0.08, 0.03), (0.0, 0.1), (-0.1, 0.06),
]  # fmt: skip
_JAW = [
    (0.025, -0.1), (0.045, -0.125), (0.06, -0.105), (0.085, -0.112), (0.115, -0.075), (0.12, 0.0), (0.07, 0.09),
    (0.0, 0.05),
]  # fmt: skip


class HumanSnoring(Thing):
    """One sleeper over one video."""

    def __init__(self, draw: Draw, duration_s: float) -> None:
        super().__init__(draw, duration_s)
        self.breath_hz = draw.uniform("breath_hz", 0.4, 0.75)
        self.flutter_hz = draw.uniform("flutter_hz", 28.0, 80.0)
        self.throat = draw.uniform("throat", 0.55, 2.2)
        self.rasp = draw.uniform("rasp", 0.2, 1.6)
        self.rasp_hz = draw.uniform("rasp_hz", 1200.0, 6000.0)
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
        with self.pose.on(canvas), canvas.at(0.06, 0.0, 1.25):
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
        face, shade = self.skin, shaded(self.skin, 0.86)
        canvas.limb(0.05, 0.06, 0.17, 0.1, 0.075, 0.08, shaded(face, 0.75))
        canvas.ellipse(-0.05, 0.01, 0.14, 0.14, self.hair)
        canvas.ellipse(-0.01, 0.0, 0.13, 0.125, shade)
        canvas.polygon(_FACE, face)
        canvas.polygon([(0.0, -0.03), (0.05, -0.13), (0.13, -0.1), (0.1, 0.0)], (78, 20, 28))
        # The jaw drops and the lips flutter while the snore lasts.
        flutter = 0.05 * mouth * np.sin(2 * np.pi * 11 * time_s)
        with canvas.at(0.02, 0.0, 1.0, 0.62 * mouth + flutter):
            canvas.polygon(_JAW, shaded(face, 0.95))
            canvas.limb(0.042, -0.118, 0.058, -0.108, 0.012, 0.012, (186, 92, 92))
        canvas.limb(0.04, -0.142, 0.056, -0.136, 0.011, 0.012, (186, 92, 92))
        canvas.line(-0.058, -0.094, -0.018, -0.098, 0.013, shaded(face, 0.4))
        canvas.line(-0.09, -0.128, -0.04, -0.143, 0.018, self.hair)
        canvas.ellipse(-0.035, 0.03, 0.028, 0.036, shaded(face, 0.92))
        canvas.ellipse(-0.033, 0.032, 0.014, 0.02, shaded(face, 0.68))
        if self._cap:
            canvas.polygon([(-0.09, -0.14), (-0.2, -0.07), (-0.19, 0.1), (-0.1, 0.13), (-0.06, 0.02)], self.blanket)
            canvas.polygon([(-0.18, -0.09), (-0.19, 0.1), (-0.38, 0.16)], shaded(self.blanket, 0.85))
            canvas.limb(-0.085, -0.135, -0.07, 0.12, 0.02, 0.02, (238, 236, 230))
            canvas.ball(-0.38, 0.16, 0.035, 0.035, (240, 238, 230))

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
        rasp = band_noise(rng, self.samples, SYNTH_HZ, 250 * self.throat, self.rasp_hz)
        gate = 0.35 + 0.65 * np.clip(np.sin(phase), 0, 1)
        air = band_noise(rng, self.samples, SYNTH_HZ, 700.0, 4000.0)
        return snore**1.3 * (0.35 * voiced + self.rasp * rasp * gate) + 0.05 * out * air
