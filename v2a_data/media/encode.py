"""Samples as files: H.264 + FLAC in one MP4, the same bytes for the same input and FFmpeg build."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType

from v2a_data.media.limits import file_url
from v2a_data.media.spec import CutSpec
from v2a_data.media.x264 import x264_params


class SampleFile:
    """A sample that is being written: frames first, as they come, then the sound."""

    def __init__(self, target: Path, spec: CutSpec) -> None:
        self.spec, self.frames = spec, 0
        options = {"movflags": "faststart", "fflags": "bitexact"}
        self._out = av.open(file_url(target), "w", format="mp4", options=options)
        self._video = self._out.add_stream("libx264", rate=spec.fps)
        self._video.width, self._video.height, self._video.pix_fmt = spec.width, spec.height, "yuv420p"
        self._video.codec_context.time_base = 1 / spec.fps
        self._video.codec_context.thread_count = 1
        gop = max(1, round(spec.fps))
        self._video.options = {
            "crf": str(spec.crf),
            "preset": "veryfast",
            "tune": "fastdecode",
            "x264-params": x264_params(spec.width, gop, f"min-keyint={gop}", "scenecut=0"),
            "flags": "+bitexact",
        }
        self._layout = "mono" if spec.channels == 1 else "stereo"
        self._audio = self._out.add_stream("flac", rate=spec.rate_hz, layout=self._layout, format="s16")
        self._audio.options = {"flags": "+bitexact"}

    def add(self, frame: av.VideoFrame) -> None:
        """The next frame, yuv420p of the sample's size. Its times are set here, and the source's frame type goes: x264
        would keep it, and with it the source's keyframes."""
        frame.pts, frame.time_base, frame.pict_type = self.frames, 1 / self.spec.fps, PictureType.NONE
        self._out.mux(self._video.encode(frame))
        self.frames += 1

    def finish(self, pcm: np.ndarray) -> None:
        """Add the sound, `(channels, samples)` int16, and close the file."""
        self._out.mux(self._video.encode(None))
        block = self._audio.codec_context.frame_size or 4096
        for first in range(0, pcm.shape[1], block):
            piece = np.ascontiguousarray(pcm[:, first : first + block].T.reshape(1, -1))
            sound = av.AudioFrame.from_ndarray(piece, format="s16", layout=self._layout)
            sound.sample_rate, sound.pts, sound.time_base = self.spec.rate_hz, first, Fraction(1, self.spec.rate_hz)
            self._out.mux(self._audio.encode(sound))
        self._out.mux(self._audio.encode(None))
        self._out.close()

    def drop(self) -> None:
        """Close without finishing; the file is not a sample."""
        self._out.close()
