"""What goes wrong in uploads, planted on purpose: one row per kind.

A kind says what it does to the picture, to the sound and to the truth. Kinds are drawn apart from each
other, so a video can have several; they act in the order of `KINDS`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from v2a_data.errors import UsageError, nearest
from v2a_data.synthetic import SUBJECTS
from v2a_data.synthetic.scene import Scene
from v2a_data.synthetic.subject import Painted
from v2a_data.synthetic.tones import speech

# Share of videos for each kind of `all`: about half of the videos have a fault, one in six several.
_SHARE = 0.035


@dataclass(frozen=True)
class Fault:
    """One planted fault over `[start_s, stop_s)` of the file; `what` and `value` are the kind's own."""

    kind: str
    start_s: float
    stop_s: float
    what: str = ""
    value: float = 0.0

    def covers(self, time_s: float) -> bool:
        return self.start_s <= time_s < self.stop_s


@dataclass
class Look:
    """What one frame shows: a scene at a time of the file, with `shown` in the subject's place."""

    time_s: float
    scene: Scene
    shown: Painted | None = None
    black: bool = False


class Stage(Protocol):
    """What the effects may ask of the video that is being made."""

    duration_s: float

    def moment(self, fault: Fault, number: int) -> float:
        """A random time of the file, the same for the same number."""
        ...

    def thing(self, fault: Fault) -> Painted:
        """The thing shown instead."""
        ...

    def other(self, fault: Fault) -> Scene:
        """The scene of something else."""
        ...


@dataclass
class Mix:
    """The sound being made, all `(samples,)` at `rate_hz`; `flipped` marks what the right side turns over."""

    rate_hz: int
    subject: np.ndarray
    around: np.ndarray
    rng: Callable[[str], np.random.Generator]
    other: Callable[[Fault], np.ndarray]
    out: np.ndarray = field(init=False)
    flipped: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.flipped = np.zeros(len(self.subject), bool)

    def span(self, fault: Fault) -> slice:
        """Where the fault lies in the arrays."""
        first, last = (round(time_s * self.rate_hz) for time_s in (fault.start_s, fault.stop_s))
        return slice(max(0, first), max(0, min(len(self.subject), last)))

    def piece(self, fault: Fault, made: Callable[[int], np.ndarray]) -> np.ndarray:
        """`made(samples)` over the whole fault, cut to where it lies in the file."""
        first, last = (round(time_s * self.rate_hz) for time_s in (fault.start_s, fault.stop_s))
        span = self.span(fault)
        return made(max(1, last - first))[span.start - first :][: span.stop - span.start]

    def lay(self, fault: Fault, sound: np.ndarray, under: float, over: float) -> None:
        """Put a sound over what is there: `under` is kept of it, and the sound is `over` times as loud."""
        span = self.span(fault)
        if span.stop <= span.start:
            return
        there = self.out[span]
        level = max(_rms(there), 0.03) * over
        self.out[span] = under * there + sound * (level / max(_rms(sound), 1e-6))


def _rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(sound)))) if len(sound) else 0.0


Spans = Callable[[np.random.Generator, float], tuple[float, float]]


@dataclass(frozen=True)
class Kind:
    """One row. Null effects leave picture or sound as they are.

    `unseen`, `unheard`: the label's thing is not seen or heard meanwhile. `inverse`: it acts outside its
    span, not inside.
    """

    name: str
    does: str
    spans: Spans
    picture: Callable[[Look, Fault, Stage], None] | None = None
    source: Callable[[Mix, Fault], None] | None = None
    sound: Callable[[Mix, Fault], None] | None = None
    unseen: bool = False
    unheard: bool = False
    inverse: bool = False
    value: tuple[float, float] = (0.0, 0.0)
    file: bool = False

    def acts(self, fault: Fault, time_s: float) -> bool:
        """Whether the fault is at work at a time of the file."""
        return fault.covers(time_s) != self.inverse


def _some(rng: np.random.Generator, duration_s: float) -> tuple[float, float]:
    """The whole video, or up to or from a half second inside it."""
    if rng.random() < 0.5:
        return 0.0, duration_s
    cut = round(float(rng.uniform(0.3, 0.7)) * duration_s * 2) / 2
    return (0.0, cut) if rng.random() < 0.5 else (cut, duration_s)


