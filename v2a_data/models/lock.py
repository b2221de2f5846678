"""`models.lock.json` in the models folder: what each pull brought, held against every later load and pull.

`{"schema_version": 1, "models": {NAME: {"repo": …, "revision": COMMIT, "files": {FILE: {"sha256": …, "bytes": …}}}}}`
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from v2a_data.errors import FatalError
from v2a_data.files import write_text

LOCK_FILE = "models.lock.json"
_VERSION = 1


@dataclass(frozen=True)
class Locked:
    """What was pulled under a name: the repository's commit and the sha256 of each file."""

    repo: str
    revision: str
    sha256: dict[str, str]
    bytes: dict[str, int]


def read_lock(folder: Path) -> dict[str, Locked]:
    """All entries; none where there is no lock file. Raises `FatalError` for a file that is not one."""
    path = folder / LOCK_FILE
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return {name: _entry(item) for name, item in values["models"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FatalError(
            f"{path} is damaged: {error!r}", hint="restore it, or delete it and pull your models again"
        ) from None


def _entry(item: dict[str, Any]) -> Locked:
    files = item["files"]
    return Locked(
        item["repo"],
        item["revision"],
        {name: str(file["sha256"]) for name, file in files.items()},
        {name: int(file["bytes"]) for name, file in files.items()},
    )


def add_to_lock(folder: Path, name: str, entry: Locked) -> None:
    """Record a pull; the file is replaced whole."""
    entries = {**read_lock(folder), name: entry}
    models = {
        key: {
            "repo": item.repo,
            "revision": item.revision,
            "files": {file: {"sha256": item.sha256[file], "bytes": item.bytes[file]} for file in sorted(item.sha256)},
        }
        for key, item in sorted(entries.items())
    }
    write_text(folder / LOCK_FILE, json.dumps({"schema_version": _VERSION, "models": models}, indent=1) + "\n")
