"""What became of a download, and the note that it leaves beside its file until the ledger has it.

A file gets its place in a worker and its row from the driver. Who is killed in between finds the note when the command
is typed again, and fetches nothing twice.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from v2a_data.files import sha256_file, write_text

_SUFFIX = ".fetched.json"


@dataclass(frozen=True)
class Attempt:
    """One attempt: how far it came, its failure class (null: well), the tool's own words, version, time and length."""

    stage: str
    failure: str | None
    message: str
    tool_version: str | None
    at: str
    seconds: float | None


@dataclass(frozen=True)
class FetchOutcome:
    """What became of a video. With `attempt.failure` null the file is at `path` and was probed.

    `before` are the attempts that failed first; `retry_after_s` is what the site asked to wait.
    """

    video_id: str
    then: str
    attempt: Attempt
    before: tuple[Attempt, ...] = ()
    path: str | None = None
    bytes: int = 0
    sha256: str = ""
    probe: dict[str, Any] | None = None
    channel: str | None = None
    title: str | None = None
    retry_after_s: float | None = None

    @property
    def failure(self) -> str | None:
        return self.attempt.failure

    @property
    def message(self) -> str:
        return self.attempt.message


def leave_note(target: Path, outcome: FetchOutcome) -> None:
    """Write the note of a file that is about to get its place. `target` is the media path without extension."""
    write_text(_note(target), json.dumps(asdict(outcome)))


def drop_note(target: Path) -> None:
    """The ledger has it."""
    _note(target).unlink(missing_ok=True)


def notes(media: Path) -> Iterator[tuple[Path, FetchOutcome | None]]:
    """Notes that killed runs left, with the outcome where its file is here and whole, else null."""
    for path in sorted(media.glob(f"*/*{_SUFFIX}")):
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            attempts = [Attempt(**item) for item in (values.pop("attempt"), *values.pop("before"))]
            outcome = FetchOutcome(attempt=attempts[0], before=tuple(attempts[1:]), **values)
            file = path.with_name(Path(str(outcome.path)).name)
            whole = file.stat().st_size == outcome.bytes and sha256_file(file) == outcome.sha256
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            yield path, None
            continue
        yield path, replace(outcome, path=str(file.absolute())) if whole else None


def _note(target: Path) -> Path:
    return target.with_name(target.name + _SUFFIX)
