"""The errors a user can meet, by who has to act.

`FatalError` and its kin end the command with the exit code of their class and a message that
names what, which file or id, why, and what to do next. `ItemError` belongs to one video: it
becomes that video's state and reason, and the run goes on.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of both command lines."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    PARTIAL = 3
    NOTHING = 4
    MISSING_TOOL = 5
    STOPPED_BY_SITE = 6
    DISK = 7
    LEAKS = 8
    INTERRUPTED = 130


class FatalError(Exception):
    """The command cannot go on. `hint` is the next thing to type or check."""

    exit_code = ExitCode.FAILURE

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(FatalError):
    """An argument, a recipe or a workspace does not fit what was asked."""

    exit_code = ExitCode.USAGE


class NothingError(FatalError):
    """The command is right, but nothing matches it."""

    exit_code = ExitCode.NOTHING


class MissingToolError(FatalError):
    """A program, model or package that the recipe names is not here."""

    exit_code = ExitCode.MISSING_TOOL


class SiteStopError(FatalError):
    """A site asks to stop: bot check, rate limit, blocked address."""

    exit_code = ExitCode.STOPPED_BY_SITE


class DiskError(FatalError):
    """The disk is full, read-only or not ours to write."""

    exit_code = ExitCode.DISK


class BusyError(FatalError):
    """Another command holds the workspace."""


class InterruptedRunError(FatalError):
    """Stopped by Ctrl-C or SIGTERM after the work in flight was kept."""

    exit_code = ExitCode.INTERRUPTED


class ItemError(Exception):
    """One video or clip cannot be used. `reason` is a code from the docs, `message` the detail."""

    def __init__(self, reason: str, message: str = "") -> None:
        super().__init__(f"{reason}: {message}" if message else reason)
        self.reason = reason
        self.message = message


def nearest(word: str, known: list[str]) -> str:
    """A phrase that helps after an unknown name: the closest known ones, or all of a short list."""
    from difflib import get_close_matches

    close = get_close_matches(word, known, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(name) for name in close) + "?"
    return "known: " + ", ".join(sorted(known)[:40])
