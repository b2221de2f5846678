"""Ids that were removed, known by salted hashes alone: enough to refuse them, not to list them."""

import hashlib
import re
import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING

from v2a_data import schema
from v2a_data.ids import is_youtube_id
from v2a_data.ledger import Ledger
from v2a_data.runs import now
from v2a_data.sources.base import Video

if TYPE_CHECKING:
    from v2a_data.workspace import Workspace

SALT = "removed/salt"
_WORD = re.compile(r"[A-Za-z0-9_-]{11,}")
_NATIVE = 11


class Refused:
    """The hashes of one workspace. Without any, every question costs nothing."""

    def __init__(self, ledger: Ledger) -> None:
        salt = ledger.meta(SALT)
        self._salt = bytes.fromhex(salt) if salt else b""
        self._hashes = {row[0] for row in ledger.rows("SELECT hash FROM removed")} if salt else set[str]()

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def has(self, name: str) -> bool:
        """Whether this video id, or channel, was removed."""
        return bool(self._hashes) and _hash(self._salt, name) in self._hashes

    def video(self, video: Video) -> bool:
        """Whether a listed video was removed, under its own id or as the upload that a mirror's file is cut from."""
        native = video.native_id
        upload = native is not None and is_youtube_id(native) and self.has(f"yt-{native}")
        return upload or self.has(video.video_id)

    def channel(self, channel: str | None) -> bool:
        """Whether the channel that a site names was removed."""
        return channel is not None and self.has(channel_name(channel))

    def turn_away(self, workspace: "Workspace", video_id: str) -> None:
        """Drop a video that came before its channel was known to be removed: its file and its rows, for good."""
        for path in workspace.media_path(video_id, "x").parent.glob(f"{video_id}.*"):
            path.unlink()
        ledger = workspace.ledger
        ledger.execute("PRAGMA secure_delete = ON")
        with ledger.transaction():
            refuse(ledger, [video_id])
            for table in ("attempts", "media", "videos"):
                ledger.execute(f"DELETE FROM {table} WHERE video_id = ?", (video_id,))  # noqa: S608
        self._hashes.add(_hash(self._salt, video_id))

    def hide(self, text: str) -> str:
        """A text for run records with the YouTube ids that were removed taken out of it."""
        if not self._hashes:
            return text

        def hidden(match: re.Match[str]) -> str:
            word = match[0]
            natives = (word[i : i + _NATIVE] for i in range(len(word) - _NATIVE + 1))
            return "(removed)" if self.has(word) or any(self.has(f"yt-{native}") for native in natives) else word

        return _WORD.sub(hidden, text)


def refuse(ledger: Ledger, names: Iterable[str]) -> None:
    """Remember video ids and channels; to be called inside a transaction."""
    salt = ledger.meta(SALT)
    if salt is None:
        salt = secrets.token_hex(16)
        ledger.set_meta(SALT, salt)
    rows = [{"hash": _hash(bytes.fromhex(salt), name), "at": now()} for name in sorted(set(names))]
    ledger.insert(schema.REMOVED, rows, existing="ignore")


def channel_name(channel: str) -> str:
    """A channel's id as it is compared: without the site's name before it, or the address around it."""
    return channel.rstrip("/").rpartition("/")[2]


def _hash(salt: bytes, name: str) -> str:
    return hashlib.sha256(salt + b"\0" + name.encode("utf-8", "replace")).hexdigest()[:32]
