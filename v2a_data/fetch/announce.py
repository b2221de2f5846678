"""What `fetch` says before it does anything: count, size, time, room, and once whose videos they are."""

from collections.abc import Sequence

from v2a_data.console import Console
from v2a_data.fetch.disk import bytes_per_video
from v2a_data.fetch.listing import failed_videos, listing_of
from v2a_data.files import free_bytes
from v2a_data.progress import duration
from v2a_data.recipe import Recipe
from v2a_data.runs import now
from v2a_data.sources import OF_FILES
from v2a_data.sources.base import Source
from v2a_data.workspace import Workspace

# What a download of the usual size takes beside the pauses.
_SECONDS_PER_VIDEO = 8.0
_DAY_S = 86_400.0
_SAID = "terms_said"
_TERMS = (
    "The videos belong to those who made them, and a site's terms of service say what may be fetched from it and what "
    "for. A label's licence covers the label alone. See that you may do this before you go on; `--license cc` takes "
    "only what is marked Creative Commons, `v2a-data fetch --source local` your own. (Said once per workspace.)"
)


def parallel(recipe: Recipe, source: Source) -> bool:
    """Whether several videos may be fetched at once: not from a site that wants pauses."""
    return recipe.fetch.sleep_s[1] == 0 or offline(recipe, source)


def offline(recipe: Recipe, source: Source) -> bool:
    """Whether everything that the source lists is a file."""
    given = recipe.source.input is not None and source.name in OF_FILES
    return given or source.name in ("local", "synthetic") or bool(getattr(source, "offline", False))


def expected(workspace: Workspace, recipe: Recipe, source: Source) -> int | None:
    """How many videos the source lists for the recipe's labels, found out without asking a site.

    Raises `NothingError` or `UsageError` for labels and inputs that the source does not have.
    """
    return source.count(recipe.labels, listing_of(workspace, source, recipe))


def ahead(
    workspace: Workspace, recipe: Recipe, source: Source, target: int | None, retry: Sequence[str]
) -> tuple[int | None, str]:
    """How many videos a run is about, where that is known, and what it says before it begins. Raises as `expected`."""
    if retry:
        count = len(failed_videos(workspace.ledger, retry))
        return count, f"{count} videos that failed with {', '.join(retry)} are tried again"
    listed = expected(workspace, recipe, source)
    return listed, announcement(workspace, recipe, source, listed, target)


def announcement(workspace: Workspace, recipe: Recipe, source: Source, listed: int | None, target: int | None) -> str:
    """What is about to happen: count, size and time, from the recipe's pacing."""
    have = workspace.ledger.value("SELECT COUNT(*) FROM videos WHERE state = 'fetched'")
    wanted = goal(listed, target)
    videos = max(0, (wanted or 0) - have)
    labels = ", ".join(recipe.labels) or "all labels"
    count = "" if listed is None else f"{listed} "
    start = f"{source.name} lists {count}videos of {labels}; {have} are here"
    if wanted is None:
        return f"{start}; as many as it lists, at {recipe.fetch.per_day} a day at most (fetch.per_day); --limit N stops"
    if offline(recipe, source):
        return f"{start}; {videos} to link or copy"
    if parallel(recipe, source):
        return f"{start}; up to {videos} to fetch"
    seconds = videos * (_SECONDS_PER_VIDEO + sum(recipe.fetch.sleep_s) / 2)
    days = max(0, videos - 1) // recipe.fetch.per_day
    long = f", at {recipe.fetch.per_day} a day (fetch.per_day)" if days and not recipe.fetch.own_site else ""
    wanted_gb = videos * bytes_per_video(workspace.ledger) / 1e9
    free_gb = free_bytes(workspace.root) / 1e9 - recipe.fetch.keep_free_gb
    room = f"; only {max(0.0, free_gb):.0f} GB are free for them" if wanted_gb > free_gb else ""
    time = duration(max(seconds, days * _DAY_S) if long else seconds)
    return f"{start}; {videos} to fetch, about {wanted_gb:.1f} GB, about {time}{long}{room}"


def goal(listed: int | None, target: int | None) -> int | None:
    """How many videos there will be in the end, null where neither number is known."""
    return min((count for count in (listed, target) if count is not None), default=None)


def say_terms(workspace: Workspace, recipe: Recipe, source: Source, console: Console) -> None:
    """Whose the videos are, once per workspace and only where a site is asked."""
    if offline(recipe, source) or recipe.fetch.own_site or workspace.ledger.meta(_SAID) is not None:
        return
    console.warn(_TERMS)
    with workspace.ledger.transaction():
        workspace.ledger.set_meta(_SAID, now())
