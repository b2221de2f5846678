"""The driver of `fetch`: list ids, download up to the wanted number, record every attempt."""

from collections import deque
from collections.abc import Iterator

from v2a_data.console import Console
from v2a_data.engine import Engine, Job, Step
from v2a_data.errors import FatalError, MissingToolError, NothingError, SiteStopError
from v2a_data.fetch.announce import goal, offline, parallel, say_terms
from v2a_data.fetch.disk import LOOK_S, shortage
from v2a_data.fetch.download import FetchRequest, fetch_video
from v2a_data.fetch.failures import BY_NAME
from v2a_data.fetch.finished import FetchOutcome
from v2a_data.fetch.listing import add, failed_videos, listing_of, too_soon
from v2a_data.fetch.pacing import Hold, Pace, moment
from v2a_data.fetch.record import Recorder
from v2a_data.fetch.streak import MOST_IN_A_ROW, Streak
from v2a_data.fetch.wishes import FetchResult, Wishes
from v2a_data.progress import Progress
from v2a_data.recipe import Recipe
from v2a_data.sources.base import Source, Video
from v2a_data.workspace import Workspace


def fetch(
    workspace: Workspace,
    recipe: Recipe,
    source: Source,
    engine: Engine,
    console: Console,
    wishes: Wishes | int | None,
    listed: int | None = None,
    pace: Pace | None = None,
) -> FetchResult:
    """Fetch until the workspace holds the target, or all that the source lists (`listed`, where known).

    Raises `SiteStopError` when the site asks to stop, `MissingToolError` when the set-up is at fault, `DiskError` at
    the mark, `NothingError` when there is nothing at all to list. Videos in state `later` are tried again when it is
    worth it. `wishes` may be the target alone.
    """
    wishes = wishes if isinstance(wishes, Wishes) else Wishes(wishes)
    say_terms(workspace, recipe, source, console)
    run = _Run(workspace, recipe, source, engine, console, wishes, pace)
    run.recorder.take_up()
    run.check_hold()
    total = run.have + (listed or 0) if wishes.retry else goal(listed, wishes.target)
    with console.progress("fetch", total, "videos", run.have) as progress:
        run.start(progress)
    run.result.states = workspace.ledger.counts("videos", "state")
    if run.ended is not None:
        raise run.ended
    if not run.result.states and run.result.go_on_at is None and not run.result.refused:
        raise NothingError(f"{source.name} lists no videos")
    return run.result


