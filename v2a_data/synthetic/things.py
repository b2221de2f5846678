"""What uploads show instead of the thing they are labelled with: toys, prints, talk, slides.

Each is made like `THINGS[name](draw, duration_s, subject)` and only painted: none makes the label's sound.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np
from PIL import Image

from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.paint import Canvas, mixed, shaded
from v2a_data.synthetic.palette import cloth, hued, skin
from v2a_data.synthetic.subject import Painted, Subject
from v2a_data.synthetic.tones import slow_curve

_PRINT = (480, 270)


class _Shown:
    """What all have in common: a place and size, a slow sway, the subject as it is at one moment."""

    def __init__(self, draw: Draw, duration_s: float, subject: Subject) -> None:
        self.subject = subject
        self.rng = draw.child("thing")
        self.x, self.y = draw.uniform("thing_x", -0.3, 0.3), draw.uniform("thing_y", 0.42, 0.58)
        self.size = draw.uniform("thing_size", 0.7, 1.0)
        self._times = np.arange(0, duration_s + 1, 0.05)
        self._sway = np.stack([slow_curve(self.rng, self._times, 1.5) for _ in range(3)])
        events = subject.events_s
        self.moment_s = float(events[len(events) // 2]) + 0.12 if len(events) else duration_s / 2

    def sway(self, time_s: float) -> tuple[float, float, float]:
        """Three slow random values, about −1..1."""
        x, y, turn = (float(np.interp(time_s, self._times, row)) for row in self._sway)
        return x, y, turn

    @contextmanager
    def held(self, canvas: Canvas, time_s: float, much: float) -> Iterator[None]:
        """Inside, coordinates are the thing's own; it sways by `much`."""
        x, y, turn = self.sway(time_s)
        place = (canvas.aspect / 2 + self.x + much * x, self.y + much * y)
        with canvas.at(*place, self.size, much * turn):
            yield

    @property
    def words(self) -> str:
        """The subject's name in words."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(self.subject).__name__)

    @cached_property
    def still(self) -> Image.Image:
        """A print of the subject on a plain ground."""
        canvas = Canvas(*_PRINT)
        ground = hued(self.rng, (0.1, 0.5), (0.6, 0.95))
        canvas.clear(ground)
        canvas.ellipse(canvas.aspect / 2, 1.1, 1.2, 0.35, shaded(ground, 0.8))
        self.subject.paint(canvas, self.moment_s)
        return Image.fromarray(canvas.pixels())


class PaperPlane(_Shown):
    """A folded paper plane that glides and dips."""

    def __init__(self, draw: Draw, duration_s: float, subject: Subject) -> None:
        super().__init__(draw, duration_s, subject)
        self.paper = mixed((250, 250, 246), hued(self.rng, (0.3, 0.7), (0.8, 1.0)), float(self.rng.random()) * 0.6)

    def paint(self, canvas: Canvas, time_s: float) -> None:
        with self.held(canvas, time_s, 0.16):
            canvas.polygon([(0.5, -0.02), (-0.45, -0.3), (-0.3, -0.02)], shaded(self.paper, 0.95))
            canvas.polygon([(0.5, -0.02), (-0.3, -0.02), (-0.28, 0.2)], shaded(self.paper, 0.6))
            canvas.polygon([(0.5, -0.02), (-0.3, -0.02), (-0.5, 0.12)], shaded(self.paper, 0.8))
            for k in range(4):
                canvas.line(-0.3 + 0.1 * k, -0.2 + 0.045 * k, -0.2 + 0.12 * k, -0.05, 0.006, shaded(self.paper, 0.75))


class Toy(_Shown):
    """A stiff little model of the thing on a stick, waved about by a hand."""

    def __init__(self, draw: Draw, duration_s: float, subject: Subject) -> None:
        super().__init__(draw, duration_s, subject)
        self.hand, self.sleeve = skin(self.rng), cloth(self.rng)

    @cached_property
    def _middle(self) -> tuple[float, float]:
        """Where the subject is drawn: x from the picture's middle, y from its top."""
        canvas = Canvas(160, 90)
        canvas.clear((1, 2, 3))
        self.subject.paint(canvas, self.moment_s)
        rows, columns = np.nonzero((canvas.pixels() != (1, 2, 3)).any(axis=2))
        if not len(rows):
            return 0.0, 0.5
        return float(columns.mean()) / 90 - canvas.aspect / 2, float(rows.mean()) / 90

    def paint(self, canvas: Canvas, time_s: float) -> None:
        with self.held(canvas, time_s, 0.1):
            canvas.limb(0.0, 0.1, 0.05, 0.5, 0.016, 0.016, (226, 206, 160))
            x, y = self._middle
            with canvas.at(-0.6 * (canvas.aspect / 2 + x), -0.6 * y - 0.06, 0.6):
                self.subject.paint(canvas, self.moment_s)
            canvas.limb(0.08, 0.6, 0.2, 1.0, 0.1, 0.12, self.sleeve)
            canvas.ball(0.06, 0.52, 0.085, 0.08, self.hand)
            for k in range(3):
                canvas.limb(0.0, 0.48 + 0.045 * k, 0.08, 0.47 + 0.045 * k, 0.024, 0.024, shaded(self.hand, 1.05))


