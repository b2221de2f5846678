"""A propeller plane that circles in front of the camera.

State: the angle on its circle and the throttle. Distance sets size and loudness, engine speed and
speed towards the camera (Doppler) set the pitch. An event is a closest pass.
"""

from functools import cached_property

import numpy as np

from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.paint import Canvas, Colour, shaded
from v2a_data.synthetic.palette import lacquer
from v2a_data.synthetic.solids import Solid, joined, plate, spindle, turn
from v2a_data.synthetic.subjects.base import Thing
from v2a_data.synthetic.tones import SYNTH_HZ, harmonics, noise, slow_curve

_SOUND_SPEED = 343.0
# Radius of the circle over the distance of its middle.
_RADIUS = 0.42


class Airplane(Thing):
    """One plane over one video."""

    lookalikes = ("paper_plane", "toy", "poster", "slide", "title_card", "person_talking")

    def __init__(self, draw: Draw, duration_s: float) -> None:
        super().__init__(draw, duration_s)
        self.round_s = draw.uniform("round_s", 2.6, 5.5)
        self.phase = draw.uniform("phase", 0.0, 1.0)
        self.blade_pass_hz = draw.uniform("blade_pass_hz", 60.0, 170.0)
        self.middle_m = draw.uniform("middle_m", 18.0, 40.0)
        self.wash = draw.uniform("wash", 0.2, 1.2)
        self.wash_tilt = draw.uniform("wash_tilt", 0.2, 1.4)
        self.slope = draw.uniform("slope", 0.1, 1.2)
        self.climb = draw.uniform("climb", -0.07, 0.07)
        self.view_rad = draw.uniform("view_rad", -0.45, 0.25)
        self.bank_rad = draw.uniform("bank_rad", 0.15, 0.5)
        self.blades = draw.choice("blades", (2, 3, 4))
        self._times = np.arange(0, duration_s + 1, 0.01)
        self._throttle = 1 + 0.1 * slow_curve(draw.child("throttle"), self._times, 4.0)
        rng = draw.child("paint")
        self._body = _plane(lacquer(rng), lacquer(rng))

    @property
    def events_s(self) -> np.ndarray:
        """Closest passes, once a round."""
        first = (-self.phase) % 1.0
        return np.arange(first, self.duration_s / self.round_s, 1.0) * self.round_s

    def angle(self, times_s: np.ndarray) -> np.ndarray:
        """Angle on the circle (rad), 0 where it is closest."""
        return 2 * np.pi * (times_s / self.round_s + self.phase)

    def distance_m(self, times_s: np.ndarray) -> np.ndarray:
        """Distance from the camera."""
        angle = self.angle(times_s)
        return self.middle_m * np.hypot(_RADIUS * np.sin(angle), 1 - _RADIUS * np.cos(angle))

    def state(self, times_s: np.ndarray) -> np.ndarray:
        """Nearness: 1 at the closest pass, 0 at the far end."""
        near, far = (1 - _RADIUS), (1 + _RADIUS)
        return (self.middle_m * near / self.distance_m(times_s) - near / far) / (1 - near / far)

    def paint(self, canvas: Canvas, time_s: float) -> None:
        angle = float(self.angle(np.asarray(time_s)))
        depth = (1 - _RADIUS * np.cos(angle)) / (1 - _RADIUS)
        x = self.pose.x * 0.5 + 0.5 * np.sin(angle) / depth * (-1 if self.pose.mirrored else 1)
        y = self.pose.y - 0.04 + self.climb * np.sin(angle)
        with canvas.at(canvas.aspect / 2 + x, y, 1.15 * self.pose.size / depth, flip=self.pose.mirrored):
            self._paint_plane(canvas, angle, time_s)

    def _paint_plane(self, canvas: Canvas, angle: float, time_s: float) -> None:
        lean = self.bank_rad
        rolled = np.asarray([[1, 0, 0], [0, np.cos(lean), -np.sin(lean)], [0, np.sin(lean), np.cos(lean)]])
        matrix = turn(-angle, self.view_rad) @ rolled
        nose = matrix @ (0.5, 0.0, 0.0)
        if nose[2] > 0:
            self._paint_propeller(canvas, matrix, time_s)
        self._body.paint(canvas, matrix)
        if nose[2] <= 0:
            self._paint_propeller(canvas, matrix, time_s)

    def _paint_propeller(self, canvas: Canvas, matrix: np.ndarray, time_s: float) -> None:
        rim = [matrix @ (0.5, 0.17 * np.cos(a), 0.17 * np.sin(a)) for a in np.arange(16) * np.pi / 8]
        canvas.polygon([(p[0], p[1]) for p in rim], (200, 200, 205, 70))
        spin = 2 * np.pi * self.blade_pass_hz / self.blades * time_s
        hub = matrix @ (0.51, 0.0, 0.0)
        for blade in range(self.blades):
            a = spin + 2 * np.pi * blade / self.blades
            tip = matrix @ (0.51, 0.17 * np.cos(a), 0.17 * np.sin(a))
            canvas.line(hub[0], hub[1], tip[0], tip[1], 0.018, (45, 42, 40))

    @cached_property
    def _doppler(self) -> np.ndarray:
        return 1 / (1 + np.gradient(self.distance_m(self._times), self._times) / _SOUND_SPEED)

    def dry(self) -> np.ndarray:
        times = self.sound_times
        rate = np.interp(times, self._times, self.blade_pass_hz * self._throttle * self._doppler)
        phase = 2 * np.pi * np.cumsum(rate) / SYNTH_HZ
        near = np.interp(times, self._times, self.middle_m * (1 - _RADIUS) / self.distance_m(self._times))
        hum = harmonics(phase, SYNTH_HZ, rate, lambda k, _: near ** (0.2 * k) / k**self.slope, 16)
        wash = noise(self.draw.child("wash"), self.samples, self.wash_tilt) * np.interp(
            times, self._times, self._throttle**2
        )
        return near**1.6 * (0.3 * hum + self.wash * wash)


def _plane(body: Colour, trim: Colour) -> Solid:
    """Nose at x = 0.5, tail at −0.5, wings along z."""
    glass = (90, 120, 145)
    fuselage = spindle(
        [(-0.5, 0.015, -0.03), (-0.2, 0.06, -0.01), (0.12, 0.085, 0), (0.38, 0.075, 0.0), (0.48, 0.04, 0.0)],
        [body, body, body, trim],
    )
    canopy = spindle([(-0.05, 0.0, -0.07), (0.05, 0.05, -0.08), (0.17, 0.045, -0.075), (0.24, 0.0, -0.06)], [glass] * 3)
    parts = [fuselage, canopy]
    for side in (-1, 1):
        parts += [
            plate(
                [(0.2, 0.03, 0), (0.02, 0.03, 0), (0.05, 0.0, side * 0.28), (0.17, 0.0, side * 0.28)],
                shaded(body, 1.15),
            ),
            plate(
                [
                    (0.17, 0.0, side * 0.28),
                    (0.05, 0.0, side * 0.28),
                    (0.07, -0.03, side * 0.55),
                    (0.14, -0.03, side * 0.55),
                ],
                trim,
            ),
            plate([(-0.38, -0.03, 0), (-0.5, -0.03, 0), (-0.51, -0.04, side * 0.2), (-0.43, -0.04, side * 0.2)], trim),
        ]
    parts.append(plate([(-0.34, -0.05, 0), (-0.49, -0.05, 0), (-0.54, -0.24, 0), (-0.45, -0.24, 0)], trim))
    return joined(parts)
