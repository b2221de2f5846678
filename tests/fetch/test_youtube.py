"""A `watch?v=` address goes through yt-dlp's own YouTube extractor, answers coming from loopback."""

from pathlib import Path

import pytest
from youtube_loopback import mapped, player_answer, refusal

from v2a_data.console import Console
from v2a_data.engine import SerialEngine
from v2a_data.errors import SiteStopError
from v2a_data.fetch.download import FetchRequest, fetch_video
from v2a_data.fetch.hosts import allowed_url
from v2a_data.fetch.stage import fetch
from v2a_data.recipe import FetchSection, load_recipe
from v2a_data.sources.ids import Ids
from v2a_data.workspace import Workspace

PLAYABLE = "-0DdlOuIFUI"
ANSWERS = {
    "private0000": refusal("LOGIN_REQUIRED", "Private video", "Sign in if you've been granted access to this video"),
    "removed0000": refusal("ERROR", "Video unavailable", "This video has been removed by the uploader"),
    "bare0000000": refusal("ERROR", "Video unavailable"),
    "botcheck000": refusal("LOGIN_REQUIRED", "Sign in to confirm you\u2019re not a bot"),
    "ratelimit00": refusal(
        "UNPLAYABLE", "Video unavailable", "This content isn't available, try again later. Rate-limited by YouTube"
    ),
}


def ask(native: str, folder: Path, **more: str):
    url = f"https://www.youtube.com/watch?v={native}"
    options = FetchSection(sleep_s=(0.0, 0.0), sleep_requests_s=0, **more)
    return fetch_video(FetchRequest(f"yt-{native}", native, url, None, str(folder), str(folder / native), options))


def test_picture_and_sound_are_fetched_apart_and_joined(files: dict[int, Path], tmp_path: Path) -> None:
    with mapped({PLAYABLE: player_answer(PLAYABLE, 11.0, files)}, files) as requests:
        outcome = ask(PLAYABLE, tmp_path)
    assert outcome.failure is None, outcome.message
    assert sum("/youtubei/v1/player" in r for r in requests) >= 1
    assert [r for r in requests if "videoplayback" in r and "itag=134" in r]
    assert [r for r in requests if "videoplayback" in r and "itag=140" in r]
    assert outcome.probe["picture"]["frames"] == 275
    assert outcome.probe["sound"]["codec"] == "aac"
    assert outcome.probe["duration_s"] == pytest.approx(11.0, abs=0.05)


SIZES = {160: (256, 144), 133: (426, 240), 134: (640, 360), 136: (1280, 720)}


@pytest.mark.parametrize("portrait", [False, True])
@pytest.mark.parametrize(
    ("offered", "wanted", "taken"),
    [
        ((160, 133, 134, 136), "res:144", 160),
        ((160, 133, 134, 136), "res:360", 134),
        ((133, 134, 136), "res:144", 133),
        ((160, 136), "res:360", 160),
        ((136,), "res:144", 136),
    ],
)
def test_the_smallest_sufficient_format_is_taken_whichever_way_it_stands(
    portrait: bool, offered: tuple[int, ...], wanted: str, taken: int, files, tmp_path: Path
) -> None:
    """`res` is the shorter side; where there is none of that size, the next better below or else above it."""
    pictures = dict.fromkeys(offered, files[134])
    answer = player_answer(PLAYABLE, 11.0, files)
    small, sound = answer["streamingData"]["adaptiveFormats"]
    formats = []
    for itag in offered:
        width, height = SIZES[itag][::-1] if portrait else SIZES[itag]
        url = small["url"].replace("itag=134", f"itag={itag}")
        label = f"{min(width, height)}p"
        formats.append({**small, "itag": itag, "width": width, "height": height, "url": url, "qualityLabel": label})
    answer["streamingData"]["adaptiveFormats"] = [*formats, sound]
    with mapped({PLAYABLE: answer}, {**pictures, 140: files[140]}) as requests:
        outcome = ask(PLAYABLE, tmp_path, format_sort=f"{wanted},vcodec:h264,acodec:aac")
    assert outcome.failure is None, outcome.message
    assert [r.partition("itag=")[2].partition("&")[0] for r in requests if "videoplayback" in r] == [str(taken), "140"]


def test_one_file_with_both_is_taken_where_there_is_nothing_else(files, media, tmp_path: Path) -> None:
    answer = player_answer(PLAYABLE, 11.0, files)
    both = {**answer["streamingData"]["adaptiveFormats"][0], "itag": 18}
    both["mimeType"] = 'video/mp4; codecs="avc1.42001E, mp4a.40.2"'
    both["url"] = both["url"].replace("itag=134", "itag=18")
    both.pop("contentLength")
    answer["streamingData"] |= {"adaptiveFormats": [], "formats": [both]}
    with mapped({PLAYABLE: answer}, {18: media("a.mp4")}) as requests:
        assert ask(PLAYABLE, tmp_path).failure is None
    assert sum("videoplayback" in r for r in requests) == 1


