"""Runs that were killed, streaks of failures, retries by class, the disk's mark: nothing twice, nothing half, nothing lost."""

from pathlib import Path
from typing import Any

import pytest
from youtube_loopback import Trouble, mapped, player_answer, refusal

from v2a_data.console import Console
from v2a_data.engine import Job, OnResult, SerialEngine, run_step
from v2a_data.errors import DiskError, ExitCode, FatalError, NothingError, SiteStopError, UsageError
from v2a_data.fetch import disk, ytdlp
from v2a_data.fetch.stage import fetch
from v2a_data.fetch.streak import MOST_IN_A_ROW
from v2a_data.fetch.wishes import Wishes
from v2a_data.recipe import load_recipe
from v2a_data.sources.ids import Ids
from v2a_data.workspace import Workspace

IDS = ["aaaaaaaaaaa", "bbbbbbbbbbb"]
BARE = refusal("ERROR", "Video unavailable")


class KilledError(Exception):
    """Stands for SIGKILL: nothing after it is done."""


class DyingEngine(SerialEngine):
    """Ends before a job is worked on, or when it is done and the driver has not heard of it."""

    def __init__(self, when: str) -> None:
        self.when = when

    def run(self, jobs: Any, on_result: OnResult, *, at_most: int | None = None) -> None:
        for job in jobs:
            assert isinstance(job, Job)
            if self.when == "after":
                run_step(job.steps[0].function, *job.steps[0].args)
            raise KilledError


def run(folder: Path, console: Console, ids: list[str] = IDS, engine: Any = None, wishes: Any = None, **options: Any):
    recipe = load_recipe("airplane", {"fetch": {"sleep_s": [0, 0], "sleep_requests_s": 0, **options}})
    with Workspace.open(folder, "t") as workspace:
        return fetch(workspace, recipe, Ids(ids), engine or SerialEngine(), console, wishes)


