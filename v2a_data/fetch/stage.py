"""The driver of `fetch`: list ids, download up to the wanted number, record every attempt."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from v2a_data import schema
from v2a_data.console import Console
from v2a_data.engine import Engine, Job, Step, pause, stop_signals
from v2a_data.errors import MissingToolError, NothingError, SiteStopError
from v2a_data.fetch.download import FetchOutcome, FetchRequest, fetch_video
from v2a_data.fetch.failures import SUSPICIOUS, SUSPICIOUS_IN_A_ROW
from v2a_data.files import free_bytes
from v2a_data.ids import clean_text
from v2a_data.ledger import Ledger, encode_json
from v2a_data.progress import Progress, duration
from v2a_data.recipe import Recipe
from v2a_data.removal.refused import Refused
from v2a_data.runs import now
from v2a_data.sources import OF_FILES
from v2a_data.sources.base import Listing, Source, Video
from v2a_data.workspace import Workspace

# About one YouTube-8M video (207 s) at 360 lines with AAC, and the time it takes beside the sleeps.
_MB_PER_VIDEO = 23.0
_SECONDS_PER_VIDEO = 8.0
WAITING = ("listed", "later")


@dataclass
class FetchResult:
    """What one `fetch` did. `states` counts all videos of the workspace."""

    fetched: int = 0
    failed: int = 0
    listed: int = 0
    twins: int = 0  # files with the bytes of another one
    refused: int = 0  # listed, but removed earlier
    reasons: Counter[str] = field(default_factory=Counter)
    states: dict[str, int] = field(default_factory=dict)


def parallel(recipe: Recipe, source: Source) -> bool:
    """Whether several videos may be fetched at once: not from a site that wants pauses."""
    return recipe.fetch.sleep_s[1] == 0 or _offline(recipe, source)


def _offline(recipe: Recipe, source: Source) -> bool:
    """Whether everything that the source lists is a file."""
    given = recipe.source.input is not None and source.name in OF_FILES
    return given or source.name in ("local", "synthetic") or bool(getattr(source, "offline", False))


def expected(workspace: Workspace, recipe: Recipe, source: Source) -> int | None:
    """How many videos the source lists for the recipe's labels, found out without asking a site.

    Raises `NothingError` or `UsageError` for labels and inputs that the source does not have.
    """
    return source.count(recipe.labels, _listing(workspace, source, recipe))


def announcement(workspace: Workspace, recipe: Recipe, source: Source, listed: int | None, target: int | None) -> str:
    """What is about to happen: count, size and time, from the recipe's pacing."""
    have = workspace.ledger.value("SELECT COUNT(*) FROM videos WHERE state = 'fetched'")
    videos = max(0, (_goal(listed, target) or 0) - have)
    labels = ", ".join(recipe.labels) or "all labels"
    count = "" if listed is None else f"{listed} "
    start = f"{source.name} lists {count}videos of {labels}; {have} are here"
    if _offline(recipe, source):
        return f"{start}; {videos} to link or copy"
    if parallel(recipe, source):
        return f"{start}; up to {videos} to fetch"
    seconds = videos * (_SECONDS_PER_VIDEO + sum(recipe.fetch.sleep_s) / 2)
    wanted_gb, free_gb = videos * _MB_PER_VIDEO / 1e3, free_bytes(workspace.root) / 1e9
    room = f"; only {free_gb:.0f} GB are free" if wanted_gb > free_gb else ""
    return f"{start}; {videos} to fetch, about {wanted_gb:.1f} GB, about {duration(seconds)}{room}"


def _goal(listed: int | None, target: int | None) -> int | None:
    """How many videos there will be in the end, null where neither number is known."""
    return min((count for count in (listed, target) if count is not None), default=None)


def list_only(workspace: Workspace, recipe: Recipe, source: Source, limit: int | None) -> FetchResult:
    """List ids into the ledger without downloading, up to `limit` new ones."""
    result = FetchResult()
    refused = Refused(workspace.ledger)
    with stop_signals() as stop:
        videos = source.videos(recipe.labels, _listing(workspace, source, recipe))
        # The limit is looked at first: listing one more may ask a site.
        while (limit is None or result.listed < limit) and (video := next(videos, None)) is not None:
            place = _add(workspace.ledger, video, refused)
            result.listed += place == "new"
            result.refused += place == "refused"
            stop.check()
        stop.check()
    result.states = workspace.ledger.counts("videos", "state")
    return result


