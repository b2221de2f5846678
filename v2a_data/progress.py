"""Progress with rate and time left: one live line on a terminal, plain lines now and then elsewhere."""

import sys
import time
from types import TracebackType
from typing import TextIO

_PLAIN_EVERY_S = 10.0
_LIVE_EVERY_S = 0.2


class Progress:
    """Counts items of one step. `total` may be null while it is unknown; `done` were there before.

    Use as a context manager: the last line is always printed, whatever ended the step.
    """

    def __init__(
        self,
        what: str,
        total: int | None,
        unit: str,
        *,
        done: int = 0,
        quiet: bool = False,
        stream: TextIO | None = None,
    ) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = self.before = done
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self.live = self.stream.isatty()
        self.notes: dict[str, int] = {}
        self.started = time.monotonic()
        self._printed = self.started if not self.live else 0.0
        self._shown: tuple[int, dict[str, int]] | None = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live or self._shown != (self.done, self.notes):
            self._print(end=True)

    def step(self, count: int = 1, **notes: int) -> None:
        """Another `count` items are done; `notes` are counters shown beside, such as kept=3."""
        self.done += count
        for name, value in notes.items():
            self.notes[name] = self.notes.get(name, 0) + value
        if time.monotonic() - self._printed >= (_LIVE_EVERY_S if self.live else _PLAIN_EVERY_S):
            self._print(end=False)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started

    def line(self) -> str:
        """What is printed."""
        seconds = max(self.seconds, 1e-9)
        rate = (self.done - self.before) / seconds
        parts = [f"{self.what}: {self.done}" + (f"/{self.total}" if self.total is not None else "") + f" {self.unit}"]
        parts.append(f"{rate:.1f}/s" if rate >= 1 or rate == 0 else f"{1 / rate:.1f} s each")
        if self.total is not None and rate > 0 and self.done < self.total:
            parts.append(f"{duration((self.total - self.done) / rate)} left")
        else:
            parts.append(duration(seconds))
        parts += [f"{value} {name}" for name, value in sorted(self.notes.items()) if value]
        return ", ".join(parts)

    def _print(self, *, end: bool) -> None:
        self._printed = time.monotonic()
        self._shown = (self.done, dict(self.notes))
        if self.quiet:
            return
        if self.live:
            self.stream.write("\r\x1b[K" + self.line() + ("\n" if end else ""))
        else:
            self.stream.write(self.line() + "\n")
        self.stream.flush()


def duration(seconds: float) -> str:
    """`95` → `1 min 35 s`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
