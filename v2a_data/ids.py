"""Ids and keys: made in one place, checked in one place. All of them are safe as file names."""

import base64
import hashlib
import re
import unicodedata

_VIDEO = re.compile(r"(yt-[A-Za-z0-9_-]{11}|lo-[0-9a-f]{16}|sy-\d{1,9}-\d{1,9}|y8-[A-Za-z0-9_-]{4})\Z")
_YOUTUBE = re.compile(r"[A-Za-z0-9_-]{11}\Z")
_CLIP = re.compile(r"(?P<video>.+)_(?P<start_ms>\d{9})\Z")


def is_youtube_id(text: str) -> bool:
    """True for 11 characters that YouTube uses; `AccessDenie` is the known scraping accident."""
    return bool(_YOUTUBE.match(text)) and text != "AccessDenie"


def youtube_video_id(native: str) -> str:
    """`yt-<11 characters>`. Raises `ValueError` for anything else."""
    if not is_youtube_id(native):
        raise ValueError(f"not a YouTube id: {native[:40]!r}")
    return f"yt-{native}"


def local_video_id(sha256: str) -> str:
    """`lo-<16 hex digits>` from the sha256 of a file."""
    return f"lo-{sha256[:16]}"


def synthetic_video_id(seed: int, n: int) -> str:
    """`sy-<seed>-<n>` for a rendered video."""
    return f"sy-{seed}-{n}"


def synthetic_native_id(seed: int, n: int) -> str:
    """An 11 character id for a rendered video that is served as if it were on YouTube."""
    return base64.urlsafe_b64encode(hashlib.sha256(f"{seed}/{n}".encode()).digest())[:11].decode()


def check_video_id(video_id: str) -> str:
    """The id itself; raises `ValueError` where it has not the form of one."""
    if not _VIDEO.match(video_id):
        raise ValueError(f"not a video id: {video_id[:60]!r}")
    return video_id


def clip_id(video_id: str, start_s: float) -> str:
    """`<video_id>_<start_ms, 9 digits>`, also the key of the sample."""
    return f"{video_id}_{round(start_s * 1000):09d}"


def split_clip_id(text: str) -> tuple[str, float]:
    """`(video_id, start_s)` of a clip id, read from the right. Raises `ValueError`."""
    match = _CLIP.match(text)
    if not match:
        raise ValueError(f"not a clip id: {text[:60]!r}")
    return check_video_id(match["video"]), int(match["start_ms"]) / 1000


def clean_text(text: str, limit: int = 2000) -> str:
    """Untrusted text for tables, logs and terminals: no control or direction characters, bounded."""
    kept = (
        " " if c in "\n\r\t" else c for c in text[: 4 * limit] if c in "\n\r\t" or unicodedata.category(c)[0] != "C"
    )
    return " ".join("".join(kept).split())[:limit]


def slug(text: str) -> str:
    """Lower case words joined by underscores, safe as a file name; never empty."""
    return re.sub(r"[^a-z0-9]+", "_", unicodedata.normalize("NFKD", text).lower()).strip("_")[:60] or "dataset"
