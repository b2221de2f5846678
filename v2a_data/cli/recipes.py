"""Which recipe a command works with: asked for, the workspace's own, shipped for the label, or derived."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from v2a_data.cli.common import Common
from v2a_data.errors import UsageError

if TYPE_CHECKING:
    from v2a_data.recipe import Recipe
    from v2a_data.workspace import Workspace


def choose_recipe(
    workspace: "Workspace",
    common: Common,
    labels: Sequence[str] = (),
    source: str | None = None,
    input_path: str | None = None,
) -> "Recipe":
    """The recipe of this call, `--set` and the given labels, source and input laid on top.

    Raises `UsageError` in a new workspace when nothing says what the dataset is about.
    """
    from v2a_data.recipe import build_recipe, load_recipe, merge, to_table

    labels = _printable(labels)
    over = _over(common, labels, source, input_path)
    current = workspace.recipe()
    if common.recipe is not None:
        if current is not None:
            # What an earlier command of this workspace gave as options stays given.
            over = merge(_given(current, load_recipe(common.recipe)), over)
        return load_recipe(common.recipe, over)
    if current is not None:
        return build_recipe(merge(to_table(current), over), "recipe") if over else current
    if labels or (source == "local" and input_path):
        return _for_labels(labels, source, input_path, over)
    raise UsageError(
        f"{workspace.root} has no recipe yet",
        hint="start with `v2a-data fetch --label NAME`, or name one with --recipe",
    )


def _over(common: Common, labels: Sequence[str], source: str | None, input_path: str | None) -> dict[str, Any]:
    from v2a_data.recipe import merge

    over: dict[str, Any] = {}
    if labels:
        over["labels"] = list(labels)
    section = {key: value for key, value in (("name", source), ("input", input_path)) if value}
    if section:
        over["source"] = section
    return merge(over, common.overrides())


def _printable(labels: Sequence[str]) -> list[str]:
    from v2a_data.ids import clean_text

    cleaned = [clean_text(label) for label in labels]
    if not all(cleaned):
        raise UsageError("--label: an empty name", hint="`v2a-data labels` lists names")
    return cleaned


def _given(current: "Recipe", named: "Recipe") -> dict[str, Any]:
    """Labels and source of the workspace, where it was made from the same recipe."""
    from v2a_data.recipe import to_table

    if current.name != named.name:
        return {}
    table = to_table(current)
    return {key: table[key] for key in ("labels", "source") if key in table}


def _for_labels(labels: Sequence[str], source: str | None, input_path: str | None, over: Mapping[str, Any]) -> "Recipe":
    from pathlib import Path

    from v2a_data import resources
    from v2a_data.derive import derived_table
    from v2a_data.ids import slug
    from v2a_data.recipe import build_recipe, load_recipe, merge
    from v2a_data.sources.local import folder_labels

    if len(labels) == 1 and (resources.pipelines() / f"{slug(labels[0])}.toml").is_file():
        shipped = load_recipe(slug(labels[0]), over)
        if shipped.labels == tuple(labels):
            return shipped
    names = tuple(labels) or folder_labels(Path(str(input_path)).expanduser())
    return build_recipe(merge(derived_table(names, source or "youtube8m", input_path), over), "derived recipe")
