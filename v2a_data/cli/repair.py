"""`v2a-data repair`: write damaged shards again."""

from typing import TYPE_CHECKING

from v2a_data.cli.common import Common, DryRun
from v2a_data.errors import ExitCode

if TYPE_CHECKING:
    from v2a_data.shards.repair import RepairResult
    from v2a_data.workspace import Workspace

_LINES = 40


def repair(common: Common, dry_run: DryRun = False) -> int:
    """Rewrite damaged and missing shards from the ledger and the media; others stay untouched.

    Samples that were irreparable come back where their media did.

    What is still right in a damaged shard is kept byte for byte. Exit code 3 when something could not be mended.
    """
    from v2a_data.cli.recipes import choose_recipe
    from v2a_data.shards.repair import repair as run_repair

    with common.open_workspace(dry_run=dry_run) as workspace:
        if dry_run:
            return _would(common, workspace)
        recipe = choose_recipe(workspace, common)
        with common.record(workspace) as record:
            result = run_repair(workspace, recipe, common.engine, common.console)
            lost = [{"shard": one.shard, "sample": one.key, "why": one.why} for one in result.lost]
            values = {
                "whole": result.whole,
                "checked": result.checked,
                "same": result.same,
                "other": result.other,
                "refilled": result.refilled,
                "partly": result.partly,
                "emptied": result.emptied,
                "irreparable": lost,
                "left": [finding.to_json() for finding in result.left],
                "beside": result.beside,
            }
            record.note(recipe_hash=recipe.hash, **values)
    common.console.result(values, "\n".join(_lines(result)))
    return ExitCode.OK if result.whole else ExitCode.PARTIAL


def _would(common: Common, workspace: "Workspace") -> int:
    from v2a_data.shards.repair import damaged_shards

    names = [name for name, _, _ in damaged_shards(workspace, common.console)]
    lines = [f"would write again: {name}" for name in names[:_LINES]]
    lines.append(f"{len(names)} shards are damaged or missing; index and sums are checked when they are written")
    common.console.result({"dry_run": True, "shards": names}, "\n".join(lines))
    return ExitCode.OK


def _lines(result: "RepairResult") -> list[str]:
    lines = [f"{name}: mended, byte for byte what it was" for name in result.same]
    lines += [f"{name}: mended, but this build makes other bytes; index and ledger say so" for name in result.other]
    lines += [f"{name}: irreparable samples are back, their media were found again" for name in result.refilled]
    lines += [f"{name}: mended without the samples that are irreparable" for name in result.partly]
    lines += [f"{name}: nothing of it could be mended; it is gone" for name in result.emptied]
    lines = lines[:_LINES] + ([f"… and {len(lines) - _LINES} more; --json has all"] if len(lines) > _LINES else [])
    lines += [f"irreparable: {one.key} of {one.shard}: {one.why}" for one in result.lost[:_LINES]]
    if len(result.lost) > _LINES:
        lines.append(f"… and {len(result.lost) - _LINES} more irreparable samples; --json has all")
    lines += [f"left: {finding.line()}; {finding.fix}" for finding in result.left[:_LINES]]
    if result.beside:
        lines.append(f"written again: {', '.join(result.beside)}")
    mended = len(result.same) + len(result.other) + len(result.refilled) + len(result.partly)
    lines.append(
        f"checked {result.checked} shards, mended {mended}, lost {len(result.lost)} samples"
        + ("" if result.whole else "; not everything could be mended")
    )
    return lines
