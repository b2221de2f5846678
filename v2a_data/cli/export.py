"""`v2a-data export`: the table that a dataset is published as and rebuilt from."""

from pathlib import Path
from typing import Annotated

import typer

from v2a_data.cli.common import Common, DryRun, Force
from v2a_data.errors import ExitCode, UsageError


def export(
    common: Common,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The manifest to write, a .parquet file.")],
    without: Annotated[
        list[str] | None,
        typer.Option("--without", metavar="ID", help="Leave a video or clip out; may be given several times."),
    ] = None,
    dry_run: DryRun = False,
    force: Force = False,
) -> int:
    """Write the manifest of the shards: ids, times, labels, scores, checksums, recipe.

    No media and no paths of this machine. `fetch --manifest FILE`, curate and shard rebuild from it.

    \b
    v2a-data export manifest.parquet
    v2a-data fetch --manifest manifest.parquet -w elsewhere
    """
    from v2a_data.manifest import export as run_export
    from v2a_data.shards.format import STAMP
    from v2a_data.shards.read import open_shards
    from v2a_data.workspace import Workspace

    console = common.console
    if file.suffix != ".parquet":
        raise UsageError(f"{file}: a manifest is a .parquet file")
    if file.exists() and not force:
        raise UsageError(f"{file} exists", hint="--force overwrites it, or name another one")
    with Workspace.read(common.workspace) as workspace:
        if dry_run:
            count = len(open_shards(workspace.shards).entries)
            console.result({"dry_run": True, "clips": count}, f"would write {count} rows to {file}")
            return ExitCode.OK
        done = run_export(workspace, file, without or [])
    values = {
        "file": str(file),
        "rows": done.rows,
        "left_out": done.left_out,
        "sha256": done.sha256,
        "not_for_use": done.not_for_use,
    }
    lines = [STAMP] if done.not_for_use else []
    lines += [
        f"wrote {done.rows} rows to {file}" + (f", left out {done.left_out}" if done.left_out else ""),
        f"sha256 {done.sha256}",
        f"next, anywhere: v2a-data fetch --manifest {file.name} -w NEW; v2a-data curate -w NEW; v2a-data shard -w NEW",
    ]
    console.result(values, "\n".join(lines))
    return ExitCode.OK
