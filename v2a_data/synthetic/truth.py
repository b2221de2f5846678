"""The truth tables of a world: what each column means, and how a video's rows are made.

OUT/truth/videos.parquet, events.parquet, windows.parquet, groups.parquet
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from v2a_data.schema import WINDOW_S, Column, Table
from v2a_data.synthetic.faults import BY_NAME, Mix
from v2a_data.synthetic.plan import VideoPlan, windows
from v2a_data.synthetic.scene import Scene

# Softer than this, or this much below its surroundings, a thing is not heard.
_HEARD_RMS = 10 ** (-50 / 20)
_UNDER_DB = 10.0
CONFOUNDERS = (
    "still", "slideshow", "black", "silence", "voice", "music", "wrong_sound", "clipping", "antiphase", "offscreen",
    "unheard", "other_thing", "cut",
)  # fmt: skip


def _text(name: str, meaning: str) -> Column:
    return Column(name, "text", meaning, null=False)


def _real(name: str, meaning: str, unit: str = "") -> Column:
    return Column(name, "real", meaning, unit, null=False)


def _int(name: str, meaning: str, unit: str = "") -> Column:
    return Column(name, "int", meaning, unit, null=False)


VIDEOS = Table(
    "videos",
    "One row per file.",
    ("video_id",),
    (
        _text("video_id", "sy-<seed>-<n>"),
        _text("native_id", "11 characters under which the loopback server hands it out"),
        _text("file", "path inside the world's folder"),
        _text("label", "label it is listed under"),
        _text("subject", "label of what it shows; another one with the fault wrong_label"),
        _real("duration_s", "length as planned; a truncated file ends earlier or does not open", "s"),
        Column("faults", "json", "names of the planted faults, sorted", null=False),
        Column("spans", "json", "[kind, start_s, stop_s, what, value] per fault", null=False),
        Column("parameters", "json", "physical parameters of the thing, and of its place as scene_*", null=False),
        _int("ood", "1 where the parameters come from outside the usual ranges"),
        _text("duplicate_of", "video that this one copies, else empty"),
        _text("transform", "reencoded, resized, cropped, louder or trimmed, else empty"),
        _real(
            "amount", "of the transform: share cut off per side, dB, factor of size, or seconds cut off at the start"
        ),
        _text("group_id", "first video of the same scene: equal for near-duplicates"),
        _real("shift_s", "how long the sound comes after the picture (fault shift)", "s"),
        _real("picture_start_s", "time of the first frame in the file", "s"),
        _real("sound_start_s", "time of the first sound in the file; late or early sound is still in step", "s"),
        _text("container", "mp4, webm, mkv"),
        _text("video_codec", "h264, vp9"),
        _text("sound_codec", "aac, opus; empty without sound"),
        _int("width", "upright", "px"),
        _int("height", "upright", "px"),
        _real("fps", "nominal frame rate", "1/s"),
        _int("variable", "1 where frames are uneven and some are left out"),
        _int("rotation", "flag in the file: counter-clockwise turn that makes the picture upright", "degrees"),
        _real("gop_s", "longest distance of keyframes", "s"),
        _int("quality", "the encoder's constant quality (vp9: 10 more)"),
        _int("faststart", "mp4 only: 1 where the index stands first"),
        _int("rate_hz", "sound samples per second", "Hz"),
        _text("layout", "mono, stereo"),
        _int("sound_kbit", "bit rate of the sound", "kbit/s"),
        _text("sha256", "hash of the file"),
    ),
)
EVENTS = Table(
    "events",
    "Times at which something starts that can be both seen and heard: hits, barks, closest passes.",
    ("video_id", "time_s"),
    (
        _text("video_id", "video"),
        _real("time_s", "when it is seen, in the file's time", "s"),
        _real("sound_s", "when it is heard: time_s + shift_s", "s"),
    ),
)
WINDOWS = Table(
    "windows",
    "Each whole window of 2 s. The confounders are shares of the window, 0..1.",
    ("video_id", "window_index"),
    (
        _text("video_id", "video"),
        _int("window_index", "0, 1, ..."),
        _real("start_s", "in the file's time", "s"),
        _int("seen", "boolean: the label's thing is in the picture for half of the window or more"),
        _int("heard", "boolean: the label's thing is heard, not drowned or silenced"),
        *(_real(name, BY_NAME[name].does) for name in CONFOUNDERS),
        _real("shift_s", "how long the sound comes after the picture", "s"),
    ),
)
GROUPS = Table(
    "groups",
    "Near-duplicates: the videos of scenes that are there more than once.",
    ("video_id",),
    (
        _text("group_id", "first video of the scene"),
        _text("video_id", "member, the first one among them"),
        _text("transform", "how it differs from the first; empty for that one"),
    ),
)
TABLES = (VIDEOS, EVENTS, WINDOWS, GROUPS)


@dataclass(frozen=True)
class Truth:
    """What is known of a rendered video: a row of `videos`, rows of `events` and of `windows`."""

    video: dict[str, Any]
    events: list[dict[str, Any]]
    windows: list[dict[str, Any]]


def truth_of(plan: VideoPlan, scene: Scene, values: dict[str, float], mix: Mix, sha256: str) -> Truth:
    """The rows of one video: `values` its physical parameters, `mix` its sound as it was made."""
    rows = []
    for time_s in np.asarray(scene.subject.events_s, float) - plan.origin_s:
        heard_s = float(time_s) + plan.shift_s
        if 0 <= time_s < plan.duration_s and plan.subject == plan.label:
            rows.append({"video_id": plan.video_id, "time_s": float(time_s), "sound_s": heard_s})
    return Truth(
        _video(plan, scene, values, sha256), rows, [_window(plan, mix, n) for n in range(windows(plan.duration_s))]
    )


def _video(plan: VideoPlan, scene: Scene, values: dict[str, float], sha256: str) -> dict[str, Any]:
    form = plan.form
    parameters = {**values, **{f"scene_{k}": v for k, v in scene.draw.values.items()}}
    return {
        "video_id": plan.video_id,
        "native_id": plan.native_id,
        "file": plan.file,
        "label": plan.label,
        "subject": plan.subject,
        "duration_s": plan.duration_s,
        "faults": json.dumps(sorted({f.kind for f in plan.faults})),
        "spans": json.dumps([[f.kind, f.start_s, f.stop_s, f.what, f.value] for f in plan.faults]),
        "parameters": json.dumps(dict(sorted(parameters.items()))),
        "ood": int(plan.ood),
        "duplicate_of": plan.duplicate_of,
        "transform": plan.transform,
        "amount": plan.amount,
        "group_id": plan.group_id,
        "shift_s": plan.shift_s,
        "picture_start_s": form.picture_start_s,
        "sound_start_s": form.sound_start_s,
        "container": form.container,
        "video_codec": form.video_codec,
        "sound_codec": form.sound_codec if plan.sound else "",
        "width": form.width,
        "height": form.height,
        "fps": float(form.fps),
        "variable": int(form.variable),
        "rotation": form.rotation,
        "gop_s": form.gop_s,
        "quality": form.quality,
        "faststart": int(form.faststart),
        "rate_hz": form.rate_hz,
        "layout": form.layout,
        "sound_kbit": form.sound_kbit,
        "sha256": sha256,
    }


def _window(plan: VideoPlan, mix: Mix, index: int) -> dict[str, Any]:
    start_s, stop_s = index * WINDOW_S, (index + 1) * WINDOW_S
    times_s = start_s + (np.arange(200) + 0.5) / 200 * WINDOW_S
    share = dict.fromkeys(CONFOUNDERS, 0.0)
    unseen, unheard = np.zeros(len(times_s), bool), np.zeros(len(times_s), bool)
    for fault in plan.faults:
        kind = BY_NAME[fault.kind]
        acts = ((times_s >= fault.start_s) & (times_s < fault.stop_s)) != kind.inverse
        unseen |= acts & kind.unseen
        unheard |= acts & kind.unheard
        if fault.kind in share:
            overlap = max(0.0, min(stop_s, fault.stop_s) - max(start_s, fault.start_s)) / WINDOW_S
            share[fault.kind] = max(share[fault.kind], overlap)
    span = slice(round(start_s * mix.rate_hz), round(stop_s * mix.rate_hz))
    heard = plan.sound and unheard.mean() <= 0.5 and _is_heard(mix.subject[span], mix.around[span])
    return {
        "video_id": plan.video_id,
        "window_index": index,
        "start_s": start_s,
        "seen": bool(unseen.mean() <= 0.5),
        "heard": bool(heard),
        **share,
        "shift_s": plan.shift_s,
    }


def _is_heard(thing: np.ndarray, around: np.ndarray) -> bool:
    if not len(thing):
        return False
    loud, other = (float(np.sqrt(np.mean(np.square(sound)))) for sound in (thing, around))
    return loud > _HEARD_RMS and loud > other * 10 ** (-_UNDER_DB / 20)


def group_rows(videos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of `groups` from those of `videos`."""
    copied = {row["group_id"] for row in videos if row["transform"]}
    return [
        {"group_id": row["group_id"], "video_id": row["video_id"], "transform": row["transform"]}
        for row in videos
        if row["group_id"] in copied
    ]
