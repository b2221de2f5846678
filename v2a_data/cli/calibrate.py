"""`v2a-data calibrate`: thresholds from votes, with a promise that votes not used for choosing support."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2a_data.cli.common import Common, DryRun, Force
from v2a_data.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from v2a_data.curate.calibrate import Share
    from v2a_data.curate.promise import Promise


def calibrate(
    common: Common,
    precision: Annotated[float, typer.Option("--precision", help="Share of kept windows that is right, at least.")],
    confidence: Annotated[float, typer.Option("--confidence", help="How sure the promise is to be.")] = 0.95,
    combine: Annotated[
        str | None, typer.Option("--combine", metavar="logistic", help="Combine the scores into one first.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The new recipe.")] = Path("calibrated.toml"),
    dry_run: DryRun = False,
    force: Force = False,
) -> int:
    """Fit the recipe's thresholds to votes, and test them on votes of other videos.

    The test goes from strict to loose thresholds, in an order fixed before, to the first that fails.

    Writes a recipe with the evidence where those support the promise, and nothing (exit code 1) where they do not.
    Every further question to the votes of a workspace is tested more strictly, so that all promises hold together.
    """
    from v2a_data.cli.recipes import choose_recipe
    from v2a_data.curate.promise import ask, gather
    from v2a_data.curate.stretches import recipe_rules
    from v2a_data.files import write_text
    from v2a_data.recipe import dump_recipe

    for name, value in (("--precision", precision), ("--confidence", confidence)):
        if not 0.5 <= value < 1:
            raise UsageError(f"{name} {value:g}: from 0.5 to below 1")
    if combine not in (None, "logistic"):
        raise UsageError(f"--combine {combine!r}: expected 'logistic'")
    if out.suffix != ".toml":
        raise UsageError(f"{out}: a recipe is a .toml file")
    if out.exists() and not force and not dry_run:
        raise UsageError(f"{out} exists", hint="--force overwrites it, or name another one")
    console = common.console
    with common.open_workspace(dry_run=dry_run) as workspace:
        recipe = choose_recipe(workspace, common)
        if dry_run:
            found = gather(workspace, recipe, recipe_rules(recipe))
            console.result(
                {
                    "dry_run": True,
                    "votes": found.votes,
                    "windows": len(found.keys),
                    "unanswered": found.unanswered,
                    "left_aside": found.aside,
                },
                f"would choose and test on {found.votes} votes, {len(found.keys)} windows",
            )
            return ExitCode.OK
        promise = ask(workspace, recipe, precision, confidence, combine=combine is not None)
        if promise.outcome.promised:
            write_text(out, dump_recipe(promise.recipe))
    if not promise.evidence.drawn:
        console.warn("these windows were not drawn by `votes --sample`: the figures hold for windows like them")
    console.result(_values(promise, precision, confidence, out), "\n".join(_lines(promise, precision, confidence, out)))
    return ExitCode.OK if promise.outcome.promised else ExitCode.FAILURE


def _values(promise: "Promise", precision: float, confidence: float, out: Path) -> dict[str, Any]:
    from v2a_data.recipe import to_table

    outcome = promise.outcome
    return {
        "promised": outcome.promised,
        "wanted": precision,
        "confidence": confidence,
        "bound": round(outcome.bound, 4),
        "question": promise.question,
        "votes": promise.evidence.votes,
        "unanswered": promise.evidence.unanswered,
        "left_aside": promise.evidence.aside,
        "choosing": outcome.choosing,
        "testing": outcome.testing,
        "kept": outcome.kept,
        "precision": outcome.precision.to_json(),
        "recall": outcome.recall.to_json(),
        "yield": outcome.yields.to_json(),
        "clips": promise.clips.to_json() if promise.clips else None,
        "rules": promise.recipe.rules,
        "combine": to_table(promise.recipe.combine) if promise.recipe.combine else None,
        "not_fitted": [item.field for item in outcome.fixed],
        "more_votes": outcome.more_votes,
        "file": str(out) if outcome.promised else None,
    }


def _lines(promise: "Promise", precision: float, confidence: float, out: Path) -> list[str]:
    from v2a_data.console import table

    outcome, evidence = promise.outcome, promise.evidence
    rows = [
        _row("precision of kept windows", outcome.precision),
        _row("recall of right windows", outcome.recall),
        _row("yield: windows kept", outcome.yields),
    ]
    if promise.clips is not None:
        rows.append(_row("precision of whole clips", promise.clips))
    lines = [
        f"{evidence.votes} votes: chose on {outcome.choosing} windows, tested on {outcome.testing} of other videos"
    ]
    if evidence.unanswered:
        lines.append(f"  {evidence.unanswered} windows of the newest draw have no vote")
    lines += [f"  left aside: {count} {why}" for why, count in evidence.aside.items()]
    if promise.recipe.combine is not None:
        terms = " ".join(f"{weight:+.3g} · {name}" for name, weight in promise.recipe.combine.weights.items())
        lines.append(f"  right = logistic({promise.recipe.combine.intercept:.3g} {terms})")
    lines += [f"  {item.field}: {item.value:g} → {value:g}" for item, value in outcome.values.items()]
    lines += [f"  {item.field}: {item.value:g} stays, too few votes tell" for item in outcome.fixed]
    lines += ["", table(("test part", "share", f"{confidence:.0%} interval", "worth windows"), rows), ""]
    words = f"precision >= {precision:g} at {confidence:.0%}"
    if outcome.promised:
        return [*lines, f"promised: {words} (the votes support {outcome.bound:.3f})",
                f"wrote {out}; next: v2a-data curate --recipe {out} --force"]  # fmt: skip
    lines.append(f"refused: {words}; the votes support {outcome.bound:.3f}. No recipe was written")
    if outcome.more_votes is None:
        return [
            *lines,
            "at this share no number would do: vote on more videos, ask for less, or judge with better scorers",
        ]
    return [*lines, f"about {outcome.more_votes} more votes would do, were all to stay as it is: votes --sample"]


def _row(name: str, share: "Share") -> tuple[str, str, str, str]:
    return name, f"{share.value:.3f}", f"{share.low:.3f} to {share.high:.3f}", f"{share.of:.0f}"
