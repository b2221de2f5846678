"""What a command says: results on stdout (or one JSON object), messages on stderr, all text cleaned."""

import json
import sys
from collections.abc import Sequence
from typing import Any

from v2a_data.ids import clean_text
from v2a_data.progress import Progress

JSON_SCHEMA_VERSION = 1


class Console:
    """Output of one command run."""

    def __init__(self, command: str, *, as_json: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        self.command = command
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose

    def say(self, text: str) -> None:
        """A message for people, on stderr."""
        if not self.quiet:
            sys.stderr.write("".join(f"{printable(line)}\n" for line in text.splitlines()))
            sys.stderr.flush()

    def warn(self, text: str) -> None:
        """A message that `-q` does not hide."""
        sys.stderr.write(f"warning: {clean_text(text)}\n")
        sys.stderr.flush()

    def detail(self, text: str) -> None:
        """A message for `-v`."""
        if self.verbose:
            self.say(text)

    def result(self, values: dict[str, Any], text: str) -> None:
        """The command's result: `values` with `--json`, else `text`, on stdout."""
        if self.as_json:
            body = {"schema_version": JSON_SCHEMA_VERSION, "command": self.command, **values}
            sys.stdout.write(json.dumps(body, ensure_ascii=False, sort_keys=False) + "\n")
        elif not self.quiet:
            # Tables keep their spaces; control characters are taken out of each line.
            sys.stdout.write("".join(f"{printable(line)}\n" for line in text.splitlines()))
        sys.stdout.flush()

    def progress(self, what: str, total: int | None, unit: str, done: int = 0) -> Progress:
        """A progress line for one step; `done` items were there before it."""
        return Progress(what, total, unit, done=done, quiet=self.quiet)


def printable(line: str) -> str:
    """A line without control and direction characters; spaces stay."""
    return "".join(c if c.isprintable() else " " for c in line)


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns lined up; numbers to the right."""
    cells = [[str(value) for value in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(header, *cells, strict=True)]
    right = [bool(rows) and all(isinstance(row[i], (int, float)) for row in rows) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        return "  ".join(
            text.rjust(width) if is_right else text.ljust(width)
            for text, width, is_right in zip(row, widths, right, strict=True)
        ).rstrip()

    return "\n".join([line(list(header)), *(line(row) for row in cells)])
