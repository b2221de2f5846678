"""The driver of `curate`: score → rules → clips → duplicates → splits, each skipping what is done."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from v2a_data.console import Console
from v2a_data.curate.clips import lay_clips
from v2a_data.curate.duplicates import group_clips
from v2a_data.curate.fingerprints import measure
from v2a_data.curate.score import score
from v2a_data.curate.splits import alarm, split_clips
from v2a_data.curate.stretches import mark
from v2a_data.engine import Engine
from v2a_data.errors import NothingError
from v2a_data.manifest import own_manifest
from v2a_data.rebuild import check_recipe, lay
from v2a_data.recipe import Recipe
from v2a_data.workspace import Workspace

STEPS = ("score", "rules", "clips", "duplicates", "splits")


@dataclass
class CurateResult:
    """What `curate` did, and how all clips of this recipe stand after it.

    `undecided` are the rows of review for which a score was not measured.
    """

    scored: int = 0
    verdicts: dict[str, int] = field(default_factory=dict)
    undecided: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0


def curate(
    workspace: Workspace, recipe: Recipe, engine: Engine, console: Console, steps: Iterable[str] = STEPS
) -> CurateResult:
    """Run the steps in their order; a workspace that follows a manifest takes all of them from there.

    Raises `NothingError` in a workspace without fetched videos.
    """
    ledger, wanted = workspace.ledger, set(steps)
    if not ledger.value("SELECT 1 FROM videos WHERE state = 'fetched' LIMIT 1"):
        raise NothingError(f"{workspace.root} holds no fetched videos", hint="run `v2a-data fetch` first")
    result = CurateResult()
    manifest = own_manifest(workspace)
    if manifest is not None:
        check_recipe(manifest, recipe)
        lay(workspace, manifest)
        wanted = set()
        sql = "SELECT split, COUNT(*) FROM clips JOIN splits USING (clip_id) WHERE recipe_hash = ? GROUP BY 1"
        result.splits = Counter({row[0]: row[1] for row in ledger.rows(sql, (recipe.hash,))})
    if "score" in wanted:
        result.scored = score(workspace, recipe, engine, console)
    if "rules" in wanted:
        mark(workspace, recipe, console)
    if "clips" in wanted:
        lay_clips(ledger, recipe, console)
    if "duplicates" in wanted:
        measure(workspace, recipe.hash, engine, console)
        grouped = group_clips(ledger, recipe)
        result.duplicates = grouped.worse + grouped.between
    if "splits" in wanted:
        result.splits = split_clips(ledger, recipe)
        alarm(ledger, recipe, console)
    result.verdicts, result.seconds = verdicts(workspace, recipe)
    result.undecided = undecided(workspace, recipe)
    result.reasons = drop_reasons(workspace, recipe)
    return result


def undecided(workspace: Workspace, recipe: Recipe) -> int:
    """Rows of review with a condition that could not be decided, as a score in it was not measured."""
    sql = (
        "SELECT COUNT(*) FROM clips WHERE recipe_hash = ? AND verdict = 'review' AND EXISTS "
        "(SELECT 1 FROM json_each(reasons) r WHERE json_extract(r.value, '$.unknown') > 0)"
    )
    return int(workspace.ledger.value(sql, (recipe.hash,)) or 0)


def verdicts(workspace: Workspace, recipe: Recipe) -> tuple[dict[str, int], dict[str, float]]:
    """Rows and seconds per verdict under this recipe."""
    sql = "SELECT verdict, clips, microseconds FROM tallies WHERE recipe_hash = ? AND condition = '' ORDER BY 1"
    rows = workspace.ledger.rows(sql, (recipe.hash,))
    return {row[0]: row[1] for row in rows}, {row[0]: round(row[2] / 1e6, 2) for row in rows}


def drop_reasons(workspace: Workspace, recipe: Recipe) -> Counter[str]:
    """Seconds not kept, by condition; a second can miss several."""
    sql = (
        "SELECT condition, SUM(microseconds) FROM tallies "
        "WHERE recipe_hash = ? AND verdict != 'keep' AND condition != '' GROUP BY 1"
    )
    return Counter({row[0]: round(row[1] / 1e6, 2) for row in workspace.ledger.rows(sql, (recipe.hash,))})
