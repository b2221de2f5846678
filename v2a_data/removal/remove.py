"""The driver of `remove`: files first, the ledger last, so that a run that was killed finds again what was to go.

What is under way stands in the ledger until it is done; every other command that writes is refused meanwhile.
"""

from dataclasses import dataclass, field

from v2a_data.console import Console
from v2a_data.errors import UsageError
from v2a_data.ids import check_video_id
from v2a_data.ledger import Ledger
from v2a_data.removal.find import UNDER_WAY, Doomed, Wanted, find
from v2a_data.removal.refused import refuse
from v2a_data.removal.scores import rewrite_parts
from v2a_data.removal.shards import Rewritten, rewrite, strangers, touched
from v2a_data.removal.sweep import Swept, sweep
from v2a_data.removal.tables import delete_rows, give_back
from v2a_data.shards.beside import write_beside
from v2a_data.workspace import Workspace


@dataclass
class Removal:
    """What one run took out. `rows` counts by table; a run that went on counts what was left for it."""

    videos: int = 0
    elsewhere: int = 0
    media_files: int = 0
    media_bytes: int = 0
    parts: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    shards: Rewritten = field(default_factory=Rewritten)
    swept: Swept = field(default_factory=Swept)
    beside: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What a removal would take out."""

    videos: int
    elsewhere: int
    media_bytes: int
    clips: int
    samples: int
    votes: int
    shards: tuple[str, ...]


def plan(ledger: Ledger, workspace: Workspace, wanted: Wanted) -> Plan:
    """What a removal would take out, without doing it."""
    import json

    doomed = find(ledger, wanted)
    chosen = (json.dumps(sorted(doomed.videos)),)

    def count(what: str, table: str) -> int:
        # Names of tables and columns come from here.
        sql = f"SELECT {what} FROM {table} WHERE video_id IN (SELECT value FROM json_each(?))"  # noqa: S608
        return int(ledger.value(sql, chosen) or 0)

    samples = sum(doomed.has_clip(row[0]) for row in ledger.each("SELECT clip_id FROM samples WHERE state = 'written'"))
    return Plan(
        len(doomed.videos),
        _elsewhere(wanted, doomed),
        count("SUM(bytes)", "media"),
        count("COUNT(*)", "clips"),
        samples,
        count("COUNT(*)", "votes"),
        tuple(touched(workspace, doomed)),
    )


def remove(workspace: Workspace, wanted: Wanted, console: Console) -> Removal:
    """Take videos out of a workspace, and refuse them from now on.

    A removal that was interrupted is gone on with, whatever else is asked. Raises `UsageError` where there is
    nothing to do.
    """
    ledger = workspace.ledger
    before = ledger.meta(UNDER_WAY)
    wanted |= Wanted.from_json(before) if before else Wanted()
    if not wanted and before is None:
        raise UsageError("nothing to remove", hint="name videos with --ids, --ids-file or --channel")
    doomed = find(ledger, wanted)
    with ledger.transaction():
        ledger.set_meta(UNDER_WAY, wanted.to_json())
        refuse(ledger, doomed.refused)
    result = Removal(videos=len(doomed.videos), elsewhere=_elsewhere(wanted, doomed))
    _media(workspace, doomed, result)
    result.parts = rewrite_parts(workspace, doomed)
    result.left += strangers(workspace, doomed)
    names = touched(workspace, doomed)
    with console.progress("shards", len(names), "shards") as progress:
        for name in names:
            rewrite(workspace, doomed, name, result.shards)
            progress.step()
    result.swept = sweep(workspace, doomed)
    result.left += result.swept.left
    result.rows = delete_rows(ledger, doomed)
    recipe = workspace.recipe()
    if recipe is not None and workspace.shards.is_dir():
        result.beside = write_beside(workspace, recipe)
    if not give_back(ledger):
        result.left.append("ledger.sqlite-wal")
    with ledger.transaction():
        ledger.execute("DELETE FROM meta WHERE key = ?", (UNDER_WAY,))
    if not give_back(ledger) and "ledger.sqlite-wal" not in result.left:
        result.left.append("ledger.sqlite-wal")
    return result


def _elsewhere(wanted: Wanted, doomed: Doomed) -> int:
    """How many of the ids that were asked for name nothing here."""
    return sum(video_id not in doomed.videos for video_id in wanted.ids)


def _media(workspace: Workspace, doomed: Doomed, result: Removal) -> None:
    """Media files of doomed videos, whatever the ledger says of them. Files that they were linked from stay."""
    for video_id in sorted(doomed.videos):
        folder = workspace.media_path(check_video_id(video_id), "x").parent
        for path in sorted(folder.glob(f"{video_id}.*")):
            result.media_bytes += path.stat().st_size
            path.unlink()
            result.media_files += 1
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
