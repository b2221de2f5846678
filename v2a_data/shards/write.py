"""The driver of `shard`: plan shards, cut their clips in workers, write them one by one, index them."""

import json
import math
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from v2a_data import __version__, schema
from v2a_data.console import Console
from v2a_data.curate.score import scorer_specs
from v2a_data.curate.splits import check_groups
from v2a_data.engine import Engine, Job, Step
from v2a_data.errors import ItemError, NothingError, UsageError
from v2a_data.ids import split_clip_id
from v2a_data.ledger import Row
from v2a_data.manifest import own_manifest
from v2a_data.media.client import shared_child, twice
from v2a_data.media.probe import Probe
from v2a_data.media.spec import CutSpec
from v2a_data.models.choice import not_for_use
from v2a_data.progress import Progress
from v2a_data.rebuild import plan_shards
from v2a_data.recipe import Recipe, digest
from v2a_data.runs import package_version
from v2a_data.scorers import SCORERS
from v2a_data.scores import read_scores
from v2a_data.shards.beside import write_beside
from v2a_data.shards.format import label_text
from v2a_data.shards.given import Texts, given_values, keep_texts, same_texts
from v2a_data.shards.index import index_row
from v2a_data.shards.plan import plan_new
from v2a_data.shards.tar import Member, write_shard
from v2a_data.sources import SOURCES
from v2a_data.workspace import Workspace


@dataclass
class ShardResult:
    """What `shard` did now, and what the dataset holds after it."""

    written: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    shards: int = 0
    samples: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class CutRequest:
    """Clips of one video that go into one shard."""

    shard: str
    video_id: str
    path: str
    duration_s: float
    spans: tuple[tuple[str, float, float], ...]
    spec: dict[str, Any]
    folder: str


@dataclass(frozen=True)
class CutAnswer:
    """One result per clip: fields of `media.cut.CutResult`, by clip id; and the build that cut them."""

    request: CutRequest
    results: dict[str, dict[str, Any]]
    build: str = ""


def shard(
    workspace: Workspace,
    recipe: Recipe,
    engine: Engine,
    console: Console,
    *,
    samples_per_shard: int | None = None,
    texts: Texts | None = None,
    force: bool = False,
) -> ShardResult:
    """Write every kept clip that is in no shard yet, beside them index and card; finished shards are left alone.

    `texts` are kept and used by later calls too. Raises `NothingError` without kept clips, `UsageError` where
    shards of another recipe or with other texts stand and `force` is not set. Call `check_kept` before the
    workspace adopts a recipe.
    """
    ledger = workspace.ledger
    check_kept(workspace, recipe)
    _check_recipe(workspace, recipe, force)
    _take_texts(workspace, recipe, texts, force)
    manifest = own_manifest(workspace)
    if manifest is not None:
        plan_shards(ledger, manifest)
    else:
        plan_new(ledger, recipe, samples_per_shard or recipe.shard.samples_per_shard)
    total = ledger.value("SELECT COUNT(*) FROM plans WHERE stage = 'shard'")
    run = ShardRun(workspace, recipe)
    if total:
        with console.progress("shard", total, "clips") as progress:
            run.start(engine, progress)
    write_beside(workspace, recipe)
    run.result.shards = ledger.value("SELECT COUNT(*) FROM shards")
    run.result.samples = {
        row[0]: row[1] for row in ledger.rows("SELECT split, SUM(samples) FROM shards GROUP BY 1 ORDER BY 1")
    }
    return run.result


def check_kept(workspace: Workspace, recipe: Recipe) -> None:
    """Raise `UsageError` for a recipe that nothing was curated with, or whose splits would leak unsaid, `NothingError`
    where it keeps nothing."""
    ledger = workspace.ledger
    if ledger.value("SELECT 1 FROM clips WHERE recipe_hash = ? AND verdict = 'keep' LIMIT 1", (recipe.hash,)):
        check_groups(ledger, recipe)
        return
    known = ledger.value("SELECT 1 FROM clips WHERE recipe_hash = ? LIMIT 1", (recipe.hash,))
    if not known and ledger.value("SELECT 1 FROM clips LIMIT 1"):
        raise UsageError(
            f"nothing was curated with recipe {recipe.name} ({recipe.hash}) yet",
            hint="run `v2a-data curate` with the same --recipe and --set first; scores are not measured again",
        )
    raise NothingError("no clip is kept", hint="`v2a-data status` shows why clips were dropped")


