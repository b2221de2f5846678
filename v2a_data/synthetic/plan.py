"""What each video of a world is: drawn from (seed, number) alone, before anything is rendered."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from v2a_data.ids import synthetic_native_id, synthetic_video_id
from v2a_data.schema import WINDOW_S

FAULTS = ("still", "silence", "voice")
_FAULT_SHARE = 0.3
_LINES = (144, 240, 360)
_FPS = (Fraction(25), Fraction(30), Fraction(30000, 1001), Fraction(24))
_SOUND = ((44100, "stereo"), (48000, "stereo"), (44100, "mono"))


@dataclass(frozen=True)
class Fault:
    """Something that makes part of a video unfit: `[start_s, stop_s)`."""

    kind: str
    start_s: float
    stop_s: float


@dataclass(frozen=True)
class VideoPlan:
    """One video to render."""

    seed: int
    n: int
    label: str
    duration_s: float
    width: int
    height: int
    fps: Fraction
    gop_s: float
    rate_hz: int
    layout: str
    faults: tuple[Fault, ...]
    sound: bool = True

    @property
    def video_id(self) -> str:
        return synthetic_video_id(self.seed, self.n)

    @property
    def native_id(self) -> str:
        return synthetic_native_id(self.seed, self.n)

    @property
    def file(self) -> str:
        """Path inside the world's folder."""
        return f"videos/{self.video_id}.mp4"

    def generator(self, purpose: int) -> np.random.Generator:
        """Random numbers of this video for one purpose, apart from those of the others."""
        return np.random.default_rng([self.seed, self.n, purpose])

    def to_json(self) -> dict[str, Any]:
        return {
            "label": self.label,
            "duration_s": self.duration_s,
            "size": [self.width, self.height],
            "fps": str(self.fps),
            "gop_s": self.gop_s,
            "sound": [self.rate_hz, self.layout] if self.sound else None,
            "faults": [[f.kind, f.start_s, f.stop_s] for f in self.faults],
        }


def plan_video(
    seed: int,
    n: int,
    labels: tuple[str, ...],
    lines: int | None,
    seconds: tuple[float, float],
    *,
    faults: bool = True,
    sound: bool = True,
) -> VideoPlan:
    """Video `n` of world `seed`. Labels take turns; form and faults are drawn independently of them."""
    rng = np.random.default_rng([seed, n, 0])
    form = np.random.default_rng([seed, n, 1])
    # Lengths end inside a window now and then, as real ones do.
    duration_s = round(float(rng.uniform(*seconds)), 2)
    height = lines or int(form.choice(_LINES))
    rate_hz, layout = _SOUND[int(form.integers(len(_SOUND)))]
    return VideoPlan(
        seed=seed,
        n=n,
        label=labels[n % len(labels)],
        duration_s=duration_s,
        width=round(height * 16 / 9 / 2) * 2,
        height=height,
        fps=_FPS[int(form.integers(len(_FPS)))],
        gop_s=float(form.integers(1, 6)),
        rate_hz=rate_hz,
        layout=layout,
        faults=_plan_faults(rng, duration_s) if faults else (),
        sound=sound,
    )


def _plan_faults(rng: np.random.Generator, duration_s: float) -> tuple[Fault, ...]:
    if rng.random() >= _FAULT_SHARE:
        return ()
    kind = FAULTS[int(rng.integers(len(FAULTS)))]
    if rng.random() < 0.5:
        return (Fault(kind, 0.0, duration_s),)
    # A part: it starts or ends inside the video, on the half second.
    cut = round(float(rng.uniform(0.3, 0.7)) * duration_s * 2) / 2
    return (Fault(kind, 0.0, cut) if rng.random() < 0.5 else Fault(kind, cut, duration_s),)


def windows(duration_s: float) -> int:
    """Whole windows in a video of this length."""
    return int((duration_s + 0.04) // WINDOW_S)
