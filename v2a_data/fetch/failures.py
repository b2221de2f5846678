"""Failure classes of downloads: what the site's words mean and what follows from them.

The first row that matches wins: rate limits read like missing videos and stand before them.
"""

import re
from dataclasses import dataclass
from typing import Literal

Then = Literal["gone", "later", "setup", "stop"]


@dataclass(frozen=True)
class FailureClass:
    """One class. `then`: the id is gone, worth another run, the user's set-up, or the whole run stops.

    `tries` is on how many days it must fail with this class before a `gone` row is believed.
    """

    name: str
    words: tuple[str, ...]
    then: Then
    tries: int = 1
    advice: str = ""


CLASSES: tuple[FailureClass, ...] = (
    FailureClass("bot_check", ("confirm you're not a bot",), "stop", advice="go on some hours later"),
    FailureClass(
        "rate_limited",
        ("this content isn't available, try again later", "has been rate-limited by youtube"),
        "stop",
        advice="go on in an hour or later",
    ),
    FailureClass(
        "ip_blocked",
        ("your ip is likely being blocked", "requiring a captcha challenge"),
        "stop",
        advice="this address is blocked for now; go on tomorrow",
    ),
    FailureClass("http_429", ("http error 429", "402: payment required"), "stop", advice="go on in an hour or later"),
    FailureClass("http_403", ("http error 403", "fragment 1 not found, unable to continue"), "later"),
    FailureClass("private", ("private video", "this video is private"), "gone"),
    FailureClass("age", ("confirm your age", "age-restricted"), "gone"),
    FailureClass(
        "members", ("members-only content", "available to this channel's members", "music premium members"), "gone"
    ),
    FailureClass("paid", ("requires payment to watch", "drm protected"), "gone"),
    FailureClass(
        "geo",
        ("not made this video available in your country", "who has blocked it in your country", "geo restrict"),
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
        "live", ("live event will begin", "premieres in", "premiere will begin", "is_live", "is_upcoming"), "later"
    ),
    FailureClass("live_gone", ("live stream recording is not available", "live event has ended"), "gone"),
    FailureClass("processing", ("we're processing this video",), "later"),
    FailureClass("no_format", ("requested format is not available", "no video formats found"), "gone", tries=2),
    FailureClass(
        "setup",
        (
            "no supported javascript runtime",
            "challenge solving failed",
            "failed to extract any player response",
            "ffmpeg is not installed",
            "ffmpeg not found",
            "account cookies are no longer valid",
        ),
        "setup",
        advice="`v2a-data doctor` names what is missing",
    ),
    FailureClass("http_gone", ("http error 404", "http error 410"), "gone"),
    FailureClass(
        "transport",
        (
            "http error 5",
            "timed out",
            "connection reset",
            "connection refused",
            "connection aborted",
            "remote end closed",
            "incompleteread",
            "incomplete read",
            "bytes missing",
            "name resolution",
            "failed to resolve",
            "ssl",
            "downloaded file is empty",
            "ffmpeg exited with code",
            "unable to download",
        ),
        "later",
    ),
    FailureClass("bare", ("video unavailable", "this video is unavailable"), "gone", tries=2),
)
UNKNOWN = FailureClass("unknown", (), "gone", tries=2)
# Ours, not the site's.
SKIPPED = {
    "too_long": FailureClass("too_long", (), "gone"),
    "too_large": FailureClass("too_large", (), "gone"),
    "host_refused": FailureClass("host_refused", (), "gone"),
    "wrong_id": FailureClass("wrong_id", (), "gone"),
}
# A blocked session makes live ids look dead: so many of these in a row stop the run.
SUSPICIOUS = frozenset({"bot_check", "rate_limited", "ip_blocked", "http_429", "http_403", "bare"})
SUSPICIOUS_IN_A_ROW = 8


def classify(message: str) -> FailureClass:
    """The class of a failure by its message, case and apostrophes folded."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", message).replace("\u2019", "'").casefold()
    for row in CLASSES:
        if any(words in text for words in row.words):
            return row
    return UNKNOWN
