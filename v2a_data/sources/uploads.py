"""YouTube ids in file names, as mirrors of public lists write them.

    ID.mp4                    no start
    ID_000034.mp4  ID_34.mp4  VGGSound and its loaders: seconds
    ID_34000.mp4              AudioSet's strong labels: milliseconds
    ID_34000_44000.mp4        milliseconds
    ID_34_44.mp4  ID_30.000_40.000.mp4  ID_000058_000068.mp4  seconds
    Title [ID].mp4            yt-dlp's own
    YID.wav                   Kaldi's, which lets no name begin with "-"

An id holds `_` and `-` itself, so it is its 11 characters that end it.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from v2a_data.ids import is_youtube_id

_ID = r"(?P<id>[A-Za-z0-9_-]{11})"
_TIME = r"\d{1,9}(?:\.\d{1,6})?"
_NAMED = re.compile(rf"{_ID}(?:_(?P<start>{_TIME})(?:_(?P<stop>{_TIME}))?)?\Z", re.ASCII)
_TITLED = re.compile(rf".*\[{_ID}\]\Z", re.DOTALL)
_KALDI = re.compile(rf"Y{_ID}\Z")
_MS_APART = 500.0


@dataclass(frozen=True)
class Upload:
    """What a file name says: the id, and the starts in seconds that it can mean, the likeliest first."""

    native: str
    starts_s: tuple[float, ...] = ()


def upload_of(name: str) -> Upload | None:
    """The upload that a file is a copy of, or a cut of; null where the name does not say it."""
    stem = name.removesuffix(PurePosixPath(name).suffix) if _is_suffix(PurePosixPath(name).suffix) else name
    for pattern in (_NAMED, _TITLED, _KALDI):
        match = pattern.match(stem)
        if match and is_youtube_id(match["id"]):
            return Upload(match["id"], _starts(**match.groupdict()))
    return None


def _is_suffix(suffix: str) -> bool:
    return 2 <= len(suffix) <= 6 and not suffix[1:].isdigit()


def _starts(id: str, start: str | None = None, stop: str | None = None) -> tuple[float, ...]:
    if start is None:
        return ()
    first = float(start)
    if stop is not None:
        return (first / 1000,) if float(stop) - first >= _MS_APART else (first,)
    if len(start) == 6 and start[0] == "0":
        return (first,)
    return (first, first / 1000) if "." not in start and first >= 1000 else (first,)
