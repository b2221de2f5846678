"""yt-dlp, bounded: the recipe's hosts, spaced requests, no configuration, plugins or programs of anybody else's."""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from v2a_data.fetch import pacing
from v2a_data.fetch.cookies import read_cookies
from v2a_data.fetch.disk import shortage
from v2a_data.fetch.handlers import checked
from v2a_data.fetch.hosts import HostCheck
from v2a_data.media.ffmpeg import ffmpeg_path
from v2a_data.recipe import FetchSection

# No playlists of pieces (HLS, DASH manifests): yt-dlp may hand those to ffmpeg, past our host list.
_PLAIN = "[protocol^=http][protocol!*=dash]"
FORMAT = f"bv*{_PLAIN}+ba{_PLAIN}/b{_PLAIN}"
# The second try: pieces that yt-dlp fetches itself, and formats that say too little of themselves for the first.
WIDE_FORMAT = f"{FORMAT}/bv*[protocol^=http]+ba[protocol^=http]/b[protocol^=http]"
TIMEOUT_S = 30.0
_RETRIES = 5
_LONGEST_RETRY_S = 60.0
_TOO_MANY = 429
_DISK_CHECK_BYTES = 32_000_000


class AskedToWaitError(Exception):
    """The site answered 429 to whatever request, or wants to be left alone for longer than a download may wait.

    yt-dlp would ask again at once, or ask for something else.
    """


class Downloader:
    """One video's yt-dlp. `skipped` names the rule that a video fell under before anything of it was downloaded."""

    def __init__(self, options: FetchSection, folder: Path, cookies: str | None, *, wide: bool = False) -> None:
        os.environ.setdefault("YTDLP_NO_PLUGINS", "1")
        import yt_dlp

        self._options, self._folder = options, folder
        self.log = _Log()
        self.skipped: str | None = None
        self.checked = 0
        params = self._params(cookies, WIDE_FORMAT if wide else FORMAT)
        self._ydl = _limited(yt_dlp.YoutubeDL)(params, HostCheck(options.hosts), options.sleep_requests_s)

    def fetch(self, url: str) -> dict[str, Any]:
        """What the site says of a video, its file being in the folder.

        Raises yt-dlp's `YoutubeDLError`, `AskedToWaitError`, `DiskError`, and whatever an extractor breaks with.
        """
        with self._ydl as ydl:
            return ydl.extract_info(url, download=True) or {}

    @property
    def refused(self) -> str:
        """The address that was refused, and why."""
        return str(self._ydl.check.refused)

    @property
    def stage(self) -> str:
        """`extract` until the first byte of media is asked for, then `download`."""
        return "download" if self._ydl.downloading else "extract"

    @property
    def trouble(self) -> str:
        """What the last request that failed came to; yt-dlp does not always say."""
        return str(self._ydl.last_trouble)

    @property
    def retry_after_s(self) -> float | None:
        """What the site's last `Retry-After` asked for."""
        found: float | None = self._ydl.retry_after_s
        return found

    def _params(self, cookies: str | None, selector: str) -> dict[str, Any]:
        options = self._options
        return {
            "format": selector,
            # `res` is the shorter side, so that portrait videos are found too.
            "format_sort": [part.strip() for part in options.format_sort.split(",") if part.strip()],
            "outtmpl": {"default": str(self._folder / "media.%(ext)s")},
            "allowed_extractors": [f"^{name}$" for name in options.extractors],
            "match_filter": self._match,
            "max_filesize": options.max_bytes,
            "progress_hooks": [self._watch_disk],
            "ffmpeg_location": ffmpeg_path(),
            "source_address": options.source_address,
            "cookiefile": read_cookies(cookies) if cookies else None,
            "noplaylist": True,
            "updatetime": False,
            "skip_unavailable_fragments": False,
            "socket_timeout": TIMEOUT_S,
            "retries": _RETRIES,
            "fragment_retries": _RETRIES,
            "extractor_retries": 3,
            "retry_sleep_functions": dict.fromkeys(("http", "fragment", "extractor"), self._before_retry),
            "cachedir": False,
            "usenetrc": False,
            "quiet": True,
            "noprogress": True,
            "color": "no_color",
            "logger": self.log,
        }

    def _match(self, info: Mapping[str, Any], *, incomplete: bool = False) -> str | None:
        """Called with what was extracted, before anything is downloaded."""
        if info.get("is_live") or info.get("live_status") in ("is_live", "is_upcoming"):
            self.skipped = "is_live"
        elif (info.get("duration") or 0) > self._options.max_duration_s:
            self.skipped = "too_long"
        elif self._options.licence == "cc" and not incomplete:
            words = str(info.get("license") or "").casefold()
            self.skipped = None if "creative commons" in words else "not_cc"
        return self.skipped

    def _before_retry(self, n: int) -> float:
        """Seconds: growing, and at least what the site asks for."""
        return min(_LONGEST_RETRY_S, max(2.0**n, self.retry_after_s or 0.0))

    def _watch_disk(self, progress: Mapping[str, Any]) -> None:
        have = progress.get("downloaded_bytes") or 0
        if abs(have - self.checked) >= _DISK_CHECK_BYTES:
            self.checked = have
            error = shortage(self._folder, self._options.keep_free_gb)
            if error is not None:
                raise error


@cache
def _limited(base: type) -> Any:
    """yt-dlp's downloader, whose every request is checked and spaced, redirects included."""
    from yt_dlp.networking.exceptions import HTTPError, RequestError, TransportError

    class LimitedDownloader(base):  # type: ignore[misc,valid-type]
        def __init__(self, params: dict[str, Any], check: HostCheck, spacing_s: float) -> None:
            self.check, self.spacing_s = check, spacing_s
            self.asked = self.downloading = False
            self.retry_after_s: float | None = None
            self.last_trouble = ""
            super().__init__(params)

        def build_request_director(self, given: Any, preferences: Any = None) -> Any:
            return super().build_request_director(checked(given, self.require), preferences)

        def urlopen(self, req: Any) -> Any:
            self.require(req if isinstance(req, str) else getattr(req, "url", None) or req.full_url)
            if self.asked and not self.downloading:
                pacing.CLOCK.wait(self.spacing_s)
            self.asked = True
            try:
                return super().urlopen(req)
            except HTTPError as error:
                self.last_trouble = str(error)
                self.retry_after_s = pacing.wish_s(error.response.headers.get("Retry-After"))
                if error.status == _TOO_MANY or (self.retry_after_s or 0) > _LONGEST_RETRY_S:
                    raise AskedToWaitError(str(error)) from None
                raise
            except TransportError as error:
                self.last_trouble = str(error)
                raise

        def dl(self, *args: Any, **more: Any) -> Any:
            self.downloading = True
            return super().dl(*args, **more)

        def require(self, url: str) -> None:
            if not self.check(url):
                raise RequestError(self.check.refused)

    return LimitedDownloader


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


def words_of(error: Exception) -> str:
    """The site's own words: the original error inside yt-dlp's wrapper where there is one."""
    exc_info = getattr(error, "exc_info", None)
    inner = exc_info[1] if exc_info else None
    return str(getattr(inner, "orig_msg", None) or inner or error)
