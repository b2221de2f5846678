"""`repair`: rewrite the shards that are not what the ledger says, and only those.

A sample whose bytes in the old file still have the ledger's hash is taken from there: that is exact whatever
FFmpeg is installed now. Only the others are made again, from the ledger, the scores and their media. What cannot be
made again leaves its shard as irreparable, and comes back with a later `repair` once its media are back. Media that
were deleted after sharding are fetched once more for it, and deleted again.
"""

import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from v2a_data import schema
from v2a_data.console import Console
from v2a_data.engine import Engine, Job, Step
from v2a_data.errors import UsageError
from v2a_data.fetch.again import fetch_again
from v2a_data.files import sha256_file, sync_folder
from v2a_data.ids import split_clip_id
from v2a_data.recipe import Recipe, digest
from v2a_data.shards.beside import write_beside
from v2a_data.shards.check import Finding, ShardReport, check_shard
from v2a_data.shards.index import index_row, ledger_rows, ledger_shards
from v2a_data.shards.let_go import delete_marked
from v2a_data.shards.read import MAX_JSON, Entry
from v2a_data.shards.sums import Known
from v2a_data.shards.tar import Member, WrittenShard, json_bytes, write_shard
from v2a_data.shards.verify import shard_files
from v2a_data.shards.write import CutAnswer, ShardRun, cut_clips
from v2a_data.workspace import Workspace

IRREPARABLE = "irreparable"
_MAX_MEDIA = 1 << 29


@dataclass(frozen=True)
class Lost:
    """A sample that could not be made again, and why."""

    shard: str
    key: str
    why: str


