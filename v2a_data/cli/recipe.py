"""`v2a-data recipe new`: write down the recipe that a label would get."""

from pathlib import Path
from typing import Annotated

import typer

from v2a_data.cli.common import Common, DryRun, Force
from v2a_data.errors import ExitCode, UsageError


def new(
    common: Common,
    label: Annotated[str, typer.Argument(help="A label, for example Helicopter.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Default: <label>.toml here.")
    ] = None,
    dry_run: DryRun = False,
    force: Force = False,
) -> int:
    """Write a recipe for any label, to be edited.

    Prompts, negatives, AudioSet classes, rules.

    \b
    v2a-data recipe new Helicopter; v2a-data fetch --recipe helicopter.toml
    """
    import tomli_w

    from v2a_data.derive import audio_classes, derived_table
    from v2a_data.files import write_text
    from v2a_data.ids import slug
    from v2a_data.recipe import build_recipe, merge

    table = merge(derived_table([label], "youtube8m", None), common.overrides())
    build_recipe(table, "derived recipe")
    path = output or Path(f"{slug(label)}.toml")
    console = common.console
    if not audio_classes(label):
        console.warn(f"AudioSet has no class for {label!r}: 'heard' stays null and grounded clips end in review")
    text = tomli_w.dumps(table)
    if dry_run:
        console.result({"dry_run": True, "recipe": table}, text)
        return ExitCode.OK
    if path.exists() and not force:
        raise UsageError(f"{path} exists", hint="--force overwrites it; -o FILE names another")
    write_text(path, text)
    console.result({"file": str(path), "recipe": table}, f"wrote {path}; next: v2a-data fetch --recipe {path}")
    return ExitCode.OK
