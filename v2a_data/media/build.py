"""Which build of PyAV and FFmpeg codes media here: equal builds make equal bytes."""

import av

_LIBRARIES = ("libavcodec", "libavformat", "libavfilter", "libswscale", "libswresample")


def build() -> str:
    """Versions only: the configuration that FFmpeg was built with holds paths of some machine."""
    libraries = [f"{name} {'.'.join(map(str, av.library_versions[name]))}" for name in _LIBRARIES]
    return ", ".join([f"PyAV {av.__version__}", f"FFmpeg {av.ffmpeg_version_info}", *libraries])


def ffmpeg_version() -> str:
    """The version that the FFmpeg inside PyAV gives itself."""
    return str(av.ffmpeg_version_info)
