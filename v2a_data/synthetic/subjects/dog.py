"""A sitting dog that barks.

State: how far the mouth is open, over time; a bark opens it and throws the head up. Its opening sets
the formants and the loudness, the dog's build the pitch. An event is the start of a bark.
"""

from functools import cached_property

import numpy as np

from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.paint import Canvas, mixed, shaded
from v2a_data.synthetic.palette import cloth, fur
from v2a_data.synthetic.subjects.base import Thing, beats, bumps
from v2a_data.synthetic.tones import SYNTH_HZ, band_noise, formants, harmonics, slow_curve

_RISE_S = 0.035


class Dog(Thing):
    """One dog over one video."""

    def __init__(self, draw: Draw, duration_s: float) -> None:
        super().__init__(draw, duration_s)
        self.bark_hz = draw.uniform("bark_hz", 1.3, 2.6)
        self.pitch_hz = draw.uniform("pitch_hz", 220.0, 620.0)
        self.throat = draw.uniform("throat", 0.75, 1.4)
        self.hoarse = draw.uniform("hoarse", 0.2, 0.8)
        self.long_s = draw.uniform("long_s", 0.05, 0.12)
        self.ear = draw.choice("ear", ("floppy", "pointed"))
        rng = draw.child("paint")
        self.coat, self.patch, self.collar = fur(rng), fur(rng), cloth(rng)
        self._wag = draw.child("wag").uniform(1.0, 2.2)

    @cached_property
    def events_s(self) -> np.ndarray:
        """Barks, in bouts."""
        return beats(self.draw.child("bouts"), self.duration_s, self.bark_hz, (0.7, 1.0, 1.0, 1.0, 2.2))

    @cached_property
    def strengths(self) -> np.ndarray:
        """How loud each bark is, 0.6..1."""
        return self.draw.child("strengths").uniform(0.6, 1.0, len(self.events_s))

    def state(self, times_s: np.ndarray) -> np.ndarray:
        """How far the mouth is open."""
        hold = np.full(len(self.events_s), self.long_s)
        return bumps(self.events_s, self.strengths, times_s, _RISE_S, hold, 0.11)

    def paint(self, canvas: Canvas, time_s: float) -> None:
        mouth = float(self.state(np.asarray([time_s]))[0])
        sway = 0.02 * np.sin(2 * np.pi * 0.35 * time_s)
        with self.pose.on(canvas):
            self._paint_tail(canvas, time_s)
            self._paint_body(canvas, mouth)
            with canvas.at(0.13 + 0.02 * mouth, -0.2 - 0.035 * mouth, 1.0, -0.42 * mouth + sway):
                self._paint_head(canvas, mouth)

    def _paint_tail(self, canvas: Canvas, time_s: float) -> None:
        wave = 0.5 * np.sin(2 * np.pi * self._wag * time_s)
        points = [(-0.27 - 0.07 * k, 0.32 - 0.06 * k**1.4 - 0.03 * k * wave) for k in range(4)]
        for (x0, y0), (x1, y1), r in zip(points[:-1], points[1:], (0.045, 0.038, 0.03), strict=True):
            canvas.limb(x0, y0, x1, y1, r, 0.8 * r, shaded(self.coat, 0.85))

    def _paint_body(self, canvas: Canvas, mouth: float) -> None:
        dark, coat = shaded(self.coat, 0.78), self.coat
        canvas.limb(0.06, 0.1, 0.1, 0.46, 0.075, 0.05, dark)
        canvas.ball(-0.16, 0.27, 0.2, 0.2, coat)
        canvas.limb(-0.12, 0.25, 0.08, -0.05, 0.19, 0.13, coat)
        canvas.ball(0.06, 0.05, 0.15, 0.2, mixed(coat, self.patch, 0.5))
        canvas.limb(0.13, 0.08, 0.17, 0.45, 0.075, 0.045, shaded(coat, 1.08))
        canvas.ellipse(0.2, 0.47, 0.075, 0.035, shaded(coat, 1.12))
        canvas.ellipse(0.13, 0.475, 0.06, 0.03, dark)
        canvas.ball(-0.12, 0.36, 0.13, 0.12, shaded(coat, 0.92))
        canvas.ellipse(-0.02, 0.475, 0.1, 0.035, shaded(coat, 1.05))
        canvas.limb(0.02, -0.07, 0.16 + 0.02 * mouth, -0.04, 0.03, 0.03, self.collar)
        canvas.ellipse(0.13, 0.0, 0.025, 0.028, (225, 190, 70))

    def _paint_head(self, canvas: Canvas, mouth: float) -> None:
        coat, light = self.coat, shaded(self.coat, 1.12)
        if self.ear == "pointed":
            canvas.polygon([(-0.12, -0.08), (-0.1, -0.3), (0.02, -0.12)], shaded(self.patch, 0.75))
        with canvas.at(0.04, 0.05, 1.0, 0.62 * mouth):
            canvas.limb(0.0, 0.03, 0.23, 0.03, 0.05, 0.028, shaded(self.patch, 0.85))
            if mouth > 0.1:
                canvas.limb(0.05, 0.01, 0.19, 0.012, 0.03, 0.022, (216, 96, 104))
        if mouth > 0.1:
            low = 0.2 * mouth
            canvas.polygon([(0.04, 0.03), (0.25, 0.03), (0.2, 0.03 + low), (0.06, 0.05 + low / 3)], (88, 24, 30))
            canvas.polygon([(0.2, 0.03), (0.24, 0.03), (0.215, 0.085)], (245, 242, 230))
        canvas.ball(-0.02, -0.03, 0.155, 0.145, coat)
        canvas.limb(0.05, 0.0, 0.25, 0.0, 0.085, 0.05, self.patch)
        canvas.ball(0.295, -0.03, 0.035, 0.03, (40, 34, 36))
        canvas.ellipse(0.06, -0.075, 0.03, 0.03, (248, 246, 240))
        canvas.ellipse(0.068, -0.073, 0.02, 0.021, (38, 26, 20))
        canvas.ellipse(0.062, -0.08, 0.006, 0.006, (255, 255, 255))
        canvas.line(0.02, -0.12, 0.09, -0.115, 0.014, shaded(coat, 0.6))
        if self.ear == "pointed":
            canvas.polygon([(-0.1, -0.12), (-0.04, -0.33), (0.05, -0.13)], light)
            canvas.polygon([(-0.07, -0.13), (-0.035, -0.27), (0.02, -0.13)], shaded(self.patch, 0.9))
        else:
            with canvas.at(-0.08, -0.11, 1.0, 0.5 * mouth):
                canvas.limb(0, 0, -0.07, 0.2, 0.045, 0.065, shaded(self.patch, 0.7))

    def dry(self) -> np.ndarray:
        times = self.sound_times
        mouth = self.state(times)
        # Pitch follows the opening: it rises into a bark and falls out of it.
        pitch = self.pitch_hz * (0.62 + 0.45 * mouth) * (1 + 0.03 * slow_curve(self.draw.child("pitch"), times, 0.4))
        phase = 2 * np.pi * np.cumsum(pitch) / SYNTH_HZ
        peaks = (self.throat * (450 + 550 * mouth), self.throat * 1650, self.throat * 2900)
        voice = harmonics(
            phase, SYNTH_HZ, pitch, lambda k, hz: (0.12 + formants(hz, peaks, (260.0, 300.0, 500.0))) / k**0.5, 14
        )
        rough = band_noise(self.draw.child("breath"), self.samples, SYNTH_HZ, 500 * self.throat, 3200 * self.throat)
        return mouth**1.4 * (voice + self.hoarse * rough)
