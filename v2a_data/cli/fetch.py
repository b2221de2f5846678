"""`v2a-data fetch`: list ids and download media."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2a_data.cli.common import Common, DryRun, Force, parse_limit
from v2a_data.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from v2a_data.fetch.stage import FetchResult


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
    dry_run: DryRun = False,
    force: Force = False,
) -> int:
    """List ids of labels and download their videos.

    Whole files in a small format, up to the recipe's number of videos or --limit.

    \b
    v2a-data fetch --label Airplane
    v2a-data fetch --source local --input my-videos --label Dog
    v2a-data fetch --manifest manifest.parquet
    """
    from v2a_data import rebuild
    from v2a_data.cli.recipes import choose_recipe
    from v2a_data.fetch import stage
    from v2a_data.recipe import merge
    from v2a_data.sources import SOURCES
    from v2a_data.sources.base import Source
    from v2a_data.sources.ids import Ids
    from v2a_data.sources.manifest import FromManifest

    wanted = parse_limit(limit)
    lines = lines_of(ids_file, url or [])
    console = common.console
    with common.open_workspace(dry_run=dry_run, create=True) as workspace:
        folder = str(Path(input).expanduser().resolve()) if input else None
        given = rebuild.choose(workspace, manifest)
        if given is not None:
            if label or source or common.recipe or lines is not None:
                raise UsageError(
                    "--label, --source, --recipe, --ids-file and --url: a manifest says all of that itself",
                    hint="beside --manifest only --input, --limit and --set of addresses and pacing make sense",
                )
            over = merge({"source": {"input": folder}} if folder else {}, common.overrides())
            recipe = rebuild.recipe_of(given, workspace.recipe(), over)
        else:
            recipe = choose_recipe(workspace, common, label or [], source, folder)
        chosen: Source = (
            FromManifest(given)
            if given is not None
            else Ids(lines)
            if lines is not None
            else SOURCES[recipe.source.name]()
        )
        listed = stage.expected(workspace, recipe, chosen)
        usual = recipe.fetch.target_videos if given is None else None
        target = None if wanted == "all" else wanted if isinstance(wanted, int) else usual
        console.say(stage.announcement(workspace, recipe, chosen, listed, target))
        if dry_run:
            console.result({"dry_run": True, "listed": listed, "target": target}, "nothing was fetched")
            return ExitCode.OK
        workspace.adopt(recipe, force=force)
        if given is not None:
            rebuild.begin(workspace, given)
        with common.record(workspace) as record:
            if ids_only:
                result = stage.list_only(workspace, recipe, chosen, wanted if isinstance(wanted, int) else None)
            else:
                engine = common.engine() if stage.parallel(recipe, chosen) else common.in_order()
                try:
                    result = stage.fetch(workspace, recipe, chosen, engine, console, target, listed)
                finally:
                    engine.close()
            record.note(
                fetched=result.fetched, failed=result.failed, reasons=dict(result.reasons), states=result.states
            )
        values = {
            "fetched": result.fetched,
            "failed": result.failed,
            "duplicate_files": result.twins,
            "refused": result.refused,
            "reasons": dict(result.reasons),
            "videos": result.states,
        }
        missing = rebuild.missing_videos(workspace) if given is not None else []
        values |= {"missing": missing} if given is not None else {}
        console.result(values, "\n".join([*_missing(missing), _summary(result, target)]))
    return ExitCode.PARTIAL if result.states.get("later") else ExitCode.OK


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
    if target is not None and result.states.get("fetched", 0) >= target:
        lines.append(f"stopped at {target} videos; --limit N or --limit all goes on")
    lines.append("next: v2a-data curate")
    return "\n".join(lines)