@dataclass
class RepairResult:
    """What `repair` did. Shards by what became of them: `same` were rewritten byte for byte, `other` hold samples
    made by another build, `refilled` got irreparable ones back, `partly` lost samples, `emptied` lost all of theirs
    and are gone. `beside` names the files beside the shards that were written again."""

    checked: int = 0
    same: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    refilled: list[str] = field(default_factory=list)
    partly: list[str] = field(default_factory=list)
    emptied: list[str] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    left: list[Finding] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether nothing is left to mend."""
        return not self.lost and not self.left


def damaged_shards(workspace: Workspace, console: Console) -> Iterator[tuple[str, Known, ShardReport]]:
    """Every shard of the ledger whose file is not what was written, with what is wrong with it."""
    known = ledger_shards(workspace.ledger)
    with console.progress("check", len(known), "shards") as progress:
        for name, was in known.items():
            report = check_shard(workspace.shards, name, was, ledger_rows(workspace.ledger, name))
            progress.step(damaged=int(report.sha256 != was.sha256))
            if report.sha256 != was.sha256:
                yield name, was, report


def repair(workspace: Workspace, recipe: Recipe, open_engine: Callable[[], Engine], console: Console) -> RepairResult:
    """Mend the workspace's shards, one after the other; each is recorded before the next one is begun.

    Samples that cannot be made again leave their shard and become `refused` with the reason `irreparable`; those
    whose media are back since are put back to their place. The engine is opened only when clips have to be cut. Raises
    `UsageError` where the shards are another recipe's.
    """
    others = workspace.ledger.value("SELECT recipe_hash FROM shards WHERE recipe_hash != ?", (recipe.hash,))
    if others:
        raise UsageError(
            f"{workspace.shards} holds shards of recipe {others}, not {recipe.hash}",
            hint="give the --recipe and --set that they were made with",
        )
    result = RepairResult(checked=len(ledger_shards(workspace.ledger)))
    mend = _Mend(workspace, recipe, open_engine, result)
    back = mend.back()
    try:
        for name, was, report in damaged_shards(workspace, console):
            for finding in report.findings[:20]:
                console.detail(finding.line())
            mend.shard(name, was, report)
        for name, keys in back.items():
            mend.refill(name, keys)
    finally:
        mend.close()
    result.beside = write_beside(workspace, recipe)
    result.left = extra_files(workspace)
    return result


def extra_files(workspace: Workspace) -> list[Finding]:
    """Files among the shards that the ledger does not know. They are not ours to remove."""
    known = ledger_shards(workspace.ledger)
    planned = {row[0] for row in workspace.ledger.rows("SELECT DISTINCT name FROM plans WHERE stage = 'shard'")}
    found = []
    for name in shard_files(workspace.shards):
        if name not in known:
            fix = "run `v2a-data shard`, which was stopped" if name in planned else "remove it by hand"
            found.append(Finding("extra_shard", name, None, "the ledger does not have it", fix))
    return found


class _Mend:
    """The work on damaged shards."""

    def __init__(
        self, workspace: Workspace, recipe: Recipe, open_engine: Callable[[], Engine], result: RepairResult
    ) -> None:
        self.workspace, self.recipe, self.ledger, self.result = workspace, recipe, workspace.ledger, result
        self.open_engine = open_engine
        self.engine: Engine | None = None
        self.run = ShardRun(workspace, recipe)
        self.builds: set[str] = set()

    def close(self) -> None:
        if self.engine is not None:
            self.engine.close()
        delete_marked(self.workspace)

    def back(self) -> dict[str, list[str]]:
        """Irreparable samples whose media are as they were when they were cut, by shard."""
        sql = (
            "SELECT shard, clip_id FROM samples "
            "WHERE state = 'refused' AND reason = ? AND recipe_hash = ? AND shard IS NOT NULL ORDER BY 1, 2"
        )
        gone: dict[str, list[str]] = defaultdict(list)
        for shard, clip_id in self.ledger.rows(sql, (IRREPARABLE, self.recipe.hash)):
            gone[shard].append(clip_id)
        found = {}
        for name, keys in gone.items():
            all_of_it = list(self.run.requests(name, keys))
            deleted = self._deleted(request.video_id for request in all_of_it)
            requests = [r for r in all_of_it if r.video_id in deleted or not self._media_trouble(r.video_id, r.path)]
            found[name] = [clip_id for request in requests for clip_id, _, _ in request.spans]
        return {name: keys for name, keys in found.items() if keys}

    def refill(self, name: str, keys: Sequence[str]) -> None:
        """Put irreparable samples back to their shard, which is sound or gone; those that fail stay irreparable."""
        was = ledger_shards(self.ledger).get(name)
        report = check_shard(self.workspace.shards, name, was, ledger_rows(self.ledger, name))
        self.shard(name, was, report, keys)

    def shard(self, name: str, was: Known | None, report: ShardReport, back: Sequence[str] = ()) -> None:
        """Write one shard again from what is still right in it and from what can be made again."""
        rows = {entry.key: entry for entry in ledger_rows(self.ledger, name)}
        scratch = self.workspace.tmp / f"repair-{digest(name)}"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        kept = self._kept(name, rows, report, scratch)
        members = {key: member for key, member in kept.items() if member.media.is_file()}
        self.builds = set()
        cuts, why = self._cut(name, [*(key for key in rows if key not in members), *back])
        for values in self.run.samples(cuts):
            key, media = values["key"], Path(cuts[values["key"]]["path"])
            standing = kept[key].body if key in kept else None
            same = standing and sample_hash(media.read_bytes(), standing) == rows[key].sha256
            # Its old JSON where that makes the old sample: a newer version of this package writes another one.
            members[key] = Member(key, values, media, standing if same else None)
        gone = [key for key in (*rows, *back) if key not in members]
        lost = [Lost(name, key, why.get(key, "the ledger no longer keeps this clip")) for key in gone]
        self.result.lost += lost
        if cuts or not back:
            self._write(name, was, members, cuts, lost)
        for folder in {scratch, *(Path(cut["path"]).parent for cut in cuts.values())}:
            shutil.rmtree(folder, ignore_errors=True)

    def _kept(self, name: str, rows: dict[str, Entry], report: ShardReport, scratch: Path) -> dict[str, Member]:
        """Samples of the old file, found where the ledger or the tar itself has them.

        Those that are whole have their media in `scratch`; of others there may be the JSON alone.
        """
        path, kept = self.workspace.shards / name, dict[str, Member]()
        if any(finding.kind in ("missing_shard", "not_a_file") for finding in report.findings):
            return kept
        elsewhere = {found.key: found for found in report.samples if found.key in rows}
        with path.open("rb") as file:
            for key, row in rows.items():
                for place in filter(None, (row, elsewhere.get(key))):
                    member = self._member(file, row, place, scratch / f"{key}.mp4")
                    if member is not None and (key not in kept or member.media.is_file()):
                        kept[key] = member
                    if key in kept and kept[key].media.is_file():
                        break
        return kept

    def _member(self, file: BinaryIO, row: Entry, place: Any, target: Path) -> Member | None:
        if place.mp4_bytes > _MAX_MEDIA or place.json_bytes > MAX_JSON:
            return None
        media = _slice(file, place.mp4_offset, place.mp4_bytes)
        body = _slice(file, place.json_offset, place.json_bytes)
        for candidate in (lambda: body, lambda: self._json(row.key)):
            found = candidate()
            if found is not None and sample_hash(media, found) == row.sha256:
                target.write_bytes(media)
                return Member(row.key, json.loads(found), target, found)
        return Member(row.key, {}, target, body)

    def _json(self, key: str) -> bytes | None:
        """A sample's JSON made again from the ledger."""
        measured = self.ledger.rows("SELECT * FROM samples WHERE clip_id = ?", (key,))
        values = next(self.run.samples({key: dict(measured[0])}), None)
        return None if values is None else json_bytes(values)

    def _cut(self, name: str, keys: Sequence[str]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        """Cut clips again: the results that went well, and why the others did not."""
        cuts: dict[str, dict[str, Any]] = {}
        why: dict[str, str] = {}
        jobs = []
        requests = list(self.run.requests(name, keys)) if keys else []
        not_again = fetch_again(self.workspace, self.recipe, sorted(self._deleted(r.video_id for r in requests)))
        for request in requests:
            trouble = not_again.get(request.video_id) or self._media_trouble(request.video_id, request.path)
            if trouble:
                why |= dict.fromkeys((clip_id for clip_id, _, _ in request.spans), trouble)
            else:
                jobs.append(Job(f"repair-{digest([name, request.video_id])}", (Step(cut_clips, (request,)),)))

        def record(_: Job, answer: CutAnswer) -> None:
            self.builds.add(answer.build)
            for clip_id, cut in answer.results.items():
                if cut["reason"] is None:
                    cuts[clip_id] = cut
                else:
                    why[clip_id] = f"it could not be cut again: {cut['reason']} {cut.get('message', '')}".strip()

        if jobs:
            self.engine = self.engine or self.open_engine()
            self.engine.run(jobs, record)
        return cuts, why

    def _deleted(self, video_ids: Iterable[str]) -> set[str]:
        """Those whose media were deleted after sharding, and are not here again."""
        sql = "SELECT path FROM media WHERE video_id = ? AND deleted IS NOT NULL"
        paths = ((video_id, self.ledger.value(sql, (video_id,))) for video_id in video_ids)
        return {video_id for video_id, path in paths if path and not (self.workspace.root / path).is_file()}

    def _media_trouble(self, video_id: str, place: str) -> str | None:
        path = Path(place)
        sha256 = self.ledger.value("SELECT sha256 FROM media WHERE video_id = ?", (video_id,))
        if not path.is_file():
            return "its media is gone"
        return None if sha256_file(path) == sha256 else "its media is not what was cut: its hash differs"

    def _write(
        self,
        name: str,
        was: Known | None,
        members: dict[str, Member],
        cuts: dict[str, dict[str, Any]],
        lost: Sequence[Lost],
    ) -> None:
        path = self.workspace.shards / name
        written = write_shard(path, list(members.values())) if members else None
        if written is None:
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                sync_folder(path.parent)
            self.result.emptied.append(name)
        elif was is not None and written.sha256 == was.sha256:
            self.result.same.append(name)
            return
        elif lost:
            self.result.partly.append(name)
        else:
            grown = was is None or len(members) > was.samples
            (self.result.refilled if grown else self.result.other).append(name)
        self._record(name, written, members, cuts, lost)

    def _record(
        self,
        name: str,
        written: WrittenShard | None,
        members: dict[str, Member],
        cuts: dict[str, dict[str, Any]],
        lost: Sequence[Lost],
    ) -> None:
        """The ledger says what the shard holds now."""
        rows = []
        for place in written.places if written else ():
            key = place["key"]
            old = dict(self.ledger.rows("SELECT * FROM samples WHERE clip_id = ?", (key,))[0])
            about = {"state": "written", "shard": name, "index_row": index_row(name, place, members[key].values)}
            rows.append({**old, **cuts.get(key, {}), **about})
        for one in lost:
            about = {"clip_id": one.key, "recipe_hash": self.recipe.hash, "state": "refused", "shard": name}
            rows.append({**about, "reason": IRREPARABLE, "message": f"{name}: {one.why}"})
        with self.ledger.transaction():
            self.ledger.insert(schema.SAMPLES, rows, existing="replace")
            if written:
                about = {"shard": name, "split": name.split("/", maxsplit=1)[0], "recipe_hash": self.recipe.hash}
                count = {"samples": len(members), "bytes": written.bytes, "sha256": written.sha256}
                self.ledger.insert(schema.SHARDS, [{**about, **count}], existing="replace")
                builds = {*(self.ledger.meta(f"build/{name}") or "").split(" / "), *self.builds} - {""}
                self.ledger.set_meta(f"build/{name}", " / ".join(sorted(builds)))
            else:
                self.ledger.execute("DELETE FROM shards WHERE shard = ?", (name,))
            for one in lost:
                self.ledger.attempt(split_clip_id(one.key)[0], "cut", IRREPARABLE, f"{one.key} {one.why}")


def _slice(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def sample_hash(media: bytes, body: bytes) -> str:
    """The hash of a sample as the index has it."""
    return hashlib.sha256(media + body).hexdigest()
