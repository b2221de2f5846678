"""`v2a-data shard`: cut the kept clips and write them as WebDataset shards."""

from typing import Annotated

import typer

from v2a_data.cli.common import Common, DryRun, Force
from v2a_data.errors import ExitCode


def shard(
    common: Common,
    samples_per_shard: Annotated[
        int | None, typer.Option("--samples-per-shard", min=1, metavar="N", help="Samples in one tar.")
    ] = None,
    dry_run: DryRun = False,
    force: Force = False,
) -> int:
    """Cut kept clips exactly and write them as shards.

    Every clip is decoded back and checked; shards and their index go to <workspace>/shards.
    """
    from v2a_data.cli.recipes import choose_recipe
    from v2a_data.shards.write import check_kept
    from v2a_data.shards.write import shard as run_shard

    console = common.console
    with common.open_workspace(dry_run=dry_run) as workspace:
        recipe = choose_recipe(workspace, common)
        if dry_run:
            sql = (
                "SELECT COUNT(*) FROM clips WHERE recipe_hash = ? AND verdict = 'keep' "
                "AND clip_id NOT IN (SELECT clip_id FROM samples)"
            )
            waiting = workspace.ledger.value(sql, (recipe.hash,))
            console.result({"dry_run": True, "clips": waiting}, f"would cut {waiting} clips into {workspace.shards}")
            return ExitCode.OK
        check_kept(workspace, recipe)
        workspace.adopt(recipe, force=force)
        with common.record(workspace) as record:
            engine = common.engine()
            try:
                result = run_shard(workspace, recipe, engine, console, samples_per_shard=samples_per_shard, force=force)
            finally:
                engine.close()
            refused = dict(result.refused)
            record.note(recipe_hash=recipe.hash, written=result.written, refused=refused, samples=result.samples)
        splits = ", ".join(f"{count} {name}" for name, count in result.samples.items())
        lines = [
            f"wrote {result.written} samples now, refused {sum(refused.values())}; {result.shards} shards: {splits}"
        ]
        lines += [f"  {count:5d}  {reason}" for reason, count in result.refused.most_common()]
        lines.append(f"in {workspace.shards}; next: v2a train")
        console.result(
            {"written": result.written, "refused": refused, "shards": result.shards, "samples": result.samples},
            "\n".join(lines),
        )
    return ExitCode.OK
