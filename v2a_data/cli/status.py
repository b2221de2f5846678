"""`v2a-data status`: where the dataset stands."""

from pathlib import Path
from typing import Annotated, Any

import typer

from v2a_data.cli.common import Common
from v2a_data.errors import ExitCode

_DAYS = 40


def status(
    common: Common,
    availability: Annotated[
        bool, typer.Option("--availability", help="What could be had: by source, label, class and day.")
    ] = False,
    manifest_file: Annotated[
        Path | None,
        typer.Option("--manifest", metavar="FILE", help="With --availability: what of a manifest can still be had."),
    ] = None,
) -> int:
    """Videos by state and reason, clips by verdict, samples by split; a rebuilt dataset beside its manifest."""
    if availability or manifest_file is not None:
        return _availability(common, manifest_file)
    from v2a_data.console import table
    from v2a_data.manifest import own_manifest
    from v2a_data.rebuild import compare
    from v2a_data.shards.format import STAMP
    from v2a_data.workspace import Workspace

    with Workspace.read(common.workspace) as workspace:
        values = overview(workspace)
        manifest = own_manifest(workspace)
        rebuilt = compare(workspace, manifest) if manifest is not None else None
        values |= {"rebuild": rebuilt.to_json()} if rebuilt is not None else {}
    videos, clips, samples = values["videos"], values["clips"], values["samples"]
    lines = [f"{common.workspace}: recipe {values['recipe']['name']} ({values['recipe']['hash']})"]
    lines += [STAMP, ""] if values["not_for_use"] else [""]
    lines.append(table(("videos", "count"), [*videos["by_state"].items(), ("all", videos["total"])]))
    if videos["by_reason"]:
        lines += ["", table(("not usable because", "count"), list(videos["by_reason"].items()))]
    media, gone = values["media"]["here"], values["media"]["deleted"]
    lines.append(f"media: {media['files']} files, {media['bytes'] / 1e9:.2f} GB")
    if gone["files"]:
        what = f"{gone['files']} files, {gone['bytes'] / 1e9:.2f} GB; their videos are not fetched again"
        lines.append(f"media deleted after sharding: {what}")
    if values["clips"]["not_cut"]:
        lines.append(f"{values['clips']['not_cut']} kept clips are in no shard, and their media were deleted")
    lines += ["", table(("clips", "count"), [*clips["by_verdict"].items(), ("all", clips["total"])])]
    if clips["reasons_s"]:
        lines += [
            "",
            table(("not kept because not", "seconds"), [(k, f"{v:.0f}") for k, v in clips["reasons_s"].items()]),
        ]
    lines += ["", table(("samples", "count"), [*samples["by_split"].items(), ("all", samples["total"])])]
    if samples["refused"]:
        lines += ["", table(("refused because", "count"), list(samples["refused"].items()))]
    if rebuilt is not None:
        lines += ["", *rebuilt.lines()]
    common.console.result(values, "\n".join(lines))
    return ExitCode.OK


def _availability(common: Common, file: Path | None) -> int:
    from v2a_data.console import table
    from v2a_data.fetch.availability import availability, by_class, by_label, of_manifest, to_json
    from v2a_data.manifest import open_manifest
    from v2a_data.workspace import Workspace

    manifest = open_manifest(file) if file is not None else None
    with Workspace.read(common.workspace) as workspace:
        if manifest is not None:
            found = of_manifest(workspace.ledger, manifest)
            shown = [(row.outcome, row.failure, row.day or "", row.videos, row.clips) for row in found]
            text = table(("of the manifest", "class", "last tried", "videos", "clips"), shown)
            common.console.result({"manifest": to_json(found)}, f"{text}\nas far as this workspace tried; days are UTC")
            return ExitCode.OK
        rows = availability(workspace.ledger)
    tables = [
        table(("source", "label", "tried", "live", "gone", "later", "untried"), list(by_label(rows))),
        table(("last tried", "class", "", "videos"), by_class(rows)[:_DAYS]),
        "a video with two labels counts under both; days are UTC; --json has every row",
    ]
    common.console.result({"availability": to_json(rows)}, "\n\n".join(tables))
    return ExitCode.OK


def overview(workspace: Any) -> dict[str, Any]:
    """The figures of `status --json`."""
    from v2a_data.curate.stage import drop_reasons, verdicts
    from v2a_data.models.choice import not_for_use
    from v2a_data.shards.let_go import not_cut, standing

    ledger = workspace.ledger
    recipe = workspace.recipe()
    by_verdict = verdicts(workspace, recipe)[0] if recipe else {}
    reasons = dict(drop_reasons(workspace, recipe).most_common()) if recipe else {}
    states = ledger.counts("videos", "state")
    splits = {row[0]: row[1] for row in ledger.rows("SELECT split, SUM(samples) FROM shards GROUP BY 1 ORDER BY 1")}
    return {
        "workspace": str(workspace.root),
        "recipe": {"name": recipe.name if recipe else None, "hash": recipe.hash if recipe else None},
        "not_for_use": not_for_use(recipe),
        "videos": {
            "total": sum(states.values()),
            "by_state": states,
            "by_reason": ledger.counts("videos", "reason", "reason IS NOT NULL"),
        },
        "clips": {
            "total": sum(by_verdict.values()),
            "by_verdict": by_verdict,
            "reasons_s": reasons,
            "not_cut": not_cut(ledger, recipe) if recipe else 0,
        },
        "media": standing(ledger),
        "samples": {
            "total": sum(splits.values()),
            "by_split": splits,
            "refused": ledger.counts("samples", "reason", "state = 'refused'"),
        },
    }
