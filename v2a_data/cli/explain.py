"""`v2a-data explain CLIP`: every score and rule behind one verdict."""

from typing import Annotated, Any

import typer

from v2a_data.cli.common import Common
from v2a_data.errors import ExitCode, NothingError, UsageError


def explain(
    common: Common,
    clip: Annotated[str, typer.Argument(metavar="CLIP", help="A clip id, or a video id for all its clips.")],
) -> int:
    """Windows, scores, rules and reasons of a clip, in the terminal."""
    from v2a_data.curate.explain import explain_clip, explain_video
    from v2a_data.ids import check_video_id, split_clip_id
    from v2a_data.workspace import Workspace

    with Workspace.read(common.workspace) as workspace:
        recipe = workspace.recipe()
        if recipe is None:
            raise UsageError(f"{common.workspace} has no recipe yet")
        try:
            split_clip_id(clip)
            values: dict[str, Any] | None = explain_clip(workspace, recipe, clip)
        except ValueError:
            try:
                values = explain_video(workspace, recipe, check_video_id(clip))
            except ValueError as error:
                raise UsageError(str(error), hint="`v2a-data status` and the clips table name ids") from None
        if values is None:
            raise NothingError(f"{clip} is not in {common.workspace}")
    common.console.result(values, "\n".join(values["lines"]))
    return ExitCode.OK
