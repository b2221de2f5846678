"""The `v2a-data` command line: thin commands that parse, call one function, print."""

from v2a_data.cli import (
    calibrate,
    curate,
    doctor,
    explain,
    export,
    fetch,
    labels,
    leaks,
    models,
    recipe,
    remove,
    repair,
    run,
    shard,
    status,
    synth,
    verify,
    votes,
)
from v2a_data.cli.common import VersionOption, command, new_app

app = new_app(
    "v2a-data",
    "From label names to a grounded dataset: clips in which the thing named is both seen and heard.\n\n\b\n"
    "  v2a-data fetch --label Airplane; v2a-data curate; v2a-data shard",
)
recipe_app = new_app("recipe", "Recipes: everything a dataset is made with.")
models_app = new_app("models", "Models that recipes name: list, pull, verify.")


@app.callback()
def _root(
    version: VersionOption = False,
) -> None:
    pass


command(app, "labels")(labels.labels)
command(app, "fetch")(fetch.fetch)
command(app, "curate")(curate.curate)
command(app, "votes")(votes.votes)
command(app, "calibrate")(calibrate.calibrate)
command(app, "shard")(shard.shard)
command(app, "verify")(verify.verify)
command(app, "repair")(repair.repair)
command(app, "remove")(remove.remove)
command(app, "leaks")(leaks.leaks)
command(app, "export")(export.export)
command(app, "run")(run.run)
command(app, "status")(status.status)
command(app, "explain")(explain.explain)
command(recipe_app, "new")(recipe.new)
app.add_typer(recipe_app, name="recipe")
command(models_app, "list")(models.show)
command(models_app, "pull")(models.pull)
command(models_app, "verify")(models.verify)
app.add_typer(models_app, name="models")
command(app, "synth")(synth.synth)
command(app, "doctor")(doctor.doctor)


def main() -> None:
    """Entry point of the console script."""
    app()
