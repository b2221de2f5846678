"""A tap that runs into a basin.

State: the flow. It sets the jet's width and speed, splash and ripples, loudness and brightness of the
noise and how many bubbles sound. An event is the start of a surge.
"""

from functools import cached_property

import numpy as np

from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.paint import Canvas, mixed, shaded
from v2a_data.synthetic.palette import lacquer, metal
from v2a_data.synthetic.subjects.base import Thing, beats, bumps
from v2a_data.synthetic.tones import SYNTH_HZ, add_at, band_noise

_RISE_S = 0.05
_LEAST = 0.14
_STREAKS = 26
_DROPS = 30


class WaterFlowing(Thing):
    """One tap over one video."""

    def __init__(self, draw: Draw, duration_s: float) -> None:
        super().__init__(draw, duration_s)
        self.surge_hz = draw.uniform("surge_hz", 0.7, 1.4)
        self.low_hz = draw.uniform("low_hz", 90.0, 900.0)
        self.high_hz = draw.uniform("high_hz", 1500.0, 7000.0)
        self.bubbles = draw.uniform("bubbles", 0.1, 0.6)
        self.bubble_hz = draw.uniform("bubble_hz", 350.0, 1100.0)
        self.share = draw.uniform("share", 0.35, 0.6)
        self.fall = draw.uniform("fall", 0.36, 0.5)
        rng = draw.child("paint")
        self.tap, self.basin = metal(rng), lacquer(rng)
        self.water = mixed((120, 176, 206), (214, 234, 240), float(rng.random()))
        jet = draw.child("jet")
        self._streaks = jet.random((_STREAKS, 3))
        self._drops = jet.random((_DROPS, 3))
        self._times = np.arange(0, duration_s + 1, 0.005)

    @cached_property
    def events_s(self) -> np.ndarray:
        """Surges."""
        return beats(self.draw.child("surges"), self.duration_s, self.surge_hz, (0.8, 1.0, 1.0, 1.4))

    @cached_property
    def strengths(self) -> np.ndarray:
        """How strong each surge is, 0.65..1."""
        return self.draw.child("strengths").uniform(0.65, 1.0, len(self.events_s))

    def state(self, times_s: np.ndarray) -> np.ndarray:
        """The flow, never quite nought."""
        hold = np.full(len(self.events_s), self.share / self.surge_hz)
        surge = bumps(self.events_s, self.strengths, times_s, _RISE_S, hold, 0.3)
        return _LEAST + (1 - _LEAST) * surge

    @cached_property
    def _run(self) -> np.ndarray:
        """How far the water has run (heights of the fall): what moves the streaks."""
        return np.cumsum(0.8 + 2.4 * self.state(self._times)) * 0.005

    def paint(self, canvas: Canvas, time_s: float) -> None:
        flow = float(self.state(np.asarray([time_s]))[0])
        run = float(np.interp(time_s, self._times, self._run))
        with self.pose.on(canvas):
            self._paint_basin(canvas, flow, run)
            self._paint_jet(canvas, flow, run)
            self._paint_splash(canvas, flow, run)
            self._paint_tap(canvas, flow)

    def _paint_tap(self, canvas: Canvas, flow: float) -> None:
        light, dark = shaded(self.tap, 1.25), shaded(self.tap, 0.7)
        canvas.polygon([(-0.46, -0.34), (0.0, -0.34), (0.0, -0.24), (-0.46, -0.24)], self.tap)
        canvas.polygon([(-0.46, -0.32), (0.0, -0.32), (0.0, -0.295), (-0.46, -0.295)], light)
        canvas.polygon([(-0.46, -0.265), (0.0, -0.265), (0.0, -0.24), (-0.46, -0.24)], dark)
        canvas.limb(0.0, -0.29, 0.05, -0.25, 0.05, 0.05, self.tap)
        canvas.polygon([(0.0, -0.27), (0.1, -0.27), (0.09, -0.16), (0.01, -0.16)], self.tap)
        canvas.polygon([(0.0, -0.18), (0.1, -0.18), (0.1, -0.15), (0.0, -0.15)], dark)
        canvas.polygon([(-0.5, -0.4), (-0.44, -0.4), (-0.44, -0.18), (-0.5, -0.18)], dark)
        # The handle turns with the flow.
        canvas.polygon([(-0.2, -0.44), (-0.16, -0.44), (-0.15, -0.34), (-0.21, -0.34)], dark)
        with canvas.at(-0.18, -0.45, 1.0, 0.9 * (flow - 0.5)):
            canvas.limb(-0.12, 0, 0.12, 0, 0.026, 0.026, light)
            canvas.ball(-0.13, 0, 0.036, 0.036, (196, 62, 56))

    def _paint_jet(self, canvas: Canvas, flow: float, run: float) -> None:
        wide, top, low = 0.012 + 0.05 * flow, -0.15, -0.15 + self.fall
        edge = [0.05 + wide * s for s in (-0.9, -1.0, -1.15, 1.15, 1.0, 0.9)]
        mid = (top + low) / 2
        canvas.polygon(list(zip(edge, (top, mid, low, low, mid, top), strict=True)), self.water)
        for place, start, length in self._streaks:
            y = (start + run) % 1.0
            x = 0.05 + wide * (1.8 * place - 0.9)
            tail = min(1.0, y + 0.1 + 0.2 * length)
            light = shaded(self.water, 0.72 + 0.6 * length)
            canvas.line(x, top + y * self.fall, x, top + tail * self.fall, 0.008, light)

    def _paint_basin(self, canvas: Canvas, flow: float, run: float) -> None:
        level = -0.15 + self.fall
        body = [(-0.42, level), (0.46, level), (0.36, 0.48), (-0.32, 0.48)]
        canvas.polygon(body, self.basin)
        canvas.polygon([(-0.42, level), (-0.2, level), (-0.18, 0.48), (-0.32, 0.48)], shaded(self.basin, 1.2))
        canvas.polygon([(0.3, level), (0.46, level), (0.36, 0.48), (0.26, 0.48)], shaded(self.basin, 0.75))
        canvas.ellipse(0.02, level, 0.45, 0.085, shaded(self.basin, 1.3))
        canvas.ellipse(0.02, level + 0.005, 0.41, 0.068, shaded(self.water, 0.8))
        for k in range(3):
            # Rings run outwards, the higher the flow the brighter.
            ring = (k / 3 + run * 0.45) % 1.0
            red, green, blue = shaded(self.water, 1.2)
            strong = int(220 * (0.25 + 0.75 * flow) * (1 - ring))
            canvas.ellipse(0.05, level + 0.005, 0.05 + 0.3 * ring, 0.01 + 0.05 * ring, (red, green, blue, strong))
            canvas.ellipse(0.05, level + 0.005, 0.03 + 0.29 * ring, 0.006 + 0.045 * ring, shaded(self.water, 0.82))

    def _paint_splash(self, canvas: Canvas, flow: float, run: float) -> None:
        level = -0.15 + self.fall
        canvas.ellipse(0.05, level, 0.03 + 0.08 * flow, 0.012 + 0.028 * flow, shaded(self.water, 1.3))
        for place, start, lively in self._drops[: round(_DROPS * flow)]:
            age = (start + run * (0.7 + 0.6 * lively)) % 1.0
            x = 0.05 + (place - 0.5) * (0.1 + 0.5 * age)
            y = level - (0.08 + 0.22 * flow * lively) * 4 * age * (1 - age)
            canvas.ellipse(x, y, 0.011, 0.013, shaded(self.water, 1.25))

    def dry(self) -> np.ndarray:
        rng, flow = self.draw.child("water"), self.state(self.sound_times)
        low = band_noise(rng, self.samples, SYNTH_HZ, self.low_hz, self.high_hz * 0.35)
        high = band_noise(rng, self.samples, SYNTH_HZ, self.high_hz * 0.3, self.high_hz)
        out = 0.5 * flow**1.2 * low + 0.5 * flow**2 * high
        self._add_bubbles(out, rng)
        return out

    def _add_bubbles(self, out: np.ndarray, rng: np.random.Generator) -> None:
        """Small rising tones; as many as the flow is strong (25..180 a second)."""
        times = np.arange(round(0.04 * SYNTH_HZ)) / SYNTH_HZ
        for start_s in rng.uniform(0, self.duration_s, round(180 * self.duration_s)):
            chance, pitch, loud = rng.random(3)
            flow = float(np.interp(start_s, self._times, self._flow))
            if chance < flow:
                hz = self.bubble_hz * 2 ** (2 * pitch - 1)
                tone = (
                    np.sin(2 * np.pi * hz * (times + 6 * times**2))
                    * np.exp(-times / 0.009)
                    * np.minimum(times * 900, 1)
                )
                add_at(out, self.bubbles * flow * loud * tone, float(start_s), SYNTH_HZ)

    @cached_property
    def _flow(self) -> np.ndarray:
        return self.state(self._times)
