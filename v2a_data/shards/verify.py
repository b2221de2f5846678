"""`verify`: a folder of shards against its own sums and index, without a ledger; some samples decoded back."""

import os
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from v2a_data.console import Console
from v2a_data.engine import Engine, Job, Step
from v2a_data.errors import ItemError, UsageError
from v2a_data.files import sha256_file
from v2a_data.media.client import shared_child, twice
from v2a_data.recipe import digest
from v2a_data.shards.check import AGAIN, Finding, Found, ShardReport, check_shard, shown
from v2a_data.shards.format import INDEX_FILE, SPLITS
from v2a_data.shards.index import index_by_shard
from v2a_data.shards.read import Entry
from v2a_data.shards.sums import SUMS_FILE, Known, read_sums

SHARE = 0.01
# `--json` and a result hold so many findings; all are counted.
MAX_KEPT = 1000
_COUNTED = ("frames", "audio_samples", "width", "height", "rate_hz", "channels")
_REWRITE = "`v2a-data repair` in its workspace writes it again; or copy it again from where it came"


@dataclass
class VerifyResult:
    """What `verify` found. `findings` are the first ones in the order of shards; `total` counts all."""

    shards: int = 0
    samples: int = 0
    decoded: int = 0
    findings: list[Finding] = field(default_factory=list)
    total: int = 0

    def add(self, findings: Sequence[Finding]) -> None:
        self.total += len(findings)
        self.findings += findings[: max(0, MAX_KEPT - len(self.findings))]


@dataclass(frozen=True)
class CheckRequest:
    """One shard to check; `known` and `rows` are null where sums or index do not say."""

    folder: str
    shard: str
    known: Known | None
    rows: tuple[Entry, ...] | None
    share: float
    seed: int


@dataclass(frozen=True)
class CheckAnswer:
    """What came of it."""

    shard: str
    samples: int
    decoded: int
    findings: tuple[Finding, ...]


def verify(folder: Path, engine: Engine, console: Console, *, share: float = SHARE, seed: int = 0) -> VerifyResult:
    """Check every shard below a folder; decode a share of each shard's samples, at least one where it is not 0.

    Raises `UsageError` where there are no shards at all.
    """
    there = shard_files(folder)
    if not there and not any((folder / name).exists() for name in (INDEX_FILE, SUMS_FILE)):
        raise UsageError(
            f"{folder} holds no shards",
            hint="name a folder of shards, or a workspace with -w; `v2a-data shard` makes them",
        )
    result = VerifyResult()
    plan = _Plan(folder, there)

    def record(_: Job, answer: CheckAnswer) -> None:
        result.shards += 1
        result.samples += answer.samples
        result.decoded += answer.decoded
        result.add(answer.findings)
        progress.step(samples=answer.samples, findings=len(answer.findings))

    with console.progress("verify", plan.known_shards(), "shards") as progress:
        engine.run((_job(folder, *one, share=share, seed=seed) for one in plan.shards()), record)
    # What is wrong with the folder as a whole comes first, and is never what the bound cuts off.
    of_shards = sorted(result.findings, key=lambda finding: finding.shard)
    result.total += len(plan.findings)
    result.findings = [*plan.findings, *of_shards][:MAX_KEPT]
    return result


def shard_files(folder: Path) -> list[str]:
    """Names of all files that are shards or stand where shards belong; unfinished ones of a writer are none."""
    found = []
    for place, folders, files in os.walk(folder):
        folders.sort()
        inside = Path(place).relative_to(folder)
        found += [
            (inside / name).as_posix()
            for name in files
            if not name.startswith(".tmp-") and (name.endswith(".tar") or inside.parts[:1] in {(s,) for s in SPLITS})
        ]
    return sorted(found)