def _check_recipe(workspace: Workspace, recipe: Recipe, force: bool) -> None:
    ledger = workspace.ledger
    others = ledger.rows("SELECT DISTINCT recipe_hash FROM samples WHERE recipe_hash != ?", (recipe.hash,))
    if not others:
        return
    if not force:
        raise UsageError(
            f"{workspace.shards} holds samples of recipe {others[0][0]}, not {recipe.hash}",
            hint="--force replaces them; or use another workspace with -w",
        )
    _take_back(workspace, recipe, [row[0] for row in others])


def _take_texts(workspace: Workspace, recipe: Recipe, texts: Texts | None, force: bool) -> None:
    """Make texts the workspace's own, unless samples with other ones stand."""
    if texts is None:
        return
    if same_texts(workspace, texts):
        keep_texts(workspace, texts)  # a copy that was lost is put back
        return
    if own_manifest(workspace) is not None:
        raise UsageError("--text: a dataset that is rebuilt has the texts of its manifest")
    if workspace.ledger.value("SELECT 1 FROM samples WHERE state = 'written' LIMIT 1"):
        if not force:
            raise UsageError(
                f"{workspace.shards} holds samples with other texts than those of {texts.path}",
                hint="--force writes all of them again; or use another workspace with -w",
            )
        _take_back(workspace, recipe, [recipe.hash])
    keep_texts(workspace, texts)


def _take_back(workspace: Workspace, recipe: Recipe, hashes: Sequence[str]) -> None:
    """Forget and remove the samples and shards of some recipes."""
    ledger, chosen = workspace.ledger, (json.dumps(hashes),)
    sql = (
        "SELECT COUNT(*) FROM samples s JOIN clips c USING (clip_id, recipe_hash) JOIN media m USING (video_id) "
        "WHERE s.state = 'written' AND m.deleted IS NOT NULL AND s.recipe_hash IN (SELECT value FROM json_each(?))"
    )
    if lost := ledger.value(sql, chosen):
        raise UsageError(
            f"{lost} samples could not be made again: their media were deleted (fetch.keep_media)",
            hint="use another workspace with -w",
        )
    where = "WHERE recipe_hash IN (SELECT value FROM json_each(?))"
    names = [row[0] for row in ledger.rows(f"SELECT shard FROM shards {where}", chosen)]  # noqa: S608
    with ledger.transaction():
        ledger.execute(f"DELETE FROM samples {where}", chosen)  # noqa: S608
        ledger.execute(f"DELETE FROM shards {where}", chosen)  # noqa: S608
    write_beside(workspace, recipe)
    for name in names:
        (workspace.shards / name).unlink(missing_ok=True)


