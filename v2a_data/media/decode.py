"""One demux and decode of a file: frames and sound with their times, in file order.

Times are seconds from the container's own start when that is above 0 (MPEG-TS), else from 0.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import av
import numpy as np
from av.container import InputContainer

from v2a_data.errors import ItemError
from v2a_data.media.limits import open_media, refuse_too_large

# Containers round times, Matroska to 1 ms: two that differ by no more are the same.
TICK_S = 0.001
_MAX_BAD_PACKETS = 200
_ATTACHED_PICTURE = 0x400
# Sound is decoded from this much before the wanted time, so that AAC, MP3 and Opus have settled by then.
_PREROLL_S = 0.5
# Containers without an index can land after the wanted time; then it is tried again from so much earlier.
_STEPS_BACK_S = (0.0, 2.0, 20.0)
_SAME_S = 1e-6


@dataclass
class Picture:
    """A decoded frame and the second at which it appears."""

    time_s: float
    frame: av.VideoFrame


@dataclass
class SoundChunk:
    """Decoded sound, `(channels, samples)` float32 at the stream's rate, from `time_s` on.

    `tick_s` is the unit to which the container rounded that time.
    """

    time_s: float
    samples: np.ndarray
    rate_hz: int
    tick_s: float = 0.0


@dataclass
class Media:
    """An open file with its chosen picture and sound streams."""

    container: InputContainer
    video: av.VideoStream | None = field(init=False)
    audio: av.AudioStream | None = field(init=False)
    origin_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.video, self.audio = _choose(self.container)
        start = self.container.start_time
        self.origin_s = max(0.0, start / av.time_base) if start is not None else 0.0

    def decode(self, start_s: float = 0.0) -> Iterator[Picture | SoundChunk]:
        """Everything from the keyframe at or before `start_s`, in file order.

        Damaged packets are passed over; more than 200 of them raise `ItemError("damaged")`.
        """
        streams: list[av.stream.Stream] = [stream for stream in (self.video, self.audio) if stream is not None]
        target = max(0.0, start_s - (_PREROLL_S if self.audio is not None else 0.0))
        if target > 0:
            try:
                self.container.seek(int((target + self.origin_s) * av.time_base), backward=True)
            except av.FFmpegError as error:
                raise ItemError("not_seekable", str(error)) from None
        last_picture_s, interval_s = -1.0, self.frame_interval_s
        # Sound alone needs no keyframe: what a seek to one put before the target is not decoded.
        skip_until_s = target + self.origin_s if self.video is None else None
        for frame in _frames(self.container, streams, skip_until_s):
            if isinstance(frame, av.VideoFrame):
                time_s = self._time(frame, last_picture_s + interval_s)
                last_picture_s = time_s
                yield Picture(time_s, frame)
            elif frame.pts is not None:
                yield SoundChunk(
                    self._time(frame, 0.0), to_float(frame), frame.sample_rate, float(frame.time_base or 0)
                )

    @property
    def frame_interval_s(self) -> float:
        """The stream's nominal frame distance; only used where a frame has no time of its own."""
        rate = self.video.average_rate if self.video is not None else None
        return float(1 / rate) if rate else 0.04

    def _time(self, frame: av.VideoFrame | av.AudioFrame, fallback_s: float) -> float:
        pts = frame.pts if frame.pts is not None else frame.dts
        base = frame.time_base
        if pts is None or base is None:
            return fallback_s
        # The same number as float(pts * base), at a tenth of its price.
        return pts * base.numerator / base.denominator - self.origin_s


def pictures_from(path: str, start_s: float) -> Iterator[Picture]:
    """The picture alone, from a frame at or before `start_s` on, or from its first one."""
    for item in _from(path, start_s, "audio"):
        assert isinstance(item, Picture)
        yield item


def sound_from(path: str, start_s: float) -> Iterator[SoundChunk]:
    """The sound alone, from a chunk that begins at or before `start_s` on, or from its first one.

    The decoder is a fresh one that starts at a place that only file and `start_s` decide: AAC fills bands with
    noise whose state depends on everything decoded before.
    """
    for item in _from(path, start_s, "video"):
        assert isinstance(item, SoundChunk)
        yield item


