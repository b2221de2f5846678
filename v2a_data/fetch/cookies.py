"""A session of the user's own: a cookies file, named by path, read and never written, copied or recorded."""

import io
import os
import stat

from v2a_data.errors import UsageError

_HEADS = ("# netscape http cookie file", "# http cookie file")
_MOST_BYTES = 4_000_000


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
    return io.StringIO(text)
