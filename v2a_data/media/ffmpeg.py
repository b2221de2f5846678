"""The ffmpeg program, where its command line is the better tool: muxing and stripping, never decoding.

ffmpeg-python builds the arguments; our runner adds whitelists, bounds on what the media may be, and the confinement of
the media child. No shell, ever.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from v2a_data.errors import ItemError, MissingToolError
from v2a_data.media import confine
from v2a_data.media.limits import DEMUXERS, MAX_PIXELS, MAX_STREAMS, PROTOCOLS, file_url

_TIMEOUT_S = 600
_NOTICE = "The sound of this file was generated from its picture by v2a."


def ffmpeg_path() -> str:
    """`$V2A_FFMPEG`, else the one on the PATH, else the one that imageio-ffmpeg brings."""
    chosen = os.environ.get("V2A_FFMPEG")
    if chosen:
        if not Path(chosen).is_file():
            raise MissingToolError(
                f"V2A_FFMPEG names {chosen}, which does not exist", hint="unset V2A_FFMPEG or correct it"
            )
        return chosen
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        raise MissingToolError("no ffmpeg program", hint="install ffmpeg, or set V2A_FFMPEG to its path") from None


def mux(video: Path, sound: Path, target: Path) -> None:
    """The picture of `video` as it is with the sound of a WAV file, as MP4 or Matroska by `target`'s name.

    The source's metadata is left out; a comment says that the sound was generated. Raises `ItemError`.
    """
    ffmpeg = _ffmpeg_python()
    picture = ffmpeg.input(file_url(video), **_input_options())
    heard = ffmpeg.input(file_url(sound), f="wav", **_input_options("wav"))
    options = {"c:v": "copy", "c:a": "aac", "b:a": "160k", "map_metadata": -1, "metadata": f"comment={_NOTICE}"}
    if target.suffix.lower() == ".mp4":
        options["movflags"] = "+faststart"
    _run(ffmpeg.output(picture["v:0"], heard["a:0"], file_url(target), **options))


def _ffmpeg_python() -> Any:
    import ffmpeg

    return ffmpeg


def _input_options(demuxers: str = DEMUXERS) -> dict[str, str | int]:
    lists = {"protocol_whitelist": PROTOCOLS, "format_whitelist": demuxers}
    return {**lists, "max_streams": MAX_STREAMS, "max_pixels": MAX_PIXELS, "threads": 1}


def _run(stream: Any) -> None:
    """Run a built command line with limits. Raises `ItemError`: `ffmpeg_failed` with its last words, `timed_out`."""
    arguments = _ffmpeg_python().compile(
        stream.global_args("-nostdin", "-v", "error"), cmd=ffmpeg_path(), overwrite_output=True
    )
    process = subprocess.Popen(
        confine.command(_TIMEOUT_S, arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=confine.environment(),
        start_new_session=True,
    )
    try:
        _, words = process.communicate(timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise ItemError("timed_out", f"ffmpeg took more than {_TIMEOUT_S} s") from None
    finally:
        confine.kill_group(process)
    if process.returncode != 0:
        raise ItemError("ffmpeg_failed", words.decode("utf-8", "replace").strip()[-500:])
