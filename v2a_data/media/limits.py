"""What a media file may be: protocols, containers, streams, pixels, sound. What its reader may do is in `confine`."""

import errno
import os
from pathlib import Path

import av
import av.logging
from av.container import InputContainer

from v2a_data.errors import ItemError
from v2a_data.media.edits import played_until

PROTOCOLS = "file"
DEMUXERS = "mov,matroska,webm,ogg,flac,wav,mp3,avi,flv,mpegts,mpeg"
MAX_PIXELS = 7680 * 4320
MAX_STREAMS = 64
RATES_HZ = (1_000, 768_000)
MAX_CHANNELS = 64
# More than this in a second of a file, in one packet, or per byte, is not decoded within any deadline.
MAX_PIXELS_PER_S = 600_000_000
# A picture that stands still for an hour beside sound of 32 kbit/s has 15,000.
MAX_PIXELS_PER_BYTE = 30_000
FREE_PIXELS = 5_000_000_000
MAX_PACKETS_PER_S = 1000
MAX_PACKET_BYTES = 100_000_000
MAX_PACKET_SAMPLES = 4_000_000
# Data that a container holds packed: a file may unpack to so much, or to so many times its own size.
MAX_UNPACKED_BYTES = 1_000_000_000
MAX_UNPACKED_TIMES = 10


def file_url(path: str | os.PathLike[str]) -> str:
    """A path as FFmpeg must get it: `file:` and absolute, so that no name reads as an option or protocol."""
    return "file:" + str(Path(path).absolute())


def open_media(path: str | os.PathLike[str]) -> InputContainer:
    """Open a file with the whitelists and bounds on.

    Raises `ItemError`: `missing_file`, `empty_file`, `not_media`, `too_many_streams`, `too_large`, `edit_list`;
    `MemoryError` where its headers alone need too much.
    """
    try:
        size = Path(path).stat().st_size
    except OSError as error:
        raise ItemError("missing_file", str(error)) from None
    if size == 0:
        raise ItemError("empty_file")
    try:
        container = _open(path)
    except MemoryError:
        # FFmpeg has one error for "no memory" and "more than max_streams", but says the second in its log.
        if not _says_too_many_streams(path):
            raise MemoryError from None
        raise ItemError("too_many_streams", f"at most {MAX_STREAMS}") from None
    except (av.FFmpegError, ValueError, UnicodeError) as error:
        raise ItemError("not_media", _words(error)) from None
    try:
        _check(container, path)
    except ItemError:
        container.close()
        raise
    return container


def _check(container: InputContainer, path: str | os.PathLike[str]) -> None:
    if len(container.streams) > MAX_STREAMS:
        raise ItemError("too_many_streams", f"at most {MAX_STREAMS}")
    if "mp4" in container.format.name:
        played_until(path)
    for stream in container.streams:
        if stream.codec_context is not None:
            _bound(stream.codec_context)


def _bound(decoder: av.CodecContext) -> None:
    """Hold a decoder that is not open yet to our bounds and to one thread. Raises `ItemError("too_large")`."""
    if isinstance(decoder, av.VideoCodecContext) and decoder.width * decoder.height > MAX_PIXELS:
        raise ItemError("too_large", f"{decoder.width}x{decoder.height}")
    decoder.options = {"max_pixels": str(MAX_PIXELS), "max_samples": str(MAX_PACKET_SAMPLES)}
    decoder.thread_count = 1


def _open(path: str | os.PathLike[str]) -> InputContainer:
    options = {
        "protocol_whitelist": PROTOCOLS,
        "format_whitelist": DEMUXERS,
        "enable_drefs": "0",
        "advanced_editlist": "0",  # see edits.py
        # One more than allowed: some demuxers leave out what is above, and the file would pass for one that fits.
        "max_streams": str(MAX_STREAMS + 1),
    }
    # Not as `options`: with max_pixels FFmpeg's own first look would replace a declared size above it by 0x0.
    return av.open(file_url(path), container_options=options, metadata_errors="replace")


def _says_too_many_streams(path: str | os.PathLike[str]) -> bool:
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as lines:
            _open(path).close()
    except (av.FFmpegError, ValueError):
        pass
    finally:
        av.logging.set_level(level)
    return any("max_streams" in text for _, _, text in lines)


def refuse_too_large(error: av.FFmpegError, context: av.CodecContext | None) -> None:
    """Raise `ItemError("too_large")` where a decoder failed because a frame has more pixels than it may.

    FFmpeg has no error of its own for that. Some decoders keep the size that they refused, some set it to 0x0 and
    call it an invalid argument, dav1d calls it out of range.
    """
    if not isinstance(context, av.VideoCodecContext):
        return
    kept = context.width * context.height > MAX_PIXELS
    zeroed = context.width == 0 and error.errno == errno.EINVAL
    if kept or zeroed or error.errno == errno.ERANGE:
        raise ItemError("too_large", f"a picture of more than {MAX_PIXELS} pixels") from None


def _words(error: Exception) -> str:
    """The error's own words without the path that FFmpeg appends."""
    return str(getattr(error, "strerror", None) or error)
