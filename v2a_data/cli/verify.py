"""`v2a-data verify`: is every byte of the shards what was written?"""

from pathlib import Path
from typing import Annotated

import typer

from v2a_data.cli.common import Common
from v2a_data.errors import ExitCode

_LINES = 40


def verify(
    common: Common,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="A folder of shards. Default: <workspace>/shards.")
    ] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every sample, not only 1 % of each shard.")] = False,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Chooses which samples are decoded.")] = 0,
) -> int:
    """Check shards against SHA256SUMS, the index and themselves.

    Exit code 1 when anything is damaged; each finding names shard and sample. A folder of shards is enough.
    """
    from v2a_data.shards.verify import SHARE
    from v2a_data.shards.verify import verify as run_verify

    console = common.console
    place = folder if folder is not None else common.workspace / "shards"
    # A cluster takes seconds to start: worth it only where much is decoded, or where it was asked for.
    engine = common.engine() if deep or common.workers or common.scheduler else common.in_order()
    try:
        result = run_verify(place, engine, console, share=1.0 if deep else SHARE, seed=seed)
    finally:
        engine.close()
    lines = [finding.line() for finding in result.findings[:_LINES]]
    if result.total > len(lines):
        lines.append(f"… and {result.total - len(lines)} more; --json lists {len(result.findings)}")
    lines += sorted({f"mend: {finding.fix}" for finding in result.findings})
    state = f"DAMAGED, {result.total} findings" if result.total else "sound"
    lines.append(f"{place}: {result.shards} shards, {result.samples} samples, {result.decoded} decoded: {state}")
    values = {
        "folder": str(place),
        "ok": not result.total,
        "shards": result.shards,
        "samples": result.samples,
        "decoded": result.decoded,
        "findings_total": result.total,
        "findings": [finding.to_json() for finding in result.findings],
    }
    console.result(values, "\n".join(lines))
    return ExitCode.FAILURE if result.total else ExitCode.OK
