"""What a media file may do: protocols, containers, size, memory, processor time."""

import os
import resource
from pathlib import Path

import av
from av.container import InputContainer

from v2a_data.errors import ItemError
from v2a_data.media.edits import edits

PROTOCOLS = "file"
DEMUXERS = "mov,matroska,webm,ogg,flac,wav,mp3,avi,flv,mpegts,mpeg"
MAX_PIXELS = 7680 * 4320
MAX_STREAMS = 64
MEMORY_BYTES = 1_500_000_000
FILE_BYTES = 16_000_000_000
OPEN_FILES = 64


def limit_this_process() -> None:
    """Bound memory, file size, open files and core dumps of the calling process for good."""
    resource.setrlimit(resource.RLIMIT_AS, at_most(resource.RLIMIT_AS, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, at_most(resource.RLIMIT_FSIZE, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, at_most(resource.RLIMIT_NOFILE, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def at_most(which: int, wanted: int) -> tuple[int, int]:
    """Soft and hard limit: `wanted`, or this process's own hard limit where that is lower, since none may be raised."""
    _, hard = resource.getrlimit(which)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    return limit, limit


def file_url(path: str | os.PathLike[str]) -> str:
    """A path as FFmpeg must get it: `file:` and absolute, so that no name reads as an option or protocol."""
    return "file:" + str(Path(path).absolute())


def open_media(path: str | os.PathLike[str]) -> InputContainer:
    """Open a file with the whitelists and bounds on.

    Raises `ItemError`: `missing_file`, `empty_file`, `not_media`, `too_many_streams`, `edit_list`.
    """
    try:
        size = Path(path).stat().st_size
    except OSError as error:
        raise ItemError("missing_file", str(error)) from None
    if size == 0:
        raise ItemError("empty_file")
    options = {
        "protocol_whitelist": PROTOCOLS,
        "format_whitelist": DEMUXERS,
        "max_pixels": str(MAX_PIXELS),
        "max_streams": str(MAX_STREAMS),
        "enable_drefs": "0",
        "advanced_editlist": "0",  # see media/edits.py
    }
    try:
        container = av.open(file_url(path), options=options, metadata_errors="replace")
    except (av.FFmpegError, ValueError, UnicodeError) as error:
        raise ItemError("not_media", _words(error)) from None
    if len(container.streams) > MAX_STREAMS:
        container.close()
        raise ItemError("too_many_streams", f"{len(container.streams)}, at most {MAX_STREAMS}")
    if "mp4" in container.format.name and (pieces := edits(path)) > 1:
        container.close()
        raise ItemError("edit_list", f"a track is played in {pieces} pieces")
    return container


def _words(error: Exception) -> str:
    """The error's own words without the path that FFmpeg appends."""
    return str(getattr(error, "strerror", None) or error)
