"""What became of downloads, put into the ledger: every attempt a row, every video a state and a reason."""

from pathlib import Path

from v2a_data import schema
from v2a_data.fetch.failures import BY_NAME
from v2a_data.fetch.finished import Attempt, FetchOutcome, drop_note, notes
from v2a_data.fetch.pacing import Pace
from v2a_data.removal.refused import Refused
from v2a_data.runs import now
from v2a_data.workspace import Workspace


class Recorder:
    """Writes outcomes. `leaves_notes` is false where files are linked and workers leave none."""

    def __init__(self, workspace: Workspace, pace: Pace, *, leaves_notes: bool) -> None:
        self._workspace, self._ledger, self._pace = workspace, workspace.ledger, pace
        self._leaves_notes = leaves_notes
        self.removed = Refused(self._ledger)

    def take_up(self) -> None:
        """What a killed run fetched is recorded, what else it had begun is said to be interrupted."""
        for note, outcome in notes(self._workspace.root / "media"):
            sql = "SELECT 1 FROM videos WHERE video_id = ? AND state != 'fetched'"
            if outcome is not None and self._ledger.value(sql, (outcome.video_id,)):
                self.write(outcome)
            note.unlink(missing_ok=True)
        for video_id in self._pace.under_way():
            with self._ledger.transaction():
                self._attempt(video_id, Attempt("fetch", "interrupted", "the run was killed", None, now(), None))
                self._pace.end(video_id)

    def write(self, outcome: FetchOutcome) -> bool:
        """One outcome, as a whole; false where the video's channel was removed earlier, and the video with it now."""
        if self.removed.channel(outcome.channel):
            with self._ledger.transaction():
                self._pace.end(outcome.video_id)
            self.removed.turn_away(self._workspace, outcome.video_id)
            return False
        state, reason = self._state(outcome)
        with self._ledger.transaction():
            for attempt in (*outcome.before, outcome.attempt):
                self._attempt(outcome.video_id, attempt)
            if outcome.then not in ("setup", "stop"):
                sql = "UPDATE videos SET state = ?, reason = ? WHERE video_id = ?"
                self._ledger.execute(sql, (state, reason, outcome.video_id))
            if outcome.failure is None:
                root = str(self._workspace.root.absolute())
                row = {**outcome.__dict__, "path": str(outcome.path).removeprefix(root).lstrip("/")}
                self._ledger.insert(schema.MEDIA, [row], existing="replace")
                sql = "UPDATE videos SET title = ? WHERE video_id = ?"
                self._ledger.execute(sql, (outcome.title, outcome.video_id))
                if outcome.channel is not None:
                    self._ledger.insert(schema.CHANNELS, [row], existing="replace")
            self._pace.end(outcome.video_id)
        if outcome.failure is None and self._leaves_notes:
            drop_note(self.target(outcome.video_id))
        return True

    def target(self, video_id: str) -> Path:
        """The path of a video's media without its extension."""
        return self._workspace.media_path(video_id, "x").with_suffix("").absolute()

    def _attempt(self, video_id: str, attempt: Attempt) -> None:
        sql = "SELECT COUNT(*) FROM attempts WHERE video_id = ? AND tries IS NOT NULL"
        tries = 1 + int(self._ledger.value(sql, (video_id,)))
        self._ledger.attempt(
            video_id,
            attempt.stage,
            attempt.failure,
            attempt.message,
            attempt.tool_version,
            attempt.seconds,
            attempt.at,
            tries,
        )

    def _state(self, outcome: FetchOutcome) -> tuple[str, str | None]:
        failure = BY_NAME.get(outcome.failure or "")
        if failure is None or outcome.then != "gone" or failure.tries == 1:
            return outcome.then, outcome.failure
        sql = "SELECT DISTINCT substr(at, 1, 10) FROM attempts WHERE video_id = ? AND class = ?"
        days = {row[0] for row in self._ledger.rows(sql, (outcome.video_id, failure.name))}
        return ("gone" if len(days | {outcome.attempt.at[:10]}) >= failure.tries else "later"), failure.name
