"""`v2a-data models list|pull|verify`: the models that recipes name."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2a_data.cli.common import Common, DryRun
from v2a_data.errors import ExitCode, NothingError, nearest

if TYPE_CHECKING:
    from v2a_data.models.registry import ModelRow

Names = Annotated[list[str], typer.Argument(metavar="NAME...", help="Names as `models list` shows them.")]
SomeNames = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME...]", help="Default: every model that was pulled.")
]


def show(common: Common) -> int:
    """Every model with what it is for, its licence, whether it is here, and what a pull is held to."""
    from v2a_data.console import table
    from v2a_data.models.registry import MODELS
    from v2a_data.scorers.base import model_folder

    values = [_about(row) for row in MODELS.values()]
    rows = [(v["name"], v["kind"], v["state"], v["scorer"] or "-", v["pin"], v["licence"]) for v in values]
    text = [table(("name", "kind", "state", "used by", "held to", "licence"), rows), ""]
    text += [f"{v['name']}: {v['note']}" for v in values]
    text += ["", f"in {model_folder()} (V2A_MODELS names another folder); `v2a-data models pull NAME` brings one"]
    common.console.result({"folder": str(model_folder()), "models": values}, "\n".join(text))
    return ExitCode.OK


def pull(common: Common, names: Names, dry_run: DryRun = False) -> int:
    """Download models through the hub: one commit each, hashed, recorded in models.lock.json.

    \b
    v2a-data models pull ViT-B-32-256/datacomp_s34b_b86k ced-tiny
    """
    from v2a_data.models import store
    from v2a_data.models.pull import endpoint, wanted_revision
    from v2a_data.scorers.base import model_folder

    rows = [_row(name) for name in names]
    console = common.console
    if dry_run:
        plans = [
            {"name": row.name, "repo": row.repo, "revision": wanted_revision(row), "files": [f.name for f in row.files]}
            for row in rows
        ]
        lines = [f"would pull {p['name']} from {endpoint()}/{p['repo']} at {p['revision']}" for p in plans]
        console.result({"dry_run": True, "models": plans, "folder": str(model_folder())}, "\n".join(lines))
        return ExitCode.OK
    done: list[dict[str, Any]] = []
    for row in rows:
        here = bool(row.files) and all(check.result == "ok" for check in store.verify(row))
        done.append({"name": row.name, "pulled": not here} | ({} if here else _pull(common, row)))
    lines = [
        f"{d['name']}: {d['bytes'] / 1e6:.1f} MB, commit {d['revision'][:12]}" if d["pulled"] else f"{d['name']}: here"
        for d in done
    ]
    console.result({"models": done, "folder": str(model_folder())}, "\n".join([*lines, f"in {model_folder()}"]))
    return ExitCode.OK


def verify(common: Common, names: SomeNames = None) -> int:
    """Hash models again and compare: exit code 1 for a damaged file, 5 for a missing model."""
    from v2a_data.models import store
    from v2a_data.models.lock import read_lock
    from v2a_data.models.registry import MODELS
    from v2a_data.scorers.base import model_folder

    chosen = names or [*read_lock(model_folder()), *(n for n, r in MODELS.items() if r.packaged and _here(r))]
    if not chosen:
        raise NothingError(f"{model_folder()} holds no models", hint="`v2a-data models pull NAME` brings one")
    checks = [check for name in chosen for check in store.verify(_row(name))]
    lines = [
        f"{c.result:12s}  {c.model}: {c.file}"
        + (f"\n              sha256 {c.sha256}, not {c.expected}" if c.result == "damaged" else "")
        for c in checks
    ]
    results = {check.result for check in checks}
    missing, bad = "missing" in results, bool(results & {"damaged", "not recorded"})
    if missing or bad:
        again = sorted({check.model for check in checks if check.result != "ok"})
        pulled = [name for name in again if not _row(name).packaged]
        if pulled:
            lines.append(f"mend with: v2a-data models pull {' '.join(pulled)}")
        if len(pulled) < len(again):
            lines.append("mend with: install v2a-data again; tiny models are part of the package")
    values: list[dict[str, Any]] = [
        {"model": c.model, "file": c.file, "result": c.result, "sha256": c.sha256, "expected": c.expected}
        for c in checks
    ]
    common.console.result({"ok": not (missing or bad), "files": values}, "\n".join(lines))
    return ExitCode.FAILURE if bad else ExitCode.MISSING_TOOL if missing else ExitCode.OK


def _row(name: str) -> "ModelRow":
    """Raises `NothingError` with the nearest names for an unknown one."""
    from v2a_data.models.registry import MODELS, find_row

    row = find_row(name)
    if row is None:
        raise NothingError(f"no model named {name!r}; {nearest(name, list(MODELS))}", hint="see `v2a-data models list`")
    return row


def _here(row: "ModelRow") -> bool:
    from v2a_data.models import store

    return store.state(row) == "here"


def _about(row: "ModelRow") -> dict[str, Any]:
    from v2a_data.models import store

    wanted = store.expected(row)
    return {
        "name": row.name,
        "kind": row.kind,
        "scorer": row.scorer,
        "state": store.state(row),
        "repo": row.repo,
        "revision": row.revision,
        "pin": row.pin,
        "files": [{"name": f.name, "sha256": wanted[f.name], "bytes": f.bytes} for f in row.files],
        "licence": row.licence,
        "source": row.source,
        "note": row.note,
    }


def _pull(common: Common, row: "ModelRow") -> dict[str, Any]:
    from v2a_data.models import pull as puller

    console = common.console
    console.say(f"{row.name}: {row.licence}; {puller.endpoint()}/{row.repo}; {row.pin}")
    entry = puller.pull(row, lambda total: console.progress(f"pull {row.name}", total, "kB"))
    return {"revision": entry.revision, "sha256": entry.sha256, "bytes": sum(entry.bytes.values())}