class _Run:
    """State of one fetch run. `ended` is what ends it."""

    def __init__(
        self,
        workspace: Workspace,
        recipe: Recipe,
        source: Source,
        engine: Engine,
        console: Console,
        wishes: Wishes,
        pace: Pace | None,
    ) -> None:
        self.workspace, self.recipe, self.source, self.engine, self.wishes = workspace, recipe, source, engine, wishes
        self.console = console
        self.ledger = workspace.ledger
        self.offline = offline(recipe, source)
        self.pace = pace or Pace(self.ledger, recipe.fetch, cookies=wishes.cookies is not None)
        self.recorder = Recorder(workspace, self.pace, leaves_notes=not self.offline)
        self.result = FetchResult()
        self.flying: dict[str, Video] = {}
        self.again: deque[Video] = deque()
        self.streak = Streak()
        self.unclear = 0
        self.started = 0
        self.ended: FatalError | None = None

    @property
    def have(self) -> int:
        return int(self.ledger.value("SELECT COUNT(*) FROM videos WHERE state = 'fetched'"))

    def check_hold(self) -> None:
        """Raise `SiteStopError` while the site wants to be left alone for longer than the run may wait."""
        hold = None if self.offline else self.pace.hold()
        if hold is not None and hold.until - self.pace.clock.now() > self.recipe.fetch.longest_wait_s:
            raise _stopped(f"the site asked to be left alone ({hold.failure})", hold)

    def start(self, progress: Progress) -> None:
        paced = not parallel(self.recipe, self.source)

        def record(_: Job, outcome: FetchOutcome) -> None:
            self._record(outcome)
            words = f"{outcome.failure or 'fetched'} in {outcome.attempt.seconds:.1f} s {outcome.message}"
            self.console.detail(f"{outcome.video_id}: {words}")
            notes = {} if outcome.failure is None else {outcome.failure: 1}
            progress.step(int(outcome.failure is None), **notes)

        self.engine.run(self._jobs(), record, at_most=1 if paced else None)

    def _jobs(self) -> Iterator[Job | None]:
        videos = iter(failed_videos(self.ledger, self.wishes.retry)) if self.wishes.retry else self._listed()
        have = self.have
        while self.ended is None:
            # Before the next one is listed: listing may ask a site.
            target = self.wishes.target
            if target is not None and have + self.result.fetched + len(self.flying) >= target:
                if not self.flying:
                    return
                yield None
                continue
            if not self._may_start():
                return
            video = self.again.popleft() if self.again else next(videos, None)
            if video is None:
                if not self.flying:
                    return
                yield None  # one of them may have to be tried again
                continue
            if not self._begin(video):
                return
            yield Job(f"fetch-{video.video_id}", (Step(fetch_video, (self._request(video),)),))

    def _listed(self) -> Iterator[Video]:
        """Videos that are to be fetched now, put into the ledger as they are listed."""
        for video in self.source.videos(self.recipe.labels, listing_of(self.workspace, self.source, self.recipe)):
            place = add(self.ledger, video, self.recorder.removed)
            self._guard_listing(video)
            self.result.listed += place == "new"
            self.result.twins += place == "twin"
            self.result.refused += place == "refused"
            if place in ("known", "twin", "refused") or video.state != "listed":
                continue
            if place == "waiting" and too_soon(self.ledger, video.video_id, self.pace.clock.now()):
                self.result.another_day += 1
                continue
            yield video

    def _guard_listing(self, video: Video) -> None:
        """A page in between that answers for the list's host must not use up the whole list."""
        self.unclear = self.unclear + 1 if video.reason == "lookup_malformed" else 0
        if self.unclear >= MOST_IN_A_ROW:
            raise SiteStopError(
                f"{self.unclear} lookups in a row gave nothing that can be read, last: {video.message}",
                hint="see that no proxy or login page answers for the site; the same command goes on where it was",
            )

    def _may_start(self) -> bool:
        """Whether another download may start at all: wishes, the disk's mark, the day's budget."""
        self.result.all_started = self.started == self.wishes.most_downloads
        if self.result.all_started:
            return False
        if self.offline:
            return True
        if not self._wait_for_room():
            return False
        full_until = self.pace.full_until()
        if full_until is not None:
            self.result.go_on_at = moment(full_until)
        return self.ended is None and full_until is None

    def _wait_for_room(self) -> bool:
        """Pause while the disk is above its mark; false where the user asked to stop, or nothing was freed in time."""
        fetch, folder = self.recipe.fetch, self.workspace.root
        until = self.pace.clock.now() + fetch.longest_wait_s
        self.ended = shortage(folder, fetch.keep_free_gb)
        if self.ended is not None and fetch.longest_wait_s > 0:
            self.console.say(f"{self.ended.message}; waiting {fetch.longest_wait_s:g} s for space")
        while self.ended is not None and (left := until - self.pace.clock.now()) > 0:
            if not self.pace.clock.wait(min(left, LOOK_S)):
                self.ended = None
                return False
            self.ended = shortage(folder, fetch.keep_free_gb)
        return self.ended is None

    def _begin(self, video: Video) -> bool:
        """Wait until the schedule has room and write the start down; false when the user asked to stop."""
        if not self.offline:
            while (wait_s := self.pace.ready_at() - self.pace.clock.now()) > 0:
                if not self.pace.clock.wait(wait_s):
                    return False
            self.pace.begin(video.video_id)
        self.started += 1
        self.flying[video.video_id] = video
        return True

    def _request(self, video: Video) -> FetchRequest:
        return FetchRequest(
            video.video_id,
            video.native_id,
            None if video.path else video.url,
            str(video.path) if video.path else None,
            str(self.workspace.tmp.absolute()),
            str(self.recorder.target(video.video_id)),
            self.recipe.fetch,
            self.wishes.cookies,
        )

    def _record(self, outcome: FetchOutcome) -> None:
        video = self.flying.pop(outcome.video_id)
        if not self.recorder.write(outcome):
            self.result.refused += 1
            return
        if outcome.failure is None:
            self.result.fetched += 1
        else:
            self.result.failed += 1
            self.result.reasons[outcome.failure] += 1
        self._guard(outcome, video)

    def _guard(self, outcome: FetchOutcome, video: Video) -> None:
        """Whether the run goes on after this."""
        self.streak.add(outcome.video_id, outcome.failure)
        words = f"{outcome.failure} at {outcome.video_id}: {outcome.message}"
        if outcome.then == "setup":
            self.ended = self.ended or MissingToolError(words, hint=BY_NAME["setup"].advice)
        elif outcome.failure is not None:
            self._leave_alone(outcome, video, words)
        if self.streak.too_long:
            self.streak.take_back(self.ledger)
            self.ended = self.ended or self.streak.error(outcome.message)

    def _leave_alone(self, outcome: FetchOutcome, video: Video, words: str) -> None:
        """Where the site asked to stop: for a while that is short enough to wait for, or so long that the run ends."""
        row = BY_NAME.get(str(outcome.failure))  # what a probe says of a finished file is none of the site's words
        hold = self.pace.leave_alone(row, outcome.retry_after_s) if row else None
        if hold is None:
            return
        if hold.until - self.pace.clock.now() > self.recipe.fetch.longest_wait_s:
            self.ended = self.ended or _stopped(words, hold)
        else:
            self.console.say(f"{words}; going on at {moment(hold.until)}")
            if outcome.then == "stop":
                self.again.append(video)


def _stopped(words: str, hold: Hold) -> SiteStopError:
    advice = BY_NAME[hold.failure].advice
    hint = f"go on after {moment(hold.until)}: the same command goes on where it was"
    return SiteStopError(words, hint=f"{hint}; {advice}" if advice else hint)
