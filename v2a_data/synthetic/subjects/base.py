"""What all subjects share: a place in the picture, a sound made once, and how it is passed on."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import numpy as np

from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.paint import Canvas
from v2a_data.synthetic.tones import SYNTH_HZ, resampled


class Pose:
    """Where a thing stands, how large, tilted and mirrored: the same ranges for every label.

    A thing is drawn about (0, 0) within about ±0.5; 1 is `size` of the picture's height.
    """

    def __init__(self, draw: Draw, *, size: tuple[float, float] = (0.6, 0.95)) -> None:
        self.x = draw.uniform("x", -0.48, 0.48)
        self.y = draw.uniform("y", 0.38, 0.64)
        self.size = draw.uniform("size", *size)
        self.tilt_rad = draw.uniform("tilt_rad", -0.25, 0.25)
        self.mirrored = draw.choice("mirrored", (False, True))

    @contextmanager
    def on(self, canvas: Canvas) -> Iterator[None]:
        """Inside, coordinates are the thing's own."""
        with canvas.at(canvas.aspect / 2 + self.x, self.y, self.size, self.tilt_rad, flip=self.mirrored):
            yield


class Thing(ABC):
    """One label's thing over one video; see `Subject` for what each must offer."""

    lookalikes: tuple[str, ...] = ("poster", "toy", "slide", "title_card", "person_talking")

    def __init__(self, draw: Draw, duration_s: float) -> None:
        self.draw, self.duration_s = draw, duration_s
        self.pose = Pose(draw)

    @property
    @abstractmethod
    def events_s(self) -> np.ndarray:
        """Times (s, rising) at which something starts that can be seen and heard."""

    @abstractmethod
    def state(self, times_s: np.ndarray) -> np.ndarray:
        """Activity 0..1 at these times."""

    @abstractmethod
    def paint(self, canvas: Canvas, time_s: float) -> None:
        """Draw the thing alone at a time."""

    @abstractmethod
    def dry(self) -> np.ndarray:
        """Sound `(samples,)` at `SYNTH_HZ`; any level."""

    def sound(self, rate_hz: int) -> np.ndarray:
        """Dry sound `(samples,)` float32, its peak at 0.7; the same at every rate and each time."""
        return resampled(self._dry, SYNTH_HZ, rate_hz, round(self.duration_s * rate_hz))

    @cached_property
    def _dry(self) -> np.ndarray:
        made = self.dry()
        return made * (0.7 / max(float(np.abs(made).max()), 1e-9))

    @property
    def samples(self) -> int:
        """Length of the sound at `SYNTH_HZ`."""
        return round(self.duration_s * SYNTH_HZ)

    @cached_property
    def sound_times(self) -> np.ndarray:
        """Time (s) of each sample at `SYNTH_HZ`."""
        return np.arange(self.samples) / SYNTH_HZ


def last_before(events_s: np.ndarray, time_s: float) -> tuple[int, float]:
    """The latest event at a time: its number and how long ago; (-1, inf) before the first."""
    index = int(np.searchsorted(events_s, time_s, side="right")) - 1
    return index, float(time_s - events_s[index]) if index >= 0 else float("inf")


def pulses(events_s: np.ndarray, strengths: np.ndarray, times_s: np.ndarray, fall_s: float) -> np.ndarray:
    """Activity of hits: up at each event by its strength, dying away in `fall_s`."""
    out = np.zeros(len(times_s))
    for event_s, strength in zip(events_s, strengths, strict=True):
        since = times_s - event_s
        out = np.maximum(out, np.where(since >= 0, strength * np.exp(-np.maximum(since, 0) / fall_s), 0))
    return out


def beats(
    rng: np.random.Generator, duration_s: float, rate_hz: float, steps: tuple[float, ...], *, loose: float = 0.08
) -> np.ndarray:
    """Event times at a tempo: steps of a pattern in beats, each a little loose, as a share of the beat.

    The pattern is the same for every tempo: event times scale with 1 / rate_hz from the first on.
    """
    start_s = rng.uniform(0.15, 0.5)
    count = int(duration_s * 12) + 8
    lengths = rng.choice(steps, count) * rng.uniform(1 - loose, 1 + loose, count)
    times = start_s + np.concatenate([[0.0], np.cumsum(lengths)]) / rate_hz
    return times[times < duration_s - 0.08]


def bump(since_s: np.ndarray, rise_s: float, hold_s: float, fall_s: float) -> np.ndarray:
    """0 before, up to 1 within `rise_s`, held, back to 0 within `fall_s`; smooth at the corners."""
    up = np.clip(since_s / rise_s, 0, 1)
    down = np.clip((since_s - rise_s - hold_s) / fall_s, 0, 1)
    line = up * (1 - down)
    return line * line * (3 - 2 * line)


def bumps(
    events_s: np.ndarray, strengths: np.ndarray, times_s: np.ndarray, rise_s: float, hold_s: np.ndarray, fall_s: float
) -> np.ndarray:
    """Activity of things that last: a `bump` per event, the largest where they meet."""
    out = np.zeros(len(times_s))
    for event_s, strength, hold in zip(events_s, strengths, hold_s, strict=True):
        first, stop = np.searchsorted(times_s, [event_s, event_s + rise_s + hold + fall_s])
        piece = strength * bump(times_s[first:stop] - event_s, rise_s, float(hold), fall_s)
        out[first:stop] = np.maximum(out[first:stop], piece)
    return out
