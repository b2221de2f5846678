"""What each video of a world is: drawn from (seed, number) alone, before anything is rendered.

Label and length, form (encoder and container), faults and copies have random streams of their own, so
none of them tells anything of the others.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from v2a_data.ids import synthetic_native_id, synthetic_video_id
from v2a_data.schema import WINDOW_S
from v2a_data.synthetic.faults import BY_NAME, KINDS, NAMES, Fault, plan_fault
from v2a_data.synthetic.tones import BANDS_HZ

View = Literal["full", "small", "steady"]
TRANSFORMS = ("reencoded", "resized", "cropped", "louder", "trimmed")

_LINES = {144: 0.22, 180: 0.1, 240: 0.22, 288: 0.06, 360: 0.26, 480: 0.08, 720: 0.06}
_ASPECTS = {Fraction(16, 9): 0.7, Fraction(4, 3): 0.16, Fraction(9, 16): 0.14}
_FPS = {
    Fraction(25, 2): 0.08, Fraction(15): 0.1, Fraction(24000, 1001): 0.1, Fraction(24): 0.1, Fraction(25): 0.22,
    Fraction(30000, 1001): 0.14, Fraction(30): 0.16, Fraction(50): 0.05, Fraction(60): 0.05,
}  # fmt: skip
# Container, picture codec, sound codec: what sites hand out and what lies in people's folders.
_FILES = {
    ("mp4", "h264", "aac"): 0.5, ("webm", "vp9", "opus"): 0.2, ("mkv", "h264", "aac"): 0.1,
    ("mkv", "vp9", "opus"): 0.1, ("mp4", "h264", "opus"): 0.1,
}  # fmt: skip
_SMALL = (64, 36)
# The steady view: one camera on a tripod, aimed at the thing, one microphone, steady light, nobody walks by. Names
# as things and scenes draw them.
STEADY: Mapping[str, float] = {
    "x": 0.0, "y": 0.5, "pan": 0.0, "shake": 0.0, "zoom": 0.0, "exposure": 1.0, "light_drift": 0.0,
    "light_red": 1.0, "light_green": 1.0, "light_blue": 1.0, "distractors": 0, "near_things": 0,
    "level_db": -6.0, "room_tilt_db": 0.0, **{f"room_{hz:.0f}_hz_db": 0.0 for hz in BANDS_HZ},
}  # fmt: skip
# A scene of less than this has no room for what happens in it.
_LEAST_SCENE_S = 4.0
# Picture or sound start within this share of a file, however short it is.
_LATEST_START = 0.3
_TRIES = 16
_LONG_S = 1e6


@dataclass(frozen=True)
class Form:
    """Encoder and container settings. Sizes are upright; `rotation` turns the stored picture.

    The first frame is at `picture_start_s`, the first sound at `sound_start_s`, in the file's time.
    """

    container: str = "mp4"
    video_codec: str = "h264"
    sound_codec: str = "aac"
    width: int = 256
    height: int = 144
    fps: Fraction = Fraction(25)
    variable: bool = False
    gop_s: float = 2.0
    quality: int = 24
    rotation: int = 0
    faststart: bool = True
    rate_hz: int = 44100
    layout: str = "stereo"
    pan_db: float = 0.0
    sound_kbit: int = 96
    picture_start_s: float = 0.0
    sound_start_s: float = 0.0


@dataclass(frozen=True)
class VideoPlan:
    """One video to render. Time t of the file is `origin_s + t` of a scene that is `scene_s` long.

    `label` is what it is listed under, `subject` what it shows; they differ with the fault `wrong_label`.
    A near-duplicate shows scene `scene_n` of an earlier video, changed by `transform` as much as `amount`.
    """

    seed: int
    n: int
    label: str
    subject: str
    duration_s: float
    form: Form
    faults: tuple[Fault, ...]
    scene_n: int
    scene_s: float
    origin_s: float = 0.0
    transform: str = ""
    amount: float = 0.0
    sound: bool = True
    ood: bool = False
    steady: bool = False

    @property
    def video_id(self) -> str:
        return synthetic_video_id(self.seed, self.n)

    @property
    def native_id(self) -> str:
        return synthetic_native_id(self.seed, self.n)

    @property
    def file(self) -> str:
        """Path inside the world's folder."""
        return f"videos/{self.video_id}.{self.form.container}"

    @property
    def duplicate_of(self) -> str:
        """Id of the video that this one copies, or nothing."""
        return synthetic_video_id(self.seed, self.scene_n) if self.transform else ""

    @property
    def group_id(self) -> str:
        """Id of the first video of this scene."""
        return synthetic_video_id(self.seed, self.scene_n)

    @property
    def shift_s(self) -> float:
        """How long the sound comes after the picture."""
        return sum(fault.value for fault in self.faults if fault.kind == "shift")

    def generator(self, purpose: int) -> np.random.Generator:
        """Random numbers of this video's scene for one purpose, apart from those of the others."""
        return np.random.default_rng([self.seed, self.scene_n, purpose])

    def with_faults(self, *faults: Fault) -> "VideoPlan":
        """The same video with these faults, its scene long enough for a shift, stereo for antiphase."""
        plan = replace(self, faults=faults)
        shift_s = plan.shift_s
        stereo = any(fault.kind == "antiphase" for fault in faults)
        return replace(
            plan,
            scene_s=max(_LEAST_SCENE_S, self.duration_s + abs(shift_s)),
            origin_s=max(0.0, shift_s),
            form=replace(self.form, layout="stereo") if stereo else self.form,
            subject=next((fault.what for fault in faults if fault.kind == "wrong_label"), self.subject),
        )

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        value["form"]["fps"] = str(self.form.fps)
        return value


