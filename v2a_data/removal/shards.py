"""Shards without removed samples, written again from their own bytes: no media, no model, no encoder."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from v2a_data.files import sync_folder
from v2a_data.ids import split_clip_id
from v2a_data.ledger import encode_json
from v2a_data.recipe import digest
from v2a_data.removal.find import Doomed
from v2a_data.shards.check import check_shard
from v2a_data.shards.index import index_row, ledger_rows, ledger_shards
from v2a_data.shards.read import MAX_JSON, Entry
from v2a_data.shards.repair import IRREPARABLE, sample_hash
from v2a_data.shards.tar import Member, WrittenShard, write_shard
from v2a_data.workspace import Workspace

_MAX_MEDIA = 1 << 29


@dataclass
class Rewritten:
    """What became of the touched shards; `damaged` are samples of other videos whose bytes were not right before."""

    shards: list[str] = field(default_factory=list)
    emptied: list[str] = field(default_factory=list)
    samples: int = 0
    damaged: list[str] = field(default_factory=list)


def touched(workspace: Workspace, doomed: Doomed) -> list[str]:
    """Shards that hold a sample of a doomed video, or one whose group is called by it."""
    sql = (
        "SELECT clip_id, shard, json_extract(index_row, '$.group_id') AS group_id FROM samples WHERE state = 'written'"
    )
    rows = workspace.ledger.each(sql)
    return sorted({r["shard"] for r in rows if doomed.has_clip(r["clip_id"]) or r["group_id"] in doomed.renamed})


def rewrite(workspace: Workspace, doomed: Doomed, name: str, result: Rewritten) -> None:
    """Write one shard again and record it. Killed anywhere, the same call does the rest."""
    ledger, scratch = workspace.ledger, workspace.tmp / f"remove-{digest(name)}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    known = ledger_shards(ledger).get(name)
    rows = ledger_rows(ledger, name)
    report = check_shard(workspace.shards, name, known, rows)
    kept = [row for row in rows if not doomed.has_clip(row.key)]
    members: dict[str, Member] = {}
    if not any(finding.kind in ("missing_shard", "not_a_file") for finding in report.findings):
        elsewhere = {found.key: found for found in report.samples}
        with (workspace.shards / name).open("rb") as file:
            for row in kept:
                places = filter(None, (row, elsewhere.get(row.key)))
                found = next(_members(file, row, places, doomed.renamed, scratch), None)
                members |= {row.key: found} if found is not None else {}
    damaged = [row.key for row in kept if row.key not in members]
    path = workspace.shards / name
    written = write_shard(path, list(members.values())) if members else None
    if written is None:
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            sync_folder(path.parent)
    _record(workspace, doomed, name, written, members, damaged)
    shutil.rmtree(scratch, ignore_errors=True)
    (result.shards if written else result.emptied).append(name)
    result.samples += len(rows) - len(kept)
    result.damaged += damaged


def _members(
    file: BinaryIO, row: Entry, places: Iterator[Any], renamed: dict[str, str], scratch: Path
) -> Iterator[Member]:
    """The sample as the ledger has it, wherever it is in the file; its group by the new name."""
    for place in places:
        if place.mp4_bytes > _MAX_MEDIA or place.json_bytes > MAX_JSON:
            continue
        media = _slice(file, place.mp4_offset, place.mp4_bytes)
        body = _slice(file, place.json_offset, place.json_bytes)
        # A run that was killed may have written the new name already.
        for old in (body, *(_regrouped(body, new, was) for was, new in renamed.items() if was == row.group_id)):
            if sample_hash(media, old) == row.sha256:
                target = scratch / f"{row.key}.mp4"
                target.write_bytes(media)
                new = _regrouped(old, row.group_id, renamed.get(row.group_id, row.group_id))
                yield Member(row.key, json.loads(new), target, new)


def _regrouped(body: bytes, old: str, new: str) -> bytes:
    """A sample's JSON with another group; all other bytes stay."""
    return body.replace(f'"group_id":{json.dumps(old)}'.encode(), f'"group_id":{json.dumps(new)}'.encode())


def _slice(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _record(
    workspace: Workspace,
    doomed: Doomed,
    name: str,
    written: WrittenShard | None,
    members: dict[str, Member],
    damaged: list[str],
) -> None:
    """The ledger says what the shard holds now; samples with damaged bytes wait for `repair`."""
    ledger = workspace.ledger
    with ledger.transaction():
        for place in written.places if written else ():
            row = encode_json(index_row(name, place, members[place["key"]].values))
            ledger.execute("UPDATE samples SET index_row = ? WHERE clip_id = ?", (row, place["key"]))
        for key in damaged:
            sql = "UPDATE samples SET state = 'refused', reason = ?, message = ?, index_row = NULL WHERE clip_id = ?"
            words = f"{name}: its bytes were damaged when the shard was written again"
            ledger.execute(sql, (IRREPARABLE, words, key))
            ledger.attempt(split_clip_id(key)[0], "cut", IRREPARABLE, words)
        gone = [row[0] for row in ledger.rows("SELECT clip_id FROM samples WHERE shard = ?", (name,))]
        for key in filter(doomed.has_clip, gone):
            ledger.execute("DELETE FROM samples WHERE clip_id = ?", (key,))
        if written:
            count = (len(members), written.bytes, written.sha256, name)
            ledger.execute("UPDATE shards SET samples = ?, bytes = ?, sha256 = ? WHERE shard = ?", count)
        else:
            ledger.execute("DELETE FROM shards WHERE shard = ?", (name,))
            ledger.execute("DELETE FROM meta WHERE key = ?", (f"build/{name}",))


def strangers(workspace: Workspace, doomed: Doomed) -> list[str]:
    """Shard files that the ledger does not have and that hold a doomed sample.

    One that a stopped `shard` left is ours to remove; the others are named.
    """
    from v2a_data.shards.verify import shard_files

    known = ledger_shards(workspace.ledger)
    planned = {row[0] for row in workspace.ledger.rows("SELECT DISTINCT name FROM plans WHERE stage = 'shard'")}
    left = []
    for name in shard_files(workspace.shards):
        if name in known:
            continue
        if name in planned:
            (workspace.shards / name).unlink()
        elif any(doomed.has_clip(found.key) for found in check_shard(workspace.shards, name, None, None).samples):
            left.append(f"shards/{name}")
    return left
