"""Every failure class out of the real extractor, from served player answers and a server's real refusals."""

from pathlib import Path
from typing import Any

import pytest
from youtube_loopback import Trouble, mapped, player_answer, refusal

from v2a_data.fetch import ytdlp
from v2a_data.fetch.download import FetchRequest, fetch_video
from v2a_data.fetch.failures import CLASSES, UNKNOWN
from v2a_data.fetch.finished import FetchOutcome
from v2a_data.recipe import FetchSection

ID = "abcdefghi-_"
GONE = "Video unavailable"
MEMBERS = "available to this channel's members on level: Gold"
PROCESSING = "We're processing this video. Check back later."
COUNTRY = "The uploader has not made this video available in your country"
# Reasons as they were seen in public logs: status, reason, subreason.
REFUSALS = [
    ("bot_check", "LOGIN_REQUIRED", "Sign in to confirm you\u2019re not a bot", None),
    ("rate_limited", "UNPLAYABLE", GONE, "This content isn't available, try again later."),
    ("private", "LOGIN_REQUIRED", "Private video", "Sign in if you've been granted access to this video"),
    ("private", "ERROR", "This video is private", None),
    ("age", "LOGIN_REQUIRED", "Sign in to confirm your age", "This video may be inappropriate for some users."),
    ("members", "UNPLAYABLE", "Join this channel to get access to members-only content like this video", None),
    ("members", "UNPLAYABLE", f"This video is {MEMBERS} (or any higher level)", None),
    ("members", "UNPLAYABLE", "This video is only available to Music Premium members", None),
    ("paid", "UNPLAYABLE", "This video requires payment to watch", None),
    ("geo", "UNPLAYABLE", GONE, "This video contains content from X, who has blocked it in your country on copyright grounds"),
    ("copyright", "ERROR", GONE, "This video is no longer available due to a copyright claim by X"),
    ("copyright", "UNPLAYABLE", GONE, "This video contains content from X, who has blocked it on copyright grounds"),
    ("terminated", "ERROR", GONE, "This video is no longer available because the YouTube account associated with this video has been terminated."),
    ("removed", "ERROR", GONE, "This video has been removed by the uploader"),
    ("removed", "ERROR", "This video has been removed for violating YouTube's Terms of Service", None),
    ("removed", "ERROR", "This video has been removed for violating YouTube's policy on spam", None),
    ("removed", "ERROR", GONE, "This video isn't available anymore"),
    ("removed", "ERROR", "This video is not available", None),
    ("live", "LIVE_STREAM_OFFLINE", "This live event will begin in 3 hours.", None),
    ("live", "LIVE_STREAM_OFFLINE", "Premieres in 2 days", None),
    ("live", "LIVE_STREAM_OFFLINE", "Premiere will begin shortly", None),
    ("live_gone", "LIVE_STREAM_OFFLINE", "This live stream recording is not available.", None),
    ("live_gone", "ERROR", "This live event has ended.", None),
    ("processing", "ERROR", PROCESSING, None),
    ("setup", "LOGIN_REQUIRED", "The provided YouTube account cookies are no longer valid", None),
    ("bare", "ERROR", GONE, None),
    ("bare", "ERROR", "This video is unavailable", None),
    ("unknown", "ERROR", "A sentence that nobody has seen yet", None),
    ("unknown", "ERROR", GONE, "A reason that nobody has seen yet"),
]  # fmt: skip
# What goes wrong on the line: class, place of the request, what the server does.
TROUBLES = [
    *(("http_429", at, 429) for at in ("page", "player", "media")),
    *(("http_403", at, 403) for at in ("player", "media")),
    *(("transport", at, what) for at in ("player", "media") for what in (500, 502, 503, "reset", "stall")),
    ("http_429", "media", 402),
    ("http_gone", "media", 404),
    ("http_gone", "media", 410),
    ("unknown", "media", 418),
]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """yt-dlp's own pauses between tries, and the time after which a server that says nothing is given up."""
    monkeypatch.setattr(ytdlp, "_LONGEST_RETRY_S", 0.0)
    monkeypatch.setattr(ytdlp, "TIMEOUT_S", 0.2)


def ask(answer: dict | Trouble, files: dict[int, Path], folder: Path, player_js: bytes = b"", **options: Any):
    """The outcome of one video, and the requests that it took."""
    url = f"https://www.youtube.com/watch?v={ID}"
    section = FetchSection(sleep_requests_s=0, **options)
    with mapped({ID: answer}, files, player_js=player_js) as requests:
        outcome = fetch_video(FetchRequest(f"yt-{ID}", ID, url, None, str(folder), str(folder / ID), section))
    return outcome, list(requests)


def verdict(outcome: FetchOutcome) -> tuple[str | None, str]:
    return outcome.failure, outcome.attempt.stage


def playable(files: dict[int, Path], **streams: Any) -> dict:
    answer = player_answer(ID, 11.0, files)
    answer["streamingData"] |= streams
    return answer