def _from(path: str, start_s: float, without: Literal["audio", "video"]) -> Iterator[Picture | SoundChunk]:
    for back_s in (*_STEPS_BACK_S, start_s):
        media = Media(open_media(path))
        setattr(media, without, None)
        try:
            at_s = max(0.0, start_s - back_s)
            items = media.decode(at_s)
            first = next(items, None)
            if at_s == 0 or (first is not None and first.time_s <= start_s + _SAME_S):
                if first is not None:
                    yield first
                yield from items
                return
        finally:
            media.container.close()


def demuxed(container: InputContainer, streams: list[av.stream.Stream]) -> Iterator["av.Packet[Any]"]:
    """Packets of these streams, at the end of the file one without bytes for each.

    Where a stream comes up in mid-file, PyAV looks beyond its table of wanted ones: it may hand out packets of others,
    and fails at the end of the file before every decoder was asked for what it still holds.
    """
    wanted, ended = {stream.index for stream in streams}, set()
    try:
        for packet in container.demux(streams):
            if packet.stream.index in wanted:
                if packet.size == 0:
                    ended.add(packet.stream.index)
                yield packet
    except IndexError:
        for stream in streams:
            if stream.index not in ended:
                last: av.Packet[Any] = av.Packet()
                last.stream = stream
                yield last


def _frames(
    container: InputContainer, streams: list[av.stream.Stream], skip_until_s: float | None = None
) -> Iterator[av.VideoFrame | av.AudioFrame]:
    bad = 0
    packet: av.Packet[Any] | None = None
    packets = demuxed(container, streams)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            if skip_until_s is not None and _ends_before(packet, skip_until_s):
                continue
            yield from packet.decode()  # type: ignore[misc]
        except av.EOFError:
            return
        except av.FFmpegError as error:
            refuse_too_large(error, packet.stream.codec_context if packet is not None else None)
            if isinstance(error, MemoryError):
                raise
            bad += 1
            if bad > _MAX_BAD_PACKETS:
                raise ItemError("damaged", f"more than {_MAX_BAD_PACKETS} packets do not decode") from error


def _ends_before(packet: "av.Packet[Any]", time_s: float) -> bool:
    if packet.pts is None or packet.time_base is None:
        return False
    return float((packet.pts + (packet.duration or 0)) * packet.time_base) < time_s


def _choose(container: InputContainer) -> tuple[av.VideoStream | None, av.AudioStream | None]:
    """The first usable stream of each kind, default-flagged ones first; cover pictures are none."""

    def usable(streams: Iterable[av.stream.Stream]) -> list[av.stream.Stream]:
        found = [s for s in streams if s.codec_context is not None and not int(s.disposition) & _ATTACHED_PICTURE]
        return sorted(found, key=lambda s: (not int(s.disposition) & 1, s.index))

    videos, audios = usable(container.streams.video), usable(container.streams.audio)
    video, audio = next(iter(videos), None), next(iter(audios), None)
    assert video is None or isinstance(video, av.VideoStream)
    assert audio is None or isinstance(audio, av.AudioStream)
    return video, audio


def to_float(frame: av.AudioFrame) -> np.ndarray:
    """A sound frame as `(channels, samples)` float32 in −1..1."""
    array = frame.to_ndarray()
    if not frame.format.is_planar:
        array = array.reshape(-1, frame.layout.nb_channels).T
    if array.dtype == np.uint8:
        return ((array.astype(np.float32) - 128.0) / 128.0).astype(np.float32)
    if array.dtype.kind == "i":
        full_scale = np.float32(2 ** (8 * array.dtype.itemsize - 1))
        return np.asarray(array.astype(np.float32) / full_scale, np.float32)
    array = array.astype(np.float32, copy=False)
    if np.isfinite(array.sum()):
        return array
    return np.nan_to_num(array, nan=0.0, posinf=1.0, neginf=-1.0)
