"""GETs of list files, into memory or to disk: http and https only, bounded in size and time, polite on 429."""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from v2a_data.errors import FatalError, SiteStopError, UsageError
from v2a_data.fetch.pacing import moment, wish_s
from v2a_data.files import disk_error, is_disk_error, publish

_MAX_BYTES = 64_000_000
_TIMEOUT_S = 30.0
_TRIES = 4
_LONGEST_WAIT_S = 60.0
_USUAL_WAIT_S = 5.0
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Answer:
    """Status and body of a finished request; 4xx answers are answers too."""

    status: int
    body: bytes


def get(url: str) -> Answer:
    """GET with retries on 5xx and transport errors.

    Raises `UsageError` for another scheme, `SiteStopError` when the site asks to wait long,
    `FatalError` when it cannot be reached.
    """
    return _persist(url, lambda: _once(url))


def save(url: str, target: Path, most_bytes: int, md5: str | None = None) -> None:
    """GET into a file that is whole or not there, at most `most_bytes` of it.

    With `md5`, hex, what an earlier try left is gone on with by range, and the whole is held to it. Raises as `get`
    does, and `FatalError` for another answer than the file, or another file than `md5` says.
    """
    part = target.with_name(f".tmp-{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    for last in (False, True):
        answer = _persist(url, lambda: _append(url, part, most_bytes, resume=md5 is not None))
        if answer.status not in (200, 206):
            part.unlink(missing_ok=True)
            raise FatalError(f"{url}: HTTP {answer.status}", hint="the file may be withdrawn; see the source's note")
        if md5 is None or _md5(part) == md5:
            publish(part, target)
            return
        part.unlink()
        if last:
            raise FatalError(f"{url}: its md5 is not {md5}, twice", hint="run the command again later")


def _persist(url: str, once: Callable[[], Answer]) -> Answer:
    if urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"{url}: only http and https addresses are fetched")
    last = ""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(2.0 ** (attempt - 1))
        try:
            return once()
        except urllib.error.HTTPError as error:
            last = f"HTTP {error.code}"
            if error.code == 429:
                if attempt == _TRIES - 1:
                    raise SiteStopError(
                        f"{url}: HTTP 429 {_TRIES} times", hint="go on in an hour or later with the same command"
                    ) from None
                _wait_as_told(url, error.headers.get("Retry-After"))
            elif error.code < 500:
                return Answer(error.code, error.read(_MAX_BYTES))
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and is_disk_error(error):
                raise disk_error(error) from None
            last = str(getattr(error, "reason", error))
    raise FatalError(f"{url}: {last} after {_TRIES} tries", hint="check the network, then run the command again")


def _once(url: str) -> Answer:
    with _open(urllib.request.Request(url)) as response:  # noqa: S310  # _persist checked the scheme
        body = response.read(_MAX_BYTES + 1)
        if len(body) > _MAX_BYTES:
            raise FatalError(f"{url}: larger than {_MAX_BYTES} bytes")
        _check_length(response, len(body))
        return Answer(response.status, body)


def _append(url: str, part: Path, most_bytes: int, *, resume: bool) -> Answer:
    """One try at the rest of a file; what came stays in `part` when the connection breaks."""
    have = part.stat().st_size if resume and part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    try:
        response = _open(request)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        part.unlink()
        raise ConnectionError("nothing follows what an earlier try left") from None
    with response:
        if response.status not in (200, 206):
            return Answer(response.status, b"")
        goes_on = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if response.status == 206 and not goes_on:
            part.unlink(missing_ok=True)
            raise ConnectionError("another range than the one asked for")
        got, size = 0, have if goes_on else 0
        with part.open("ab" if goes_on else "wb") as file:
            while block := response.read(_BLOCK_BYTES):
                got += len(block)
                if size + got > most_bytes:
                    part.unlink()
                    raise FatalError(f"{url}: larger than {most_bytes} bytes")
                file.write(block)
        _check_length(response, got)
        return Answer(response.status, b"")


def _open(request: urllib.request.Request) -> Any:
    """Opens http and https, and follows nothing."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener.open(request, timeout=_TIMEOUT_S)


def _check_length(response: Any, got: int) -> None:
    # A bounded read of http.client says nothing where the body ends early.
    promised = response.headers.get("Content-Length", "")
    if promised.isdecimal() and got < int(promised):
        raise ConnectionError(f"{got} of {promised} bytes")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _wait_as_told(url: str, retry_after: str | None) -> None:
    wish = wish_s(retry_after)
    seconds = _USUAL_WAIT_S if wish is None else wish
    if seconds > _LONGEST_WAIT_S:
        raise SiteStopError(
            f"{url}: the site asks to wait {seconds:.0f} s",
            hint=f"go on after {moment(time.time() + seconds)} with the same command",
        )
    time.sleep(seconds)