@pytest.mark.parametrize(("name", "status", "reason", "subreason"), REFUSALS)
def test_refusals(name: str, status: str, reason: str, subreason: str | None, files, tmp_path: Path, clock) -> None:
    outcome, requests = ask(refusal(status, reason, subreason), files, tmp_path)
    assert verdict(outcome) == (name, "extract")
    assert (subreason or reason).split("\u2019")[0].rstrip(".") in outcome.message
    assert not [path for path in requests if "videoplayback" in path]


@pytest.mark.parametrize(("name", "at", "what"), TROUBLES)
def test_troubles_on_the_line(name: str, at: str, what: int | str, files, tmp_path: Path, clock) -> None:
    headers = {"Retry-After": "7"} if what == 429 else {}
    outcome, _ = ask(Trouble(at, what, playable(files), headers), files, tmp_path)
    assert verdict(outcome) == (name, "download" if at == "media" else "extract"), outcome.message
    assert outcome.retry_after_s == (7.0 if headers else None)


def test_a_country(files, tmp_path: Path, clock) -> None:
    where = {"microformat": {"playerMicroformatRenderer": {"availableCountries": ["DE", "FR"]}}}
    outcome, _ = ask(refusal("UNPLAYABLE", GONE, COUNTRY) | where, files, tmp_path)
    assert verdict(outcome) == ("geo", "extract")


def test_a_captcha(files, tmp_path: Path, clock) -> None:
    answer = refusal("LOGIN_REQUIRED", "Verify that it is you")
    answer["playabilityStatus"]["errorScreen"]["playerCaptchaViewModel"] = {"any": 1}
    assert verdict(ask(answer, files, tmp_path)[0]) == ("ip_blocked", "extract")


def test_answers_for_another_video_mean_a_blocked_address(files, tmp_path: Path, clock) -> None:
    answer = playable(files)
    answer["videoDetails"]["videoId"] = "someoneelse"
    assert verdict(ask(answer, files, tmp_path)[0]) == ("ip_blocked", "extract")


def test_protected_formats(files, tmp_path: Path, clock) -> None:
    formats = [{**row, "drmFamilies": ["WIDEVINE"]} for row in playable(files)["streamingData"]["adaptiveFormats"]]
    outcome, _ = ask(playable(files, licenseInfos=[{"any": 1}], adaptiveFormats=formats), files, tmp_path)
    assert verdict(outcome) == ("paid", "extract")


@pytest.mark.parametrize(
    ("streams", "words"),
    [
        ({"adaptiveFormats": []}, "No video formats found"),
        (
            {"adaptiveFormats": [], "hlsManifestUrl": "https://manifest.googlevideo.com/hls/list.m3u8"},
            "Requested format is not available",
        ),
    ],
)
def test_no_format_is_tried_once_more_with_a_wider_choice(
    streams: dict, words: str, files, tmp_path: Path, clock
) -> None:
    outcome, requests = ask(playable(files, **streams), files, tmp_path)
    assert verdict(outcome) == ("no_format", "extract")
    assert words in outcome.message
    assert [attempt.failure for attempt in outcome.before] == ["no_format"]
    assert sum("/watch" in path for path in requests) == 2
    assert clock.waits == [10.0], "never sooner than the recipe lets another download start"


def test_formats_behind_an_unsolved_challenge_are_the_set_up(files, tmp_path: Path, clock) -> None:
    formats = playable(files)["streamingData"]["adaptiveFormats"]
    hidden = [{**row, "url": f"{row['url']}&n=abcdefgh"} for row in formats]
    outcome, _ = ask(playable(files, adaptiveFormats=hidden), files, tmp_path, player_js=b"signatureTimestamp:20000")
    assert verdict(outcome) == ("setup", "extract")


def test_no_answer_at_all_is_the_set_up(files, tmp_path: Path, clock) -> None:
    assert verdict(ask({}, files, tmp_path)[0]) == ("setup", "extract")


def test_forbidden_media_are_extracted_anew(files, tmp_path: Path, clock) -> None:
    outcome, requests = ask(Trouble("media", 403, playable(files), times=2), files, tmp_path)
    assert outcome.failure is None
    assert [(attempt.stage, attempt.failure) for attempt in outcome.before] == [("download", "http_403")] * 2
    assert sum("/watch" in path for path in requests) == 3
    assert clock.waits == [10.0, 10.0]


def test_what_is_asked_to_wait_is_not_asked_again(files, tmp_path: Path, clock) -> None:
    for at, most in (("page", 1), ("player", 2), ("media", 5)):
        _, requests = ask(Trouble(at, 429, playable(files)), files, tmp_path)
        assert len(requests) == most, requests


def test_every_class_was_raised() -> None:
    told = (
        {row[0] for row in REFUSALS}
        | {row[0] for row in TROUBLES}
        | {"ip_blocked", "geo", "paid", "no_format", "setup"}
    )
    assert told == {row.name for row in (*CLASSES, UNKNOWN)}
