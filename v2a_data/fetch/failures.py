"""Failure classes of downloads: what the site's words mean and what follows from them.

The first row that matches wins: rate limits read like missing videos and stand before them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Then = Literal["gone", "later", "setup", "stop"]
_HOUR_S = 3600.0
# "Another day" for a run that starts at the same hour each day.
_DAY_S = 20 * _HOUR_S
# What yt-dlp says when all of a site's answers failed, whatever they were.
_NO_ANSWER = "failed to extract any player response"


@dataclass(frozen=True)
class FailureClass:
    """One class. `then`: the id is gone, worth another run, the user's set-up, or the whole run stops.

    `tries` is on how many days it must fail with this class before a `gone` row is believed. Another try is worth it
    after `again_s`. A site that asks to stop, without saying for how long, is left alone for `pause_s`.
    """

    name: str
    words: tuple[str, ...]
    then: Then
    tries: int = 1
    again_s: float = 0.0
    pause_s: float = 0.0
    advice: str = ""


CLASSES: tuple[FailureClass, ...] = (
    FailureClass(
        "bot_check",
        ("confirm you're not a bot",),
        "stop",
        pause_s=6 * _HOUR_S,
        advice="`--cookies FILE` brings a session of your own",
    ),
    FailureClass(
        "rate_limited",
        ("this content isn't available, try again later", "has been rate-limited by youtube"),
        "stop",
        pause_s=_HOUR_S,
    ),
    FailureClass(
        "ip_blocked",
        ("your ip is likely being blocked", "requiring a captcha challenge"),
        "stop",
        pause_s=24 * _HOUR_S,
    ),
    FailureClass("http_429", ("http error 429", "402: payment required"), "stop", pause_s=_HOUR_S),
    FailureClass("http_403", ("http error 403", "fragment 1 not found, unable to continue"), "later"),
    FailureClass("private", ("private video", "this video is private"), "gone"),
    FailureClass("age", ("confirm your age", "age-restricted"), "gone"),
    FailureClass(
        "members", ("members-only content", "available to this channel's members", "music premium members"), "gone"
    ),
    FailureClass("paid", ("requires payment to watch", "drm protected"), "gone"),
    FailureClass(
        "geo",
        (
            "not made this video available in your country",
            "not available in your country",
            "who has blocked it in your country",
            "geo restrict",
        ),
        "gone",
    ),
    FailureClass("copyright", ("due to a copyright claim", "blocked it on copyright grounds"), "gone"),
    FailureClass("terminated", ("account associated with this video has been terminated",), "gone"),
    FailureClass(
        "removed",
        (
            "has been removed by the uploader",
            "removed for violating",
            "this video isn't available anymore",
            "this video is not available",
        ),
        "gone",
    ),
    FailureClass(
        "live",
        ("live event will begin", "premieres in", "premiere will begin", "is_live", "is_upcoming"),
        "later",
        again_s=_DAY_S,
    ),
    FailureClass("live_gone", ("live stream recording is not available", "live event has ended"), "gone"),
    FailureClass("processing", ("we're processing this video",), "later", again_s=_DAY_S),
    FailureClass("no_format", ("requested format is not available", "no video formats found"), "gone"),
    FailureClass(
        "setup",
        (
            "no supported javascript runtime",
            "challenge solving failed",
            "signature solving failed",
            _NO_ANSWER,
            "ffmpeg is not installed",
            "ffmpeg not found",
            "account cookies are no longer valid",
        ),
        "setup",
        advice="`v2a-data doctor` names what is missing",
    ),
    # Also what a site answers when it has moved a door that an old yt-dlp knocks at: believed on another day only.
    FailureClass("http_gone", ("http error 404", "http error 410"), "gone", tries=2, again_s=_DAY_S),
    FailureClass(
        "transport",
        (
            "http error 5",
            "timed out",
            "connection reset",
            "connection refused",
            "connection aborted",
            "connection broken",
            "remote end closed",
            "network is unreachable",
            "no route to host",
            "incompleteread",
            "incomplete read",
            "bytes missing",
            "more expected",
            "downloaded file is empty",
            "did not get any data blocks",
            "name resolution",
            "failed to resolve",
            "name or service not known",
            "[ssl:",
            "_ssl.c",
            "sslerror",
            "unable to connect to proxy",
            "proxyerror",
            "tunnel connection failed",
            "broken pipe",
            "certificate verify failed",
            "ffmpeg exited with code",
        ),
        "later",
    ),
    FailureClass("bare", ("video unavailable", "this video is unavailable"), "gone", tries=2, again_s=_DAY_S),
)
UNKNOWN = FailureClass("unknown", (), "gone", tries=2, again_s=_DAY_S)
# Ours, not the site's. An error of this program says nothing of a video.
INTERNAL = FailureClass("internal", (), "later", again_s=_DAY_S)
SKIPPED = {
    row.name: row
    for row in (
        FailureClass("too_long", (), "gone"),
        FailureClass("too_large", (), "gone"),
        FailureClass("not_cc", (), "gone"),
        FailureClass("host_refused", (), "gone"),
        FailureClass("wrong_id", (), "gone"),
    )
}
BY_NAME = {row.name: row for row in (*CLASSES, UNKNOWN, INTERNAL, *SKIPPED.values())}
# A picture or sound that only a solved challenge gives is missing because of the set-up, whatever the last words say.
_HIDDEN_BY_SETUP = frozenset({"no_format", "unknown"})
_BARE = re.compile(r"(?:error: )?(?:\[\w+\] [\w-]+: )?(?:video unavailable|this video is unavailable)\.?\s*\Z")


def classify(message: str, warnings: Sequence[str] = (), trouble: str = "") -> FailureClass:
    """The class of a failure by its message, case and apostrophes folded.

    `warnings` are what was warned of before it, `trouble` what the last request that failed came to.
    """
    if trouble and _NO_ANSWER in _folded(message):
        return classify(trouble)
    found = next((row for row in CLASSES if _matches(row, _folded(message))), UNKNOWN)
    if found.name in _HIDDEN_BY_SETUP and any(_matches(BY_NAME["setup"], _folded(line)) for line in warnings):
        return BY_NAME["setup"]
    return found


def _matches(row: FailureClass, text: str) -> bool:
    if row.name == "bare":
        # With more words behind it, it says more than we know.
        return _BARE.match(text) is not None
    return any(words in text for words in row.words)


def _folded(message: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", message).replace("\u2019", "'").casefold().strip()
