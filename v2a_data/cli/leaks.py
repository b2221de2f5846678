"""`v2a-data leaks`: what two datasets, or the splits of one, have in common."""

from pathlib import Path
from typing import Annotated

import typer

from v2a_data.cli.common import Common
from v2a_data.errors import ExitCode

_SHOWN = 5


def leaks(
    common: Common,
    a: Annotated[Path, typer.Argument(metavar="A", help="A manifest, or a folder of shards.")],
    b: Annotated[Path | None, typer.Argument(metavar="[B]", help="Another. Without it: the splits of A.")] = None,
) -> int:
    """Count the clips that two datasets share, by id, time, bytes, picture and sound.

    Exit code 8 when there are any, 0 when there are none; what could not be compared is said.

    \b
    v2a-data leaks mine/shards theirs.parquet
    v2a-data leaks mine/shards
    """
    from v2a_data.console import table
    from v2a_data.curate.leaks import WORDS, find_leaks

    paths = [path for path in (a, b) if path is not None]
    engine = common.engine() if common.workers or common.scheduler else common.in_order()
    try:
        found = find_leaks(paths, engine, common.console)
    finally:
        engine.close()
    rows = [(WORDS[kind], o.left, o.right, o.pairs) for kind, o in found.found.items()]
    header = ("clips", "in A", "in B", "pairs") if b is not None else ("clips", "earlier split", "later split", "pairs")
    lines = [table(header, rows)]
    for overlap in found.found.values():
        lines += [f"  {one}  {other}" for one, other in overlap.examples[:_SHOWN]]
    lines += [f"not compared: {words}" for words in found.not_compared]
    names = " and ".join(str(path) for path in paths) if b is not None else f"the splits of {a}"
    lines.append(f"{names}: {'LEAKS' if found.any else 'no leak found'}")
    common.console.result({"a": str(a), "b": None if b is None else str(b), **found.to_json()}, "\n".join(lines))
    return ExitCode.LEAKS if found.any else ExitCode.OK