class _Plan:
    """What there is to check: files on disk, shards that the sums know, and the index's rows, side by side."""

    def __init__(self, folder: Path, there: Sequence[str]) -> None:
        self.folder, self.there = folder, there
        self.findings: list[Finding] = []
        self.known: dict[str, Known] | None = None
        self.index: Iterator[tuple[str, list[Entry]]] | None = None
        self._next: tuple[str, list[Entry]] | None = None
        self._open()

    def known_shards(self) -> int:
        return len({*self.there, *(self.known or ())})

    def shards(self) -> Iterator[tuple[str, Known | None, tuple[Entry, ...] | None]]:
        """Every shard that is or should be there, in the order of names, with what is known of it."""
        there, sums = set(self.there), self.known or {}
        self._advance()
        for name in sorted({*there, *sums}):
            self._rows_before(name)
            rows = self._take(name)
            if self.known is not None and name not in sums:
                self.find("extra_shard", name, f"{SUMS_FILE} does not have it", "remove it, or `v2a-data shard`")
            yield name, sums.get(name), rows
        self._rows_before(None)

    def find(self, kind: str, name: str, what: str, fix: str = AGAIN) -> None:
        self.findings.append(Finding(kind, shown(name), None, what, fix))

    def _open(self) -> None:
        try:
            sums = read_sums(self.folder)
        except FileNotFoundError:
            self.find("missing_sums", SUMS_FILE, "it is missing", "`v2a-data shard` in the workspace writes it")
        except ValueError as error:
            self.find("sums", SUMS_FILE, f"it is damaged: {error}; shards are held to the index alone", _REWRITE)
        else:
            self.known = dict(sums.shards)
            self._hold_cards(sums.cards)
        index = self.folder / INDEX_FILE
        if not index.is_file():
            self.find("missing_index", INDEX_FILE, "it is missing", _REWRITE)
        elif self.known is not None and sha256_file(index) != sums.index_sha256:
            # Not even opened: its rows would be blamed on the shards.
            self.find("index", INDEX_FILE, "its bytes are not those that were written; it was not used", _REWRITE)
        else:
            self.index = index_by_shard(index)

    def _hold_cards(self, cards: Mapping[str, str]) -> None:
        for name, sha256 in cards.items():
            path = self.folder / name
            if not path.is_file():
                self.find("missing_card", name, "it is missing", _REWRITE)
            elif sha256_file(path) != sha256:
                self.find("card", name, "its bytes are not those that were written", _REWRITE)

    def _advance(self) -> None:
        """The index's next shard. Where the index breaks off, what follows has no rows."""
        self._next = None
        if self.index is not None:
            try:
                self._next = next(self.index, None)
            except ValueError as error:
                self.index = None
                self.find("index", INDEX_FILE, f"{error}; the rest of it was not used", _REWRITE)

    def _take(self, name: str) -> tuple[Entry, ...] | None:
        if self._next is not None and self._next[0] == name:
            rows = tuple(self._next[1])
            self._advance()
            return rows
        return () if self.index is not None else None

    def _rows_before(self, name: str | None) -> None:
        """Rows of shards that are neither on disk nor in the sums."""
        while self._next is not None and (name is None or self._next[0] < name):
            shard, rows = self._next
            self.find("missing_shard", shard, f"the shard is missing; the index has {len(rows)} samples of it")
            self._advance()


def _job(
    folder: Path, name: str, known: Known | None, rows: tuple[Entry, ...] | None, *, share: float, seed: int
) -> Job:
    request = CheckRequest(str(folder.absolute()), name, known, rows, share, seed)
    return Job(f"verify-{digest([str(folder), shown(name)])}", (Step(check_one, (request,)),))


def check_one(request: CheckRequest) -> CheckAnswer:
    """Check a shard and decode some of its sound samples; runs in a worker, decodes in its child."""
    folder = Path(request.folder)
    report = check_shard(folder, request.shard, request.known, request.rows)
    sound = [sample for sample in report.samples if sample.sound]
    if request.share < 1 and sound:
        count = max(1, round(len(sound) * request.share)) if request.share > 0 else 0
        sound = random.Random(f"{request.seed} {request.shard}").sample(sound, count)  # noqa: S311
    if sound:
        _decode(folder, report, sound)
    return CheckAnswer(shown(request.shard), len(report.samples), len(sound), tuple(report.findings))


def _decode(folder: Path, report: ShardReport, samples: Sequence[Found]) -> None:
    with tempfile.TemporaryDirectory(prefix="v2a-verify-") as scratch, (folder / report.shard).open("rb") as file:
        for sample in samples:
            media = Path(scratch) / "sample.mp4"
            file.seek(sample.mp4_offset)
            media.write_bytes(file.read(sample.mp4_bytes))
            what = decoded_differs(media, sample)
            if what:
                fix = "it was written so: leave it out, or cut it again from its media"
                report.findings.append(Finding("decode", shown(report.shard), sample.key, what, fix))


def decoded_differs(media: Path, sample: Found) -> str | None:
    """What a sample's media hold that its JSON does not say, or why they do not decode; null when all is right."""
    form = sample.form
    try:
        fps = Fraction(form["fps"])
        duration_s = float(form["frames"] / fps)
        if not (0 < fps <= 1000 and 0 <= duration_s <= 86_400):
            raise ValueError
    except (KeyError, ValueError, TypeError, ZeroDivisionError, OverflowError):
        return "its JSON does not say how many frames there are"
    try:
        counted = twice(lambda: shared_child().count(media, fps, duration_s))
    except ItemError as error:
        return f"it does not decode: {error}"
    wrong = [
        f"{name} {counted[name]}, its JSON says {form.get(name)}"
        for name in _COUNTED
        if counted[name] != form.get(name)
    ]
    if not counted["even"]:
        wrong.append("frames or sound are not at their times")
    return "; ".join(wrong) or None