def _whole(rng: np.random.Generator, duration_s: float) -> tuple[float, float]:
    return 0.0, duration_s


def _end(rng: np.random.Generator, duration_s: float) -> tuple[float, float]:
    return round(float(rng.uniform(0.3, 0.7)) * duration_s * 2) / 2, duration_s


def _inside(rng: np.random.Generator, duration_s: float) -> tuple[float, float]:
    """A third to two thirds of the video, somewhere."""
    length = float(rng.uniform(0.33, 0.66)) * duration_s
    start = round(float(rng.uniform(0, duration_s - length)) * 2) / 2
    return start, round(start + length, 2)


class _Nothing:
    """An empty place."""

    def paint(self, canvas: object, time_s: float) -> None:
        """Draws nothing."""


NOTHING = _Nothing()


def _hide(look: Look, fault: Fault, stage: Stage) -> None:
    look.shown = NOTHING


def _swap(look: Look, fault: Fault, stage: Stage) -> None:
    look.shown = stage.thing(fault)


def _elsewhere(look: Look, fault: Fault, stage: Stage) -> None:
    look.scene, look.shown = stage.other(fault), None


def _blacken(look: Look, fault: Fault, stage: Stage) -> None:
    look.black = True


def _hush(mix: Mix, fault: Fault) -> None:
    mix.subject[mix.span(fault)] = 0


def _hush_outside(mix: Mix, fault: Fault) -> None:
    kept = np.zeros(len(mix.subject), bool)
    kept[mix.span(fault)] = True
    mix.subject[~kept] = 0


def _thing_sound(mix: Mix, fault: Fault) -> None:
    """A room without the label's thing, as loud as with it; who talks is heard talking."""
    span = mix.span(fault)
    level = max(_rms(mix.subject[span]), 0.01)
    mix.subject[span] = 0
    mix.around[span] *= 0.5 * level / max(_rms(mix.around[span]), 1e-6)
    if fault.what == "person_talking":
        words = mix.piece(fault, lambda samples: speech(mix.rng("talk"), samples, mix.rate_hz))
        mix.around[span] += words * (1.5 * max(level, 0.04) / max(_rms(words), 1e-6))


def _other_sound(mix: Mix, fault: Fault) -> None:
    span = mix.span(fault)
    mix.subject[span], mix.around[span] = 0, mix.other(fault)[span]


def _voice(mix: Mix, fault: Fault) -> None:
    mix.lay(fault, mix.piece(fault, lambda samples: speech(mix.rng("voice"), samples, mix.rate_hz)), 0.6, 1.5)


def _music(mix: Mix, fault: Fault) -> None:
    from v2a_data.synthetic.music import music

    mix.lay(fault, mix.piece(fault, lambda samples: music(mix.rng("music"), samples, mix.rate_hz)), 0.6, 1.2)


def _wrong_sound(mix: Mix, fault: Fault) -> None:
    mix.lay(fault, mix.other(fault)[mix.span(fault)], 0.15, 1.0)


def _silence(mix: Mix, fault: Fault) -> None:
    mix.out[mix.span(fault)] = 0


def _clip(mix: Mix, fault: Fault) -> None:
    span = mix.span(fault)
    loud = float(np.quantile(np.abs(mix.out[span]), 0.7)) if span.stop > span.start else 1.0
    mix.out[span] = np.clip(mix.out[span] / max(loud, 1e-4), -1, 1)


def _antiphase(mix: Mix, fault: Fault) -> None:
    mix.flipped[mix.span(fault)] = True


def _freeze(look: Look, fault: Fault, stage: Stage) -> None:
    look.time_s = fault.start_s


def _slides(look: Look, fault: Fault, stage: Stage) -> None:
    look.time_s = stage.moment(fault, int((look.time_s - fault.start_s) / fault.value))