def plan_video(
    seed: int,
    n: int,
    labels: tuple[str, ...],
    lines: int | None,
    seconds: tuple[float, float],
    *,
    faults: Mapping[str, float] | None = None,
    sound: bool = True,
    ood: bool = False,
    view: View = "full",
) -> VideoPlan:
    """Video `n` of world `seed`, `faults` giving the share of videos per kind (none where null).

    Labels take turns; form and faults are drawn independently of them.
    """
    shares = faults or {}
    label = labels[n % len(labels)]
    first = _original(seed, n, label, lines, seconds, shares, sound, ood)
    copied = _copied(seed, n, len(labels), shares)
    if copied is None:
        return _VIEWS[view](first)
    original = _original(seed, copied, label, lines, seconds, shares, sound, ood)
    duplicate = _copy(original, first, np.random.default_rng([seed, n, 7]))
    return _VIEWS[view](duplicate)


def _original(
    seed: int,
    n: int,
    label: str,
    lines: int | None,
    seconds: tuple[float, float],
    shares: Mapping[str, float],
    sound: bool,
    ood: bool,
) -> VideoPlan:
    """Video `n` as it is where it copies no other."""
    # Lengths end inside a window now and then, as real ones do.
    duration_s = round(float(np.random.default_rng([seed, n, 0]).uniform(*seconds)), 2)
    form = _form(np.random.default_rng([seed, n, 1]), lines)
    planted = []
    # Counted from 1: a trailing 0 in a seed is as if it were not there.
    for number, kind in enumerate(KINDS, 1):
        rng = np.random.default_rng([seed, n, 3, number])
        if kind.name == "near_duplicate" or rng.random() >= shares.get(kind.name, 0.0):
            continue
        planted.append(plan_fault(kind, rng, duration_s, label))
    short = next((fault for fault in planted if fault.kind == "short"), None)
    if short:
        # Nothing else fits into it but what lasts throughout.
        duration_s = round(short.value, 2)
        latest_s = round(_LATEST_START * duration_s, 3)
        starts = min(form.picture_start_s, latest_s), min(form.sound_start_s, latest_s)
        form = replace(form, picture_start_s=starts[0], sound_start_s=starts[1])
        planted = [replace(f, start_s=0.0, stop_s=duration_s) for f in planted if f.kind not in ("cut", "part")]
    plan = VideoPlan(seed, n, label, label, duration_s, form, (), n, duration_s, sound=sound, ood=ood)
    return plan.with_faults(*planted)


