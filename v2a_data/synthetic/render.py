"""One video of the world: drawn, sounded, with its faults planted, encoded into a real file."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from v2a_data.files import sha256_file, whole_file
from v2a_data.media.limits import file_url
from v2a_data.media.x264 import x264_params
from v2a_data.schema import WINDOW_S
from v2a_data.synthetic import SUBJECTS
from v2a_data.synthetic.paint import Canvas
from v2a_data.synthetic.plan import VideoPlan, windows
from v2a_data.synthetic.subject import Subject
from v2a_data.synthetic.tones import speech

_HEARD_RMS = 10 ** (-45 / 20)
_PEAK = 0.7


@dataclass(frozen=True)
class Truth:
    """What is known of a rendered video: a row of `videos`, rows of `events` and of `windows`."""

    video: dict[str, Any]
    events: list[dict[str, Any]]
    windows: list[dict[str, Any]]


def render_video(plan: VideoPlan, folder: str) -> Truth:
    """Render into `<folder>/<plan.file>` unless it is there already; returns its truth.

    Same plan and FFmpeg build, same bytes.
    """
    subject: Subject = SUBJECTS[plan.label](plan.generator(2), plan.duration_s)
    clean = subject.sound(plan.rate_hz)
    clean = clean * (_PEAK / max(float(np.abs(clean).max()), 1e-6))
    target = Path(folder) / plan.file
    if not target.is_file():
        with whole_file(target) as temporary:
            _encode(temporary, plan, _pictures(plan, subject), _plant_sound(plan, clean))
    return _truth(plan, subject, clean, sha256_file(target))


def _pictures(plan: VideoPlan, subject: Subject) -> Iterator[np.ndarray]:
    canvas = Canvas(plan.width, plan.height)
    frozen = [f for f in plan.faults if f.kind == "still"]
    shown_s = None
    for index in range(round(plan.duration_s * plan.fps)):
        time_s = index / float(plan.fps)
        fault = next((f for f in frozen if f.start_s <= time_s < f.stop_s), None)
        wanted_s = fault.start_s if fault else time_s
        if wanted_s != shown_s:
            subject.paint(canvas, wanted_s)
            shown_s = wanted_s
        yield canvas.pixels()


def _plant_sound(plan: VideoPlan, clean: np.ndarray) -> np.ndarray:
    """The video's sound `(samples,)` with the faults in it."""
    out = clean.copy()
    for fault in plan.faults:
        first, last = round(fault.start_s * plan.rate_hz), min(len(out), round(fault.stop_s * plan.rate_hz))
        if fault.kind == "silence":
            out[first:last] = 0
        elif fault.kind == "voice":
            words = speech(plan.generator(3), last - first, plan.rate_hz)
            level = max(float(np.sqrt(np.mean(out[first:last] ** 2))), 0.05) * 1.5
            out[first:last] = 0.6 * out[first:last] + words * level / max(float(np.sqrt(np.mean(words**2))), 1e-6)
    return np.clip(out, -0.98, 0.98).astype(np.float32)


def _encode(target: Path, plan: VideoPlan, pictures: Iterator[np.ndarray], sound: np.ndarray) -> None:
    options = {"movflags": "faststart", "fflags": "bitexact"}
    with av.open(file_url(target), "w", format="mp4", options=options) as out:
        video = out.add_stream("libx264", rate=plan.fps)
        video.width, video.height, video.pix_fmt = plan.width, plan.height, "yuv420p"
        video.codec_context.thread_count = 1
        gop = round(plan.gop_s * plan.fps)
        video.options = {
            "preset": "veryfast",
            "crf": "24",
            "x264-params": x264_params(plan.width, gop),
            "flags": "+bitexact",
        }
        pace = _SoundTrack(out, plan, sound) if plan.sound else None
        for index, pixels in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = index, 1 / plan.fps
            out.mux(video.encode(frame))
            if pace:
                pace.write_until((index + 1) / float(plan.fps))
        if pace:
            pace.finish()
        out.mux(video.encode(None))


class _SoundTrack:
    """The sound stream of a file, written along with the picture so that both lie close together."""

    def __init__(self, out: av.container.OutputContainer, plan: VideoPlan, sound: np.ndarray) -> None:
        self.out = out
        self.stream = out.add_stream("aac", rate=plan.rate_hz, layout=plan.layout)
        self.stream.bit_rate = 96000
        self.stream.options = {"flags": "+bitexact", "aac_coder": "fast"}
        self.frames = _sound_frames(plan, sound)
        self.waiting = next(self.frames, None)

    def write_until(self, time_s: float) -> None:
        while self.waiting is not None and float(self.waiting.time or 0.0) <= time_s:
            self.out.mux(self.stream.encode(self.waiting))
            self.waiting = next(self.frames, None)

    def finish(self) -> None:
        self.write_until(float("inf"))
        self.out.mux(self.stream.encode(None))


def _sound_frames(plan: VideoPlan, sound: np.ndarray) -> Iterator[av.AudioFrame]:
    rows = np.repeat(sound[None], 2 if plan.layout == "stereo" else 1, axis=0)
    for first in range(0, len(sound), 1024):
        piece = np.ascontiguousarray(rows[:, first : first + 1024])
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=plan.layout)
        frame.sample_rate, frame.pts, frame.time_base = plan.rate_hz, first, Fraction(1, plan.rate_hz)
        yield frame


def _truth(plan: VideoPlan, subject: Subject, clean: np.ndarray, sha256: str) -> Truth:
    video = {
        "video_id": plan.video_id,
        "native_id": plan.native_id,
        "file": plan.file,
        "label": plan.label,
        "duration_s": plan.duration_s,
        "faults": sorted({f.kind for f in plan.faults}),
        "parameters": dict(sorted(subject.parameters.items())),
        "sha256": sha256,
    }
    events = [
        {"video_id": plan.video_id, "time_s": float(time)} for time in subject.events_s if 0 <= time < plan.duration_s
    ]
    return Truth(video, events, [_window(plan, clean, index) for index in range(windows(plan.duration_s))])


def _window(plan: VideoPlan, clean: np.ndarray, index: int) -> dict[str, Any]:
    start_s, stop_s = index * WINDOW_S, (index + 1) * WINDOW_S
    share = dict.fromkeys(("still", "silence", "voice"), 0.0)
    for fault in plan.faults:
        share[fault.kind] += max(0.0, min(stop_s, fault.stop_s) - max(start_s, fault.start_s)) / WINDOW_S
    piece = clean[round(start_s * plan.rate_hz) : round(stop_s * plan.rate_hz)]
    loud = float(np.sqrt(np.mean(piece**2))) > _HEARD_RMS
    return {
        "video_id": plan.video_id,
        "window_index": index,
        "start_s": start_s,
        "seen": True,
        "heard": loud and share["silence"] < 0.5,
        **share,
    }
