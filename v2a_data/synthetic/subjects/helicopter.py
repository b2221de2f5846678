"""A helicopter that hovers.

State: the rotor's angle and the distance. A blade that comes by on the near side chops the air: the
event. Distance sets size and loudness, rotor speed the chop's tempo, the turbine whines along.
"""

from functools import cached_property

import numpy as np

from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.paint import Canvas, Colour, shaded
from v2a_data.synthetic.palette import lacquer
from v2a_data.synthetic.solids import Solid, box, joined, plate, spindle, turn
from v2a_data.synthetic.subjects.base import Thing
from v2a_data.synthetic.tones import SYNTH_HZ, band_noise, harmonics, noise, slow_curve

_REACH = 0.52
# How flat the rotor's disc looks from here.
_FLAT = 0.26
_MAST = (0.06, -0.2, 0.0)


class Helicopter(Thing):
    """One helicopter over one video."""

    def __init__(self, draw: Draw, duration_s: float) -> None:
        super().__init__(draw, duration_s)
        self.chop_hz = draw.uniform("chop_hz", 3.6, 6.6)
        self.blades = draw.choice("blades", (2, 3))
        self.thump_hz = draw.uniform("thump_hz", 50.0, 220.0)
        self.bright_hz = draw.uniform("bright_hz", 400.0, 6000.0)
        self.whine_hz = draw.uniform("whine_hz", 250.0, 900.0)
        self.thump = draw.uniform("thump", 0.1, 0.8)
        self.whine = draw.uniform("whine", 0.02, 0.3)
        self.yaw_rad = draw.uniform("yaw_rad", 0.15, 0.75)
        self.start = draw.uniform("start", 0.0, 1.0)
        self._times = np.arange(0, duration_s + 1, 0.005)
        rng = draw.child("flight")
        self._chops = self.start + np.cumsum(self.chop_hz * (1 + 0.03 * slow_curve(rng, self._times, 4.0))) * 0.005
        self._distance = 1.25 + 0.25 * slow_curve(rng, self._times, draw.uniform("sway_s", 2.0, 4.0))
        self._x, self._y, self._turn = (slow_curve(rng, self._times, 3.0) for _ in range(3))
        paint = draw.child("paint")
        self._body = _hull(lacquer(paint), lacquer(paint))

    @cached_property
    def events_s(self) -> np.ndarray:
        """A blade points at the camera."""
        wanted = np.arange(np.ceil(self._chops[0]), self._chops[-1])
        times = np.interp(wanted, self._chops, self._times)
        return times[times < self.duration_s]

    def nearness(self, times_s: np.ndarray) -> np.ndarray:
        """One over the distance, about 0.65..1."""
        return 1 / np.interp(times_s, self._times, self._distance)

    def state(self, times_s: np.ndarray) -> np.ndarray:
        """The chop: up as a blade comes by, then dying away; louder when near."""
        passed = np.interp(times_s, self._times, self._chops) % 1.0
        return np.clip(self.nearness(times_s), 0, 1) * np.exp(-passed * 4.0)

    def paint(self, canvas: Canvas, time_s: float) -> None:
        near, x, y, swing, chops = (
            float(np.interp(time_s, self._times, c))
            for c in (1 / self._distance, self._x, self._y, self._turn, self._chops)
        )
        place = (canvas.aspect / 2 + self.pose.x + 0.1 * x, self.pose.y + 0.05 * y)
        # Each blade that comes by lifts the hull a little: the hop of slow rotors.
        hop = 0.022 * np.exp(-6.0 * (chops % 1.0))
        matrix = turn(self.yaw_rad + 0.25 * swing, -0.22, 0.1 * x + self.pose.tilt_rad)
        with canvas.at(*place, 1.15 * self.pose.size * near, flip=self.pose.mirrored):
            with canvas.at(0, -hop):
                self._body.paint(canvas, matrix)
                self._paint_tail_rotor(canvas, matrix, time_s)
            self._paint_rotor(canvas, matrix, 2 * np.pi * chops / self.blades)

    def _paint_rotor(self, canvas: Canvas, matrix: np.ndarray, angle: float) -> None:
        hub = matrix @ (_MAST[0], _MAST[1] - 0.07, 0.0)
        base = matrix @ _MAST
        canvas.line(base[0], base[1], hub[0], hub[1], 0.03, (70, 70, 75))
        canvas.ellipse(hub[0], hub[1], _REACH, _REACH * _FLAT, (210, 212, 218, 45))
        for blade in range(self.blades):
            self._paint_blade(canvas, (hub[0], hub[1]), angle + 2 * np.pi * blade / self.blades)
        canvas.ball(hub[0], hub[1], 0.03, 0.022, (90, 90, 95))

    def _paint_blade(self, canvas: Canvas, hub: tuple[float, float], angle: float) -> None:
        """One blade; angle 0 points at the camera, down in the picture, and catches the light there."""
        x, y = hub

        def rim(a: float) -> tuple[float, float]:
            near = 1 + 0.15 * np.cos(a)
            return x + near * _REACH * np.sin(a), y + near * _REACH * _FLAT * np.cos(a)

        glint = float(np.exp(-((((angle + np.pi) % (2 * np.pi) - np.pi) / 0.45) ** 2)))
        grey = round(40 + 200 * glint)
        canvas.polygon([(x, y), *(rim(angle - back) for back in (0.45, 0.3, 0.15, 0.0))], (60, 60, 66, 70))
        half = 0.05 + 0.05 * glint
        one, two = rim(angle - half), rim(angle + half)
        canvas.polygon([(x - 0.012, y - 0.008), one, two, (x + 0.012, y + 0.008)], (grey, grey, grey + 4))
        canvas.line(*one, *two, 0.025, (240, 210, 60))

    def _paint_tail_rotor(self, canvas: Canvas, matrix: np.ndarray, time_s: float) -> None:
        hub = matrix @ (-0.56, -0.12, -0.02)
        canvas.ellipse(hub[0], hub[1], 0.075, 0.075, (210, 210, 215, 90))
        for k in range(2):
            a = 31.0 * time_s + np.pi * k
            canvas.line(hub[0], hub[1], hub[0] + 0.07 * np.cos(a), hub[1] + 0.08 * np.sin(a), 0.014, (50, 50, 55))

    def dry(self) -> np.ndarray:
        times = self.sound_times
        chops = np.interp(times, self._times, self._chops)
        near = np.interp(times, self._times, 1 / self._distance)
        passed = chops % 1.0
        rng = self.draw.child("air")
        clap = band_noise(rng, self.samples, SYNTH_HZ, 60.0, self.bright_hz) * np.exp(-passed * 6.0)
        thump = np.sin(2 * np.pi * self.thump_hz * passed / self.chop_hz) * np.exp(-passed * 5.0)
        speed = np.gradient(chops) * SYNTH_HZ / self.chop_hz
        phase = 2 * np.pi * np.cumsum(self.whine_hz * speed) / SYNTH_HZ
        whine = harmonics(phase, SYNTH_HZ, self.whine_hz * speed, lambda k, _: 1 / k, 5)
        wash = noise(rng, self.samples, 1.2)
        return near**1.8 * (0.5 * clap + self.thump * thump + self.whine * whine + 0.06 * wash)


