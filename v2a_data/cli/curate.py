"""`v2a-data curate`: measure windows, decide, lay clips, split."""

from typing import TYPE_CHECKING, Annotated

import typer

from v2a_data.cli.common import Common, DryRun, Force, ModelsOption
from v2a_data.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from v2a_data.curate.stage import CurateResult
    from v2a_data.recipe import Recipe

_FEW = 20


def curate(
    common: Common,
    only: Annotated[
        str | None, typer.Option("--only", metavar="STEP", help="score, rules, clips, duplicates or splits.")
    ] = None,
    models: ModelsOption = None,
    dry_run: DryRun = False,
    force: Force = False,
) -> int:
    """Score windows, apply the rules, lay clips, assign splits.

    Of every fetched video; what was measured is not measured again.
    """
    from v2a_data.cli.recipes import choose_recipe
    from v2a_data.curate.stage import STEPS
    from v2a_data.curate.stage import curate as run_curate
    from v2a_data.manifest import own_manifest
    from v2a_data.models.choice import with_models
    from v2a_data.rebuild import check_recipe
    from v2a_data.scorers import SCORERS

    if only is not None and only not in STEPS:
        raise UsageError(f"--only {only!r}: expected one of {', '.join(STEPS)}")
    console = common.console
    with common.open_workspace(dry_run=dry_run) as workspace:
        recipe = choose_recipe(workspace, common)
        manifest = own_manifest(workspace)
        if manifest is None:
            recipe = with_models(recipe, models)
        else:
            check_recipe(manifest, recipe)
            if models is not None or only is not None:
                raise UsageError("--models and --only: a dataset that is rebuilt takes every verdict from its manifest")
        fetched = workspace.ledger.value("SELECT COUNT(*) FROM videos WHERE state = 'fetched'")
        if dry_run:
            scorers = list(recipe.scorers) if manifest is None else []
            words = ", ".join(scorers) or ("no scorers" if manifest is None else "what the manifest says")
            console.result(
                {"dry_run": True, "videos": fetched, "scorers": scorers}, f"would curate {fetched} videos with {words}"
            )
            return ExitCode.OK
        workspace.adopt(recipe, force=force)
        with common.record(workspace) as record:
            record.note(recipe=recipe.name, recipe_hash=recipe.hash)
            scores = bool(recipe.scorers) and only in (None, "score")
            # Without scorers, fingerprints alone are decoded: a cluster is worth its start only for many videos.
            prints = only in (None, "duplicates") and bool(fetched > _FEW or common.workers or common.scheduler)
            needs_engine = manifest is None and (scores or prints)
            uses_models = scores and any(SCORERS[name].uses_model for name in recipe.scorers)
            engine = common.engine(models=uses_models) if needs_engine else common.in_order()
            try:
                result = run_curate(workspace, recipe, engine, console, STEPS if only is None else (only,))
            finally:
                engine.close()
            record.note(
                scored=result.scored,
                duplicates=result.duplicates,
                verdicts=result.verdicts,
                seconds=result.seconds,
                splits=dict(result.splits),
            )
        console.result(
            {
                "recipe": recipe.name,
                "recipe_hash": recipe.hash,
                "scored": result.scored,
                "clips": result.verdicts,
                "seconds": result.seconds,
                "undecided": result.undecided,
                "duplicates": result.duplicates,
                "reasons": dict(result.reasons.most_common()),
                "splits": dict(result.splits),
            },
            _summary(result, recipe),
        )
    return ExitCode.OK


def _summary(result: "CurateResult", recipe: "Recipe") -> str:
    from v2a_data.console import table

    lines = [f"recipe {recipe.name} ({recipe.hash}), {result.scored} videos scored now"]
    rows = [(name, count, f"{result.seconds[name]:.0f}") for name, count in result.verdicts.items()]
    lines.append(table(("verdict", "rows", "seconds"), rows))
    if result.undecided:
        lines.append(f"review: {result.undecided} rows as a score was not measured; `v2a-data explain CLIP` names it")
    if result.reasons:
        lines += [
            "",
            table(
                ("not kept because not", "seconds"), [(text, f"{s:.0f}") for text, s in result.reasons.most_common()]
            ),
        ]
    if result.splits:
        lines += ["", "kept clips: " + ", ".join(f"{count} {name}" for name, count in sorted(result.splits.items()))]
    lines.append("next: v2a-data shard   (v2a-data explain CLIP shows why)")
    return "\n".join(lines)
