"""`v2a-data run RECIPE`: fetch and curate by turns until enough clips are kept."""

from typing import Annotated

import typer

from v2a_data.cli.common import Common, DryRun, Force, ModelsOption
from v2a_data.errors import ExitCode, UsageError

_FIRST_ROUND = 20


def run(
    common: Common,
    name: Annotated[str, typer.Argument(metavar="RECIPE", help="A shipped recipe or a .toml file.")],
    until_kept: Annotated[
        int | None, typer.Option("--until-kept", min=1, metavar="N", help="Stop at N kept clips.")
    ] = None,
    models: ModelsOption = None,
    dry_run: DryRun = False,
    force: Force = False,
) -> int:
    """Fetch and curate by turns until enough clips are kept.

    A round each, until N clips are kept or the source has no more videos. Without --until-kept: one fetch
    to the recipe's target_videos, then one curate.
    """
    from dataclasses import replace

    from v2a_data.cli.recipes import choose_recipe
    from v2a_data.curate.stage import curate, verdicts
    from v2a_data.fetch import announce, stage
    from v2a_data.manifest import own_manifest
    from v2a_data.models.choice import require, with_models
    from v2a_data.scorers import SCORERS
    from v2a_data.sources import SOURCES

    common = replace(common, recipe=name)
    console = common.console
    with common.open_workspace(dry_run=dry_run, create=True) as workspace:
        if own_manifest(workspace) is not None:
            raise UsageError(f"{workspace.root} is rebuilt from a manifest", hint="go on with fetch, curate and shard")
        recipe = with_models(choose_recipe(workspace, common), models)
        source = SOURCES[recipe.source.name]()
        listed = announce.expected(workspace, recipe, source)
        if dry_run:
            words = announce.announcement(workspace, recipe, source, listed, recipe.fetch.target_videos)
            console.result({"dry_run": True, "listed": listed}, words)
            return ExitCode.OK
        # Hours of fetching must not end at a model that is not here.
        require(recipe)
        workspace.adopt(recipe, force=force)
        uses_models = any(SCORERS[scorer].uses_model for scorer in recipe.scorers)
        with common.record(workspace) as record:
            engine = common.engine(models=uses_models)
            try:
                while True:
                    have = workspace.ledger.value("SELECT COUNT(*) FROM videos WHERE state = 'fetched'")
                    kept = verdicts(workspace, recipe)[0].get("keep", 0)
                    target = _next_target(have, kept, until_kept, recipe.fetch.target_videos)
                    console.say(announce.announcement(workspace, recipe, source, listed, target))
                    fetched = stage.fetch(workspace, recipe, source, engine, console, target, listed)
                    result = curate(workspace, recipe, engine, console)
                    kept = result.verdicts.get("keep", 0)
                    console.say(f"{kept} clips kept" + (f" of {until_kept} wanted" if until_kept else ""))
                    if until_kept is None or kept >= until_kept or fetched.fetched == 0:
                        break
            finally:
                engine.close()
            record.note(recipe_hash=recipe.hash, verdicts=result.verdicts)
        console.result(
            {"kept": kept, "wanted": until_kept, "clips": result.verdicts}, f"{kept} clips kept; next: v2a-data shard"
        )
    if fetched.go_on_at:
        console.warn(
            f"the day's downloads (fetch.per_day) are used up; the same command goes on after {fetched.go_on_at}"
        )
        return ExitCode.PARTIAL
    if until_kept is not None and kept < until_kept:
        console.warn(f"{source.name} has no more videos: {kept} of {until_kept} clips are kept")
        return ExitCode.PARTIAL
    return ExitCode.PARTIAL if fetched.states.get("later") else ExitCode.OK


def _next_target(have: int, kept: int, wanted: int | None, target_videos: int) -> int:
    """How many videos to have after the next round, from the yield so far."""
    if wanted is None:
        return target_videos
    if kept == 0:
        return have + _FIRST_ROUND
    missing = max(0, wanted - kept)
    return have + max(1, round(missing * have / kept * 1.1))
