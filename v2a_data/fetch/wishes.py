"""What one run of `fetch` is asked for, and what it did."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class FetchResult:
    """What one `fetch` did. `states` counts all videos of the workspace.

    `another_day` were not tried: they failed too lately. `all_started`: the run ended at the number of downloads that
    it was asked for. `go_on_at` is when the day's budget has room again, where it ended the run.
    """

    fetched: int = 0
    failed: int = 0
    listed: int = 0
    twins: int = 0  # files with the bytes of another one
    refused: int = 0  # listed, but removed earlier
    another_day: int = 0
    all_started: bool = False
    go_on_at: str | None = None
    reasons: Counter[str] = field(default_factory=Counter)
    states: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Wishes:
    """What one run is asked for: `target` videos in the workspace, `most_downloads` in this run, only the videos that
    failed with a class of `retry`, with the session of a `cookies` file."""

    target: int | None = None
    most_downloads: int | None = None
    retry: tuple[str, ...] = ()
    cookies: str | None = None
