"""A chainsaw that cuts into a log.

State: the throttle. It drives the engine's speed and so all harmonics, the chain, shaking, smoke and
the spray of sawdust; the load of the cut pulls the pitch down. An event is the start of a rev.
"""

from functools import cached_property

import numpy as np

from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.paint import Canvas, shaded
from v2a_data.synthetic.palette import lacquer, metal
from v2a_data.synthetic.subjects.base import Thing, beats, bumps
from v2a_data.synthetic.tones import SYNTH_HZ, band_noise, harmonics, slow_curve

_RISE_S = 0.05
_CHIPS = 36


class Chainsaw(Thing):
    """One saw over one video."""

    def __init__(self, draw: Draw, duration_s: float) -> None:
        super().__init__(draw, duration_s)
        self.rev_hz = draw.uniform("rev_hz", 0.6, 1.2)
        self.idle_hz = draw.uniform("idle_hz", 25.0, 45.0)
        self.top_hz = draw.uniform("top_hz", 85.0, 200.0)
        self.body_hz = draw.uniform("body_hz", 250.0, 2600.0)
        self.rough = draw.uniform("rough", 0.05, 0.8)
        self.slope = draw.uniform("slope", 0.1, 1.1)
        self.share = draw.uniform("share", 0.4, 0.6)
        rng = draw.child("paint")
        self.shell, self.grip, self.steel = lacquer(rng), shaded(lacquer(rng), 0.5), metal(rng)
        self.bark = shaded((120, 84, 54), rng.uniform(0.5, 1.3))
        self.wood = shaded((222, 184, 130), rng.uniform(0.75, 1.1))
        self._chips = draw.child("chips").random((_CHIPS, 3))
        self._times = np.arange(0, duration_s + 1, 0.005)

    @cached_property
    def events_s(self) -> np.ndarray:
        """Revs."""
        return beats(self.draw.child("revs"), self.duration_s, self.rev_hz, (0.8, 1.0, 1.0, 1.4))

    @cached_property
    def strengths(self) -> np.ndarray:
        """How far the throttle is opened, 0.75..1."""
        return self.draw.child("strengths").uniform(0.75, 1.0, len(self.events_s))

    def state(self, times_s: np.ndarray) -> np.ndarray:
        """The throttle, 0 idling."""
        hold = np.full(len(self.events_s), self.share / self.rev_hz)
        return bumps(self.events_s, self.strengths, times_s, _RISE_S, hold, 0.18)

    @cached_property
    def _chain(self) -> np.ndarray:
        """How far the chain has run (units of the picture)."""
        return np.cumsum(3.1 * self.state(self._times)) * 0.005

    def paint(self, canvas: Canvas, time_s: float) -> None:
        throttle = float(self.state(np.asarray([time_s]))[0])
        run = float(np.interp(time_s, self._times, self._chain))
        rattle = 0.003 + 0.013 * throttle
        x, y = rattle * np.sin(2 * np.pi * 17.3 * time_s), rattle * np.sin(2 * np.pi * 13.1 * time_s + 1)
        with self.pose.on(canvas):
            self._paint_log(canvas)
            with canvas.at(x - 0.08, y - 0.1 + 0.07 * throttle, 1.0, 0.12 + 0.2 * throttle):
                self._paint_bar(canvas, run)
                self._paint_engine(canvas, throttle, time_s)
            self._paint_cut(canvas)
            self._paint_chips(canvas, throttle, time_s)

    def _paint_log(self, canvas: Canvas) -> None:
        canvas.limb(0.34, 0.33, 0.62, 0.28, 0.17, 0.17, shaded(self.bark, 0.85))
        canvas.limb(0.33, 0.24, 0.6, 0.19, 0.05, 0.05, self.bark)
        canvas.ellipse(0.3, 0.34, 0.12, 0.17, self.bark)
        canvas.ellipse(0.3, 0.34, 0.1, 0.15, self.wood)
        for k in (0.7, 0.42, 0.16):
            canvas.ellipse(0.3, 0.34, 0.1 * k, 0.15 * k, shaded(self.wood, 0.86 if k != 0.42 else 0.95))

    def _paint_bar(self, canvas: Canvas, run: float) -> None:
        left, right, half = 0.0, 0.5, 0.062
        canvas.limb(left, 0.0, right, 0.0, half, half * 0.85, shaded(self.steel, 0.5))
        canvas.limb(left, 0.0, right, 0.0, half * 0.72, half * 0.6, shaded(self.steel, 1.1))
        canvas.line(left + 0.06, -0.01, right - 0.06, -0.008, 0.016, shaded(self.steel, 1.35))
        step = 0.055
        for k in range(10):
            x = left + (k * step + run) % (10 * step)
            if x < right + 0.02:
                canvas.polygon([(x, -half), (x + 0.03, -half), (x + 0.026, -half - 0.024)], (38, 38, 42))
            back = right - (k * step + run) % (10 * step)
            if back > left:
                canvas.polygon([(back, half), (back - 0.03, half), (back - 0.026, half + 0.022)], (38, 38, 42))

    def _paint_engine(self, canvas: Canvas, throttle: float, time_s: float) -> None:
        shell, dark = self.shell, shaded(self.shell, 0.65)
        # Rear and front handles behind and above the block.
        canvas.limb(-0.36, -0.12, -0.5, -0.02, 0.03, 0.035, self.grip)
        canvas.limb(-0.5, -0.02, -0.42, 0.12, 0.035, 0.03, self.grip)
        canvas.limb(-0.42, 0.12, -0.3, 0.1, 0.03, 0.03, self.grip)
        canvas.polygon([(-0.36, -0.14), (-0.1, -0.2), (0.04, -0.12), (0.06, 0.12), (-0.3, 0.15), (-0.38, 0.05)], shell)
        canvas.polygon([(-0.36, -0.14), (-0.1, -0.2), (0.04, -0.12), (-0.14, -0.1)], shaded(shell, 1.25))
        canvas.polygon([(-0.34, 0.06), (0.06, 0.04), (0.06, 0.12), (-0.3, 0.15)], dark)
        for k in range(4):
            canvas.line(-0.3 + 0.045 * k, -0.06, -0.31 + 0.045 * k, 0.03, 0.016, shaded(shell, 0.4))
        canvas.ball(-0.04, 0.02, 0.075, 0.075, shaded(self.steel, 0.85))
        a = 40.0 * throttle * time_s
        canvas.line(-0.04, 0.02, -0.04 + 0.06 * np.cos(a), 0.02 + 0.06 * np.sin(a), 0.018, (50, 50, 54))
        canvas.limb(-0.16, -0.16, -0.1, -0.31, 0.026, 0.026, self.grip)
        canvas.limb(-0.1, -0.31, 0.06, -0.28, 0.026, 0.026, self.grip)
        canvas.polygon([(0.06, -0.3), (0.12, -0.26), (0.08, -0.1), (0.04, -0.1)], shaded(self.grip, 1.4))
        canvas.ball(-0.43, 0.0, 0.055, 0.06, (206, 160, 128))
        canvas.ball(-0.02, -0.3, 0.055, 0.05, (206, 160, 128))
        for k in range(3):
            age = (k / 3 + 0.9 * time_s) % 1.0
            shade = int(150 * throttle * (1 - age))
            if shade > 4:
                spot = 0.04 + 0.08 * age
                canvas.ellipse(-0.2 - 0.2 * age, -0.24 - 0.25 * age, spot, spot, (120, 120, 126, shade))

    def _paint_cut(self, canvas: Canvas) -> None:
        canvas.polygon([(0.24, 0.24), (0.36, 0.26), (0.4, 0.42), (0.34, 0.52), (0.24, 0.52), (0.2, 0.4)], self.wood)
        canvas.polygon([(0.24, 0.24), (0.36, 0.26), (0.362, 0.275), (0.24, 0.258)], shaded(self.bark, 0.6))
        for k in (0.8, 0.5, 0.2):
            canvas.ellipse(0.3, 0.39, 0.08 * k, 0.11 * k, shaded(self.wood, 0.84 if k != 0.5 else 0.95))

    def _paint_chips(self, canvas: Canvas, throttle: float, time_s: float) -> None:
        for speed, lean, start in self._chips[: round(_CHIPS * throttle)]:
            age = (start + time_s * 2.2) % 1.0
            x = 0.22 - (0.15 + 0.5 * speed) * age
            y = 0.24 + (0.3 * lean - 0.18) * age + 0.5 * age * age
            canvas.ellipse(x, y, 0.014, 0.01, shaded(self.wood, 0.85 + 0.4 * lean))

    def dry(self) -> np.ndarray:
        times, rng = self.sound_times, self.draw.child("engine")
        throttle = self.state(times)
        load = 1 - 0.06 * throttle * (1 + slow_curve(rng, times, 0.5))
        rate = (self.idle_hz + (self.top_hz - self.idle_hz) * throttle) * load
        phase = 2 * np.pi * np.cumsum(rate) / SYNTH_HZ
        sharp = self.body_hz

        def gain(k: int, hz: np.ndarray) -> np.ndarray:
            return (0.25 + 1 / (1 + ((hz - sharp) / (0.6 * sharp)) ** 2)) / k**self.slope

        engine = harmonics(phase, SYNTH_HZ, rate, gain, 36)
        chain = band_noise(rng, self.samples, SYNTH_HZ, 700.0, 5000.0) * (0.7 + 0.3 * np.sin(phase))
        loud = 0.13 + 0.87 * throttle
        return loud**1.3 * (0.3 * engine + self.rough * throttle * chain)
