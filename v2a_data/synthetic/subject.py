"""What a thing in the synthetic world is: one physical state, drawn and sounded."""

from typing import Protocol

import numpy as np

from v2a_data.synthetic.paint import Canvas


class Subject(Protocol):
    """One thing over one video. Everything it does follows from its state over time."""

    def __init__(self, rng: np.random.Generator, duration_s: float) -> None: ...

    @property
    def parameters(self) -> dict[str, float]:
        """The physical parameters drawn for this video, for the truth table."""
        ...

    @property
    def events_s(self) -> np.ndarray:
        """Times at which something starts that can be seen and heard (hits, closest passes)."""
        ...

    def paint(self, canvas: Canvas, time_s: float) -> None:
        """Draw the scene as it is at `time_s`."""
        ...

    def sound(self, rate_hz: int) -> np.ndarray:
        """The scene's sound over the whole video, `(samples,)` float32 within −1..1."""
        ...
