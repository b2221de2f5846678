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
from urllib.parse import urlsplit

from v2a_data.errors import ItemError
from v2a_data.fetch.failures import SKIPPED, FailureClass, classify
from v2a_data.files import disk_error, is_disk_error, link_or_copy, publish, sha256_file
from v2a_data.ids import clean_text
from v2a_data.media.client import shared_child, twice
from v2a_data.media.ffmpeg import ffmpeg_path
from v2a_data.recipe import FetchSection
from v2a_data.runs import package_version

_PLAIN = "[protocol^=http][protocol!*=dash]"


@dataclass(frozen=True)
class FetchRequest:
    """What a worker needs to fetch one video. `target` is the media path without its extension."""

    video_id: str
    native_id: str | None
    url: str | None
    path: str | None
    tmp: str
    target: str
    options: FetchSection


@dataclass(frozen=True)
class FetchOutcome:
    """What became of it. With `failure` null the file is at `path` and was probed."""

    video_id: str
    failure: str | None
    then: str
    tries: int
    message: str
    seconds: float
    tool_version: str
    path: str | None = None
    bytes: int = 0
    sha256: str = ""
    probe: dict[str, Any] | None = None
    advice: str = ""
    channel: str | None = None
    title: str | None = None


class FailedDownloadError(Exception):
    """A download ended with a known class of failure."""

    def __init__(self, failure: FailureClass, message: str) -> None:
        super().__init__(message)
        self.failure = failure


def fetch_video(request: FetchRequest) -> FetchOutcome:
    """Fetch one video; every failure of the item is in the outcome. Raises `DiskError` only."""
    started = time.monotonic()
    tool = f"yt-dlp {package_version('yt-dlp')}" if request.url else f"PyAV {package_version('av')}"

    def outcome(failure: str | None, then: str, tries: int, message: str, **more: Any) -> FetchOutcome:
        seconds = time.monotonic() - started
        return FetchOutcome(request.video_id, failure, then, tries, clean_text(message), seconds, tool, **more)

    try:
        with tempfile.TemporaryDirectory(dir=request.tmp, prefix="fetch-") as folder:
            if request.path:
                file, said = _copy_local(request, Path(folder)), {}
            else:
                file, info = _download(request, Path(folder))
                said = {"channel": _channel(info), "title": _title(info)}
            return outcome(None, "fetched", 0, "", **said, **_place(request, file))
    except FailedDownloadError as error:
        row = error.failure
        return outcome(row.name, row.then, row.tries, str(error), advice=row.advice)
    except ItemError as error:
        # What the probe says of the finished file.
        state = "quarantined" if error.reason == "quarantined" else "unusable"
        return outcome(error.reason, state, 1, error.message)
    except OSError as error:
        if is_disk_error(error):
            raise disk_error(error) from None
        return outcome("transport", "later", 1, str(error))
    except Exception as error:  # a site's answer can break an extractor anywhere; one video must not end the run
        return outcome("internal", "later", 1, f"{type(error).__name__}: {error}")


def _place(request: FetchRequest, file: Path) -> dict[str, Any]:
    size = file.stat().st_size
    if size > request.options.max_bytes:
        raise ItemError("too_large", f"{size} bytes, at most {request.options.max_bytes} (fetch.max_bytes)")
    probed = twice(lambda: shared_child().probe(file, request.options.max_duration_s))
    sha256 = sha256_file(file)
    suffix = "".join(c for c in file.suffix.lower() if c.isascii() and c.isalnum())[:5] or "bin"
    final = Path(f"{request.target}.{suffix}")
    publish(file, final)
    return {"path": str(final), "bytes": size, "sha256": sha256, "probe": probed.to_json()}


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


def _download(request: FetchRequest, folder: Path) -> tuple[Path, Mapping[str, Any]]:
    """The file, and what the site says of the video."""
    os.environ.setdefault("YTDLP_NO_PLUGINS", "1")
    import yt_dlp
    from yt_dlp.utils import DownloadError

    assert request.url is not None
    log = _Log()
    skipped: list[str] = []
    options = _options(request, folder, log, skipped)
    with _limited(yt_dlp.YoutubeDL)(options, hosts=request.options.hosts) as downloader:
        try:
            info = downloader.extract_info(request.url, download=True)
        except DownloadError as error:
            message = _message(error)
            refused = downloader.refused
            raise FailedDownloadError(
                SKIPPED["host_refused"] if refused else classify(message), refused or message
            ) from None
    found = sorted(path for path in folder.iterdir() if path.suffix not in (".part", ".ytdl"))
    if skipped:
        raise FailedDownloadError(classify(skipped[0]) if skipped[0] != "too_long" else SKIPPED["too_long"], skipped[0])
    if not found:
        if any("max-filesize" in line for line in log.lines):
            raise FailedDownloadError(SKIPPED["too_large"], "larger than fetch.max_bytes")
        raise FailedDownloadError(
            classify(" ".join(log.lines) or "no file"), " ".join(log.lines) or "nothing was downloaded"
        )
    if request.native_id and info and "youtube" in str(info.get("extractor")) and info.get("id") != request.native_id:
        raise FailedDownloadError(SKIPPED["wrong_id"], f"asked for {request.native_id}, got {info.get('id')}")
    return found[0], info or {}