def fetch(
    workspace: Workspace,
    recipe: Recipe,
    source: Source,
    engine: Engine,
    console: Console,
    target: int | None,
    listed: int | None = None,
) -> FetchResult:
    """Fetch until the workspace holds `target` videos, or all that the source lists (`listed`, where known).

    Raises `SiteStopError` when the site asks to stop, `MissingToolError` when the set-up is at
    fault, `NothingError` when there is nothing at all to list. Videos in state `later` are tried again.
    """
    run = _Run(workspace, recipe, source, engine, target)
    with console.progress("fetch", _goal(listed, target), "videos", run.have) as progress:
        run.start(progress, console)
    run.result.states = workspace.ledger.counts("videos", "state")
    if not run.result.states:
        raise NothingError(f"{source.name} lists no videos")
    if run.stopped_by is not None:
        outcome = run.stopped_by
        words = f"{outcome.failure} at {outcome.video_id}: {outcome.message}"
        if outcome.then == "setup":
            raise MissingToolError(words, hint=outcome.advice)
        raise SiteStopError(words, hint=f"{outcome.advice or 'go on later'}; the same command goes on where it was")
    return run.result


class _Run:
    """State of one fetch run."""

    def __init__(
        self, workspace: Workspace, recipe: Recipe, source: Source, engine: Engine, target: int | None
    ) -> None:
        self.workspace, self.recipe, self.source, self.engine, self.target = workspace, recipe, source, engine, target
        self.ledger = workspace.ledger
        self.removed = Refused(workspace.ledger)
        self.have = int(self.ledger.value("SELECT COUNT(*) FROM videos WHERE state = 'fetched'"))
        self.in_flight = 0
        self.result = FetchResult()
        self.suspicious = 0
        self.unclear = 0
        self.stopped_by: FetchOutcome | None = None

    def start(self, progress: Progress, console: Console) -> None:
        paced = not parallel(self.recipe, self.source)

        def record(_: Job, outcome: FetchOutcome) -> None:
            self._record(outcome)
            console.detail(
                f"{outcome.video_id}: {outcome.failure or 'fetched'} in {outcome.seconds:.1f} s {outcome.message}"
            )
            notes = {} if outcome.failure is None else {outcome.failure: 1}
            progress.step(int(outcome.failure is None), **notes)

        self.engine.run(self._jobs(paced), record, at_most=1 if paced else None)

    def _jobs(self, paced: bool) -> Iterator[Job | None]:
        first = True
        videos = self.source.videos(self.recipe.labels, _listing(self.workspace, self.source, self.recipe))
        while self.stopped_by is None:
            # Before the next one is listed: listing may ask a site.
            if self.target is not None and self.have + self.in_flight >= self.target:
                if not self.in_flight:
                    return
                yield None
                continue
            video = next(videos, None)
            if video is None:
                return
            place = _add(self.ledger, video, self.removed)
            self._guard_listing(video)
            self.result.listed += place == "new"
            self.result.twins += place == "twin"
            self.result.refused += place == "refused"
            if place in ("known", "twin", "refused") or video.state != "listed":
                continue
            # Pacing, not secrets: any random number will do.
            sleep_s = random.uniform(*self.recipe.fetch.sleep_s) if paced and not first else 0.0  # noqa: S311
            if not pause(sleep_s):
                return
            first = False
            self.in_flight += 1
            yield Job(f"fetch-{video.video_id}", (Step(fetch_video, (self._request(video),)),))

    def _guard_listing(self, video: Video) -> None:
        """A page in between that answers for the list's host must not use up the whole list."""
        self.unclear = self.unclear + 1 if video.reason == "lookup_malformed" else 0
        if self.unclear >= SUSPICIOUS_IN_A_ROW:
            raise SiteStopError(
                f"{self.unclear} lookups in a row gave nothing that can be read, last: {video.message}",
                hint="see that no proxy or login page answers for the site; the same command goes on where it was",
            )

    def _request(self, video: Video) -> FetchRequest:
        return FetchRequest(
            video.video_id,
            video.native_id,
            None if video.path else video.url,
            str(video.path) if video.path else None,
            str(self.workspace.tmp.absolute()),
            str(self.workspace.media_path(video.video_id, "x").with_suffix("").absolute()),
            self.recipe.fetch,
        )

    def _record(self, outcome: FetchOutcome) -> None:
        self.in_flight -= 1
        if self.removed.channel(outcome.channel):
            self.removed.turn_away(self.workspace, outcome.video_id)
            self.result.refused += 1
            return
        state, reason = self._state(outcome)
        with self.ledger.transaction():
            self.ledger.attempt(
                outcome.video_id, "fetch", outcome.failure, outcome.message, outcome.tool_version, outcome.seconds
            )
            if outcome.then not in ("setup", "stop"):
                self.ledger.execute(
                    "UPDATE videos SET state = ?, reason = ? WHERE video_id = ?", (state, reason, outcome.video_id)
                )
            if outcome.failure is None:
                root = str(self.workspace.root.absolute())
                path = str(outcome.path).removeprefix(root).lstrip("/")
                row = {**outcome.__dict__, "path": path}
                self.ledger.insert(schema.MEDIA, [row], existing="replace")
                sql = "UPDATE videos SET title = ? WHERE video_id = ?"
                self.ledger.execute(sql, (outcome.title, outcome.video_id))
                if outcome.channel is not None:
                    self.ledger.insert(schema.CHANNELS, [row], existing="replace")
        if outcome.failure is None:
            self.have += 1
            self.result.fetched += 1
        else:
            self.result.failed += 1
            self.result.reasons[outcome.failure] += 1
        self._guard(outcome)

    def _state(self, outcome: FetchOutcome) -> tuple[str, str | None]:
        if outcome.then == "gone" and outcome.tries > 1:
            sql = "SELECT DISTINCT substr(at, 1, 10) FROM attempts WHERE video_id = ? AND class = ?"
            days = {row[0] for row in self.ledger.rows(sql, (outcome.video_id, outcome.failure))} | {now()[:10]}
            return ("gone" if len(days) >= outcome.tries else "later"), outcome.failure
        return outcome.then, outcome.failure

    def _guard(self, outcome: FetchOutcome) -> None:
        """A site that blocks makes live ids look dead: stop before they are called so."""
        self.suspicious = self.suspicious + 1 if outcome.failure in SUSPICIOUS else 0
        if outcome.then in ("setup", "stop") or self.suspicious >= SUSPICIOUS_IN_A_ROW:
            self.stopped_by = self.stopped_by or outcome


