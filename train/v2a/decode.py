"""Samples to arrays: runs in stream workers, imports no torch."""

import io
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from v2a_data.errors import FatalError
from v2a_data.media.limits import DEMUXERS, PROTOCOLS
from v2a_data.media.picture import FitRule, plane_view, split_planes

_SCALE = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


@dataclass(frozen=True)
class Form:
    """The form in which a model sees samples: px, frames per second, audio samples per second, rule of other shapes."""

    width: int
    height: int
    fps: Fraction
    rate_hz: int
    fit: FitRule = "pad"

    @property
    def samples_per_frame(self) -> int:
        """Audio samples of one frame."""
        return int(self.rate_hz / self.fps)

    def plane_shape(self, frames: int) -> tuple[int, int, int]:
        """Shape of so many frames as YUV 4:2:0 planes."""
        return frames, self.height * 3 // 2, self.width


class Decoder:
    """Decodes samples of one shard set into preallocated arrays. One swscale context is kept."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self._reformatter = VideoReformatter()

    def frame_step(self, shard_fps: Fraction) -> int:
        """Every how many frames one is kept. Raises `FatalError` where the rates do not divide."""
        step = shard_fps / self.form.fps
        if step.denominator != 1 or step < 1:
            raise FatalError(f"train.view.fps {self.form.fps} does not divide the shards' {shard_fps}")
        return int(step)

    def decode(self, mp4: bytes, shard_fps: Fraction, planes: np.ndarray, sound: np.ndarray) -> tuple[int, int]:
        """Fill `planes` (T, height * 3 / 2, width) uint8 and `sound` (samples,) float32.

        Returns how many frames and audio samples were there; the arrays' rest is left as it is.
        """
        step, shown, heard, index = self.frame_step(shard_fps), 0, 0, 0
        options = {"protocol_whitelist": PROTOCOLS, "format_whitelist": DEMUXERS}
        with av.open(io.BytesIO(mp4), "r", format="mp4", options=options) as container:
            container.streams.video[0].codec_context.thread_count = 1
            for packet in container.demux(container.streams.video[0], container.streams.audio[0]):
                for frame in packet.decode():
                    if isinstance(frame, av.AudioFrame):
                        heard += self._place(frame, sound, heard)
                    elif isinstance(frame, av.VideoFrame):
                        if index % step == 0 and shown < len(planes):
                            self.scale(frame, planes[shown])
                            shown += 1
                        index += 1
        return shown, heard

    def _place(self, frame: av.AudioFrame, sound: np.ndarray, first: int) -> int:
        if frame.sample_rate != self.form.rate_hz:
            raise FatalError(f"train.view.rate_hz {self.form.rate_hz} is not the shards' {frame.sample_rate}")
        values = frame.to_ndarray().reshape(-1, frame.layout.nb_channels).mean(axis=1) / 32768.0
        values = values[: len(sound) - first]
        sound[first : first + len(values)] = values
        return len(values)

    def scale(self, frame: av.VideoFrame, target: np.ndarray) -> None:
        """One frame into `(height * 3 / 2, width)`."""
        if (frame.width, frame.height) != (self.form.width, self.form.height):
            frame = self._reformatter.reformat(
                frame, self.form.width, self.form.height, "yuv420p", interpolation=_SCALE, threads=1
            )
        for plane, part in enumerate(split_planes(target, self.form.width, self.form.height)):
            part[:] = plane_view(frame, plane)
