"""One video of the world: drawn, sounded, with its faults planted, encoded into a real file."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from v2a_data.files import sha256_file, whole_file
from v2a_data.synthetic import SUBJECTS
from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.encode import cut_bytes, write_file
from v2a_data.synthetic.faults import BY_NAME, KINDS, Fault, Look, Mix
from v2a_data.synthetic.paint import Canvas
from v2a_data.synthetic.plan import STEADY, Form, VideoPlan
from v2a_data.synthetic.scene import Scene
from v2a_data.synthetic.subject import Painted
from v2a_data.synthetic.things import THINGS
from v2a_data.synthetic.truth import Truth, truth_of

# How far narrow pictures draw things to the middle and make them smaller, so that they are in the picture.
_WIDE = 16 / 9
_NARROWED = ("x", "thing_x"), ("size", "thing_size")
_LOUDEST = 0.97


class FittedDraw(Draw):
    """Draws for a picture narrower than 16:9: things stand closer to its middle and are smaller."""

    def __init__(
        self, rng: np.random.Generator, aspect: float, *, ood: bool = False, fixed: Mapping[str, float] | None = None
    ) -> None:
        super().__init__(rng, ood=ood, fixed=fixed)
        self.aside = max(0.1, (aspect - 0.4) / (_WIDE - 0.4)) if aspect < _WIDE - 0.01 else 1.0
        self.scale = min(1.0, 0.55 + 0.45 * aspect / _WIDE) if aspect < 1 else 1.0

    def uniform(self, name: str, low: float, high: float) -> float:
        """As `Draw`; places and sizes fitted to the picture."""
        value = super().uniform(name, low, high)
        factor = self.aside if name in _NARROWED[0] else self.scale if name in _NARROWED[1] else 1.0
        if factor != 1.0:
            value = self.values[name] = value * factor
        return value


class Staged:
    """The scenes of one video and what its faults ask for."""

    def __init__(self, plan: VideoPlan) -> None:
        self.plan, self.duration_s = plan, plan.duration_s
        self.scene, self.values = self._scene(plan.subject, 2, 4)
        self._others: dict[str, Scene] = {}
        self._things: dict[str, Painted] = {}

    def _scene(self, label: str, purpose: int, surroundings: int) -> tuple[Scene, dict[str, float]]:
        plan = self.plan
        aspect = plan.form.width / plan.form.height
        fixed = STEADY if plan.steady else None
        draw = FittedDraw(plan.generator(purpose), aspect, ood=plan.ood, fixed=fixed)
        subject = SUBJECTS[label](draw, plan.scene_s)
        around = Draw(plan.generator(surroundings), ood=plan.ood, fixed=fixed)
        return Scene(subject, around, plan.scene_s), draw.values

    def moment(self, fault: Fault, number: int) -> float:
        """A random time, the same for the same number."""
        rng = np.random.default_rng([self.plan.seed, self.plan.scene_n, 16, number])
        return float(rng.uniform(0, self.plan.scene_s)) - self.plan.origin_s

    def thing(self, fault: Fault) -> Painted:
        """What is shown instead, made once."""
        if fault.what not in self._things:
            draw = FittedDraw(self.plan.generator(18), self.plan.form.width / self.plan.form.height)
            self._things[fault.what] = THINGS[fault.what](draw, self.plan.scene_s, self.scene.subject)
        return self._things[fault.what]

    def other(self, fault: Fault) -> Scene:
        """Another label's scene in another place, made once."""
        if fault.what not in self._others:
            self._others[fault.what] = self._scene(fault.what, 12, 14)[0]
        return self._others[fault.what]

    def look(self, time_s: float) -> Look:
        """What the frame at a time of the file shows."""
        look = Look(time_s, self.scene)
        for kind in KINDS:
            for fault in self.plan.faults:
                if kind.picture and fault.kind == kind.name and kind.acts(fault, time_s):
                    kind.picture(look, fault, self)
        return look

    def mix(self) -> Mix:
        """The file's sound from its time 0 on, with the faults in it."""
        plan, rate_hz = self.plan, self.plan.form.rate_hz
        first = round((plan.origin_s - plan.shift_s) * rate_hz)
        samples = round(plan.duration_s * rate_hz)

        def taken(sound: np.ndarray) -> np.ndarray:
            piece = sound[first : first + samples].astype(np.float64)
            return np.pad(piece, (0, samples - len(piece)))

        mix = Mix(
            rate_hz,
            taken(self.scene.subject_sound(rate_hz)),
            taken(self.scene.background_sound(rate_hz)),
            lambda name: Draw(plan.generator(20)).child(name),
            lambda fault: taken(self.other(fault).sound(rate_hz)),
        )
        for fault, kind in self._in_order():
            if kind.source:
                kind.source(mix, fault)
        mix.out = mix.subject + mix.around
        for fault, kind in self._in_order():
            if kind.sound:
                kind.sound(mix, fault)
        return mix

    def _in_order(self) -> Iterator[tuple[Fault, Any]]:
        order = {kind.name: number for number, kind in enumerate(KINDS)}
        for fault in sorted(self.plan.faults, key=lambda fault: order[fault.kind]):
            yield fault, BY_NAME[fault.kind]


