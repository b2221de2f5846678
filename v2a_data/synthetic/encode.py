"""One video file: pictures and sound through FFmpeg's encoders into mp4, webm or mkv.

Same pictures, sound and FFmpeg build, same bytes.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from v2a_data.media.limits import file_url
from v2a_data.media.x264 import x264_params
from v2a_data.synthetic.plan import Form

_CODECS = {"h264": "libx264", "vp9": "libvpx-vp9", "aac": "aac", "opus": "libopus"}
_MUXERS = {"mp4": "mp4", "webm": "webm", "mkv": "matroska"}
_TICK = Fraction(1, 90000)
# libopus takes frames of 20 ms, AAC of 1024 samples.
_OPUS_SAMPLES, _AAC_SAMPLES = 960, 1024


def write_file(
    target: Path, form: Form, times_s: np.ndarray, pictures: Iterator[np.ndarray], sound: np.ndarray | None
) -> None:
    """Encode upright `pictures` (RGB) at `times_s` and sound `(channels, samples)` from time 0 on into a file."""
    options = {"fflags": "bitexact"}
    if form.container == "mp4" and form.faststart:
        options["movflags"] = "faststart"
    turns = form.rotation // 90
    with av.open(file_url(target), "w", format=_MUXERS[form.container], options=options) as out:
        video = _video_stream(out, form)
        pace = _SoundTrack(out, form, sound) if sound is not None else None
        for time_s, pixels in zip(times_s.tolist(), pictures, strict=True):
            stored = np.ascontiguousarray(np.rot90(pixels, -turns)) if turns else pixels
            frame = av.VideoFrame.from_ndarray(stored, format="rgb24")
            frame.pts, frame.time_base = round(time_s / _TICK), _TICK
            out.mux(video.encode(frame))
            if pace:
                pace.write_until(time_s)
        if pace:
            pace.finish()
        out.mux(video.encode(None))


def _video_stream(out: av.container.OutputContainer, form: Form) -> av.VideoStream:
    video: Any = out.add_stream(_CODECS[form.video_codec], rate=form.fps)
    sideways = form.rotation % 180 == 90
    video.width, video.height = (form.height, form.width) if sideways else (form.width, form.height)
    video.pix_fmt = "yuv420p"
    video.codec_context.thread_count = 1
    video.codec_context.time_base = _TICK
    if form.rotation:
        video.set_display_rotation(form.rotation)
    gop = max(1, round(form.gop_s * form.fps))
    if form.video_codec == "h264":
        video.options = {
            "preset": "veryfast",
            "crf": str(form.quality),
            "x264-params": x264_params(video.width, gop),
            "flags": "+bitexact",
        }
    else:
        video.options = {
            "deadline": "realtime",
            "cpu-used": "8",
            "b": "0",
            "crf": str(form.quality + 10),
            "g": str(gop),
            "flags": "+bitexact",
        }
    assert isinstance(video, av.VideoStream)
    return video


class _SoundTrack:
    """The sound stream of a file, written along with the picture so that both lie close together."""

    def __init__(self, out: av.container.OutputContainer, form: Form, sound: np.ndarray) -> None:
        self.out = out
        stream: Any = out.add_stream(_CODECS[form.sound_codec], rate=form.rate_hz, layout=form.layout)
        stream.bit_rate = form.sound_kbit * 1000
        stream.options = {"flags": "+bitexact"} | ({"aac_coder": "fast"} if form.sound_codec == "aac" else {})
        self.stream = stream
        self.frames = _sound_frames(form, sound)
        self.waiting = next(self.frames, None)

    def write_until(self, time_s: float) -> None:
        while self.waiting is not None and float(self.waiting.time or 0.0) <= time_s:
            self.out.mux(self.stream.encode(self.waiting))
            self.waiting = next(self.frames, None)

    def finish(self) -> None:
        self.write_until(float("inf"))
        self.out.mux(self.stream.encode(None))


def _sound_frames(form: Form, sound: np.ndarray) -> Iterator[av.AudioFrame]:
    opus = form.sound_codec == "opus"
    size = _OPUS_SAMPLES if opus else _AAC_SAMPLES
    for first in range(round(form.sound_start_s * form.rate_hz), sound.shape[1], size):
        piece = sound[:, first : first + size].astype(np.float32)
        if opus:
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(piece.T).reshape(1, -1), format="flt", layout=form.layout
            )
        else:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), format="fltp", layout=form.layout)
        frame.sample_rate, frame.pts, frame.time_base = form.rate_hz, first, Fraction(1, form.rate_hz)
        yield frame


def cut_bytes(file: Path, share: float) -> None:
    """Keep only the first part of a file, as a broken download does."""
    with file.open("r+b") as opened:
        opened.truncate(max(1, round(file.stat().st_size * share)))
