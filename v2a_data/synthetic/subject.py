"""What a thing in the synthetic world is: one physical state, drawn and sounded."""

from typing import Protocol

import numpy as np

from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.paint import Canvas


class Painted(Protocol):
    """Something that can be drawn at any time: a subject, or a thing shown in its place."""

    def paint(self, canvas: Canvas, time_s: float) -> None:
        """Draw the thing alone, without a backdrop, as it is at `time_s`."""
        ...


class Subject(Painted, Protocol):
    """One thing over one video. Everything it does follows from its state over time."""

    # Names in `things.THINGS` that a careless labeller would take for it.
    lookalikes: tuple[str, ...]

    def __init__(self, draw: Draw, duration_s: float) -> None: ...

    @property
    def events_s(self) -> np.ndarray:
        """Times (s, rising) at which something starts that can be both seen and heard."""
        ...

    def state(self, times_s: np.ndarray) -> np.ndarray:
        """Activity 0..1 at these times: the hidden state behind picture and sound."""
        ...

    def sound(self, rate_hz: int) -> np.ndarray:
        """The thing's dry sound over the whole video, `(samples,)` float32; the same each time."""
        ...
