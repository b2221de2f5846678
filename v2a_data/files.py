"""Files that are whole or not there: temporary name, sync, rename. Disk trouble gets its own error."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from v2a_data.errors import BusyError, DiskError

_DISK_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG}


def is_disk_error(error: OSError) -> bool:
    """True when the disk is full, read-only or not ours to write."""
    return error.errno in _DISK_ERRNOS


def disk_error(error: OSError) -> DiskError:
    """The same trouble as a `DiskError` with advice."""
    place = error.filename or "the disk"
    return DiskError(
        f"cannot write {place}: {error.strerror or error}", hint="free space or permissions, then run the command again"
    )


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Make what a file holds durable."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def publish(temporary: Path, final: Path) -> None:
    """Sync a finished temporary file and give it its final name."""
    sync_file(temporary)
    final.parent.mkdir(parents=True, exist_ok=True)
    os.replace(temporary, final)
    sync_folder(final.parent)


@contextmanager
def whole_file(final: Path) -> Iterator[Path]:
    """A temporary path beside `final` that takes its name when the block ends well, else vanishes."""
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = final.parent / f".tmp-{uuid.uuid4().hex}{final.suffix}"
    try:
        yield temporary
        publish(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(final: Path, text: str) -> None:
    """Write a small text file whole."""
    with whole_file(final) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_file(path: Path) -> str:
    """Hash of a file's bytes, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link where the file system allows one (no second copy on disk), else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def free_bytes(folder: Path) -> int:
    """Free space where a folder is or would be."""
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(place).free


def take_lock(path: Path, command: str) -> int:
    """An exclusive lock that ends with the process or with `os.close` of what is returned.

    Raises `BusyError` naming who holds it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = _holder(path)
        os.close(handle)
        raise BusyError(
            f"{path.parent} is in use by {holder}", hint="wait for it to end, or use another folder"
        ) from None
    os.ftruncate(handle, 0)
    note = {"command": command, "pid": os.getpid(), "host": socket.gethostname()}
    os.pwrite(handle, json.dumps(note).encode(), 0)
    return handle


def _holder(path: Path) -> str:
    try:
        note = json.loads(path.read_text())
        return f"`{note['command']}` (process {note['pid']} on {note['host']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another command"
