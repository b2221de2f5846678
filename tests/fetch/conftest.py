"""What the fetch tests share: formats of one made file, a clock that only moves when it is waited for."""

import subprocess
from pathlib import Path

import pytest

from v2a_data.fetch import hosts, pacing
from v2a_data.media.ffmpeg import ffmpeg_path


@pytest.fixture(scope="session")
def files(media, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Picture and sound of one file apart, by the site's numbers for such formats."""
    source, folder = media("a.mp4"), tmp_path_factory.mktemp("formats")
    made = {134: folder / "v.mp4", 140: folder / "a.m4a"}
    for path, drop in ((made[134], "-an"), (made[140], "-vn")):
        subprocess.run([ffmpeg_path(), "-v", "error", "-i", str(source), drop, "-c", "copy", str(path)], check=True)
    return made


class StandingClock(pacing.Clock):
    """Moves by what is waited for, and by nothing else."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self.time = self.start = start
        self.waits: list[float] = []

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float) -> bool:
        if seconds > 0:
            self.waits.append(round(seconds, 6))
            self.time += seconds
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StandingClock:
    """The clock of driver and workers in this process."""
    standing = StandingClock()
    monkeypatch.setattr(pacing, "CLOCK", standing)
    return standing


@pytest.fixture(autouse=True)
def no_names_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mapped hosts are never connected to; a machine without a name server may take seconds to say so."""
    for name in ("www.youtube.com", "rr1---sn-test.googlevideo.com", "manifest.googlevideo.com"):
        monkeypatch.setitem(hosts._KNOWN, name, (float("inf"), True))
