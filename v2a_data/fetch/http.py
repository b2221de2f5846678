"""Small GETs of list files: http and https only, bounded in size and time, polite on 429."""

import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from v2a_data.errors import FatalError, SiteStopError, UsageError

_MAX_BYTES = 64_000_000
_TIMEOUT_S = 30.0
_TRIES = 4
_LONGEST_WAIT_S = 60.0


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
    if urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"{url}: only http and https addresses are fetched")
    last = ""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(2.0 ** (attempt - 1))
        try:
            return _once(url)
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
        except (urllib.error.URLError, TimeoutError, ConnectionError, OSError) as error:
            last = str(getattr(error, "reason", error))
    raise FatalError(f"{url}: {last} after {_TRIES} tries", hint="check the network, then run the command again")


def _once(url: str) -> Answer:
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    # The scheme was checked above and the opener knows no other.
    with opener.open(url, timeout=_TIMEOUT_S) as response:
        body = response.read(_MAX_BYTES + 1)
        if len(body) > _MAX_BYTES:
            raise FatalError(f"{url}: larger than {_MAX_BYTES} bytes")
        # A bounded read of http.client says nothing where the body ends early.
        promised = response.headers.get("Content-Length", "")
        if promised.isdecimal() and len(body) < int(promised):
            raise ConnectionError(f"{len(body)} of {promised} bytes")
        return Answer(response.status, body)


def _wait_as_told(url: str, retry_after: str | None) -> None:
    seconds = _seconds(retry_after)
    if seconds > _LONGEST_WAIT_S:
        raise SiteStopError(f"{url}: the site asks to wait {seconds:.0f} s", hint="run the same command again then")
    time.sleep(seconds)


def _seconds(retry_after: str | None) -> float:
    """`Retry-After` in either of its forms (RFC 9110, 10.2.3), as seconds from now."""
    if retry_after and retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after)
    try:
        until = parsedate_to_datetime(retry_after or "")
    except ValueError:
        return 5.0
    return max(1.0, until.timestamp() - time.time())