def render_video(plan: VideoPlan, folder: str) -> Truth:
    """Render into `<folder>/<plan.file>` unless it is there already; returns its truth.

    Same plan and FFmpeg build, same bytes.
    """
    staged = Staged(plan)
    mix = staged.mix()
    target = Path(folder) / plan.file
    if not target.is_file():
        with whole_file(target) as temporary:
            times_s = frame_times(plan)
            sound = channels(plan, mix) if plan.sound else None
            write_file(temporary, plan.form, times_s, pictures(plan, staged, times_s), sound)
            for fault in plan.faults:
                if fault.kind == "truncated":
                    cut_bytes(temporary, fault.value)
    return truth_of(plan, staged.scene, staged.values, mix, sha256_file(target))


def frame_times(plan: VideoPlan) -> np.ndarray:
    """Times (s) of the frames in the file; with a variable rate some are left out and all are uneven."""
    form: Form = plan.form
    index = np.arange(max(1, round(plan.duration_s * form.fps)), dtype=float)
    if form.variable:
        rng = np.random.default_rng([plan.seed, plan.n, 5])
        kept = rng.random(len(index)) >= 0.15
        index = np.maximum(0.0, index + rng.uniform(-0.3, 0.3, len(index)))[kept]
    times_s = index / float(form.fps)
    times_s = times_s[times_s >= form.picture_start_s]
    # The first frame is where the truth says.
    return np.concatenate([[form.picture_start_s], times_s[1:]])


def pictures(plan: VideoPlan, staged: Staged, times_s: np.ndarray) -> Iterator[np.ndarray]:
    """The upright frames."""
    canvas = Canvas(plan.form.width, plan.form.height)
    shown: tuple[Any, ...] | None = None
    pixels = np.zeros((plan.form.height, plan.form.width, 3), np.uint8)
    for time_s in times_s.tolist():
        look = staged.look(time_s)
        wanted = (look.black, look.time_s, id(look.scene), id(look.shown))
        if look.black:
            pixels = np.zeros_like(pixels)
        elif wanted != shown:
            look.scene.picture(canvas, max(0.0, look.time_s + plan.origin_s), look.shown)
            pixels = _cropped(canvas.pixels(), plan.amount) if plan.transform == "cropped" else canvas.pixels()
        shown = wanted
        yield pixels


def _cropped(pixels: np.ndarray, amount: float) -> np.ndarray:
    """The middle of a picture, `amount` cut off on each side, at the same size."""
    high, wide = pixels.shape[:2]
    box = (wide * amount, high * amount, wide * (1 - amount), high * (1 - amount))
    return np.asarray(Image.fromarray(pixels).resize((wide, high), Image.Resampling.BILINEAR, box=box))


def channels(plan: VideoPlan, mix: Mix) -> np.ndarray:
    """What goes to the encoder: `(channels, samples)` float32 within full scale."""
    out, clipped = mix.out, any(fault.kind == "clipping" for fault in plan.faults)
    if plan.transform == "louder":
        # Through a limiter, as those who make things louder do.
        out = np.tanh(out * 10 ** (plan.amount / 20))
    peak = float(np.abs(out).max(initial=0.0))
    if not clipped and peak > _LOUDEST:
        out = out * (_LOUDEST / peak)
    if plan.form.layout == "mono":
        return out[None].astype(np.float32)
    pan = plan.form.pan_db
    left, right = (10 ** (min(0.0, side * pan) / 20) for side in (-1, 1))
    if mix.flipped.any():
        left = right = 1.0
    return np.stack([left * out, right * np.where(mix.flipped, -out, out)]).astype(np.float32)
