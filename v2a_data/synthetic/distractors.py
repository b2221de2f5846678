"""Silent things that move about in a scene, to be ignored by whoever looks for the cause of a sound."""

import numpy as np

from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.paint import Canvas, shaded
from v2a_data.synthetic.palette import cloth, lacquer, skin
from v2a_data.synthetic.subject import Painted
from v2a_data.synthetic.tones import slow_curve


def distractors(draw: Draw, duration_s: float) -> list[Painted]:
    """None to three, each with its own path, size 0.08..0.2 of the height."""
    count = int(draw.choice("distractors", (0, 1, 1, 2, 2, 3)))
    return [_Drifter(draw, duration_s, n) for n in range(count)]


def near_things(draw: Draw, duration_s: float) -> list[Painted]:
    """None to three soft shapes close to the camera, out of focus, at the edges of the picture."""
    count = int(draw.choice("near_things", (0, 1, 1, 2, 2, 3)))
    return [_Blur(draw, duration_s, n) for n in range(count)]


class _Blur:
    """A leaf, shoulder or post in front of the lens: a soft spot that sways at an edge."""

    def __init__(self, draw: Draw, duration_s: float, n: int) -> None:
        rng = draw.child(f"near {n}")
        self._colour = cloth(rng)
        self._side, self._height = (-1 if rng.random() < 0.5 else 1), float(rng.uniform(-0.1, 1.1))
        self._size = draw.uniform(f"near_{n}_size", 0.35, 0.7)
        self._times = np.arange(0, duration_s + 1, 0.05)
        self._sway = 0.06 * slow_curve(rng, self._times, 3.0)

    def paint(self, canvas: Canvas, time_s: float) -> None:
        x = canvas.aspect / 2 * (1 + self._side) + float(np.interp(time_s, self._times, self._sway))
        # In a picture higher than wide it would cover all.
        size = self._size * min(1.0, canvas.aspect)
        for k in range(3):
            canvas.glow(x, self._height + 0.22 * (k - 1) * size, size, self._colour, 0.9)


class _Drifter:
    """A ball, bird, car, leaf, walker or kite on a slow random path."""

    def __init__(self, draw: Draw, duration_s: float, n: int) -> None:
        rng = draw.child(f"distractor {n}")
        self._kind = (_ball, _bird, _car, _leaf, _walker, _kite)[int(rng.integers(6))]
        self._size = draw.uniform(f"distractor_{n}_size", 0.08, 0.2)
        self._colours = (lacquer(rng), cloth(rng), skin(rng))
        self._times = np.arange(0, duration_s + 1, 0.05)
        period_s = draw.uniform(f"distractor_{n}_period_s", 2.0, 6.0)
        self._x = rng.uniform(0.1, 0.9) + 0.35 * slow_curve(rng, self._times, period_s)
        self._y = rng.uniform(0.15, 0.85) + 0.12 * slow_curve(rng, self._times, period_s)
        self._pace_hz = rng.uniform(1.2, 3.0)

    def paint(self, canvas: Canvas, time_s: float) -> None:
        x = float(np.interp(time_s, self._times, self._x)) * canvas.aspect
        y = float(np.interp(time_s, self._times, self._y))
        ahead = float(np.interp(time_s + 0.1, self._times, self._x)) * canvas.aspect
        with canvas.at(x, y, self._size, flip=ahead < x):
            self._kind(canvas, self._colours, 2 * np.pi * self._pace_hz * time_s)


_Colours = tuple[tuple[int, int, int], ...]


def _ball(canvas: Canvas, colours: _Colours, turn: float) -> None:
    canvas.ball(0, 0, 0.5, 0.5, colours[0])
    canvas.ellipse(0.25 * np.cos(turn), 0.25 * np.sin(turn), 0.12, 0.12, colours[1])


def _bird(canvas: Canvas, colours: _Colours, turn: float) -> None:
    wing = 0.45 * np.sin(turn)
    canvas.polygon([(-0.1, 0), (0.15, 0), (-0.15, -wing)], shaded(colours[0], 0.7))
    canvas.ball(0, 0, 0.35, 0.14, colours[0])
    canvas.ball(0.32, -0.08, 0.12, 0.11, colours[0])
    canvas.polygon([(0.42, -0.1), (0.56, -0.06), (0.42, -0.03)], (230, 170, 60))
    canvas.polygon([(-0.12, 0), (0.14, 0), (-0.1, -1.2 * wing)], shaded(colours[0], 1.15))


def _car(canvas: Canvas, colours: _Colours, turn: float) -> None:
    canvas.polygon([(-0.3, -0.05), (-0.2, -0.28), (0.14, -0.28), (0.28, -0.05)], shaded(colours[0], 0.75))
    canvas.polygon([(-0.17, -0.07), (-0.13, -0.23), (0.1, -0.23), (0.19, -0.07)], (190, 210, 225))
    canvas.polygon([(-0.5, -0.05), (0.5, -0.05), (0.5, 0.14), (-0.5, 0.14)], colours[0])
    for x in (-0.28, 0.28):
        canvas.ellipse(x, 0.15, 0.11, 0.11, (35, 35, 40))
        canvas.line(x, 0.15, x + 0.09 * np.cos(3 * turn), 0.15 + 0.09 * np.sin(3 * turn), 0.03, (170, 170, 170))


def _leaf(canvas: Canvas, colours: _Colours, turn: float) -> None:
    with canvas.at(0, 0, 1.0, 0.8 * np.sin(turn / 2), tall=0.3 + 0.6 * abs(np.cos(turn / 3))):
        canvas.polygon([(-0.5, 0), (-0.15, -0.28), (0.25, -0.2), (0.5, 0), (0.25, 0.2), (-0.15, 0.28)], colours[1])
        canvas.line(-0.5, 0, 0.4, 0, 0.04, shaded(colours[1], 0.6))


def _walker(canvas: Canvas, colours: _Colours, turn: float) -> None:
    swing = 0.2 * np.sin(turn)
    for side in (1, -1):
        canvas.limb(0, 0.1, side * swing, 0.5, 0.07, 0.05, shaded(colours[0], 0.6))
    canvas.limb(0, -0.2, 0, 0.1, 0.13, 0.1, colours[1])
    canvas.limb(0, -0.18, -swing, 0.1, 0.05, 0.04, shaded(colours[1], 0.8))
    canvas.ball(0, -0.42, 0.11, 0.12, colours[2])


def _kite(canvas: Canvas, colours: _Colours, turn: float) -> None:
    with canvas.at(0, 0, 1.0, 0.3 * np.sin(turn / 2)):
        canvas.polygon([(0, -0.5), (0.3, -0.1), (0, 0.35), (-0.3, -0.1)], colours[0])
        canvas.polygon([(0, -0.5), (0.3, -0.1), (0, -0.1)], shaded(colours[0], 1.3))
        for k in range(4):
            canvas.line(
                0.06 * np.sin(turn + k), 0.35 + 0.08 * k, 0.06 * np.sin(turn + k + 1), 0.43 + 0.08 * k, 0.03, colours[1]
            )
