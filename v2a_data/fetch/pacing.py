"""When the next download may start: one schedule per outgoing address, kept in the ledger.

A run that was killed and typed again, or that works on another machine of a cluster, goes on with the same schedule.
Only the driver hands out starts, so that it does not matter where the workers are.
"""

import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from v2a_data import schema
from v2a_data.engine import pause
from v2a_data.fetch.failures import FailureClass
from v2a_data.ledger import Ledger
from v2a_data.recipe import FetchSection

DAY_S = 86_400.0


class Clock:
    """The time, and waiting for it."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time()

    def wait(self, seconds: float) -> bool:
        """Wait; false when the user asked to stop meanwhile."""
        return pause(seconds)


CLOCK = Clock()


@dataclass(frozen=True)
class Hold:
    """Until when a site asked to be left alone, and with which failure class."""

    until: float
    failure: str


class Pace:
    """The schedule of one outgoing address."""

    def __init__(
        self,
        ledger: Ledger,
        options: FetchSection,
        *,
        cookies: bool = False,
        clock: Clock | None = None,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._ledger, self._options, self._draw = ledger, options, draw
        self.clock = clock or CLOCK
        self.address = options.source_address or ""
        self._cookies = cookies
        self._gap = self._draw(*options.sleep_s)

    def ready_at(self) -> float:
        """When the next download may start, as far as pauses and holds go."""
        now, ready = self.clock.now(), 0.0
        sql = "SELECT at, ended_at FROM starts WHERE address = ? ORDER BY id DESC LIMIT 1"
        for row in self._ledger.rows(sql, (self.address,)):
            # A clock that was set back must not stop everything.
            ready = min(max(row["at"], row["ended_at"] or 0.0), now) + self._gap
        hold = self.hold()
        return max(now, ready, hold.until if hold else 0.0)

    def hold(self) -> Hold | None:
        """The site's wish that binds this run; one that was said to another session does not."""
        text = self._ledger.meta(f"hold {self.address}")
        found = json.loads(text) if text else None
        if found is None or found["until"] <= self.clock.now():
            return None
        if found["failure"] == "bot_check" and found["cookies"] != self._cookies:
            return None
        return Hold(found["until"], found["failure"])

    def set_hold(self, failure: str, seconds: float) -> Hold:
        """The site asked to be left alone for so long; the longest such wish counts, whoever it was said to."""
        hold = Hold(self.clock.now() + seconds, failure)
        text = self._ledger.meta(f"hold {self.address}")
        before = json.loads(text) if text else None
        if before is not None and before["until"] > hold.until:
            return self.hold() or hold
        value = {"until": hold.until, "failure": failure, "cookies": self._cookies}
        with self._ledger.transaction():
            self._ledger.set_meta(f"hold {self.address}", json.dumps(value))
        return hold

    def leave_alone(self, failure: FailureClass, retry_after_s: float | None) -> Hold | None:
        """The hold that follows from a failure: what the site's `Retry-After` says, or the class without one.

        Null where nobody asked for anything. A bot check and a blocked address are not over sooner for a
        `Retry-After` that came with another answer.
        """
        if failure.then != "stop":
            return None if retry_after_s is None else self.set_hold(failure.name, retry_after_s)
        obeyed = failure.name == "http_429" and retry_after_s is not None
        return self.set_hold(failure.name, float(retry_after_s or 0) if obeyed else failure.pause_s)

    def full_until(self) -> float | None:
        """When the day's budget has room again; null while it has. Without an outside site there is no budget."""
        if self._options.own_site:
            return None
        since = self.clock.now() - DAY_S
        sql = "SELECT at FROM starts WHERE address = ? AND at > ? ORDER BY at DESC LIMIT 1 OFFSET ?"
        oldest = self._ledger.value(sql, (self.address, since, self._options.per_day - 1))
        return None if oldest is None else oldest + DAY_S

    def begin(self, video_id: str) -> None:
        """A download starts now; written down before its first request."""
        self._gap = self._draw(*self._options.sleep_s)
        with self._ledger.transaction():
            # The budget looks back a day; what is older is of no use.
            old = self.clock.now() - 2 * DAY_S
            self._ledger.execute("DELETE FROM starts WHERE at < ? AND video_id IS NULL", (old,))
            row = {"address": self.address, "video_id": video_id, "at": self.clock.now()}
            self._ledger.insert(schema.STARTS, [row])

    def end(self, video_id: str) -> None:
        """A download ended; to be called inside the transaction that records what became of it."""
        sql = "UPDATE starts SET video_id = NULL, ended_at = ? WHERE video_id = ?"
        self._ledger.execute(sql, (self.clock.now(), video_id))

    def under_way(self) -> list[str]:
        """Videos whose download a killed run had started; what became of them is not known."""
        return [row[0] for row in self._ledger.rows("SELECT video_id FROM starts WHERE video_id IS NOT NULL")]


def wish_s(retry_after: str | None) -> float | None:
    """`Retry-After` in either of its forms (RFC 9110, 10.2.3), as seconds from now; null where there is none."""
    if not retry_after:
        return None
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after[:10])
    try:
        return max(1.0, parsedate_to_datetime(retry_after).timestamp() - CLOCK.now())
    except ValueError:
        return None


def moment(seconds: float) -> str:
    """Seconds since 1970 as a time that people and programs read."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