def _hull(body: Colour, trim: Colour) -> Solid:
    """Nose at x = 0.38, tail at −0.6."""
    glass: Colour = (95, 130, 155)
    cabin = spindle(
        [
            (-0.2, 0.05, -0.06),
            (-0.1, 0.13, -0.02),
            (0.1, 0.16, 0),
            (0.24, 0.14, 0.01),
            (0.34, 0.09, 0.03),
            (0.39, 0, 0.04),
        ],
        [body, body, body, glass, glass],
        12,
    )
    boom = spindle([(-0.6, 0.02, -0.1), (-0.4, 0.03, -0.08), (-0.15, 0.06, -0.05)], [trim, body])
    engine = box((0.0, -0.16, 0), (0.24, 0.09, 0.14), shaded(body, 0.85))
    fin = plate([(-0.53, -0.1, 0), (-0.62, -0.1, 0), (-0.66, -0.26, 0), (-0.59, -0.26, 0)], trim)
    wing = plate([(-0.45, -0.08, -0.12), (-0.52, -0.08, -0.12), (-0.52, -0.08, 0.12), (-0.45, -0.08, 0.12)], trim)
    parts = [cabin, boom, engine, fin, wing, box((0.02, 0.02, -0.152), (0.12, 0.12, 0.005), shaded(glass, 0.8))]
    for side in (-0.12, 0.12):
        parts.append(box((0.04, 0.23, side), (0.44, 0.018, 0.018), (60, 60, 64)))
        parts += [box((x, 0.18, side * 0.9), (0.018, 0.1, 0.018), (60, 60, 64)) for x in (-0.06, 0.14)]
    return joined(parts)
