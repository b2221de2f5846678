"""A baby that cries.

State: how far the mouth is open; each cry opens it for one breath. The opening sets formants and
loudness, the breath the pitch's rise and fall; the fists go along. An event is the start of a cry.
"""

from functools import cached_property

import numpy as np

from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.paint import Canvas, mixed, shaded
from v2a_data.synthetic.palette import cloth, skin
from v2a_data.synthetic.subjects.base import Thing, beats, bumps, last_before
from v2a_data.synthetic.tones import SYNTH_HZ, band_noise, formants, harmonics

_RISE_S = 0.05


class BabyCrying(Thing):
    """One baby over one video."""

    def __init__(self, draw: Draw, duration_s: float) -> None:
        super().__init__(draw, duration_s)
        self.cry_hz = draw.uniform("cry_hz", 0.75, 1.35)
        self.pitch_hz = draw.uniform("pitch_hz", 280.0, 640.0)
        self.throat = draw.uniform("throat", 0.75, 1.45)
        self.bend = draw.uniform("bend", 0.05, 0.25)
        self.breath = draw.uniform("breath", 0.05, 0.5)
        self.share = draw.uniform("share", 0.5, 0.68)
        rng = draw.child("paint")
        self.skin, self.suit, self.hat = skin(rng), cloth(rng), cloth(rng)
        self.hair = shaded((120, 84, 52), rng.uniform(0.3, 1.5))
        self._bonnet = rng.random() < 0.5

    @cached_property
    def events_s(self) -> np.ndarray:
        """Cries."""
        return beats(self.draw.child("breaths"), self.duration_s, self.cry_hz, (0.9, 1.0, 1.0, 1.3), loose=0.05)

    @cached_property
    def strengths(self) -> np.ndarray:
        """How loud each cry is, 0.65..1."""
        return self.draw.child("strengths").uniform(0.65, 1.0, len(self.events_s))

    @cached_property
    def _holds(self) -> np.ndarray:
        gaps = np.diff(self.events_s, append=self.events_s[-1:] + 1 / self.cry_hz)
        return np.maximum(0.1, self.share * gaps - _RISE_S)

    def state(self, times_s: np.ndarray) -> np.ndarray:
        """How far the mouth is open."""
        return bumps(self.events_s, self.strengths, times_s, _RISE_S, self._holds, 0.16)

    def paint(self, canvas: Canvas, time_s: float) -> None:
        mouth = float(self.state(np.asarray([time_s]))[0])
        shake = 0.015 * mouth * np.sin(2 * np.pi * 5.5 * time_s)
        with self.pose.on(canvas):
            self._paint_body(canvas, mouth, time_s)
            with canvas.at(shake, -0.14 - 0.02 * mouth, 1.0, 0.6 * shake):
                self._paint_head(canvas, mouth)
                self._paint_tears(canvas, time_s)

    def _paint_body(self, canvas: Canvas, mouth: float, time_s: float) -> None:
        canvas.ball(0, 0.36, 0.27, 0.24, self.suit)
        canvas.ellipse(0, 0.19, 0.13, 0.05, shaded(self.suit, 1.25))
        for y in (0.28, 0.36, 0.44):
            canvas.ellipse(0, y, 0.014, 0.014, shaded(self.suit, 0.55))
        for side in (-1, 1):
            lift = mouth * (0.75 + 0.25 * np.sin(2 * np.pi * 3.2 * time_s + side))
            fist = (side * (0.4 - 0.05 * lift), 0.38 - 0.36 * lift)
            canvas.limb(side * 0.2, 0.25, *fist, 0.085, 0.06, shaded(self.suit, 0.85))
            canvas.ball(*fist, 0.065, 0.06, self.skin)
            for k in range(3):
                canvas.line(
                    fist[0] - 0.03 + 0.028 * k, fist[1] - 0.045, fist[0] - 0.03 + 0.028 * k, fist[1] - 0.01, 0.008,
                    shaded(self.skin, 0.7),
                )  # fmt: skip

    def _paint_head(self, canvas: Canvas, mouth: float) -> None:
        flushed = mixed(self.skin, (222, 70, 70), 0.25 * mouth)
        for side in (-1, 1):
            canvas.ball(side * 0.29, 0.0, 0.05, 0.07, shaded(flushed, 0.95))
        if self._bonnet:
            canvas.ellipse(0, -0.06, 0.315, 0.295, self.hat)
        canvas.ball(0, 0, 0.285, 0.29, flushed)
        if not self._bonnet:
            for k in range(5):
                canvas.line(-0.02, -0.27, -0.08 + 0.04 * k, -0.33 + 0.01 * abs(k - 2), 0.016, self.hair)
        dark = shaded(self.skin, 0.45)
        for side in (-1, 1):
            canvas.glow(side * 0.18, 0.06, 0.09, (230, 90, 90), 0.5)
            # Eyes squeezed shut, brows drawn together, the more so the louder.
            canvas.line(side * 0.06, -0.05, side * 0.17, -0.065 + 0.03 * mouth, 0.02, dark)
            canvas.line(side * 0.06, -0.035, side * 0.15, -0.02, 0.012, dark)
            canvas.line(side * 0.05, -0.11 - 0.02 * mouth, side * 0.18, -0.13 + 0.04 * mouth, 0.022, self.hair)
        canvas.ball(0, 0.025, 0.035, 0.028, shaded(flushed, 0.95))
        wide, high = 0.075 + 0.055 * mouth, 0.012 + 0.11 * mouth
        canvas.ellipse(0, 0.14, wide + 0.015, high + 0.015, (196, 88, 92))
        canvas.ellipse(0, 0.14, wide, high, (84, 18, 26))
        if mouth > 0.15:
            canvas.ellipse(0, 0.14 + 0.55 * high, 0.65 * wide, 0.38 * high, (224, 112, 118))

    def _paint_tears(self, canvas: Canvas, time_s: float) -> None:
        index, since = last_before(self.events_s, time_s)
        if index < 0 or since > 1.0:
            return
        for side in (-1, 1):
            y = 0.0 + 0.22 * since
            canvas.ellipse(side * (0.15 + 0.04 * since), y, 0.018, 0.028, (170, 214, 246))

    def dry(self) -> np.ndarray:
        times = self.sound_times
        mouth = self.state(times)
        tremble = 1 + 0.02 * np.sin(2 * np.pi * 6.0 * times)
        pitch = self.pitch_hz * (0.8 + self.bend + 0.3 * mouth - self.bend * self._spent(times)) * tremble
        phase = 2 * np.pi * np.cumsum(pitch) / SYNTH_HZ
        peaks = (self.throat * (650 + 550 * mouth), self.throat * 1900, self.throat * 3600)
        voice = harmonics(
            phase, SYNTH_HZ, pitch, lambda k, hz: (0.06 + formants(hz, peaks, (240.0, 380.0, 600.0))) / k**0.3, 14
        )
        breath = band_noise(self.draw.child("breath"), self.samples, SYNTH_HZ, 250.0, 6000.0)
        return mouth**1.5 * (voice + self.breath * breath)

    def _spent(self, times_s: np.ndarray) -> np.ndarray:
        """How much of a breath is used up, 0..1."""
        index = np.maximum(np.searchsorted(self.events_s, times_s, side="right") - 1, 0)
        since = times_s - self.events_s[index]
        return np.clip(since / (self._holds[index] + 0.2), 0, 1)
