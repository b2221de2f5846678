"""`v2a-data labels`: search the names of all sources, offline."""

from typing import Annotated

import typer

from v2a_data.cli.common import Common
from v2a_data.errors import ExitCode, NothingError

_SHOWN = 40
_COUNTS = "videos: in YouTube-8M's training partition, AudioSet's balanced list, VGGSound, AVE; VEGAS publishes none"


def labels(
    common: Common, search: Annotated[str | None, typer.Argument(help="Part of a name, or an id.")] = None
) -> int:
    """Label names with their source, id and count.

    \b
    v2a-data labels helicopter
    """
    from v2a_data.console import table
    from v2a_data.sources.label_tables import search_all

    found = list(search_all(search))
    if not found:
        raise NothingError(f"no label holds {search!r}", hint="`v2a-data labels` lists all of them")
    rows = [
        (label.name, label.source, label.id, "" if label.count is None else label.count) for label in found[:_SHOWN]
    ]
    text = table(("name", "source", "id", "videos"), rows)
    if len(found) > _SHOWN:
        text += f"\n… and {len(found) - _SHOWN} more; --json gives all"
    text += f"\n{_COUNTS}"
    values = [{"name": item.name, "source": item.source, "id": item.id, "count": item.count} for item in found]
    common.console.result({"labels": values}, text)
    return ExitCode.OK
