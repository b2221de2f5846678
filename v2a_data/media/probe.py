"""What a file really holds: measured from its packets, never from its headers."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from v2a_data.errors import ItemError
from v2a_data.media.decode import Media, Picture, SoundChunk
from v2a_data.media.limits import MAX_PIXELS, open_media

# Enough packets for days of sound; a file with more is not one we can use.
_MAX_PACKETS = 20_000_000


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

    Raises `ItemError`: `no_picture`, `no_sound`, `too_large`, `too_long`, `picture_undecodable`,
    `sound_undecodable`, and those of `open_media`.
    """
    media = Media(open_media(path))
    if media.video is None:
        raise ItemError("no_picture")
    if media.audio is None:
        raise ItemError("no_sound")
    if media.video.codec_context.width * media.video.codec_context.height > MAX_PIXELS:
        raise ItemError("too_large", f"{media.video.codec_context.width}x{media.video.codec_context.height}")
    picture_times, keyframes, sound_span = _scan(media, max_duration_s)
    media.container.close()
    first_picture, first_sound = _first(path)
    steps = np.diff(np.sort(picture_times))
    steps = steps[steps > 0]
    step = float(np.median(steps)) if len(steps) else 0.04
    start, stop = float(picture_times.min()), float(picture_times.max()) + min(step, 0.5)
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
    keyframes, packets, sound_start, sound_stop = 0, 0, np.inf, -np.inf
    for packet in media.container.demux([media.video, media.audio]):
        if packet.size == 0 or packet.time_base is None:
            continue
        packets += 1
        if packets > _MAX_PACKETS:
            raise ItemError("too_long", f"more than {_MAX_PACKETS} packets")
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None:
            continue
        time_s = float(stamp * packet.time_base) - media.origin_s
        if time_s > max_duration_s:
            raise ItemError("too_long", f"goes on after {max_duration_s:g} s")
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


def _first(path: str) -> tuple[Picture, SoundChunk]:
    """The first decoded frame and sound chunk, so that a codec that does not decode is known here."""
    media = Media(open_media(path))
    picture: Picture | None = None
    sound: SoundChunk | None = None
    for item in media.decode():
        if isinstance(item, Picture):
            picture = picture or item
        else:
            sound = sound or item
        if picture is not None and sound is not None:
            return picture, sound
    raise ItemError("picture_undecodable" if picture is None else "sound_undecodable")
