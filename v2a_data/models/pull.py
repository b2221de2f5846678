"""Download models through the hub client: one commit, to a temporary folder, hashed, then renamed into place.

The endpoint is `$HF_ENDPOINT`, else huggingface.co. A token (`$HF_TOKEN`, or the hub client's own) goes to
the endpoint only; where it sends large files from another host, that host sees no token.
"""

import contextlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from v2a_data.errors import DiskError, FatalError, MissingToolError, UsageError
from v2a_data.files import disk_error, free_bytes, is_disk_error, publish, sha256_file, take_lock
from v2a_data.models.lock import LOCK_FILE, Locked, add_to_lock, read_lock
from v2a_data.models.registry import ModelRow
from v2a_data.models.store import expected, place
from v2a_data.progress import Progress
from v2a_data.scorers.base import model_folder

_DEFAULT_ENDPOINT = "https://huggingface.co"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_HEADER_MAX = 100_000_000
_UNITS = 1000  # progress counts kB

OpenProgress = Callable[[int | None], Progress]


@dataclass(frozen=True)
class Offer:
    """What the hub says about a file: its commit, its size in bytes, and its sha256 where it is a large one."""

    name: str
    commit: str
    bytes: int | None
    sha256: str | None


def endpoint() -> str:
    """The hub's address. Raises `UsageError` for plain HTTP beyond loopback, which would show a token to all."""
    address = (os.environ.get("HF_ENDPOINT") or _DEFAULT_ENDPOINT).rstrip("/")
    parts = urlsplit(address)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return address
    raise UsageError(f"HF_ENDPOINT {address}: must be https (http on loopback only)")


def wanted_revision(row: ModelRow) -> str:
    """The commit of the table, else that of the first pull, else the newest."""
    locked = read_lock(model_folder()).get(row.name)
    return row.revision or (locked.revision if locked and locked.repo == row.repo else "main")