def look(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with Workspace.read(folder) as workspace:
        return [tuple(row) for row in workspace.ledger.rows(sql)]


def dump(folder: Path) -> dict[str, Any]:
    with Workspace.read(folder) as workspace:
        return workspace.ledger.dump()


def playable(files: dict[int, Path], ids: list[str] = IDS) -> dict[str, Any]:
    return {name: player_answer(name, 11.0, files) for name in ids}


ATTEMPTS = "SELECT video_id, stage, class, tries FROM attempts ORDER BY id"


def test_a_finished_download_is_not_fetched_twice(files, tmp_path: Path, console: Console, clock) -> None:
    with mapped(playable(files), files) as requests:
        run(tmp_path / "undisturbed", console)
        with pytest.raises(KilledError):
            run(tmp_path / "w", console, engine=DyingEngine("after"))
        assert [path.suffix for path in sorted((tmp_path / "w" / "media").glob("*/*"))] == [".json", ".mp4"]
        before = len(requests)
        run(tmp_path / "w", console)
    assert not [path for path in requests[before:] if IDS[0] in path]
    assert look(tmp_path / "w", ATTEMPTS) == [(f"yt-{name}", "fetch", "ok", 1) for name in IDS]
    # Title and channel too: as if nothing had happened.
    assert dump(tmp_path / "w") == dump(tmp_path / "undisturbed")
    assert not [*(tmp_path / "w" / "media").glob("*/*.json")]


@pytest.mark.parametrize("damage", ["media", "note", "gone"])
def test_what_is_not_whole_is_fetched_again(damage: str, files, tmp_path: Path, console: Console, clock) -> None:
    with mapped(playable(files), files):
        with pytest.raises(KilledError):
            run(tmp_path / "w", console, engine=DyingEngine("after"))
        note, media = sorted((tmp_path / "w" / "media").glob("*/*"))
        if damage == "gone":
            media.unlink()
        else:
            path = {"media": media, "note": note}[damage]
            path.write_bytes(path.read_bytes()[:-100])
        run(tmp_path / "w", console)
    assert look(tmp_path / "w", ATTEMPTS) == [
        (f"yt-{IDS[0]}", "fetch", "interrupted", 1),
        (f"yt-{IDS[0]}", "fetch", "ok", 2),
        (f"yt-{IDS[1]}", "fetch", "ok", 1),
    ]
    assert not [*(tmp_path / "w" / "media").glob("*/*.json")]


def test_a_download_that_a_kill_ended_is_an_attempt(files, tmp_path: Path, console: Console, clock) -> None:
    with mapped(playable(files), files):
        with pytest.raises(KilledError):
            run(tmp_path / "w", console, engine=DyingEngine("before"))
        run(tmp_path / "w", console)
    found = look(tmp_path / "w", ATTEMPTS)
    assert found[0] == (f"yt-{IDS[0]}", "fetch", "interrupted", 1)
    assert [row[2] for row in found] == ["interrupted", "ok", "ok"]
    assert look(tmp_path / "w", "SELECT COUNT(*) FROM starts WHERE video_id IS NOT NULL") == [(0,)]


def test_a_streak_stops_the_run_before_live_ids_are_called_dead(files, tmp_path: Path, console: Console, clock) -> None:
    ids = [f"bare{n:07d}" for n in range(MOST_IN_A_ROW + 3)]
    with mapped(dict.fromkeys(ids, BARE), files) as requests:
        with pytest.raises(SiteStopError, match=f"{MOST_IN_A_ROW} downloads in a row failed: bare"):
            run(tmp_path / "w", console, ids)
        assert sum("/watch" in path for path in requests) == MOST_IN_A_ROW
        with Workspace.open(tmp_path / "w", "t") as workspace:
            workspace.ledger.execute("UPDATE attempts SET at = '2026-01-01T00:00:00Z'")
        # The second day, on which each of them alone would be believed.
        with pytest.raises(SiteStopError):
            run(tmp_path / "w", console, ids)
        assert look(tmp_path / "w", "SELECT DISTINCT state FROM videos ORDER BY 1") == [("later",)]
        # Not one after the other, they are.
        good = playable(files)
        with Workspace.open(tmp_path / "w", "t") as workspace:
            workspace.ledger.execute("UPDATE attempts SET at = '2026-01-02T00:00:00Z'")
    mixed = [ids[0], IDS[0], ids[1], IDS[1]]
    with mapped({**dict.fromkeys(ids, BARE), **good}, files):
        run(tmp_path / "w", console, mixed)
    states = dict(look(tmp_path / "w", "SELECT native_id, state FROM videos"))
    assert [states[name] for name in mixed] == ["gone", "fetched", "gone", "fetched"]


def test_a_dead_network_is_not_the_sites_wish(files, tmp_path: Path, console: Console, clock, monkeypatch) -> None:
    monkeypatch.setattr(ytdlp, "_LONGEST_RETRY_S", 0.0)
    ids = [f"dead{n:07d}" for n in range(MOST_IN_A_ROW + 1)]
    with mapped(dict.fromkeys(ids, Trouble("player", "reset")), files), pytest.raises(FatalError) as caught:
        run(tmp_path / "w", console, ids)
    assert caught.value.exit_code == ExitCode.FAILURE
    assert "network" in str(caught.value.hint)
    assert look(tmp_path / "w", "SELECT state, COUNT(*) FROM videos GROUP BY 1") == [("later", MOST_IN_A_ROW)]


def test_retry_takes_a_class_and_nothing_else(files, tmp_path: Path, console: Console, clock) -> None:
    ids = ["private0000", "removed0000", "bare0000000", "good0000000"]
    answers = {
        "private0000": refusal("LOGIN_REQUIRED", "Private video"),
        "removed0000": refusal("ERROR", "This video has been removed by the uploader"),
        "bare0000000": BARE,
        **playable(files, ids[3:]),
    }
    with mapped(answers, files):
        run(tmp_path / "w", console, ids)
    with mapped(playable(files, ids), files) as requests:
        result = run(tmp_path / "w", console, [], wishes=Wishes(retry=("private", "bare")))
        assert sorted(path.partition("v=")[2][:11] for path in requests if "/watch" in path) == [
            "bare0000000",
            "private0000",
        ]
    assert result.fetched == 2
    assert look(tmp_path / "w", "SELECT native_id, reason FROM videos WHERE state = 'gone'") == [
        ("removed0000", "removed")
    ]
    with pytest.raises(NothingError, match="failures here: 1 removed"):
        run(tmp_path / "w", console, [], wishes=Wishes(retry=("geo",)))
    with pytest.raises(UsageError, match="privat: no failure class"):
        run(tmp_path / "w", console, [], wishes=Wishes(retry=("privat",)))


def test_a_full_disk_is_seen_before_anything_is_asked(files, tmp_path: Path, console: Console, clock) -> None:
    with mapped(playable(files), files) as requests, pytest.raises(DiskError) as caught:
        run(tmp_path / "w", console, keep_free_gb=1e6)
    assert requests == []
    assert caught.value.exit_code == ExitCode.DISK
    assert "fetch.keep_free_gb" in caught.value.message


def test_a_disk_above_its_mark_pauses_the_run_until_there_is_space(
    files, tmp_path: Path, console: Console, clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Space comes back after some looks: the run goes on by itself. Where none does, it ends when its time is over."""
    looks: list[float] = []

    def free(folder: Path) -> int:
        looks.append(clock.now())
        return 0 if 2 <= len(looks) <= 5 else 10**12

    monkeypatch.setattr("v2a_data.fetch.disk.free_bytes", free)
    with mapped(playable(files), files) as requests:
        result = run(tmp_path / "w", console)
    assert result.fetched == len([path for path in requests if "/watch" in path]) > 0
    assert looks[5] - looks[1] == pytest.approx(4 * 5.0, abs=0.5)
    monkeypatch.setattr("v2a_data.fetch.disk.free_bytes", lambda folder: 0)
    began = clock.now()
    with mapped(playable(files), files) as requests, pytest.raises(DiskError):
        run(tmp_path / "other", console, longest_wait_s=60.0)
    assert requests == [] and clock.now() - began == pytest.approx(60, abs=1)


def test_a_disk_that_fills_up_ends_a_download_and_leaves_nothing(
    files, tmp_path: Path, console: Console, clock, monkeypatch
) -> None:
    free = iter([5e9, 5e9, 0.5e9])
    monkeypatch.setattr(disk, "free_bytes", lambda folder: next(free))
    monkeypatch.setattr(ytdlp, "_DISK_CHECK_BYTES", 1000)
    with mapped(playable(files), files):
        with pytest.raises(DiskError, match=r"0\.5 GB are free"):
            run(tmp_path / "w", console)
        assert not [*(tmp_path / "w" / "media").rglob("*.*")]
        assert not [*(tmp_path / "w" / "tmp").iterdir()]
        monkeypatch.setattr(disk, "free_bytes", lambda folder: 5e9)
        assert run(tmp_path / "w", console).fetched == 2


def test_live_and_long_ones_and_other_licences_are_not_downloaded(
    files, tmp_path: Path, console: Console, clock
) -> None:
    answers = playable(files, ["livelivelive"[:11], "longlonglong"[:11], "standard000", "free0000000"])
    answers["livelivelive"[:11]]["videoDetails"] |= {"isLive": True, "isLiveContent": True}
    answers["longlonglong"[:11]]["videoDetails"]["lengthSeconds"] = "3601"
    answers["free0000000"]["licence"] = "Creative Commons Attribution license (reuse allowed)"
    with mapped(answers, files) as requests:
        run(tmp_path / "w", console, list(answers), licence="cc")
    found = dict(look(tmp_path / "w", "SELECT native_id, coalesce(reason, state) FROM videos"))
    assert found == {
        "livelivelive"[:11]: "live",
        "longlonglong"[:11]: "too_long",
        "standard000": "not_cc",
        "free0000000": "fetched",
    }
    assert {path.partition("id=")[2][:11] for path in requests if "videoplayback" in path} == {"free0000000"}


def test_terms_are_said_once_per_workspace(files, tmp_path: Path, clock, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console("fetch", quiet=True)
    with mapped(playable(files), files):
        for _ in range(2):
            run(tmp_path / "w", console)
    assert capsys.readouterr().err.count("terms of service") == 1
