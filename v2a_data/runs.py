"""A record of every run: what was asked, with what versions, what came out, and a log beside it."""

import json
import logging
import platform
import re
import socket
import sys
import uuid
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any

from v2a_data import __version__
from v2a_data.files import write_text

_SECRET_OPTIONS = ("--cookies", "--token", "--password")
_USER = re.compile(r"://[^/\s@?#]*@")
_PACKAGES = ("yt-dlp", "av", "torch", "open-clip-torch", "onnxruntime", "webdataset", "dask", "pandas", "pyarrow")


def now() -> str:
    """UTC to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def host() -> str:
    """This machine's name."""
    return socket.gethostname()


def package_version(name: str) -> str | None:
    """An installed package's version, without importing it."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


class RunRecord:
    """Writes `runs/<utc>-<command>.json` at the start and the end, and a JSON-lines log beside it."""

    def __init__(self, folder: Path, command: str, argv: list[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{datetime.now(UTC).strftime('%Y%m%dT%H%M%S')}-{uuid.uuid4().hex[:4]}-{command.replace(' ', '-')}"
        self.file, self.log_file = folder / f"{stem}.json", folder / f"{stem}.log"
        self.values: dict[str, Any] = {
            "command": command,
            "argv": redacted(argv),
            "v2a_data": __version__,
            "python": platform.python_version(),
            "packages": {name: package_version(name) for name in _PACKAGES},
            "host": host(),
            "started": now(),
            "state": "running",
        }

    def __enter__(self) -> "RunRecord":
        self._write()
        self._handler = _LogFile(self.log_file, encoding="utf-8", delay=True)
        self._handler.setFormatter(_JsonLines())
        logging.getLogger().addHandler(self._handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            logging.getLogger("v2a_data").error("ended by %s", kind.__name__ if kind else "", exc_info=error)
        self.values |= {"ended": now(), "state": "ended" if error is None else type(error).__name__}
        logging.getLogger().removeHandler(self._handler)
        self._handler.close()
        try:
            self._write()
        except OSError:
            if error is None:
                raise

    def note(self, **values: Any) -> None:
        """Facts for the record: recipe hash, counts, model hashes."""
        self.values |= values

    def _write(self) -> None:
        write_text(self.file, json.dumps(self.values, indent=1, ensure_ascii=False) + "\n")


class _LogFile(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """A log that cannot be written is the disk's trouble, which the command itself reports."""


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"at": now(), "level": record.levelname, "from": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def redacted(argv: list[str]) -> list[str]:
    """Arguments without the values of options that carry secrets, nor the users and passwords of addresses."""
    out, hide = [], False
    for item in argv:
        name, separator, _ = item.partition("=")
        out.append("…" if hide else f"{name}=…" if separator and name in _SECRET_OPTIONS else _USER.sub("://…@", item))
        hide = item in _SECRET_OPTIONS
    return out


def command_line() -> list[str]:
    """This process's arguments as recorded: program name without its folder."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