def _form(rng: np.random.Generator, lines: int | None) -> Form:
    container, video_codec, sound_codec = _one(rng, _FILES)
    drawn, aspect = _one(rng, _LINES), _one(rng, _ASPECTS)
    offset_s = round(float(rng.uniform(0.05, 0.5)), 3)
    where = rng.random()
    rate_hz = int(rng.choice((44100, 44100, 48000)))
    quality = int(rng.integers(20, 31))
    width, height = _size(lines or drawn, aspect)
    return Form(
        container=container,
        video_codec=video_codec,
        sound_codec=sound_codec,
        width=width,
        height=height,
        fps=_one(rng, _FPS),
        variable=bool(rng.random() < 0.2),
        gop_s=round(float(rng.uniform(1, 5)), 1),
        quality=quality,
        rotation=int(rng.choice((90, 180, 270))) if rng.random() < 0.12 else 0,
        faststart=bool(rng.random() < 0.7),
        rate_hz=48000 if sound_codec == "opus" else rate_hz,
        layout="mono" if rng.random() < 0.3 else "stereo",
        pan_db=round(float(rng.uniform(-3, 3)), 1),
        sound_kbit=int(rng.choice((64, 96, 128))),
        sound_start_s=offset_s if where < 0.15 else 0.0,
        picture_start_s=offset_s if where > 0.85 else 0.0,
    )


def _one(rng: np.random.Generator, shares: Mapping[Any, float]) -> Any:
    edges = np.cumsum(list(shares.values()))
    return list(shares)[int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))]


def _size(lines: int, aspect: Fraction) -> tuple[int, int]:
    """Width and height, the shorter side `lines` long."""
    longer = round(lines * float(max(aspect, 1 / aspect)) / 2) * 2
    return (longer, lines) if aspect > 1 else (lines, longer)


