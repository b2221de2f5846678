"""What a file really holds: measured from its packets, never from its headers."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from v2a_data.errors import ItemError
from v2a_data.media.decode import Media, Picture, SoundChunk, demuxed
from v2a_data.media.edits import played_until
from v2a_data.media.limits import (
    FREE_PIXELS,
    MAX_CHANNELS,
    MAX_PACKET_BYTES,
    MAX_PACKETS_PER_S,
    MAX_PIXELS_PER_BYTE,
    MAX_PIXELS_PER_S,
    MAX_UNPACKED_BYTES,
    MAX_UNPACKED_TIMES,
    RATES_HZ,
    open_media,
)

# Files may begin with a burst of packets, or with a stream that comes before the other.
_FREE_PACKETS = 20_000


@dataclass(frozen=True)
class PictureInfo:
    """The picture stream: times of its first frame and the end of its last, measured."""

    codec: str
    width: int
    height: int
    rotation: int
    fps: float
    start_s: float
    stop_s: float
    frames: int
    keyframes: int


@dataclass(frozen=True)
class SoundInfo:
    """The sound stream."""

    codec: str
    rate_hz: int
    channels: int
    start_s: float
    stop_s: float


@dataclass(frozen=True)
class Probe:
    """A usable file. `duration_s` is where its picture ends."""

    container: str
    duration_s: float
    picture: PictureInfo
    sound: SoundInfo

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Probe":
        picture, sound = PictureInfo(**value["picture"]), SoundInfo(**value["sound"])
        return cls(value["container"], value["duration_s"], picture, sound)


def probe(path: str, max_duration_s: float) -> Probe:
    """Read every packet header and decode the first frame and sound of the file.

    Raises `ItemError`: `no_picture`, `no_sound`, `too_large`, `too_long`, `too_dense`, `picture_undecodable`,
    `sound_undecodable`, `sound_out_of_range`, and those of `open_media`.
    """
    media = Media(open_media(path))
    if media.video is None:
        raise ItemError("no_picture")
    if media.audio is None:
        raise ItemError("no_sound")
    picture_times, keyframes, sound_span = _scan(media, max_duration_s)
    media.container.close()
    first_picture, first_sound = _first_picture(path), _first_sound(path)
    steps = np.diff(np.sort(picture_times))
    steps = steps[steps > 0]
    step = float(np.median(steps)) if len(steps) else 0.04
    start, stop = float(picture_times.min()), float(picture_times.max()) + min(step, 0.5)
    _refuse_dense(first_picture, len(picture_times), stop - start, Path(path).stat().st_size)
    if "mp4" in media.container.format.name:
        stop = min(stop, played_until(path) or stop)
    picture = PictureInfo(
        media.video.codec_context.codec.canonical_name,
        first_picture.frame.width,
        first_picture.frame.height,
        round(first_picture.frame.rotation),
        1.0 / step,
        start,
        stop,
        len(picture_times),
        keyframes,
    )
    sound = SoundInfo(
        media.audio.codec_context.codec.canonical_name,
        first_sound.rate_hz,
        first_sound.samples.shape[0],
        first_sound.time_s,
        sound_span[1],
    )
    return Probe(media.container.format.name.split(",")[0], stop, picture, sound)


def _scan(media: Media, max_duration_s: float) -> tuple[np.ndarray, int, tuple[float, float]]:
    """Times of all picture packets (s), the number of keyframes, and the span of the sound (s)."""
    assert media.video is not None and media.audio is not None
    times: list[float] = []
    keyframes, sound_start, sound_stop = 0, np.inf, -np.inf
    effort = _Effort(media.container.size)
    for packet in demuxed(media.container, [media.video, media.audio]):
        if packet.size == 0 or packet.time_base is None:
            continue
        effort.count(packet.size)
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None:
            continue
        time_s = float(stamp * packet.time_base) - media.origin_s
        if time_s > max_duration_s:
            raise ItemError("too_long", f"goes on after {max_duration_s:g} s")
        effort.reached_s = max(effort.reached_s, time_s)
        if packet.stream.index == media.video.index:
            if time_s >= 0:
                times.append(time_s)
            keyframes += packet.is_keyframe
        else:
            sound_start = min(sound_start, time_s)
            sound_stop = max(sound_stop, time_s + float((packet.duration or 0) * packet.time_base))
    if not times:
        raise ItemError("no_picture", "no picture packet has a time")
    if sound_start == np.inf:
        raise ItemError("no_sound", "no sound packet has a time")
    return np.asarray(times), keyframes, (sound_start, sound_stop)


@dataclass
class _Effort:
    """What reading a file has cost so far; raises where no real file would cost that."""

    file_bytes: int
    reached_s: float = 0.0
    packets: int = 0
    bytes: int = 0

    def count(self, size: int) -> None:
        """One more packet. Raises `ItemError`: `too_dense`, `too_large`."""
        self.packets += 1
        self.bytes += size
        if self.packets > _FREE_PACKETS + self.reached_s * MAX_PACKETS_PER_S:
            raise ItemError("too_dense", f"{self.packets} packets in {self.reached_s:.1f} s")
        if size > MAX_PACKET_BYTES:
            raise ItemError("too_large", f"a packet of {size} bytes")
        if self.bytes > max(MAX_UNPACKED_BYTES, self.file_bytes * MAX_UNPACKED_TIMES):
            raise ItemError("too_large", f"{self.file_bytes} bytes unpack to more than {self.bytes}")


def _refuse_dense(picture: Picture, frames: int, duration_s: float, size: int) -> None:
    """Raise `ItemError("too_dense")` for more pixels a second, or per byte, than can be decoded within a deadline."""
    pixels = picture.frame.width * picture.frame.height * frames
    most = min(MAX_PIXELS_PER_S * max(duration_s, 1.0), FREE_PIXELS + MAX_PIXELS_PER_BYTE * size)
    if pixels > most:
        raise ItemError("too_dense", f"{frames} pictures of {picture.frame.width}x{picture.frame.height}")


def _first_picture(path: str) -> Picture:
    """The first decoded frame, so that a codec that does not decode is known here."""
    media = Media(open_media(path))
    media.audio = None
    for item in media.decode():
        if isinstance(item, Picture):
            return item
    raise ItemError("picture_undecodable")


def _first_sound(path: str) -> SoundChunk:
    """The first decoded sound."""
    media = Media(open_media(path))
    media.video = None
    for item in media.decode():
        if isinstance(item, SoundChunk):
            channels = item.samples.shape[0]
            if not RATES_HZ[0] <= item.rate_hz <= RATES_HZ[1] or channels > MAX_CHANNELS:
                raise ItemError("sound_out_of_range", f"{channels} channels at {item.rate_hz} Hz")
            return item
    raise ItemError("sound_undecodable")