def pull(row: ModelRow, open_progress: OpenProgress) -> Locked:
    """Bring a model's files and record them; what was there before is replaced.

    Raises `MissingToolError` where the hub does not have or give it, `FatalError` where it cannot be reached
    or sends something else, `DiskError`, `BusyError` while another pull runs. What was half done is removed.
    """
    if row.packaged or not row.files or row.repo is None:
        raise MissingToolError(f"{row.name} cannot be pulled: {row.note}")
    place(row)
    folder = model_folder()
    with _alone(folder):
        scratch = folder / f".tmp-{uuid.uuid4().hex}"
        try:
            scratch.mkdir()
            return _pull(row, folder, scratch, open_progress)
        except FatalError:
            raise
        except Exception as error:  # the hub client and its transport raise many kinds
            raise _explained(row, error) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _pull(row: ModelRow, folder: Path, scratch: Path, open_progress: OpenProgress) -> Locked:
    assert row.repo is not None
    _plain_http()
    offers = _offers(row)
    pins = expected(row)
    for offer in offers:
        _compare(row, offer.name, offer.sha256, pins[offer.name], "the hub offers")
    sizes = [offer.bytes for offer in offers]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    _check_space(folder, total or 0)
    with open_progress(None if total is None else -(-total // _UNITS)) as progress:
        paths = {offer.name: _download(row.repo, offer, scratch, progress) for offer in offers}
    sums = {name: sha256_file(path) for name, path in paths.items()}
    for offer in offers:
        _compare(row, offer.name, sums[offer.name], pins[offer.name] or offer.sha256, "received")
        _check_form(row, paths[offer.name])
    lengths = {name: path.stat().st_size for name, path in paths.items()}
    for name, final in place(row).items():
        publish(paths[name], final)
    entry = Locked(row.repo, offers[0].commit, sums, lengths)
    add_to_lock(folder, row.name, entry)
    return entry


def _offers(row: ModelRow) -> list[Offer]:
    """Ask for every file's size and hash before the first byte; all must come from one commit."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    offers = []
    revision = wanted_revision(row)
    for file in row.files:
        url = hf_hub_url(str(row.repo), file.name, revision=revision, endpoint=endpoint())
        about = get_hf_file_metadata(url, endpoint=endpoint())
        commit = str(about.commit_hash)
        if not _COMMIT.match(commit) or (_COMMIT.match(revision) and commit != revision):
            raise FatalError(f"{row.name}: asked {endpoint()} for commit {revision}, got {commit}")
        # Later files of a moving branch are asked for at the commit of the first.
        revision = commit
        offers.append(Offer(file.name, commit, about.size, about.etag if _SHA256.match(about.etag or "") else None))
    return offers


def _download(repo: str, offer: Offer, scratch: Path, progress: Progress) -> Path:
    from huggingface_hub import hf_hub_download

    done = hf_hub_download(
        repo,
        offer.name,
        revision=offer.commit,
        endpoint=endpoint(),
        local_dir=scratch / "files",
        # An empty cache of its own: a file of unknown history must not be trusted as if it came from the hub.
        cache_dir=scratch / "cache",
        tqdm_class=_bar(progress),
    )
    return Path(str(done))


def _bar(progress: Progress) -> Any:
    """What the hub client takes for a progress bar; bytes become the kB of one progress line."""

    class Bar:
        def __init__(self, **_: Any) -> None:
            self.seen = 0

        def update(self, count: float | None = 1) -> None:
            before = self.seen // _UNITS
            self.seen += int(count or 0)
            progress.step(self.seen // _UNITS - before)

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *_: object) -> None:
            progress.step(1 if self.seen % _UNITS else 0)

    return Bar


def _plain_http() -> None:
    """Files come over HTTP from the endpoint or where it redirects to, and quietly: the client's own
    messages hold signed addresses. Its other protocol (xet) would talk to hosts of its own."""
    from huggingface_hub import constants
    from huggingface_hub.utils import logging

    constants.HF_HUB_DISABLE_XET = True
    logging.set_verbosity_error()


def _compare(row: ModelRow, name: str, found: str | None, wanted: str | None, verb: str) -> None:
    if found is not None and wanted is not None and found != wanted:
        raise FatalError(
            f"{row.name}: {name} has another sha256: expected {wanted}, {verb} {found}; nothing was kept",
            hint=f"if the new file is the right one, delete this model's entry in {model_folder() / LOCK_FILE}"
            if not any(file.sha256 == wanted for file in row.files)
            else "the source has changed or something between here and there altered the file",
        )


def _check_form(row: ModelRow, path: Path) -> None:
    """A .safetensors file begins with the length of its JSON header; pickles and error pages do not."""
    if path.suffix != ".safetensors":
        return
    with path.open("rb") as file:
        head = file.read(9)
    length = int.from_bytes(head[:8], "little")
    if len(head) < 9 or head[8:] != b"{" or not 2 <= length <= min(_HEADER_MAX, path.stat().st_size - 8):
        raise FatalError(f"{row.name}: {path.name} is not a safetensors file; nothing was kept")


def _check_space(folder: Path, bytes: int) -> None:
    free = free_bytes(folder)
    if free < bytes:
        raise DiskError(
            f"{folder} has {free / 1e6:.0f} MB free, the model takes {bytes / 1e6:.0f} MB",
            hint="free space, or name another folder with V2A_MODELS",
        )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One pull at a time in a models folder; what a killed one left is removed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = take_lock(folder / ".lock", "models pull")
    except OSError as error:
        raise (disk_error(error) if is_disk_error(error) else FatalError(f"{folder}: {error}")) from None
    try:
        for leftover in folder.glob(".tmp-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
    finally:
        os.close(handle)


def _explained(row: ModelRow, error: Exception) -> FatalError:
    """A known error for whatever the hub client raised; addresses lose their query, which can hold a signature."""
    from huggingface_hub import errors

    words = re.sub(r"\?\S+", "", str(error)).strip().split("\n\n")[0].replace("\n", " ")[:300]
    at = f"{endpoint()}/{row.repo}"
    if isinstance(error, OSError) and is_disk_error(error):
        return disk_error(error)
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError) or status in (401, 403):
        return MissingToolError(
            f"{row.name}: {at} gives it to known accounts only (HTTP {status})",
            hint=f"look at {at}, accept its licence there if it asks, and set HF_TOKEN to a token that may read it",
        )
    if status == 404:
        return MissingToolError(f"{row.name}: {at} does not have it: {words}", hint="see `v2a-data models list`")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return FatalError(f"{row.name}: {words}", hint="unset HF_HUB_OFFLINE to pull")
    return FatalError(
        f"{row.name}: could not be pulled from {at}: {words or type(error).__name__}",
        hint="check the network, then run the same command again; nothing was kept",
    )