def _copied(seed: int, n: int, labels: int, shares: Mapping[str, float]) -> int | None:
    """Number of the video that video `n` copies: one of the same label that is no copy, short or cut off."""
    if not _draws_copy(seed, n, labels, shares):
        return None
    rng = np.random.default_rng([seed, n, 6])
    turn = n % labels
    # Few tries, so that planning takes as long per video in large worlds; then the first one of the label.
    for candidate in (*(turn + labels * rng.integers(n // labels, size=_TRIES)).tolist(), turn):
        if not _draws_copy(seed, candidate, labels, shares) and not _broken(seed, candidate, shares):
            return int(candidate)
    return None


def _draws_copy(seed: int, n: int, labels: int, shares: Mapping[str, float]) -> bool:
    """The first video of a turn has none before it that it could copy."""
    return n >= labels and _draws(seed, n, "near_duplicate", shares)


def _broken(seed: int, n: int, shares: Mapping[str, float]) -> bool:
    return any(_draws(seed, n, name, shares) for name in ("short", "truncated"))


def _draws(seed: int, n: int, name: str, shares: Mapping[str, float]) -> bool:
    return bool(np.random.default_rng([seed, n, 3, 1 + NAMES.index(name)]).random() < shares.get(name, 0.0))


def _copy(original: VideoPlan, own: VideoPlan, rng: np.random.Generator) -> VideoPlan:
    """`original` under the number of `own`: coded anew, and changed in one more way."""
    transform = TRANSFORMS[int(rng.integers(len(TRANSFORMS)))]
    if transform == "trimmed" and original.duration_s < 3:
        transform = "reencoded"
    start_s = stop_s = 0.0
    amount = 0.0
    if transform == "trimmed":
        start_s, stop_s = (round(float(cut) * original.duration_s, 2) for cut in rng.uniform(0.03, 0.15, 2))
        amount = start_s
    elif transform == "cropped":
        amount = round(float(rng.uniform(0.05, 0.15)), 3)
    elif transform == "louder":
        amount = round(float(rng.uniform(3, 8)), 2)
    size = original.form
    if transform == "resized":
        # One of the usual sizes: another one would tell the copy.
        lines = min(own.form.width, own.form.height)
        amount = round(lines / min(size.width, size.height), 3)
        width, height = _size(lines, Fraction(size.width, size.height))
        size = replace(size, width=width, height=height)
        transform = "reencoded" if amount == 1 else transform
        amount = 0.0 if amount == 1 else amount
    form = replace(
        own.form, width=size.width, height=size.height, fps=size.fps, variable=size.variable, layout=size.layout
    )
    duration_s = round(original.duration_s - start_s - stop_s, 2)
    moved = [replace(f, start_s=f.start_s - start_s, stop_s=f.stop_s - start_s) for f in original.faults]
    kept = [f for f in moved if BY_NAME[f.kind].inverse or (f.stop_s > 0 and f.start_s < duration_s)]
    return replace(
        original,
        n=own.n,
        form=form,
        duration_s=duration_s,
        origin_s=original.origin_s + start_s,
        transform=transform,
        amount=amount,
        faults=(*kept, Fault("near_duplicate", 0.0, duration_s, transform, amount)),
    )


def _small(plan: VideoPlan) -> VideoPlan:
    """2 s of the same scene at 64 x 36, 12.5 frames per second, 16 kHz: for benches of models.

    Copies show the 2 s that their original shows. Things stand as in a picture of 16:9.
    """
    start_s = _small_start(plan)
    faults = [
        replace(f, start_s=f.start_s - start_s, stop_s=_LONG_S if f.stop_s >= plan.duration_s else f.stop_s - start_s)
        for f in plan.faults
        if f.kind not in ("short", "truncated")
    ]
    form = Form(width=_SMALL[0], height=_SMALL[1], fps=Fraction(25, 2), quality=18, rate_hz=16000, layout="mono")
    if any(f.kind == "antiphase" and f.start_s < WINDOW_S and f.stop_s > 0 for f in faults):
        form = replace(form, layout="stereo")
    kept = tuple(
        replace(f, stop_s=min(f.stop_s, WINDOW_S)) if not BY_NAME[f.kind].inverse else f
        for f in faults
        if BY_NAME[f.kind].inverse or (f.stop_s > 0 and f.start_s < WINDOW_S)
    )
    return replace(plan, form=form, duration_s=WINDOW_S, origin_s=plan.origin_s + start_s, faults=kept)


def _small_start(plan: VideoPlan) -> float:
    """Where in the file the 2 s begin: a time of the scene, drawn once for all that show it."""
    whole_s = plan.scene_s - abs(plan.shift_s)
    drawn = np.random.default_rng([plan.seed, plan.scene_n, 8]).integers(max(1, windows(whole_s)))
    start_s = WINDOW_S * float(drawn) + max(0.0, plan.shift_s) - plan.origin_s
    return min(max(start_s, 0.0), max(0.0, plan.duration_s - WINDOW_S))


def _full(plan: VideoPlan) -> VideoPlan:
    return plan


def _steady(plan: VideoPlan) -> VideoPlan:
    """The same video seen from a tripod, in a plain file of 16:9 and 25 frames per second: for short trainings."""
    width, height = _size(min(plan.form.width, plan.form.height), Fraction(16, 9))
    form = Form(width=width, height=height, gop_s=plan.form.gop_s, quality=plan.form.quality)
    return replace(plan, form=form, steady=True)


_VIEWS = {"full": _full, "small": _small, "steady": _steady}


def windows(duration_s: float) -> int:
    """Whole windows in a video of this length."""
    return int((duration_s + 0.04) // WINDOW_S)
