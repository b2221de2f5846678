"""One video into the workspace: through yt-dlp, or by link or copy from a local folder.

The file is made whole under a temporary name, hashed and probed, and only then gets its place. Runs
in a worker; the driver records what comes back.
"""

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from v2a_data.errors import FatalError, ItemError
from v2a_data.fetch import pacing
from v2a_data.fetch.disk import disk_words
from v2a_data.fetch.failures import BY_NAME, INTERNAL, SKIPPED, FailureClass, classify
from v2a_data.fetch.finished import Attempt, FetchOutcome, leave_note
from v2a_data.files import disk_error, is_disk_error, link_or_copy, publish, sha256_file
from v2a_data.ids import clean_text
from v2a_data.media.client import shared_child, twice
from v2a_data.recipe import FetchSection
from v2a_data.runs import now, package_version

# Tries at once for a failure that another extraction may mend, and seconds before the next one.
_TRIES = {"http_403": 3, "no_format": 2}
_PAUSES_S = (2.0, 8.0)


@dataclass(frozen=True)
class FetchRequest:
    """What a worker needs to fetch one video. `target` is the media path without its extension, `cookies` a file."""

    video_id: str
    native_id: str | None
    url: str | None
    path: str | None
    tmp: str
    target: str
    options: FetchSection
    cookies: str | None = None


class FailedDownloadError(Exception):
    """A download ended with a known class of failure."""

    def __init__(self, failure: FailureClass, message: str, stage: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.failure, self.stage, self.retry_after_s = failure, stage, retry_after_s


def fetch_video(request: FetchRequest) -> FetchOutcome:
    """Fetch one video; every failure of the item is in the outcome. Raises `DiskError` and `UsageError` only."""
    failed: tuple[Attempt, ...] = ()
    while True:
        outcome = _try(request, failed)
        if outcome.failure is None or request.path or len(failed) + 1 >= _TRIES.get(outcome.failure, 1):
            return outcome
        if not pacing.CLOCK.wait(max(_PAUSES_S[len(failed)], request.options.sleep_s[0])):
            return outcome
        failed = (*failed, outcome.attempt)


def _try(request: FetchRequest, failed: tuple[Attempt, ...]) -> FetchOutcome:
    started, at = time.monotonic(), now()
    wide = any(attempt.failure == "no_format" for attempt in failed)
    tool = f"yt-dlp {package_version('yt-dlp')}" if request.url else f"PyAV {package_version('av')}"

    def outcome(failure: str | None, then: str, message: str, stage: str, **more: Any) -> FetchOutcome:
        seconds = time.monotonic() - started
        attempt = Attempt(stage, failure, clean_text(message, 2000), tool, at, seconds)
        return FetchOutcome(request.video_id, then, attempt, failed, **more)

    try:
        with tempfile.TemporaryDirectory(dir=request.tmp, prefix="fetch-") as folder:
            if request.path:
                file, said = _copy_local(request, Path(folder)), {}
            else:
                file, info = _download(request, Path(folder), wide)
                said = {"channel": _channel(info), "title": _title(info)}
            done = outcome(None, "fetched", "", "fetch", **said, **_probed(request, file))
            return _place(request, file, done)
    except FailedDownloadError as error:
        row = error.failure
        return outcome(row.name, row.then, str(error), error.stage, retry_after_s=error.retry_after_s)
    except ItemError as error:
        # What the probe says of the finished file.
        state = "quarantined" if error.reason == "quarantined" else "unusable"
        return outcome(error.reason, state, error.message, "probe")
    except OSError as error:
        if is_disk_error(error):
            raise disk_error(error) from None
        return outcome("transport", BY_NAME["transport"].then, str(error), "download")
    except FatalError:
        raise
    except Exception as error:  # a site's answer can break an extractor anywhere; one video must not end the run
        return outcome(INTERNAL.name, INTERNAL.then, f"{type(error).__name__}: {error}", "extract")


def _probed(request: FetchRequest, file: Path) -> dict[str, Any]:
    size = file.stat().st_size
    if size > request.options.max_bytes:
        raise ItemError("too_large", f"{size} bytes, at most {request.options.max_bytes} (fetch.max_bytes)")
    probed = twice(lambda: shared_child().probe(file, request.options.max_duration_s))
    suffix = "".join(c for c in file.suffix.lower() if c.isascii() and c.isalnum())[:5] or "bin"
    path = f"{request.target}.{suffix}"
    return {"path": path, "bytes": size, "sha256": sha256_file(file), "probe": probed.to_json()}


def _place(request: FetchRequest, file: Path, done: FetchOutcome) -> FetchOutcome:
    if not request.path:
        # Whoever is killed between here and the ledger has not fetched it in vain.
        leave_note(Path(request.target), done)
    publish(file, Path(str(done.path)))
    return done


def _copy_local(request: FetchRequest, folder: Path) -> Path:
    assert request.path is not None
    source = Path(request.path)
    target = folder / f"media{source.suffix}"
    if not source.is_file():
        raise ItemError("missing_file", str(source))
    if source.is_relative_to(request.tmp):
        os.replace(source, target)  # unpacked from an archive, for this alone
    else:
        link_or_copy(source.resolve(), target)
    return target


def _download(request: FetchRequest, folder: Path, wide: bool) -> tuple[Path, Mapping[str, Any]]:
    """The file, and what the site says of the video. Its channel and title are kept, and nothing else."""
    from yt_dlp.utils import YoutubeDLError

    from v2a_data.fetch.ytdlp import AskedToWaitError, Downloader, words_of

    assert request.url is not None
    downloader = Downloader(request.options, folder, request.cookies, wide=wide)

    def failed(failure: FailureClass, message: str) -> FailedDownloadError:
        return FailedDownloadError(failure, message, downloader.stage, downloader.retry_after_s)

    lines = downloader.log.lines
    try:
        info = downloader.fetch(request.url)
    except YoutubeDLError as error:
        message = words_of(error)
        if disk_words(message):
            raise OSError(28, message, str(folder)) from None
        refused = downloader.refused
        row = SKIPPED["host_refused"] if refused else classify(message, lines, downloader.trouble)
        trouble = f" ({downloader.trouble})" if downloader.trouble not in message else ""
        raise failed(row, refused or f"{message}{trouble}") from None
    except AskedToWaitError as error:
        raise failed(classify(str(error)), str(error)) from None
    if downloader.skipped:
        row = SKIPPED.get(downloader.skipped) or classify(downloader.skipped)
        raise failed(row, downloader.skipped)
    found = sorted(path for path in folder.iterdir() if path.suffix not in (".part", ".ytdl"))
    if not found:
        if any("max-filesize" in line for line in lines):
            raise failed(SKIPPED["too_large"], "larger than fetch.max_bytes")
        words = " ".join(lines) or "nothing was downloaded"
        raise failed(classify(words), words)
    if request.native_id and "youtube" in str(info.get("extractor")) and info.get("id") != request.native_id:
        raise failed(SKIPPED["wrong_id"], f"asked for {request.native_id}, got {info.get('id')}")
    return found[0], info


def _channel(info: Mapping[str, Any]) -> str | None:
    number = info.get("channel_id") or info.get("uploader_id")
    return clean_text(f"{info.get('extractor_key')}/{number}", 200) if number else None


def _title(info: Mapping[str, Any]) -> str | None:
    """The title as it can be kept: printable, at most 200 characters."""
    title = info.get("title")
    return clean_text(title, 200) or None if isinstance(title, str) else None