class Poster(_Shown):
    """A print of the thing, held up by two hands."""

    def __init__(self, draw: Draw, duration_s: float, subject: Subject) -> None:
        super().__init__(draw, duration_s, subject)
        self.hand = skin(self.rng)

    def paint(self, canvas: Canvas, time_s: float) -> None:
        x, y, _ = self.sway(time_s)
        with canvas.at(canvas.aspect / 2 + self.x + 0.03 * x, self.y + 0.03 * y, self.size):
            canvas.polygon([(-0.56, -0.33), (0.58, -0.33), (0.58, 0.35), (-0.56, 0.35)], (60, 56, 54))
            canvas.polygon([(-0.58, -0.35), (0.56, -0.35), (0.56, 0.33), (-0.58, 0.33)], (250, 248, 242))
            canvas.picture(self.still, -0.01, -0.01, 1.06)
            for side in (-1, 1):
                canvas.limb(side * 0.62, 0.28, side * 0.7, 0.7, 0.07, 0.09, shaded(self.hand, 0.85))
                canvas.ball(side * 0.59, 0.22, 0.07, 0.08, self.hand)


class PersonTalking(_Shown):
    """Somebody who talks into the camera."""

    def __init__(self, draw: Draw, duration_s: float, subject: Subject) -> None:
        super().__init__(draw, duration_s, subject)
        self.face, self.shirt = skin(self.rng), cloth(self.rng)
        self.hair = shaded((110, 76, 50), float(self.rng.uniform(0.2, 1.8)))
        self._syllables = np.maximum(slow_curve(self.rng, self._times, 0.18), 0)

    def paint(self, canvas: Canvas, time_s: float) -> None:
        mouth = float(np.interp(time_s, self._times, self._syllables))
        blink = (time_s + self.x) % 2.7 < 0.12
        with self.held(canvas, time_s, 0.02):
            canvas.limb(-0.28, 0.42, 0.28, 0.42, 0.16, 0.16, self.shirt)
            canvas.polygon([(-0.4, 0.42), (0.4, 0.42), (0.46, 0.9), (-0.46, 0.9)], self.shirt)
            canvas.limb(0, 0.1, 0, 0.28, 0.085, 0.095, shaded(self.face, 0.85))
            canvas.ellipse(0, -0.13, 0.235, 0.27, self.hair)
            canvas.ball(0, -0.06, 0.2, 0.25, self.face)
            canvas.polygon([(-0.2, -0.16), (0.2, -0.16), (0.13, -0.31), (-0.13, -0.31)], self.hair)
            for side in (-1, 1):
                canvas.ellipse(side * 0.08, -0.08, 0.036, 0.006 if blink else 0.024, (246, 244, 240))
                if not blink:
                    canvas.ellipse(side * 0.08, -0.08, 0.017, 0.019, (52, 40, 34))
                canvas.line(side * 0.04, -0.135, side * 0.12, -0.14, 0.016, self.hair)
            canvas.polygon([(-0.012, -0.06), (0.03, 0.02), (-0.025, 0.02)], shaded(self.face, 0.85))
            canvas.ellipse(0, 0.085, 0.07, 0.014 + 0.04 * mouth, (182, 88, 88))
            canvas.ellipse(0, 0.085, 0.055, 0.004 + 0.03 * mouth, (84, 24, 30))


class Slide(_Shown):
    """A lecture's slides about the thing; the next one every few seconds."""

    def __init__(self, draw: Draw, duration_s: float, subject: Subject) -> None:
        super().__init__(draw, duration_s, subject)
        self.paper, self.bar = hued(self.rng, (0.0, 0.12), (0.85, 1.0)), cloth(self.rng)
        self.each_s = float(self.rng.uniform(2.5, 5.0))
        self._lengths = self.rng.uniform(0.2, 0.6, (64, 5))

    def paint(self, canvas: Canvas, time_s: float) -> None:
        number = int(time_s / self.each_s)
        wide = canvas.aspect
        canvas.polygon([(-0.3, -0.3), (wide + 0.3, -0.3), (wide + 0.3, 1.3), (-0.3, 1.3)], self.paper)
        canvas.polygon([(-0.3, -0.3), (wide + 0.3, -0.3), (wide + 0.3, 0.2), (-0.3, 0.2)], self.bar)
        canvas.text(wide / 2, 0.11, 0.1, f"{number + 1}. {self.words}", (250, 250, 250))
        for k, length in enumerate(self._lengths[number % 64].tolist()):
            y = 0.34 + 0.12 * k
            canvas.ellipse(0.12, y, 0.014, 0.014, self.bar)
            canvas.line(0.17, y, 0.17 + length, y, 0.035, shaded(self.paper, 0.55))
        canvas.picture(self.still, wide - 0.46, 0.58, 0.72)


class TitleCard(_Shown):
    """A title on a plain ground."""

    def __init__(self, draw: Draw, duration_s: float, subject: Subject) -> None:
        super().__init__(draw, duration_s, subject)
        self.ground, self.ink = hued(self.rng, (0.1, 0.8), (0.08, 0.5)), hued(self.rng, (0.0, 0.4), (0.85, 1.0))

    def paint(self, canvas: Canvas, time_s: float) -> None:
        wide = canvas.aspect
        canvas.polygon([(-0.3, -0.3), (wide + 0.3, -0.3), (wide + 0.3, 1.3), (-0.3, 1.3)], self.ground)
        canvas.polygon([(-0.3, 0.3), (wide + 0.3, 0.25), (wide + 0.3, 0.7), (-0.3, 0.75)], shaded(self.ground, 1.25))
        canvas.text(wide / 2, 0.45, 0.17, self.words, self.ink)
        canvas.line(wide / 2 - 0.35, 0.58, wide / 2 + 0.35, 0.58, 0.012, self.ink)
        canvas.text(wide / 2, 0.66, 0.07, f"part {round(self.size * 10)}", shaded(self.ink, 0.8))


Maker = Callable[[Draw, float, Subject], Painted]

THINGS: dict[str, Maker] = {
    "paper_plane": PaperPlane,
    "toy": Toy,
    "poster": Poster,
    "person_talking": PersonTalking,
    "slide": Slide,
    "title_card": TitleCard,
}
