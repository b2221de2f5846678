"""`v2a-data fetch`: list ids and download media."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2a_data.cli.common import Common, DryRun, Force, KeepMedia, parse_keep_media, parse_limit
from v2a_data.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from v2a_data.fetch.wishes import FetchResult
    from v2a_data.manifest import Manifest
    from v2a_data.recipe import Recipe
    from v2a_data.sources.base import Source
    from v2a_data.workspace import Workspace


def fetch(
    common: Common,
    label: Annotated[list[str] | None, typer.Option("--label", help="A label; may be given several times.")] = None,
    source: Annotated[
        str | None, typer.Option("--source", help="youtube8m, audioset, vggsound, local, … (README).")
    ] = None,
    input: Annotated[
        str | None, typer.Option("--input", metavar="PATH", help="Folder of media, or of a mirror of a list.")
    ] = None,
    ids_only: Annotated[bool, typer.Option("--ids-only", help="List ids, download nothing.")] = False,
    ids_file: Annotated[
        str | None, typer.Option("--ids-file", metavar="FILE|-", help="YouTube ids or addresses, one per line.")
    ] = None,
    url: Annotated[
        list[str] | None, typer.Option("--url", help="A YouTube address; may be given several times.")
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option("--manifest", metavar="FILE", help="Rebuild the dataset of a file from `v2a-data export`."),
    ] = None,
    limit: Annotated[
        str | None,
        typer.Option(
            "--limit", metavar="N|all", help="Go on to N videos, or all. Default: the recipe's target_videos."
        ),
    ] = None,
    max_downloads: Annotated[
        int | None, typer.Option("--max-downloads", min=1, metavar="N", help="Start at most N downloads in this run.")
    ] = None,
    license: Annotated[
        str | None, typer.Option("--license", metavar="cc|any", help="cc: only what is marked Creative Commons.")
    ] = None,
    retry: Annotated[
        list[str] | None,
        typer.Option("--retry", metavar="CLASS,…", help="Only videos that failed so, gone ones too; see status."),
    ] = None,
    cookies: Annotated[
        str | None, typer.Option("--cookies", metavar="FILE", help="A session of your own; the file is only read.")
    ] = None,
    keep_media: KeepMedia = None,
    dry_run: DryRun = False,
    force: Force = False,
) -> int:
    """List ids of labels and download their videos.

    Whole files in a small format, up to the recipe's number of videos or --limit, with the pauses that sites ask for.

    \b
    v2a-data fetch --label Airplane
    v2a-data fetch --source local --input my-videos --label Dog
    v2a-data fetch --manifest manifest.parquet
    v2a-data fetch --retry bare,http_403
    """
    from v2a_data import rebuild
    from v2a_data.fetch import announce, stage
    from v2a_data.fetch.cookies import read_cookies
    from v2a_data.fetch.listing import list_only
    from v2a_data.fetch.wishes import FetchResult, Wishes

    wanted = parse_limit(limit)
    lines = lines_of(ids_file, url or [])
    console = common.console
    licence = [] if license is None else [f"fetch.licence={license}"]
    common = replace(common, sets=[*common.sets, *licence, *parse_keep_media(keep_media)])
    if cookies is not None:
        cookies = str(Path(cookies).expanduser().absolute())
        read_cookies(cookies)
    with common.open_workspace(dry_run=dry_run, create=True) as workspace:
        given, recipe, chosen = _choose(workspace, common, manifest, label or [], source, input, lines)
        classes = tuple(name.strip() for names in retry or [] for name in names.split(",") if name.strip())
        usual = recipe.fetch.target_videos if given is None and not classes else None
        target = None if wanted == "all" else wanted if isinstance(wanted, int) else usual
        listed, words = announce.ahead(workspace, recipe, chosen, target, classes)
        console.say(words)
        if dry_run:
            console.result({"dry_run": True, "listed": listed, "target": target}, "nothing was fetched")
            return ExitCode.OK
        workspace.adopt(recipe, force=force)
        if given is not None:
            rebuild.begin(workspace, given)
        with common.record(workspace) as record:
            if ids_only:
                most = wanted if isinstance(wanted, int) else None
                found = list_only(workspace, recipe, chosen, most)
                result = FetchResult(listed=found["new"], refused=found["refused"])
                result.states = workspace.ledger.counts("videos", "state")
            else:
                # A cluster that was asked for is used, one video at a time where a site wants pauses.
                cluster = common.scheduler is not None or announce.parallel(recipe, chosen)
                engine = common.engine() if cluster else common.in_order()
                wishes = Wishes(target, max_downloads, classes, cookies)
                try:
                    result = stage.fetch(workspace, recipe, chosen, engine, console, wishes, listed)
                finally:
                    engine.close()
            record.note(
                fetched=result.fetched, failed=result.failed, reasons=dict(result.reasons), states=result.states
            )
        missing = rebuild.missing_videos(workspace) if given is not None else []
        values = _values(result) | ({"missing": missing} if given is not None else {})
        console.result(values, "\n".join([*_missing(missing), _summary(result, target)]))
    return ExitCode.PARTIAL if result.states.get("later") or result.go_on_at else ExitCode.OK


def _choose(
    workspace: "Workspace",
    common: Common,
    manifest: Path | None,
    labels: list[str],
    source: str | None,
    input: str | None,
    lines: list[str] | None,
) -> "tuple[Manifest | None, Recipe, Source]":
    """The manifest to follow where there is one, the recipe, and the source of ids."""
    from v2a_data import rebuild
    from v2a_data.cli.recipes import choose_recipe
    from v2a_data.recipe import merge
    from v2a_data.sources import SOURCES
    from v2a_data.sources.ids import Ids
    from v2a_data.sources.manifest import FromManifest

    folder = str(Path(input).expanduser().resolve()) if input else None
    given = rebuild.choose(workspace, manifest)
    if given is None:
        recipe = choose_recipe(workspace, common, labels, source, folder)
        return None, recipe, Ids(lines) if lines is not None else SOURCES[recipe.source.name]()
    if labels or source or common.recipe or lines is not None:
        raise UsageError(
            "--label, --source, --recipe, --ids-file and --url: a manifest says all of that itself",
            hint="beside --manifest only --input, --limit and --set of addresses and pacing make sense",
        )
    over = merge({"source": {"input": folder}} if folder else {}, common.overrides())
    return given, rebuild.recipe_of(given, workspace.recipe(), over), FromManifest(given)


def _values(result: "FetchResult") -> dict[str, Any]:
    return {
        "fetched": result.fetched,
        "failed": result.failed,
        "duplicate_files": result.twins,
        "refused": result.refused,
        "another_day": result.another_day,
        "go_on_at": result.go_on_at,
        "reasons": dict(result.reasons),
        "videos": result.states,
    }


def lines_of(ids_file: str | None, urls: list[str]) -> list[str] | None:
    """Lines of `--ids-file` and `--url` together, null without either."""
    import sys

    if ids_file is None and not urls:
        return None
    lines = list(urls)
    if ids_file == "-":
        lines += sys.stdin.read().splitlines()
    elif ids_file is not None:
        if not Path(ids_file).is_file():
            raise UsageError(f"--ids-file {ids_file}: no such file")
        lines += Path(ids_file).read_text(encoding="utf-8", errors="replace").splitlines()
    return lines


def _missing(videos: list[dict[str, str]], most: int = 20) -> list[str]:
    """Lines for the videos of a manifest that are not to be had."""
    lines = [f"not here: {row['video_id']}  {row['state']}: {row['reason']}" for row in videos[:most]]
    return lines + ([f"and {len(videos) - most} more, all in --json"] if len(videos) > most else [])


def _summary(result: "FetchResult", target: int | None) -> str:
    states = ", ".join(f"{count} {name}" for name, count in result.states.items())
    lines = [f"fetched {result.fetched}, failed {result.failed}; all videos: {states}"]
    lines += [f"  {count:5d}  {reason}" for reason, count in result.reasons.most_common()]
    if result.refused:
        lines.append(f"  {result.refused:5d}  removed earlier from this dataset, refused")
    if result.twins:
        lines.append(f"  {result.twins:5d}  duplicate_file: the bytes of another one, whose row has its labels too")
    if result.another_day:
        lines.append(f"  {result.another_day:5d}  failed too lately to be tried again today; --retry CLASS does so")
    if result.all_started:
        lines.append("stopped at --max-downloads; the same command goes on")
    if result.go_on_at:
        lines.append(
            f"the day's downloads (fetch.per_day) are used up; the same command goes on after {result.go_on_at}"
        )
    if target is not None and result.states.get("fetched", 0) >= target:
        lines.append(f"stopped at {target} videos; --limit N or --limit all goes on")
    lines.append("next: v2a-data curate")
    return "\n".join(lines)
