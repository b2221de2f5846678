"""Failures in a row: a site that blocks makes live ids look dead, and a network that is down makes all look alike."""

from v2a_data.errors import FatalError, SiteStopError
from v2a_data.fetch.failures import BY_NAME
from v2a_data.ledger import Ledger

# What a blocked session, a broken set-up or a dead network answers for every id.
SUSPICIOUS = frozenset(
    {
        *("bot_check", "rate_limited", "ip_blocked", "http_429", "http_403", "http_gone"),
        *("bare", "no_format", "unknown", "internal", "transport"),
    }
)
MOST_IN_A_ROW = 8


class Streak:
    """The videos that failed in a row, in the order in which their failures came."""

    def __init__(self) -> None:
        self._failed: list[tuple[str, str]] = []

    def add(self, video_id: str, failure: str | None) -> None:
        """Another video is done with."""
        if failure in SUSPICIOUS:
            self._failed.append((video_id, failure))
        else:
            self._failed.clear()

    @property
    def too_long(self) -> bool:
        return len(self._failed) >= MOST_IN_A_ROW

    def take_back(self, ledger: Ledger) -> None:
        """Nothing that was called gone in a row is believed: it is to be tried again."""
        marks = ", ".join("?" for _ in self._failed)
        sql = f"UPDATE videos SET state = 'later' WHERE state = 'gone' AND video_id IN ({marks})"  # noqa: S608
        with ledger.transaction():
            ledger.execute(sql, [video_id for video_id, _ in self._failed])

    def error(self, message: str) -> FatalError:
        """What ends the run, with the last one's words."""
        kinds = {failure for _, failure in self._failed}
        words = f"{len(self._failed)} downloads in a row failed: {', '.join(sorted(kinds))}; last: {message}"
        if kinds == {"transport"}:
            return FatalError(words, hint="check the network, then run the command again")
        advice = next((BY_NAME[kind].advice for kind in sorted(kinds) if BY_NAME[kind].advice), "")
        hint = "none of them is called gone; see that the site answers a browser here, and run the command again later"
        return SiteStopError(words, hint=f"{hint}; {advice}" if advice else hint)
