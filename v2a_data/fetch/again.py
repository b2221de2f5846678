"""Media that were deleted after sharding, fetched once more for `repair`: taken only where they are the same bytes."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from v2a_data.errors import InterruptedRunError, MissingToolError, SiteStopError
from v2a_data.fetch.download import FetchRequest, fetch_video
from v2a_data.fetch.failures import BY_NAME
from v2a_data.fetch.finished import FetchOutcome, drop_note
from v2a_data.fetch.listing import listing_of
from v2a_data.fetch.pacing import Pace, moment
from v2a_data.ledger import Row
from v2a_data.manifest import own_manifest
from v2a_data.recipe import Recipe
from v2a_data.sources import SOURCES
from v2a_data.sources.base import Source, Video
from v2a_data.sources.manifest import FromManifest
from v2a_data.workspace import Workspace


def fetch_again(workspace: Workspace, recipe: Recipe, video_ids: Sequence[str]) -> dict[str, str]:
    """Bring the files of some videos back to their place; returns why, by video, where that could not be done.

    Raises `SiteStopError` when the site asks to stop, `MissingToolError` where the set-up is at fault.
    """
    ledger = workspace.ledger
    sql = (
        "SELECT v.*, m.path, m.sha256 FROM json_each(?) w JOIN videos v ON v.video_id = w.value "
        "JOIN media m ON m.video_id = v.video_id ORDER BY 1"
    )
    rows = ledger.rows(sql, (json.dumps(sorted(set(video_ids))),))
    why: dict[str, str] = {}
    pace = Pace(ledger, recipe.fetch)
    for row, video in _listed(workspace, recipe, rows):
        if video is None:
            why[row["video_id"]] = "its media were deleted after sharding, and its source has it no more"
            continue
        if video.path is None:
            _wait(pace, recipe)
            pace.begin(video.video_id)
        request = _request(workspace, recipe, video)
        outcome = fetch_video(request)
        drop_note(Path(request.target))
        with ledger.transaction():
            for one in (*outcome.before, outcome.attempt):
                about = (one.message, one.tool_version, one.seconds, one.at)
                ledger.attempt(row["video_id"], one.stage, one.failure, *about)
            pace.end(video.video_id)
        trouble = _trouble(workspace, row, outcome, pace)
        why |= {row["video_id"]: trouble} if trouble else {}
    return why


def _listed(workspace: Workspace, recipe: Recipe, rows: Sequence[Row]) -> Iterator[tuple[Row, Video | None]]:
    """Each row with the video to fetch: by its address, or as its source lists the file now."""
    files = {row["video_id"]: row for row in rows if row["url"] is None}
    for row in rows:
        if row["url"] is not None:
            yield row, Video(row["video_id"], row["source"], (), 0, native_id=row["native_id"], url=row["url"])
    if files:
        manifest = own_manifest(workspace)
        source: Source = FromManifest(manifest) if manifest else SOURCES[recipe.source.name]()
        for video in source.videos(recipe.labels, listing_of(workspace, source, recipe, again=files)):
            if video.video_id in files and video.path is not None:
                yield files.pop(video.video_id), video
            if not files:
                return
    for row in files.values():
        yield row, None


def _request(workspace: Workspace, recipe: Recipe, video: Video) -> FetchRequest:
    return FetchRequest(
        video.video_id,
        video.native_id,
        None if video.path else video.url,
        str(video.path) if video.path else None,
        str(workspace.tmp.absolute()),
        str(workspace.media_path(video.video_id, "x").with_suffix("").absolute()),
        recipe.fetch,
    )


def _wait(pace: Pace, recipe: Recipe) -> None:
    """Wait for the schedule that `fetch` goes by too. Raises `SiteStopError` where that takes too long."""
    hold, full = pace.hold(), pace.full_until()
    if hold is not None and hold.until - pace.clock.now() > recipe.fetch.longest_wait_s:
        raise SiteStopError(
            f"the site asked to be left alone ({hold.failure})", hint=f"go on after {moment(hold.until)}"
        )
    if full is not None:
        words = "the day's downloads (fetch.per_day) are used up"
        raise SiteStopError(words, hint=f"the same command goes on after {moment(full)}")
    while (wait_s := pace.ready_at() - pace.clock.now()) > 0:
        if not pace.clock.wait(wait_s):
            raise InterruptedRunError("stopped; what was done is kept", hint="run the same command again to go on")


def _trouble(workspace: Workspace, row: Row, outcome: FetchOutcome, pace: Pace) -> str | None:
    """Why a fetch gave nothing to cut from; other bytes than those that were cut do not stay."""
    failure = BY_NAME.get(outcome.failure or "")
    words = f"{outcome.failure} at {row['video_id']}: {outcome.message}"
    hold = pace.leave_alone(failure, outcome.retry_after_s) if failure is not None else None
    if outcome.then == "stop" and hold is not None:
        raise SiteStopError(words, hint=f"go on after {moment(hold.until)}: the same command goes on where it was")
    if outcome.then == "setup":
        raise MissingToolError(words, hint=BY_NAME["setup"].advice)
    if outcome.failure is not None:
        return f"its media were deleted after sharding, and a new fetch failed: {outcome.failure} {outcome.message}"
    if outcome.sha256 == row["sha256"] and outcome.path == str((workspace.root / row["path"]).absolute()):
        return None
    assert outcome.path is not None
    Path(outcome.path).unlink()
    return "its media were deleted after sharding, and what was fetched now is not what was cut: its hash differs"