def _channel(info: Mapping[str, Any]) -> str | None:
    number = info.get("channel_id") or info.get("uploader_id")
    return clean_text(f"{info.get('extractor_key')}/{number}", 200) if number else None


def _title(info: Mapping[str, Any]) -> str | None:
    """The title as it can be kept: printable, at most 200 characters."""
    title = info.get("title")
    return clean_text(title, 200) or None if isinstance(title, str) else None


def _options(request: FetchRequest, folder: Path, log: "_Log", skipped: list[str]) -> dict[str, Any]:
    options = request.options

    def match(info: dict[str, Any], *, incomplete: bool = False) -> str | None:
        if info.get("is_live") or info.get("live_status") in ("is_live", "is_upcoming"):
            skipped.append("is_live")
        elif (info.get("duration") or 0) > options.max_duration_s:
            skipped.append("too_long")
        return skipped[0] if skipped else None

    def wait(n: int) -> float:
        return float(min(60, 2**n))

    return {
        # No playlists of pieces (HLS, DASH manifests): yt-dlp may hand those to ffmpeg, past our host list.
        "format": f"bv*{_PLAIN}+ba{_PLAIN}/b{_PLAIN}",
        "format_sort": [part.strip() for part in options.format_sort.split(",") if part.strip()],
        "outtmpl": {"default": str(folder / "media.%(ext)s")},
        "paths": {"temp": str(folder)},
        "allowed_extractors": [f"^{name}$" for name in options.extractors],
        "match_filter": match,
        "max_filesize": options.max_bytes,
        "ffmpeg_location": ffmpeg_path(),
        "noplaylist": True,
        "updatetime": False,
        "skip_unavailable_fragments": False,
        "socket_timeout": 30,
        "retries": 5,
        "fragment_retries": 5,
        "extractor_retries": 3,
        "retry_sleep_functions": {"http": wait, "fragment": wait, "extractor": wait},
        "sleep_interval_requests": 0.75 if options.sleep_s[1] > 0 else 0,
        "cachedir": False,
        "usenetrc": False,
        "quiet": True,
        "noprogress": True,
        "color": "no_color",
        "logger": log,
    }


def _limited(base: type) -> Any:
    """yt-dlp's downloader, bounded to the recipe's hosts."""

    class LimitedDownloader(base):  # type: ignore[misc,valid-type]
        def __init__(self, params: dict[str, Any], hosts: tuple[str, ...]) -> None:
            self.hosts = hosts
            self.refused = ""
            super().__init__(params)

        def urlopen(self, req: Any) -> Any:
            url = req if isinstance(req, str) else getattr(req, "url", None) or req.full_url
            self._check(url)
            answer = super().urlopen(req)
            self._check(answer.url)
            return answer

        def _check(self, url: str) -> None:
            if not allowed_url(url, self.hosts):
                from yt_dlp.networking.exceptions import RequestError

                parts = urlsplit(url)
                self.refused = f"{parts.scheme}://{parts.hostname} is none of the recipe's fetch.hosts"
                raise RequestError(self.refused)

    return LimitedDownloader


def allowed_url(url: str, hosts: tuple[str, ...]) -> bool:
    """True for https on a listed host or below it, and for http where the listed host is loopback."""
    parts = urlsplit(url)
    name = (parts.hostname or "").lower()
    loopback = name in ("127.0.0.1", "localhost", "::1")
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        return False
    return any(name == host or (not loopback and name.endswith("." + host)) for host in hosts)


class _Log:
    """Collects yt-dlp's warnings and errors; nothing is printed from a worker."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def debug(self, message: str) -> None:
        if "max-filesize" in message:
            self.lines.append(message)

    def info(self, message: str) -> None:
        self.debug(message)

    def warning(self, message: str) -> None:
        self.lines.append(message)

    def error(self, message: str) -> None:
        self.lines.append(message)


def _message(error: Exception) -> str:
    """The site's own words: the original error inside yt-dlp's wrapper where there is one."""
    exc_info = getattr(error, "exc_info", None)
    inner = exc_info[1] if exc_info else None
    return str(getattr(inner, "orig_msg", None) or inner or error)
