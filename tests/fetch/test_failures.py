"""The site's words become classes, in the order in which they must be tried."""

import pytest

from v2a_data.fetch.failures import CLASSES, UNKNOWN, classify

WORDS = {
    "bot_check": "Sign in to confirm you\u2019re not a bot. Use --cookies-from-browser or --cookies",
    "rate_limited": "Video unavailable. This content isn't available, try again later. Rate-limited by YouTube",
    "ip_blocked": "All player responses are invalid. Your IP is likely being blocked by Youtube",
    "http_429": "unable to download video data: HTTP Error 429: Too Many Requests",
    "http_403": "unable to download video data: HTTP Error 403: Forbidden",
    "private": "Private video. Sign in if you've been granted access to this video",
    "age": "Sign in to confirm your age. This video may be inappropriate for some users.",
    "members": "Join this channel to get access to members-only content like this video",
    "paid": "This video requires payment to watch",
    "geo": "The uploader has not made this video available in your country",
    "copyright": "This video is no longer available due to a copyright claim by X",
    "terminated": "This video is no longer available because the YouTube account associated with this video has been terminated.",
    "removed": "Video unavailable. This video has been removed by the uploader",
    "live": "This live event will begin in 3 days.",
    "live_gone": "This live stream recording is not available.",
    "processing": "We're processing this video. Check back later.",
    "no_format": "Requested format is not available. Use --list-formats for a list",
    "setup": "No supported JavaScript runtime could be found.",
    "http_gone": "HTTP Error 404: Not Found",
    "transport": "unable to download video data: HTTP Error 503: Service Unavailable",
    "bare": "Video unavailable",
}


def test_every_class_has_its_words_here() -> None:
    assert list(WORDS) == [row.name for row in CLASSES]


@pytest.mark.parametrize("name", WORDS)
def test_classes(name: str) -> None:
    assert classify(WORDS[name]).name == name
    assert classify(f"\x1b[0;31mERROR:\x1b[0m [youtube] abcdefghijk: {WORDS[name].upper()}").name == name


def test_what_nobody_foresaw_is_unknown_and_tried_twice() -> None:
    assert classify("a new sentence") is UNKNOWN
    assert (UNKNOWN.then, UNKNOWN.tries) == ("gone", 2)


@pytest.mark.parametrize(
    "words",
    [
        "Video unavailable. A reason that nobody has seen yet",
        "Unable to download API page: HTTP Error 400: Bad Request (caused by <HTTPError 400: Bad Request>)",
        "This hassle-free video is not for you",
        "Unable to extract the password",
    ],
)
def test_words_that_are_nearly_in_the_table_are_unknown(words: str) -> None:
    assert classify(words) is UNKNOWN


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("Video unavailable. This video is not available in your country", "geo"),
        ("This video is not available", "removed"),
        ("EOF occurred in violation of protocol (_ssl.c:1007)", "transport"),
        ("Tunnel connection failed: 407 Proxy Authentication Required", "transport"),
        ("[Errno 32] Broken pipe", "transport"),
    ],
)
def test_words_that_read_like_another_class(words: str, name: str) -> None:
    assert classify(words).name == name


def test_what_a_missing_runtime_hides_is_the_set_up() -> None:
    words, warning = WORDS["no_format"], "[youtube] abc: n challenge solving failed: Some formats may be missing."
    assert classify(words, ["something else"]).name == "no_format"
    assert classify(words, ["something else", warning]).name == "setup"
    assert classify(WORDS["private"], [warning]).name == "private"


def test_stops_say_for_how_long_and_the_set_up_what_to_do() -> None:
    stops = {row.name: row.pause_s / 3600 for row in CLASSES if row.then == "stop"}
    assert stops == {"bot_check": 6, "rate_limited": 1, "ip_blocked": 24, "http_429": 1}
    assert all(row.advice for row in CLASSES if row.then == "setup")


def test_consequences() -> None:
    by_then = {then: [row.name for row in CLASSES if row.then == then] for then in ("later", "gone", "setup")}
    assert by_then == {
        "later": ["http_403", "live", "processing", "transport"],
        "gone": [
            *("private", "age", "members", "paid", "geo", "copyright", "terminated", "removed", "live_gone"),
            *("no_format", "http_gone", "bare"),
        ],
        "setup": ["setup"],
    }
    assert [row.name for row in CLASSES if row.tries > 1] == ["http_gone", "bare"]
