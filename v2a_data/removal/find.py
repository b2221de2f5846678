"""What is to be removed: the ids that a user names, and what of them is in the workspace."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from v2a_data.errors import UsageError
from v2a_data.ids import check_video_id, clean_text, is_youtube_id
from v2a_data.ledger import Ledger
from v2a_data.removal.traces import Traces
from v2a_data.sources.ids import native_id

# Where a removal under way keeps what it takes out, until it is done.
UNDER_WAY = "removing"
_BEFORE_CHANNEL = ("channel", "c", "user")
_CHANNEL = re.compile(r"(?:UC|@)[A-Za-z0-9_.-]{3,62}")


@dataclass(frozen=True)
class Wanted:
    """What a user asks to remove: video ids, and ids of channels."""

    ids: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()

    def __or__(self, other: "Wanted") -> "Wanted":
        return Wanted(self.ids | other.ids, self.channels | other.channels)

    def __bool__(self) -> bool:
        return bool(self.ids or self.channels)

    def to_json(self) -> str:
        return json.dumps({"ids": sorted(self.ids), "channels": sorted(self.channels)})

    @classmethod
    def from_json(cls, text: str) -> "Wanted":
        values: dict[str, Any] = json.loads(text)
        return cls(frozenset(values["ids"]), frozenset(values["channels"]))


@dataclass
class Doomed:
    """Videos of the workspace that go, and everything by which they may be named in it.

    `keys` are the 4 characters of YouTube-8M, which are looked for in that source's own lists alone. `renamed` says
    what groups that were called by a doomed video are called from now on.
    """

    videos: set[str]
    traces: Traces
    keys: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    renamed: dict[str, str] = field(default_factory=dict)

    def has_clip(self, clip_id: str) -> bool:
        """Whether a clip, or its sample, goes."""
        return clip_id.rpartition("_")[0] in self.videos

    def has_item(self, item: str) -> bool:
        """Whether a video or a clip goes."""
        return item in self.videos or self.has_clip(item)


def parse_wanted(ids: Iterable[str], channels: Iterable[str]) -> Wanted:
    """What was typed: video ids, YouTube ids or addresses; channels by id or address.

    Raises `UsageError` naming what is neither.
    """
    return Wanted(frozenset(map(_video_id, ids)), frozenset(map(_channel, channels)))


def _channel(text: str) -> str:
    """The id or handle in what was typed. Anything else would be looked for in every text of the workspace."""
    parts = urlsplit(text.strip())
    names = parts.path.strip("/").split("/")
    if parts.scheme in ("http", "https"):
        name = names[1] if names[0] in _BEFORE_CHANNEL and len(names) > 1 else names[0]
    else:
        name = text.strip()
    if not _CHANNEL.fullmatch(name):
        raise UsageError(
            f"--channel {clean_text(text, 80)!r}: neither a channel's id nor an address with one",
            hint="an id begins with UC, a handle with @: `v2a-data status --json` and the table `channels` have them",
        )
    return name


def _video_id(text: str) -> str:
    try:
        return check_video_id(text)
    except ValueError:
        pass
    head, _, digits = text.rpartition("_")
    if digits.isdecimal() and len(digits) == 9 and head:
        raise UsageError(
            f"{clean_text(text, 60)!r} is a clip", hint="a video goes as a whole; `export --without` leaves a clip out"
        )
    return f"yt-{native_id(text)}"


def find(ledger: Ledger, wanted: Wanted) -> Doomed:
    """The videos that are meant: by id, as the upload that a file is cut from, or by channel."""
    natives = sorted(video_id[3:] for video_id in wanted.ids if video_id.startswith("yt-"))
    sql = (
        "SELECT video_id, source, source_key, native_id FROM videos "
        "WHERE video_id IN (SELECT value FROM json_each(?1)) OR native_id IN (SELECT value FROM json_each(?2)) "
        "OR video_id IN (SELECT video_id FROM channels "
        "WHERE substr(channel, instr(channel, '/') + 1) IN (SELECT value FROM json_each(?3)))"
    )
    rows = ledger.rows(sql, tuple(map(json.dumps, (sorted(wanted.ids), natives, sorted(wanted.channels)))))
    videos = {row["video_id"] for row in rows}
    names, refused = set(wanted.ids | wanted.channels), set(wanted.ids | wanted.channels | videos)
    for row in rows:
        native = row["native_id"]
        names |= {row["video_id"]}
        if native and is_youtube_id(native) and not row["video_id"].startswith("lo-"):
            names |= {native}
            refused |= {f"yt-{native}"}
    names |= {name[3:] for name in names if name.startswith("yt-")}
    keys = {row["source_key"] for row in rows if row["source"] == "youtube8m" and row["source_key"]}
    doomed = Doomed(videos, Traces(names), keys, refused)
    doomed.renamed = _renamed(ledger, doomed)
    return doomed


def _renamed(ledger: Ledger, doomed: Doomed) -> dict[str, str]:
    """Groups that are called by a doomed video take the smallest name that is left in them."""
    left: dict[str, str] = {}
    for clip_id, group_id in ledger.each("SELECT clip_id, group_id FROM groups"):
        video_id = clip_id.rpartition("_")[0]
        if group_id in doomed.videos and video_id not in doomed.videos:
            left[group_id] = min(left.get(group_id, video_id), video_id)
    return left
