"""When requests are made, to the exact moment: pauses, budget, holds, one schedule for all runs of a workspace."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from youtube_loopback import Trouble, mapped, player_answer, refusal

from v2a_data.console import Console
from v2a_data.engine import SerialEngine
from v2a_data.errors import SiteStopError
from v2a_data.fetch.pacing import DAY_S, Pace, moment
from v2a_data.fetch.stage import fetch
from v2a_data.fetch.wishes import FetchResult, Wishes
from v2a_data.recipe import FetchSection, load_recipe
from v2a_data.sources.ids import Ids
from v2a_data.workspace import Workspace

IDS = ["aaaaaaaaaaa", "bbbbbbbbbbb", "ccccccccccc"]
REQUESTS = ("/watch", "/youtubei/v1/player", "/iframe_api", "/youtubei/v1/player", "/videoplayback", "/videoplayback")


class Site:
    """Three playable videos on a site, and one workspace that is opened anew for each run."""

    def __init__(self, files: dict[int, Path], folder: Path, clock: Any, console: Console) -> None:
        self.files, self.folder, self.clock, self.console = files, folder, clock, console
        self.answers: dict[str, Any] = {name: player_answer(name, 11.0, files) for name in IDS}
        self.times: list[tuple[float, str]] = []

    def run(
        self, *lines: str, gaps: Iterator[float] | None = None, wishes: Wishes | None = None, **options: Any
    ) -> FetchResult:
        recipe = load_recipe("airplane", {"fetch": options})
        wishes = wishes or Wishes()

        def note(path: str) -> None:
            self.times.append((round(self.clock.now() - self.clock.start, 6), path.partition("?")[0]))

        def draw(low: float, high: float) -> float:
            assert (low, high) == recipe.fetch.sleep_s
            return high if gaps is None else next(gaps)

        with mapped(self.answers, self.files, note) as self.requests, Workspace.open(self.folder, "t") as workspace:
            pace = Pace(workspace.ledger, recipe.fetch, cookies=wishes.cookies is not None, draw=draw)
            return fetch(workspace, recipe, Ids(lines or IDS), SerialEngine(), self.console, wishes, pace=pace)

    def starts(self) -> list[float]:
        return [at for at, path in self.times if path == "/watch"]


@pytest.fixture
def site(files, tmp_path: Path, clock, console: Console) -> Site:
    return Site(files, tmp_path / "w", clock, console)


def test_what_is_usual() -> None:
    usual = FetchSection()
    assert (usual.sleep_s, usual.sleep_requests_s) == ((10.0, 20.0), 0.75)
    assert (usual.per_day, usual.longest_wait_s, usual.source_address) == (500, 60.0, None)
    assert load_recipe("airplane").fetch.sleep_s == (10.0, 20.0)


def test_every_request_has_its_time(site: Site) -> None:
    site.run(gaps=iter([99.0, 12.5, 17.25, 10.0]))
    expected = []
    # Three pauses between the four requests before a download, none between its own; then the pause between videos.
    for start in (0.0, 2.25 + 12.5, 2.25 + 12.5 + 2.25 + 17.25):
        expected += [
            (start + after, path) for after, path in zip((0, 0.75, 1.5, 2.25, 2.25, 2.25), REQUESTS, strict=True)
        ]
    assert site.times == expected


def test_one_extraction_per_video(site: Site) -> None:
    site.run()
    made = [path for _, path in site.times]
    assert made == [*REQUESTS] * 3


def test_another_run_goes_on_with_the_same_schedule(site: Site) -> None:
    site.run(IDS[0])
    site.clock.time += 3.0
    site.run(*IDS[:2])
    assert site.starts() == [0.0, 2.25 + 20.0]


def test_a_clock_that_was_set_back_stops_nothing_for_longer_than_a_pause(site: Site) -> None:
    site.run(IDS[0])
    site.clock.time -= 10 * DAY_S
    site.run(*IDS[:2])
    assert site.clock.waits[-4] == 20.0


def test_the_days_budget_outlives_runs(site: Site) -> None:
    first = site.run(per_day=2)
    assert (first.fetched, first.go_on_at) == (2, moment(site.clock.start + DAY_S))
    site.clock.time = site.clock.start + DAY_S - 1
    again = site.run(per_day=2)
    assert (again.fetched, again.go_on_at) == (0, first.go_on_at)
    assert len(site.starts()) == 2
    site.clock.time = site.clock.start + DAY_S + 1
    assert site.run(per_day=2).fetched == 1


def test_most_downloads_of_one_run(site: Site) -> None:
    assert site.run(wishes=Wishes(most_downloads=2)).fetched == 2
    assert site.run(wishes=Wishes(most_downloads=2)).fetched == 1


def test_a_short_wish_is_waited_for_to_the_second(site: Site) -> None:
    site.answers[IDS[0]] = Trouble("player", 429, site.answers[IDS[0]], {"Retry-After": "33"}, times=1)
    result = site.run(sleep_s=[0, 0])
    assert (result.fetched, dict(result.reasons)) == (3, {"http_429": 1})
    asked = 0.75
    # The next request of any kind comes when the wish is over; the video itself comes again.
    assert next(at for at, _ in site.times if at > asked) == asked + 33.0
    assert sorted(path for at, path in site.times if at <= asked) == ["/watch", "/youtubei/v1/player"]


def test_a_long_wish_ends_the_run_and_binds_the_next_one(site: Site) -> None:
    good = site.answers[IDS[1]]
    site.answers[IDS[1]] = Trouble("media", 429, good, {"Retry-After": "7200"})
    with pytest.raises(SiteStopError) as caught:
        site.run()
    until = site.clock.now() + 7200
    assert f"go on after {moment(until)}" in str(caught.value.hint)
    asked = len(site.times)
    site.answers[IDS[1]] = good
    site.clock.time = until - 61
    with pytest.raises(SiteStopError, match="left alone"):
        site.run()
    assert len(site.times) == asked
    site.clock.time = until - 59  # less than fetch.longest_wait_s
    assert site.run().fetched == 2
    assert site.times[asked][0] == until - site.clock.start


def test_a_long_wish_counts_with_whatever_it_came(site: Site) -> None:
    good = site.answers[IDS[0]]
    site.answers[IDS[0]] = Trouble("media", 503, good, {"Retry-After": "4000"})
    with pytest.raises(SiteStopError) as caught:
        site.run()
    until = site.clock.now() + 4000
    assert f"go on after {moment(until)}" in str(caught.value.hint)
    assert sum(path == "/videoplayback" for _, path in site.times) == 1, "it is not asked again in between"
    site.answers[IDS[0]] = good
    site.clock.time = until - 59
    assert site.run().fetched == 3


def test_a_short_wish_does_not_end_what_another_session_was_told(site: Site) -> None:
    with Workspace.open(site.folder, "test") as workspace:
        guest, own = (Pace(workspace.ledger, FetchSection(), cookies=own, clock=site.clock) for own in (False, True))
        until = guest.set_hold("bot_check", 6 * 3600).until
        own.set_hold("http_429", 30)
        found = guest.hold()
    assert found is not None
    assert (found.until, found.failure) == (until, "bot_check")


@pytest.mark.parametrize(
    ("answer", "hours"),
    [
        (refusal("LOGIN_REQUIRED", "Sign in to confirm you\u2019re not a bot"), 6),
        (refusal("UNPLAYABLE", "Video unavailable", "This content isn't available, try again later."), 1),
    ],
)
def test_without_a_word_of_the_site_the_usual_pause_counts(answer: dict, hours: int, site: Site) -> None:
    site.answers[IDS[0]] = answer
    with pytest.raises(SiteStopError) as caught:
        site.run()
    assert moment(site.clock.now() + 3600 * hours) in str(caught.value.hint)
    assert len(site.starts()) == 1


def test_a_bot_check_binds_the_session_that_it_was_said_to(site: Site, tmp_path: Path) -> None:
    site.answers[IDS[0]] = refusal("LOGIN_REQUIRED", "Sign in to confirm you\u2019re not a bot")
    with pytest.raises(SiteStopError):
        site.run()
    site.answers[IDS[0]] = player_answer(IDS[0], 11.0, site.files)
    jar = tmp_path / "jar.txt"
    jar.write_text("# Netscape HTTP Cookie File\n")
    jar.chmod(0o600)
    with pytest.raises(SiteStopError):
        site.run()
    assert site.run(wishes=Wishes(cookies=str(jar))).fetched == 3


def test_a_blocked_address_binds_every_session_but_no_other_address(site: Site, tmp_path: Path) -> None:
    good = site.answers[IDS[0]]
    site.answers[IDS[0]] = Trouble("page", 429, {}, {"Retry-After": "4000"})
    with pytest.raises(SiteStopError):
        site.run()
    site.answers[IDS[0]] = good
    jar = tmp_path / "jar.txt"
    jar.write_text("# Netscape HTTP Cookie File\n")
    jar.chmod(0o600)
    with pytest.raises(SiteStopError):
        site.run(wishes=Wishes(cookies=str(jar)))
    assert site.run(source_address="127.0.0.9").fetched == 3
    assert site.requests.clients == {"127.0.0.9"}


def test_retry_after_as_a_date(site: Site) -> None:
    from email.utils import formatdate

    when = formatdate(site.clock.start + 0.75 + 30, usegmt=True)
    site.answers[IDS[0]] = Trouble("player", 429, site.answers[IDS[0]], {"Retry-After": when}, times=1)
    site.run(IDS[0], sleep_s=[0, 0])
    assert site.starts()[1] == pytest.approx(30.0, abs=1.0)
