"""What a finished sample really holds: every frame and every audio sample, decoded and counted."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from v2a_data.errors import ItemError
from v2a_data.media.decode import TICK_S
from v2a_data.media.limits import open_media, refuse_too_large


@dataclass(frozen=True)
class Counted:
    """A decoded sample. `even` is false where a frame or a piece of sound is not at its place on the grid."""

    frames: int
    audio_samples: int
    width: int
    height: int
    rate_hz: int
    channels: int
    even: bool

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Counted":
        return cls(**value)


def count(path: str, fps: Fraction) -> Counted:
    """Decode a sample that should have `fps` frames a second from time 0 on.

    Raises `ItemError`: `streams` for anything but one picture and one sound, `damaged` where a packet does not
    decode, and those of `open_media`.
    """
    with open_media(path) as container:
        kinds = sorted(stream.type for stream in container.streams)
        if kinds != ["audio", "video"]:
            raise ItemError("streams", f"it holds {', '.join(kinds) or 'nothing'}")
        video, audio = container.streams.video[0], container.streams.audio[0]
        frames = samples = 0
        even = True
        packet: av.Packet[Any] | None = None
        try:
            for packet in container.demux():
                for frame in packet.decode():
                    if isinstance(frame, av.VideoFrame):
                        even = even and _at(frame, frames / fps)
                        frames += 1
                    elif isinstance(frame, av.AudioFrame):
                        even = even and _at(frame, Fraction(samples, frame.sample_rate or 1))
                        samples += frame.samples
        except av.FFmpegError as error:
            refuse_too_large(error, packet.stream.codec_context if packet is not None else None)
            raise ItemError("damaged", str(error.strerror or error)) from None
        return Counted(frames, samples, video.width, video.height, audio.rate, audio.channels, even)


def _at(frame: av.VideoFrame | av.AudioFrame, wanted_s: Fraction) -> bool:
    if frame.pts is None or frame.time_base is None:
        return False
    return abs(float(frame.pts * frame.time_base - wanted_s)) <= TICK_S