@pytest.mark.parametrize(
    ("native", "failure", "then"),
    [
        ("private0000", "private", "gone"),
        ("removed0000", "removed", "gone"),
        ("bare0000000", "bare", "gone"),
        ("botcheck000", "bot_check", "stop"),
        ("ratelimit00", "rate_limited", "stop"),
    ],
)
def test_refusals_keep_the_sites_words(native: str, failure: str, then: str, files, tmp_path: Path) -> None:
    with mapped(ANSWERS, files):
        outcome = ask(native, tmp_path)
    assert (outcome.failure, outcome.then) == (failure, then)
    assert ANSWERS[native]["playabilityStatus"]["reason"].split("\u2019")[0] in outcome.message


def test_a_bot_check_stops_the_run_and_blames_no_id(files, tmp_path: Path, console: Console) -> None:
    recipe = load_recipe("airplane", {"fetch": {"sleep_s": [0, 0]}})
    lines = [PLAYABLE, "private0000", "botcheck000", "removed0000"]
    with (
        mapped({PLAYABLE: player_answer(PLAYABLE, 11.0, files), **ANSWERS}, files),
        Workspace.open(tmp_path / "w", "t") as workspace,
    ):
        with pytest.raises(SiteStopError) as caught:
            fetch(workspace, recipe, Ids(lines), SerialEngine(), console, None)
        states = {r["video_id"]: (r["state"], r["reason"]) for r in workspace.ledger.rows("SELECT * FROM videos")}
        attempts = [tuple(r) for r in workspace.ledger.rows("SELECT video_id, class FROM attempts ORDER BY id")]
    assert "bot_check at yt-botcheck000" in caught.value.message
    assert states == {
        f"yt-{PLAYABLE}": ("fetched", None),
        "yt-private0000": ("gone", "private"),
        "yt-botcheck000": ("listed", None),
    }
    assert attempts == [(f"yt-{PLAYABLE}", "ok"), ("yt-private0000", "private"), ("yt-botcheck000", "bot_check")]


def test_bare_unavailable_is_believed_on_the_second_day(files, tmp_path: Path, console: Console) -> None:
    recipe = load_recipe("airplane", {"fetch": {"sleep_s": [0, 0]}})
    asked = []
    with mapped(ANSWERS, files) as requests, Workspace.open(tmp_path / "w", "t") as workspace:
        for state, another_day in (("later", 0), ("later", 1), ("gone", 0), ("gone", 0)):
            result = fetch(workspace, recipe, Ids(["bare0000000"]), SerialEngine(), console, None)
            assert workspace.ledger.value("SELECT state FROM videos") == state
            assert result.another_day == another_day
            asked.append(sum("/watch" in path for path in requests))
            if len(asked) == 2:
                workspace.ledger.execute("UPDATE attempts SET at = '2026-01-01T00:00:00Z'")
        tries = [tuple(row) for row in workspace.ledger.rows("SELECT class, tries FROM attempts ORDER BY id")]
    # On the same day the site is not asked again: it would say the same.
    assert asked == [1, 1, 2, 2]
    assert tries == [("bare", 1), ("bare", 2)]


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://www.youtube.com/watch?v=x", True),
        ("https://rr1---sn-x.googlevideo.com/videoplayback", True),
        ("http://www.youtube.com/watch?v=x", False),
        ("https://youtube.com.evil.org/x", False),
        ("https://notyoutube.com/x", False),
        ("http://127.0.0.1:80/x", False),
        ("http://169.254.169.254/latest", False),
        ("file:///etc/passwd", False),
        ("https://[::1]/x", False),
        ("https://user:pw@evil.org/youtube.com", False),
    ],
)
def test_hosts(url: str, allowed: bool) -> None:
    assert allowed_url(url, FetchSection().hosts) is allowed


def test_loopback_only_where_a_recipe_names_it() -> None:
    assert allowed_url("http://127.0.0.1:8988/media/x.mp4", ("127.0.0.1",))
    assert not allowed_url("http://127.0.0.2/x", ("127.0.0.1",))


def test_a_planted_configuration_has_no_effect(files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = tmp_path / "canary"
    for place in (tmp_path / "yt-dlp.conf", tmp_path / ".config" / "yt-dlp" / "config"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"--exec 'touch {canary}'\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.chdir(tmp_path)
    with mapped({PLAYABLE: player_answer(PLAYABLE, 11.0, files)}, files):
        assert ask(PLAYABLE, tmp_path).failure is None
    assert not canary.exists()