KINDS: tuple[Kind, ...] = (
    Kind("still", "the picture stands still; the sound goes on", _some, picture=_freeze),
    Kind("slideshow", "photographs of the scene, a new one every `value` s", _some, picture=_slides, value=(2.0, 5.0)),
    Kind("part", "the thing is there inside the span only; else an empty place is seen and heard", _inside,
         picture=_hide, source=_hush_outside, unseen=True, unheard=True, inverse=True),
    Kind("other_thing", "`what` (a toy, a poster, a paper plane, ...) is seen instead, and the room is heard", _some,
         picture=_swap, source=_thing_sound, unseen=True, unheard=True),
    Kind("offscreen", "the thing is heard and not in the picture", _some, picture=_hide, unseen=True),
    Kind("unheard", "the thing is seen; only the surroundings are heard", _some, source=_hush, unheard=True),
    Kind("cut", "from here on another scene, of `what`", _end,
         picture=_elsewhere, source=_other_sound, unseen=True, unheard=True),
    Kind("wrong_sound", "the sound of `what`, 16 dB above the thing's own", _some, sound=_wrong_sound, unheard=True),
    Kind("music", "a music bed over it", _some, sound=_music),
    Kind("voice", "somebody talks over it", _some, sound=_voice),
    Kind("silence", "digital silence", _some, sound=_silence, unheard=True),
    Kind("clipping", "recorded so loud that three samples in ten are cut off", _some, sound=_clip),
    Kind("antiphase", "the right side is the left turned over: a mono mix cancels", _some, sound=_antiphase),
    Kind("black", "a black picture", _some, picture=_blacken, unseen=True),
    Kind("shift", "the sound comes `value` s after the picture (before it where negative)", _whole, value=(0.2, 1.5)),
    Kind("wrong_label", "listed under a label that is not what it shows (`what`)", _whole, unseen=True, unheard=True),
    Kind("near_duplicate", "an earlier video again: `what` names the change", _whole, file=True),
    Kind("short", "0.5 to 1.9 s long", _whole, file=True, value=(0.5, 1.9)),
    Kind("truncated", "only the first `value` of its bytes are there", _whole, file=True, value=(0.3, 0.9)),
)  # fmt: skip
BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}
NAMES: tuple[str, ...] = tuple(BY_NAME)


def parse_faults(spec: str) -> dict[str, float]:
    """Share of videos per kind: `all`, `none`, or `still:0.2,voice:0.1`. Raises `UsageError`."""
    if spec == "none":
        return {}
    if spec == "all":
        return dict.fromkeys(NAMES, _SHARE)
    return parse_shares(spec, NAMES, "--faults", "still:0.2,voice:0.1")


def parse_shares(spec: str, known: tuple[str, ...], option: str, example: str) -> dict[str, float]:
    """`name:share,...` with known names and shares 0..1; `all:share` gives it to each. Raises `UsageError`."""
    shares: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in spec.split(","))):
        name, _, number = part.partition(":")
        if name not in (*known, "all"):
            raise UsageError(f"{option}: unknown kind {name!r}; {nearest(name, list(known))}")
        if not re.fullmatch(r"[01]|0?\.\d+|[01]\.0*|0\.\d+", number):
            raise UsageError(f"{option} {part!r}: a share from 0 to 1 belongs after the colon, for example {example}")
        shares |= dict.fromkeys(known, float(number)) if name == "all" else {name: float(number)}
    if not shares:
        raise UsageError(f"{option} {spec!r}: expected all, none, or shares, for example {example}")
    return shares


def plan_fault(kind: Kind, rng: np.random.Generator, duration_s: float, subject: str) -> Fault:
    """One fault of a kind, drawn from its own random numbers."""
    start_s, stop_s = kind.spans(rng, duration_s)
    value = round(float(rng.uniform(*kind.value)), 3)
    if kind.name == "shift" and rng.random() < 0.5:
        value = -value
    what = ""
    if kind.name == "other_thing":
        things = SUBJECTS[subject].lookalikes
        what = things[int(rng.integers(len(things)))]
    elif kind.name in ("cut", "wrong_sound", "wrong_label"):
        others = [name for name in SUBJECTS if name != subject]
        what = others[int(rng.integers(len(others)))]
    return Fault(kind.name, start_s, stop_s, what, value)