def _listing(workspace: Workspace, source: Source, recipe: Recipe) -> Listing:
    """Keys that need no more listing, and those resolved earlier whose download is still to come."""
    ledger = workspace.ledger
    # The videos of a manifest have the names of the sources that named them first.
    sql = "SELECT source_key, native_id, state FROM videos WHERE source = ?1 OR ?1 = 'manifest'"
    rows = ledger.rows(sql, (source.name,))
    twins = ledger.rows("SELECT message FROM attempts WHERE class = 'duplicate_file'")
    waiting = {row["source_key"]: row["native_id"] for row in rows if row["state"] in WAITING}
    known = {row["source_key"] for row in rows} - waiting.keys() | {row["message"] for row in twins}
    root = workspace.root.absolute()
    return Listing(recipe, root / "cache" / source.name, frozenset(known), waiting, root / "tmp" / "unpacked")


def _add(ledger: Ledger, video: Video, refused: Refused) -> Literal["new", "waiting", "known", "twin", "refused"]:
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


def _replace_placeholder(ledger: Ledger, video: Video) -> None:
    """A row that stood for a key without an id is done with; what was tried goes to the video's own row."""
    sql = "SELECT video_id FROM videos WHERE source = ? AND source_key = ? AND state = 'later' AND video_id != ?"
    for (stand_in,) in ledger.rows(sql, (video.source, video.source_key, video.video_id)):
        if not ledger.value("SELECT 1 FROM media WHERE video_id = ?", (stand_in,)):
            ledger.execute("UPDATE attempts SET video_id = ? WHERE video_id = ?", (video.video_id, stand_in))
            ledger.execute("DELETE FROM videos WHERE video_id = ?", (stand_in,))
