"""A session of the user's own: a cookies file, named by path, read and never written, copied or recorded."""

import io
import os
import re
import stat

from v2a_data.errors import UsageError

_HEADS = ("# netscape http cookie file", "# http cookie file")
_MOST_BYTES = 4_000_000
_HTTP_ONLY, _COLUMNS = "#HttpOnly_", 7
_EXPIRY = re.compile(r"([0-9]+(\.[0-9]+)?)?")


def read_cookies(path: str) -> io.StringIO:
    """The file's text as a stream for yt-dlp, which writes what it learns to the stream and not to the file.

    Raises `UsageError` where it is not there, others may read it, or it is no cookies file.
    """
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise UsageError(f"--cookies {path}: not a file")
            if found.st_mode & 0o077:
                raise UsageError(
                    f"--cookies {path}: other users may read it (mode {stat.S_IMODE(found.st_mode):04o})",
                    hint=f"chmod 600 {path}",
                )
            body = file.read(_MOST_BYTES)
    except OSError as error:
        raise UsageError(f"--cookies {path}: {error.strerror}") from None
    text = body.decode("utf-8", "replace")
    if not text.lower().startswith(_HEADS):
        raise UsageError(
            f"--cookies {path}: not a cookies file",
            hint="a Netscape cookies file begins with `# Netscape HTTP Cookie File`",
        )
    _check_lines(path, text)
    return io.StringIO(text)


def _check_lines(path: str, text: str) -> None:
    """Raise `UsageError` with the number of a line that yt-dlp would skip: it prints such lines, secrets and all."""
    for number, line in enumerate(text.split("\n"), 1):
        cells = line.removeprefix(_HTTP_ONLY).split("\t")
        if not line.strip() or (line.startswith("#") and not line.startswith(_HTTP_ONLY)):
            continue
        if len(cells) != _COLUMNS or not _EXPIRY.fullmatch(cells[4]):
            raise UsageError(
                f"--cookies {path}, line {number}: not {_COLUMNS} columns apart by tabs with a time in the fifth",
                hint="export the file again: spaces in place of tabs come from copying text",
            )
