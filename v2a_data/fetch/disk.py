"""Room on the disk: what is wanted, what is there, and a mark at which downloads pause before it is full."""

from pathlib import Path

from v2a_data.errors import DiskError
from v2a_data.files import free_bytes
from v2a_data.ledger import Ledger

# About one YouTube-8M video (207 s) at 360 lines with AAC.
_USUAL_BYTES = 23e6
_ENOUGH_FILES = 20
# How often a run that waits for space looks whether there is some.
LOOK_S = 5.0
_DISK_WORDS = ("no space left on device", "disk quota exceeded", "read-only file system", "file too large")


def bytes_per_video(ledger: Ledger) -> float:
    """What a video takes, by those that are here already, else by what is usual."""
    count, mean = ledger.rows("SELECT COUNT(*), AVG(bytes) FROM media")[0]
    return float(mean) if count >= _ENOUGH_FILES else _USUAL_BYTES


def shortage(folder: Path, keep_free_gb: float) -> DiskError | None:
    """The error to end with where less than `keep_free_gb` is free."""
    free_gb = free_bytes(folder) / 1e9
    if free_gb >= keep_free_gb:
        return None
    return DiskError(
        f"{folder}: {free_gb:.1f} GB are free, less than the {keep_free_gb:g} GB to keep (fetch.keep_free_gb)",
        hint="free space, then run the same command again; what was fetched is kept",
    )


def disk_words(message: str) -> bool:
    """Whether a downloader's words say that the disk is full or not ours to write."""
    return any(words in message.casefold() for words in _DISK_WORDS)
