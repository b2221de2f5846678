"""`v2a-data remove`: take videos out for good."""

from typing import TYPE_CHECKING, Annotated

import typer

from v2a_data.cli.common import Common, DryRun
from v2a_data.errors import ExitCode

if TYPE_CHECKING:
    from v2a_data.removal.remove import Plan, Removal

_LINES = 20


def remove(
    common: Common,
    ids: Annotated[
        list[str] | None,
        typer.Option(
            "--ids", metavar="ID[,ID]", help="Video ids, YouTube ids or addresses; may be given several times."
        ),
    ] = None,
    ids_file: Annotated[
        str | None, typer.Option("--ids-file", metavar="FILE|-", help="The same, one per line.")
    ] = None,
    channel: Annotated[
        list[str] | None, typer.Option("--channel", metavar="ID", help="All videos of a channel, by its id or address.")
    ] = None,
    dry_run: DryRun = False,
) -> int:
    """Take videos out of the dataset and refuse them from now on.

    Media, rows, scores, votes, samples; only the shards that held them are written again, from their own bytes.
    Nothing that names them stays but a salted hash. Interrupted, the same command goes on.

    \b
    v2a-data remove --ids dQw4w9WgXcQ
    v2a-data remove --channel UCuAXFkgsw1L7xaCfnd5JJOw --dry-run
    """
    from dataclasses import asdict

    from v2a_data.cli.fetch import lines_of
    from v2a_data.removal.find import parse_wanted
    from v2a_data.removal.remove import plan
    from v2a_data.removal.remove import remove as run_remove
    from v2a_data.runs import RunRecord

    words = [word for text in ids or [] for word in text.split(",")] + (lines_of(ids_file, []) or [])
    names = [word.strip() for word in words if word.strip() and not word.lstrip().startswith("#")]
    wanted = parse_wanted(names, channel or [])
    with common.open_workspace(dry_run=dry_run) as workspace:
        if dry_run:
            would = plan(workspace.ledger, workspace, wanted)
            common.console.result({"dry_run": True, **asdict(would)}, _would(would))
            return ExitCode.OK
        # Its own record must not name what it takes out.
        with RunRecord(workspace.runs, common.command, ["v2a-data", "remove", "…"]) as record:
            result = run_remove(workspace, wanted, common.console)
            counts = {"videos": result.videos, "samples": result.shards.samples, "left": len(result.left)}
            record.note(**counts)
    common.console.result(asdict(result), "\n".join(_summary(result)))
    return ExitCode.PARTIAL if result.left or result.shards.damaged else ExitCode.OK


def _would(would: "Plan") -> str:
    lines = [
        f"would remove {would.videos} videos ({would.media_bytes / 1e6:.1f} MB), {would.clips} clips, "
        f"{would.samples} samples, {would.votes} votes",
        f"would write {len(would.shards)} shards again",
    ]
    lines += [f"{would.elsewhere} ids are not here; they would be refused from then on"] if would.elsewhere else []
    return "\n".join(lines)


def _summary(result: "Removal") -> list[str]:
    shards = result.shards
    lines = [
        f"removed {result.videos} videos: {result.media_files} files ({result.media_bytes / 1e6:.1f} MB), "
        f"{result.rows.get('clips', 0)} clips, {shards.samples} samples, {result.rows.get('votes', 0)} votes",
        f"written again: {len(shards.shards)} shards, {result.parts} score tables, "
        f"{len(result.swept.edited)} other files",
    ]
    if result.elsewhere:
        lines.append(f"{result.elsewhere} ids were not here; they are refused from now on")
    lines += [f"deleted, for it held no other sample: shards/{name}" for name in shards.emptied[:_LINES]]
    lines += [f"deleted, for it named one: {name}" for name in result.swept.deleted[:_LINES]]
    lines += [f"damaged before: {key}; `v2a-data repair` puts it back" for key in shards.damaged[:_LINES]]
    lines += [f"left: {name} still names one; delete it by hand" for name in result.left[:_LINES]]
    if any(name.startswith("checkpoints/") for name in result.swept.deleted) or shards.shards:
        lines.append("models that were trained before have seen the samples; `v2a train --force` begins anew")
    return lines