class ShardRun:
    """One run of `shard`: which clips of which shard are cut. `repair` takes its requests and samples from here."""

    def __init__(self, workspace: Workspace, recipe: Recipe) -> None:
        self.workspace, self.recipe, self.ledger = workspace, recipe, workspace.ledger
        self.result = ShardResult()
        self.open: dict[str, int] = {}
        self.cut: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self.builds: dict[str, set[str]] = defaultdict(set)
        self.given = given_values(workspace)
        # A manifest's recipe comes from outside: the models it names are neither needed nor looked at.
        self.scorers = {} if self.given.manifest else {spec.name: spec.hash for spec in scorer_specs(recipe)}
        self.models = [] if self.given.manifest else _models(recipe)
        self.not_for_use = not_for_use(recipe)

    def start(self, engine: Engine, progress: Progress) -> None:
        def record(_: Job, answer: CutAnswer) -> None:
            name = answer.request.shard
            self.cut[name].update(answer.results)
            self.builds[name].add(answer.build)
            self.open[name] -= 1
            if self.open[name] == 0:
                self._write(name)
            refused = sum(r["reason"] is not None for r in answer.results.values())
            progress.step(len(answer.results), refused=refused)

        engine.run(self._jobs(), record)

    def _jobs(self) -> Iterator[Job]:
        names = self.ledger.rows("SELECT DISTINCT name FROM plans WHERE stage = 'shard' ORDER BY 1")
        for (name,) in names:
            requests = list(self.requests(name, self._planned(name)))
            self.open[name] = len(requests)
            for request in requests:
                yield Job(f"cut-{digest([name, request.video_id])}", (Step(cut_clips, (request,)),))

    def _planned(self, name: str) -> list[str]:
        return [
            row[0] for row in self.ledger.rows("SELECT item FROM plans WHERE stage = 'shard' AND name = ?", (name,))
        ]

    def requests(self, name: str, clip_ids: Sequence[str]) -> Iterator[CutRequest]:
        """What is to be cut for a shard, a request per video; clips that are not kept are left out."""
        sql = (
            "SELECT c.clip_id, c.video_id, c.start_s, c.stop_s, m.path, m.probe FROM json_each(?) p "
            "JOIN clips c ON c.clip_id = p.value AND c.recipe_hash = ? AND c.verdict = 'keep' "
            "JOIN media m ON m.video_id = c.video_id ORDER BY c.video_id, c.start_s"
        )
        by_video: dict[str, list[Row]] = defaultdict(list)
        for row in self.ledger.rows(sql, (json.dumps(clip_ids), self.recipe.hash)):
            by_video[row["video_id"]].append(row)
        section = self.recipe.shard
        spec = CutSpec(
            section.width, section.height, section.fps, section.rate_hz, section.channels, section.crf, section.fit
        ).to_json()
        for video_id, rows in by_video.items():
            spans = tuple((row["clip_id"], row["start_s"], row["stop_s"]) for row in rows)
            folder = self.workspace.tmp.absolute() / f"cut-{digest([name, video_id])}"
            path = str((self.workspace.root / rows[0]["path"]).absolute())
            duration_s = Probe.from_json(json.loads(rows[0]["probe"])).duration_s
            yield CutRequest(name, video_id, path, duration_s, spans, spec, str(folder))

    def _write(self, name: str) -> None:
        """All clips of a shard are cut: write it, record it, drop the scratch files."""
        results = self.cut.pop(name)
        kept = {clip_id: r for clip_id, r in results.items() if r["reason"] is None}
        members = [Member(m["key"], m, Path(kept[m["key"]]["path"])) for m in self.samples(kept)]
        written = write_shard(self.workspace.shards / name, members) if members else None
        places = {place["key"]: place for place in written.places} if written else {}
        rows = []
        values = {member.key: member.values for member in members}
        for clip_id, result in sorted(results.items()):
            row = {"clip_id": clip_id, "recipe_hash": self.recipe.hash, "state": "refused", **result}
            if clip_id in places:
                row |= {
                    "state": "written",
                    "shard": name,
                    "index_row": index_row(name, places[clip_id], values[clip_id]),
                }
            rows.append(row)
        with self.ledger.transaction():
            self.ledger.insert(schema.SAMPLES, rows, existing="replace")
            if written:
                about = {
                    "shard": name,
                    "split": name.split("/", maxsplit=1)[0],
                    "recipe_hash": self.recipe.hash,
                    "samples": len(members),
                }
                self.ledger.insert(
                    schema.SHARDS, [{**about, "bytes": written.bytes, "sha256": written.sha256}], existing="replace"
                )
                self.ledger.set_meta(f"build/{name}", " / ".join(sorted(self.builds.pop(name) - {""})))
            for row in rows:
                if row["state"] == "refused":
                    video_id = split_clip_id(row["clip_id"])[0]
                    words = f"{row['clip_id']} {row.get('message', '')}"
                    self.ledger.attempt(video_id, "cut", row["reason"], words, f"PyAV {package_version('av')}")
            self.ledger.execute("DELETE FROM plans WHERE stage = 'shard' AND name = ?", (name,))
        for folder in {Path(r["path"]).parent for r in kept.values()}:
            shutil.rmtree(folder, ignore_errors=True)
        self.result.written += len(members)
        self.result.refused.update(r["reason"] for r in results.values() if r["reason"] is not None)

    def samples(self, cuts: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The JSON of clips in the order of their ids, from the ledger, the scores and what their cuts measured."""
        sql = (
            "SELECT c.*, v.source, v.native_id, v.url, v.labels, g.group_id, s.split FROM json_each(?) p "
            "JOIN clips c ON c.clip_id = p.value AND c.recipe_hash = ? AND c.verdict = 'keep' "
            "JOIN videos v USING (video_id) "
            "JOIN groups g USING (clip_id) JOIN splits s USING (clip_id) ORDER BY c.clip_id"
        )
        rows = self.ledger.rows(sql, (json.dumps(list(cuts)), self.recipe.hash))
        scores = (
            read_scores(self.ledger, self.workspace.root, self.scorers, sorted({row["video_id"] for row in rows}))
            if rows
            else {}
        )
        given = self.given.values(row["clip_id"] for row in rows)
        for row in rows:
            sample = self._sample(row, cuts[row["clip_id"]], scores.get(row["video_id"], {}))
            yield sample | given.get(row["clip_id"], {})

    def _sample(self, row: Row, cut: dict[str, Any], scores: dict[str, Any]) -> dict[str, Any]:
        section, recipe = self.recipe.shard, self.recipe
        return {
            "key": row["clip_id"],
            "source": row["source"],
            "video_id": row["video_id"],
            "native_id": row["native_id"],
            "url": row["url"],
            "label": row["label"],
            "labels": json.loads(row["labels"]),
            "text": label_text(row["label"]),
            "start_s": row["start_s"],
            "stop_s": row["stop_s"],
            "split": row["split"],
            "group_id": row["group_id"],
            "width": section.width,
            "height": section.height,
            "fps": f"{section.fps.numerator}/{section.fps.denominator}",
            "frames": cut["frames"],
            "rate_hz": section.rate_hz,
            "channels": section.channels,
            "audio_samples": cut["audio_samples"],
            "picture_error_s": round(cut["picture_error_s"], 6),
            "sound_error_samples": cut["sound_error_samples"],
            "seen": _window_values(scores, "seen", row["start_s"], row["stop_s"]),
            "heard": _window_values(scores, "heard", row["start_s"], row["stop_s"]),
            "verdict": row["verdict"],
            "recipe": recipe.name,
            "recipe_hash": recipe.hash,
            "models": self.models,
            "not_for_use": self.not_for_use,
            "licence": SOURCES[row["source"]].licence,
            "v2a_data": __version__,
        }


def cut_clips(request: CutRequest) -> CutAnswer:
    """Cut one video's clips into scratch files; runs in a worker, decodes in its child."""
    folder = Path(request.folder)

    def job() -> list[dict[str, Any]]:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        spans = [(start_s, stop_s) for _, start_s, stop_s in request.spans]
        return shared_child().cut(Path(request.path), spans, request.spec, folder, request.duration_s)

    try:
        results = twice(job)
        build = shared_child().build()
    except ItemError as error:
        shutil.rmtree(folder, ignore_errors=True)
        failed = {"reason": error.reason, "message": error.message, "path": None}
        return CutAnswer(request, {clip_id: dict(failed) for clip_id, _, _ in request.spans})
    results_by_id = {span[0]: result for span, result in zip(request.spans, results, strict=True)}
    return CutAnswer(request, results_by_id, build)


def _window_values(scores: dict[str, Any], name: str, start_s: float, stop_s: float) -> list[float | None]:
    """A score of the clip's windows, null where not measured."""
    starts = scores.get("start_s")
    windows = round((stop_s - start_s) / schema.WINDOW_S)
    if starts is None or name not in scores:
        return [None] * windows
    first = round((start_s - starts[0]) / schema.WINDOW_S)
    return [None if math.isnan(value) else round(float(value), 6) for value in scores[name][first : first + windows]]


def _models(recipe: Recipe) -> list[str]:
    """`scorer: model sha256` for every scorer of the recipe that has a model."""
    found = []
    for name, config in sorted(recipe.scorers.items()):
        model = SCORERS[name](config).model
        if model is not None:
            found.append(f"{name}: {model.name} {model.sha256 or 'unhashed'}")
    return found
