"""`v2a-data votes`: what people say about windows, in and out, and the sheet that they are asked with."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2a_data.cli.common import Common, DryRun, Force
from v2a_data.errors import ExitCode, NothingError, UsageError

if TYPE_CHECKING:
    from v2a_data.recipe import Recipe
    from v2a_data.workspace import Workspace

FORMATS = ("votes", "vggsounder", "youtube8m", "truth")


def votes(
    common: Common,
    import_file: Annotated[
        Path | None, typer.Option("--import", metavar="FILE", help="Take in a .csv or .parquet table.")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="Of --import: votes, vggsounder, youtube8m, truth.")
    ] = "votes",
    export_file: Annotated[
        Path | None, typer.Option("--export", metavar="FILE", help="Write all votes, .csv or .parquet.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, max=1_000_000, metavar="N", help="Draw N windows into a sheet.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of --sample; a larger N goes on with a draw.")] = 0,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The sheet of --sample.")] = Path("votes.csv"),
    dry_run: DryRun = False,
    force: Force = False,
) -> int:
    """Ask people about windows, and take in what they said.

    A rater's newer vote on a window replaces the older one. One bad row, and nothing of a file is taken.

    \b
    v2a-data votes --sample 400 --seed 0 --out sheet.csv
    v2a-data votes --import sheet.csv; v2a-data calibrate --precision 0.95 --out calibrated.toml
    """
    from v2a_data.cli.recipes import choose_recipe

    if sum(option is not None for option in (import_file, export_file, sample)) != 1:
        raise UsageError("one of --import, --export and --sample")
    if form not in FORMATS:
        raise UsageError(f"--format {form!r}: expected one of {', '.join(FORMATS)}")
    written = export_file or (out if sample is not None else None)
    if written is not None:
        _check_target(written, force, (".csv",) if sample is not None else (".csv", ".parquet"))
    with common.open_workspace(dry_run=dry_run) as workspace:
        recipe = choose_recipe(workspace, common)
        if import_file is not None:
            values, words = _import(workspace, recipe, import_file, form, dry_run)
        elif export_file is not None:
            values, words = _export(workspace, recipe, export_file, dry_run)
        else:
            assert sample is not None
            values, words = _sample(workspace, recipe, sample, seed, out, dry_run)
    common.console.result({"dry_run": True, **values} if dry_run else values, words)
    return ExitCode.OK


def _check_target(path: Path, force: bool, suffixes: tuple[str, ...]) -> None:
    if path.suffix not in suffixes:
        raise UsageError(f"{path}: expected a {' or '.join(suffixes)} file")
    if path.exists() and not force:
        raise UsageError(f"{path} exists", hint="--force overwrites it, or name another one")


def _import(
    workspace: "Workspace", recipe: "Recipe", path: Path, form: str, dry_run: bool
) -> tuple[dict[str, Any], str]:
    from v2a_data.review.grid import Grid
    from v2a_data.review.others import rating_votes, truth_votes, vggsounder_votes
    from v2a_data.review.votes import read_votes, store_votes

    grid = Grid(workspace.ledger, recipe)
    values: dict[str, Any] = {"file": str(path)}
    if form == "votes":
        found, blank = read_votes(path, grid)
        values["blank"] = blank
        more = f", {blank} rows not filled in" if blank else ""
    else:
        readers = {"vggsounder": vggsounder_votes, "youtube8m": rating_votes, "truth": truth_votes}
        read = readers[form](path, grid)
        found = read.votes
        values |= {"rows": read.rows, "elsewhere": read.elsewhere}
        more = f" of {read.rows} rows; {read.elsewhere} clips or videos are not here, or under another label or span"
    if not found:
        raise NothingError(f"{path}: no vote on a window of this workspace{more}")
    if dry_run:
        return {**values, "votes": len(found)}, f"would take {len(found)} votes{more}"
    stored = store_votes(workspace.ledger, found)
    values |= {"added": stored.added, "replaced": stored.replaced}
    return values, f"{stored.added} votes added, {stored.replaced} replaced{more}"


def _export(workspace: "Workspace", recipe: "Recipe", path: Path, dry_run: bool) -> tuple[dict[str, Any], str]:
    from v2a_data.review.grid import Grid
    from v2a_data.review.votes import load_votes, write_votes

    found = load_votes(workspace.ledger)
    if not found:
        raise NothingError(f"{workspace.root} holds no votes")
    if not dry_run:
        write_votes(path, found, Grid(workspace.ledger, recipe))
    verb = "would write" if dry_run else "wrote"
    return {"file": str(path), "votes": len(found)}, f"{verb} {len(found)} votes to {path}"


def _sample(
    workspace: "Workspace", recipe: "Recipe", count: int, seed: int, out: Path, dry_run: bool
) -> tuple[dict[str, Any], str]:
    from v2a_data.review.sample import HOW
    from v2a_data.review.sample import sample as draw

    if dry_run:
        return {"file": str(out), "windows": count}, f"would draw {count} windows into {out}"
    drawn = draw(workspace, recipe, count, seed, out)
    values = {"file": str(out), "windows": drawn.windows, "open": drawn.open, "population": drawn.population}
    lines = [f"drew {drawn.windows} of {drawn.population} windows; wrote {drawn.open} without a vote to {out}", HOW]
    return values, "\n".join([*lines, f"next: v2a-data votes --import {out}"])
