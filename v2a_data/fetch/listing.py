"""What is listed, and what of it is still to be fetched."""

import json
from collections import Counter
from collections.abc import Container, Sequence
from datetime import UTC, datetime
from typing import Literal

from v2a_data import schema
from v2a_data.engine import stop_signals
from v2a_data.errors import NothingError, UsageError, nearest
from v2a_data.fetch.failures import BY_NAME
from v2a_data.ids import clean_text
from v2a_data.ledger import Ledger, Row, encode_json
from v2a_data.recipe import Recipe
from v2a_data.removal.refused import Refused
from v2a_data.sources.base import Listing, Source, Video
from v2a_data.workspace import Workspace

WAITING = ("listed", "later")


Place = Literal["new", "waiting", "known", "twin", "refused"]


def list_only(workspace: Workspace, recipe: Recipe, source: Source, limit: int | None) -> Counter[Place]:
    """List ids into the ledger without downloading, up to `limit` new ones; how many were what."""
    found: Counter[Place] = Counter()
    refused = Refused(workspace.ledger)
    with stop_signals() as stop:
        videos = source.videos(recipe.labels, listing_of(workspace, source, recipe))
        # The limit is looked at first: listing one more may ask a site.
        while (limit is None or found["new"] < limit) and (video := next(videos, None)) is not None:
            found[add(workspace.ledger, video, refused)] += 1
            stop.check()
        stop.check()
    return found


def listing_of(workspace: Workspace, source: Source, recipe: Recipe, again: Container[str] = ()) -> Listing:
    """Keys that need no more listing, and those resolved earlier whose download is still to come.

    Videos of `again` are listed as if they were new.
    """
    ledger = workspace.ledger
    # The videos of a manifest have the names of the sources that named them first.
    sql = "SELECT video_id, source_key, native_id, state FROM videos WHERE source = ?1 OR ?1 = 'manifest'"
    rows = ledger.rows(sql, (source.name,))
    twins = ledger.rows("SELECT message FROM attempts WHERE class = 'duplicate_file'")
    waiting = {row["source_key"]: row["native_id"] for row in rows if row["state"] in WAITING}
    known = {row["source_key"] for row in rows if row["video_id"] not in again} - waiting.keys()
    known |= {row["message"] for row in twins}
    root = workspace.root.absolute()
    return Listing(recipe, root / "cache" / source.name, frozenset(known), waiting, root / "tmp" / "unpacked")


def add(ledger: Ledger, video: Video, refused: Refused) -> Place:
    """Put a listed video into the ledger, or join its labels to the row that has its id already."""
    if refused.video(video):
        return "refused"
    found = ledger.rows("SELECT * FROM videos WHERE video_id = ?", (video.video_id,))
    with ledger.transaction():
        if not found:
            native = clean_text(video.native_id, 1000) if video.native_id else None
            ledger.insert(schema.VIDEOS, [{**video.__dict__, "labels": sorted(video.labels), "native_id": native}])
            _replace_placeholder(ledger, video)
            if video.state != "listed":
                ledger.attempt(video.video_id, "list", video.reason, video.message)
            return "new"
        joined = sorted({*json.loads(found[0]["labels"]), *video.labels})
        ledger.execute("UPDATE videos SET labels = ? WHERE video_id = ?", (encode_json(joined), video.video_id))
        if (found[0]["source"], found[0]["source_key"]) == (video.source, video.source_key):
            return "waiting" if found[0]["state"] in WAITING else "known"
        if video.path is not None:
            ledger.attempt(video.video_id, "list", "duplicate_file", video.source_key or "")
            return "twin"
        return "known"


def too_soon(ledger: Ledger, video_id: str, now: float) -> bool:
    """Whether a video failed so lately that another try would bring the same answer."""
    sql = """
        SELECT v.reason, (SELECT MAX(at) FROM attempts a WHERE a.video_id = v.video_id AND a.class = v.reason) AS at
        FROM videos v WHERE v.video_id = ? AND v.state = 'later'"""
    for row in ledger.rows(sql, (video_id,)):
        failure = BY_NAME.get(row["reason"])
        if failure is not None and failure.again_s and row["at"] is not None:
            tried = datetime.strptime(row["at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
            return now < tried + failure.again_s
    return False


def failed_videos(ledger: Ledger, classes: Sequence[str]) -> list[Video]:
    """Videos whose download ended with one of the classes, whatever followed from it then.

    Raises `UsageError` for a class that is none, `NothingError` where no video has one of them.
    """
    reasons = ledger.counts("videos", "reason", "reason IS NOT NULL AND url IS NOT NULL AND state != 'fetched'")
    for name in classes:
        if name not in BY_NAME and name not in reasons:
            raise UsageError(f"--retry {name}: no failure class; {nearest(name, sorted({*BY_NAME, *reasons}))}")
    marks = ", ".join("?" for _ in classes)
    sql = (
        f"SELECT * FROM videos WHERE reason IN ({marks}) AND url IS NOT NULL AND state != 'fetched' "  # noqa: S608
        "ORDER BY source, position"
    )
    found = [_video(row) for row in ledger.each(sql, list(classes))]
    if not found:
        here = ", ".join(f"{count} {name}" for name, count in reasons.items()) or "none"
        raise NothingError(f"no download failed with {', '.join(classes)}; failures here: {here}")
    return found


def _video(row: Row) -> Video:
    names = ("video_id", "source", "position", "source_key", "native_id", "url", "wanted_start_s", "wanted_stop_s")
    return Video(labels=tuple(json.loads(row["labels"])), **{name: row[name] for name in names})


def _replace_placeholder(ledger: Ledger, video: Video) -> None:
    """A row that stood for a key without an id is done with; what was tried goes to the video's own row."""
    sql = "SELECT video_id FROM videos WHERE source = ? AND source_key = ? AND state = 'later' AND video_id != ?"
    for (stand_in,) in ledger.rows(sql, (video.source, video.source_key, video.video_id)):
        if not ledger.value("SELECT 1 FROM media WHERE video_id = ?", (stand_in,)):
            ledger.execute("UPDATE attempts SET video_id = ? WHERE video_id = ?", (video.video_id, stand_in))
            ledger.execute("DELETE FROM videos WHERE video_id = ?", (stand_in,))
