"""Where models lie and whether they are what they should be. Nothing here uses the network.

MODELS/<name, "/" as "--">/<file> for pulled ones, `v2a_data/models/tiny/` for those of the package; MODELS is
`$V2A_MODELS`, else the user's cache. A file is hashed each time a process first loads it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Literal

from v2a_data.errors import MissingToolError, UsageError, nearest
from v2a_data.files import sha256_file
from v2a_data.models.lock import LOCK_FILE, read_lock
from v2a_data.models.registry import MODELS, SUFFIXES, WEIGHTS, ModelRow, find_row
from v2a_data.scorers.base import model_folder

PACKAGED = Path(__file__).with_name("tiny")
State = Literal["here", "not here", "incomplete", "not in this build"]


@dataclass(frozen=True)
class Found:
    """A model that is here and checked: its files by name, and the sha256 of its weights."""

    row: ModelRow
    files: Mapping[str, Path]
    sha256: str

    @property
    def weights(self) -> Path:
        """The file with the numbers."""
        assert self.row.weights is not None
        return self.files[self.row.weights.name]

    def beside(self, suffix: str) -> Path | None:
        """Its first file with this suffix."""
        return next((path for path in self.files.values() if path.suffix == suffix), None)


@dataclass(frozen=True)
class FileCheck:
    """A file as `verify` found it; hashes are hex, null where there is none."""

    model: str
    file: str
    result: Literal["ok", "damaged", "missing", "not recorded"]
    sha256: str | None
    expected: str | None


def known_row(name: str) -> ModelRow:
    """The row of a name. Raises `UsageError` with the nearest names."""
    row = find_row(name)
    if row is None:
        raise UsageError(f"no model named {name!r}; {nearest(name, list(MODELS))}", hint="see `v2a-data models list`")
    return row


def place(row: ModelRow) -> dict[str, Path]:
    """Where each file of a model is or would be. Raises `UsageError` for formats that are not opened."""
    folder = PACKAGED if row.packaged else model_folder() / row.folder
    for file in row.files:
        path = PurePosixPath(file.name)
        if path.suffix not in SUFFIXES or path.is_absolute() or ".." in path.parts:
            raise UsageError(
                f"{row.name}: {file.name} is refused; models are {', '.join(SUFFIXES)}, never pickles, inside a folder"
            )
    return {file.name: folder / file.name for file in row.files}


def state(row: ModelRow) -> State:
    """Whether the files are there, unhashed."""
    paths = list(place(row).values())
    there = sum(path.is_file() for path in paths)
    if paths and there == len(paths):
        return "here"
    if row.packaged:
        return "not in this build"
    return "incomplete" if there else "not here"


def expected(row: ModelRow) -> dict[str, str | None]:
    """The sha256 each file must have: the table's, else what the first pull recorded, else null."""
    locked = read_lock(model_folder()).get(row.name) if not row.packaged else None
    recorded = locked.sha256 if locked else {}
    return {file.name: file.sha256 or recorded.get(file.name) for file in row.files}


def pull_hint(row: ModelRow) -> str:
    """What to type when a model is missing."""
    if row.packaged:
        return "this build ships without it; name a model that can be pulled, see `v2a-data models list`"
    return f"run `v2a-data models pull {row.name}`"


def find(name: str) -> Found:
    """A model by name, every file hashed.

    Raises `UsageError` for an unknown name, `MissingToolError` where a file is missing, not recorded or
    not the recorded one.
    """
    row = known_row(name)
    if row.weights is None:
        raise MissingToolError(f"model {name}: {row.note}")
    checks = verify(row, fresh=False)
    for check in checks:
        if check.result == "missing":
            words = "is not in this build" if row.packaged else f"is not here: {place(row)[check.file]} does not exist"
            raise MissingToolError(f"model {name} {words}", hint=pull_hint(row))
        if check.result == "not recorded":
            raise MissingToolError(
                f"model {name}: {LOCK_FILE} has no sha256 for {check.file}, so nothing says what it should be",
                hint=pull_hint(row),
            )
        if check.result == "damaged":
            raise MissingToolError(
                f"{place(row)[check.file]} is damaged: its sha256 is {check.sha256}, recorded is {check.expected}",
                hint="install v2a-data again" if row.packaged else pull_hint(row),
            )
    sums = {check.file: check.sha256 for check in checks}
    return Found(row, place(row), str(sums[row.weights.name]))


def verify(row: ModelRow, *, fresh: bool = True) -> list[FileCheck]:
    """Hash every file of a model; `fresh` reads it again though this process did so before."""
    wanted = expected(row)
    return [_check(row, name, path, wanted[name], fresh) for name, path in place(row).items()]


def _check(row: ModelRow, name: str, path: Path, wanted: str | None, fresh: bool) -> FileCheck:
    if not path.is_file():
        return FileCheck(row.name, name, "missing", None, wanted)
    found = sha256_file(path) if fresh else _sha256(path)
    if wanted is None:
        # What ships with the package is as trusted as the package.
        return FileCheck(row.name, name, "ok" if row.packaged else "not recorded", found, None)
    return FileCheck(row.name, name, "ok" if found == wanted else "damaged", found, wanted)


def recorded_sha256(name: str) -> str | None:
    """The weights' sha256 without hashing them; null where nothing is recorded."""
    row = MODELS.get(name)
    if row is not None and row.packaged:
        path = place(row)[row.weights.name] if row.weights else None
        return _sha256(path) if path is not None and path.is_file() else None
    if row is not None and row.weights is not None and row.weights.sha256:
        return row.weights.sha256
    locked = read_lock(model_folder()).get(name)
    sums = locked.sha256 if locked else {}
    return next((value for file, value in sums.items() if PurePosixPath(file).suffix in WEIGHTS), None)


def _sha256(path: Path) -> str:
    """The hash, once per process for a file that stays as it is."""
    about = path.stat()
    return _sha256_of(path, about.st_size, about.st_mtime_ns, about.st_ino)


@lru_cache(maxsize=64)
def _sha256_of(path: Path, size: int, mtime_ns: int, inode: int) -> str:
    return sha256_file(path)
