"""Check of one shard file: every block of the tar, every sample, against the index and the sums.

One pass, streamed, whatever the file is; no member is written anywhere and no name in it is used as a path.
"""

import hashlib
import json
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from v2a_data.shards.format import KEY, SAMPLE_FIELDS, SPLITS
from v2a_data.shards.read import MAX_JSON, Entry
from v2a_data.shards.sums import Known
from v2a_data.shards.ustar import BLOCK, RECORD, Header, TarError, is_zero, padded, parse_header

# After so many a shard is not looked through any further; one that is hostile has as many as it likes.
MAX_FINDINGS = 1000
_MAX_MEDIA = 1 << 29
# So far a good header is looked for after a bad one.
_MAX_LOST = 1 << 28
_PIECE = 1 << 20
_SAME = ("key", "frames", "audio_samples", "label", "split", "group_id", "picture_error_s", "sound_error_samples")
FORM = ("fps", "frames", "audio_samples", "width", "height", "rate_hz", "channels")
AGAIN = "`v2a-data repair` in its workspace mends it; or copy the shard again from where it came"


@dataclass(frozen=True)
class Finding:
    """Something that is wrong: where, what, and what to do about it."""

    kind: str
    shard: str
    key: str | None
    what: str
    fix: str = AGAIN

    def line(self) -> str:
        """As people read it."""
        return f"{self.shard}: {f'sample {self.key}: ' if self.key else ''}{self.what}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Found:
    """A sample as it stands in the tar. `sound`: nothing is wrong with it. `form`: what its JSON says of its media."""

    key: str
    json_offset: int
    json_bytes: int
    mp4_offset: int
    mp4_bytes: int
    sound: bool
    form: dict[str, Any]


@dataclass
class ShardReport:
    """What the check of one shard file came to. `sha256` is null where the size alone is wrong already."""

    shard: str
    samples: list[Found] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    sha256: str | None = None


class _EnoughError(Exception):
    """So much is wrong that the rest does not matter."""


def check_shard(folder: Path, name: str, known: Known | None, rows: Sequence[Entry] | None) -> ShardReport:
    """Check one shard against what it was when written, and its rows of the index; null where that is not known.

    Raises `OSError` where the disk cannot be read.
    """
    report = ShardReport(name)
    path = folder / name
    if not path.exists():
        report.findings.append(Finding("missing_shard", shown(name), None, "the shard is missing"))
    elif not path.resolve().is_relative_to(folder.resolve()) or not stat.S_ISREG(path.stat().st_mode):
        what = "no plain file inside the folder of shards"
        report.findings.append(Finding("not_a_file", shown(name), None, what, "replace it by the file itself"))
    else:
        with path.open("rb") as file:
            _Check(file, path.stat().st_size, report, known, rows).run()
    return report


class _Reader:
    """Reads on and on, hashing what it reads where that is wanted."""

    def __init__(self, file: BinaryIO, size: int, hashed: bool) -> None:
        self.file, self.size, self.offset = file, size, 0
        self.hash = hashlib.sha256() if hashed else None

    @property
    def left(self) -> int:
        return self.size - self.offset

    def read(self, count: int) -> bytes:
        parts = []
        while count:
            part = self.file.read(min(count, _PIECE))
            if not part:
                break
            parts.append(part)
            count -= len(part)
        body = b"".join(parts)
        if self.hash is not None:
            self.hash.update(body)
        self.offset += len(body)
        return body

    def pass_over(self, count: int, also: Any = None) -> None:
        """Read so many bytes without keeping them; `also` is a second hash of them. Unhashed ones are not even read."""
        if self.hash is None and also is None:
            self.offset = min(self.size, self.offset + count)
            self.file.seek(self.offset)
            return
        while count and (part := self.read(min(count, _PIECE))):
            if also is not None:
                also.update(part)
            count -= len(part)


class _Check:
    """The check under way: where it is in the file, and which sample is half read."""

    def __init__(
        self, file: BinaryIO, size: int, report: ShardReport, known: Known | None, rows: Sequence[Entry] | None
    ) -> None:
        # Of another size it cannot have the right hash.
        hashed = known is not None and size == known.bytes
        self.reader, self.report, self.known = _Reader(file, size, hashed), report, known
        self.rows = None if rows is None else {row.key: row for row in rows}
        self.half: tuple[str, int, bytes] | None = None
        self.last_key = ""
        self.seen: set[str] = set()

    def run(self) -> None:
        known, reader = self.known, self.reader
        if known and reader.size != known.bytes:
            self.find("size", None, f"it has {reader.size} bytes, {known.bytes} were written")
        try:
            self.members()
            self.ask_for_missing()
        except _EnoughError:
            what = f"more than {MAX_FINDINGS} findings; the rest was not read"
            self.report.findings.append(Finding("too_many", shown(self.report.shard), None, what))
        if known is None or reader.hash is None:
            return
        reader.pass_over(reader.left)
        self.report.sha256 = reader.hash.hexdigest()
        if self.report.sha256 != known.sha256:
            where = "" if self.report.findings else "; no sample is: it is a tar header or padding"
            self.find("sha256", None, f"its bytes are not those that were written{where}")

    def find(self, kind: str, key: str | None, what: str) -> None:
        if len(self.report.findings) >= MAX_FINDINGS:
            raise _EnoughError
        self.report.findings.append(Finding(kind, shown(self.report.shard), key, what))

    def members(self) -> None:
        """Walk the tar to its end. After a bad header the next good one is looked for."""
        reader, lost_at = self.reader, -1
        while reader.left >= BLOCK:
            start, block = reader.offset, reader.read(BLOCK)
            if lost_at < 0 and is_zero(block):
                self.end(start)
                return
            try:
                header = parse_header(block)
            except TarError as error:
                if lost_at < 0:
                    self.find("header", self.expected(start), f"at byte {start}: {error}")
                    lost_at = start
                if start - lost_at > _MAX_LOST:
                    self.find("header", None, f"after byte {lost_at} there is no good header; the rest was not read")
                    break
                continue
            lost_at = -1
            self.member(header, reader.offset)
        self.leave_half()
        if lost_at < 0:
            self.find("truncated", None, f"it ends at byte {reader.size} without the end of a tar")

    def expected(self, start: int) -> str | None:
        """The sample that the index has at a header's place."""
        at = start + BLOCK
        return next((k for k, row in (self.rows or {}).items() if at in (row.json_offset, row.mp4_offset)), None)

    def end(self, start: int) -> None:
        """Two blocks of zeros and zeros up to the tar's record size end a tar."""
        reader = self.reader
        self.leave_half()
        size = -(-(start + 2 * BLOCK) // RECORD) * RECORD
        if reader.size < size:
            self.find("truncated", None, f"it ends at byte {reader.size}, inside the end of the tar")
        elif reader.size > size:
            self.find("extra_bytes", None, f"{reader.size - size} bytes come after the end of the tar")
        elif any(reader.read(size - reader.offset)):
            self.find("padding", None, "the end of the tar is not zeros")

    def member(self, header: Header, offset: int) -> None:
        reader = self.reader
        key, _, kind = header.name.partition(".")
        good = bool(KEY.match(key)) and kind in ("json", "mp4")
        if header.size > reader.left:
            self.find("truncated", key if good else None, f"{_short(header.name)} goes on after the end of the file")
            self.half = None
            return
        if header.size > _MAX_MEDIA:
            self.find("mp4", key if good else None, f"{_short(header.name)} has {header.size} bytes; that is not read")
            self.half = None
            return
        if not good:
            self.find("extra_member", None, f"{_short(header.name)} is neither KEY.json nor KEY.mp4")
            self.body(header.size)
        elif kind == "json":
            self.json_member(key, header, offset)
        else:
            self.mp4_member(key, header, offset)

    def body(self, size: int, also: Any = None) -> None:
        """Pass over a member and its padding."""
        self.reader.pass_over(size, also)
        if any(self.reader.read(min(padded(size) - size, self.reader.left))):
            self.find("padding", None, f"the padding before byte {self.reader.offset} is not zeros")

    def json_member(self, key: str, header: Header, offset: int) -> None:
        self.leave_half()
        if header.size > MAX_JSON:
            self.find("json", key, f"its JSON has {header.size} bytes")
            self.body(header.size)
            return
        body = self.reader.read(header.size)
        if any(self.reader.read(min(padded(header.size) - header.size, self.reader.left))):
            self.find("padding", key, "the padding of its JSON is not zeros")
        self.half = (key, offset, body)

    def mp4_member(self, key: str, header: Header, offset: int) -> None:
        half, self.half = self.half, None
        if half is None or half[0] != key:
            if half is not None:
                self.find("order", half[0], f"its JSON is followed by {_short(header.name)}, not by its mp4")
            self.find("order", key, "its mp4 does not come after its JSON")
        whole = half is not None and half[0] == key
        row = (self.rows or {}).get(key)
        # Of another size it cannot be what the index has: nothing to hash then.
        digest = hashlib.sha256() if whole and row is not None and row.mp4_bytes == header.size else None
        self.body(header.size, digest)
        if half is None or not whole:
            return
        before = len(self.report.findings)
        values = self.values(key, half[2])
        place = {"json_offset": half[1], "json_bytes": len(half[2]), "mp4_offset": offset, "mp4_bytes": header.size}
        if digest is not None:
            digest.update(half[2])
        self.compare(key, values, place, digest.hexdigest() if digest is not None else None)
        form = {name: values[name] for name in FORM if isinstance(values.get(name), (int, str))}
        sound = len(self.report.findings) == before
        self.report.samples.append(Found(key=key, **place, sound=sound, form=form))

    def leave_half(self) -> None:
        if self.half is not None:
            key, self.half = self.half[0], None
            self.find("order", key, "its JSON is not followed by its mp4")

    def values(self, key: str, body: bytes) -> dict[str, Any]:
        """The sample's JSON; empty where it is none."""
        try:
            values = json.loads(body)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            self.find("json", key, "its JSON cannot be read")
            return {}
        if tuple(values) != SAMPLE_FIELDS:
            self.find("json", key, "its JSON has other fields than the contract's")
        if values.get("key") != key:
            self.find("json", key, f"it holds the JSON of {_short(values.get('key'))}")
        folder = self.report.shard.partition("/")[0]
        if folder in SPLITS and values.get("split") != folder:
            self.find("json", key, f"its JSON says split {_short(values.get('split'))}")
        return values

    def compare(self, key: str, values: dict[str, Any], place: dict[str, int], sha256: str | None) -> None:
        """The sample against the order of keys and its row of the index."""
        if key in self.seen:
            self.find("extra_member", key, "it is there twice")
        elif key < self.last_key:
            self.find("order", key, f"it comes after {self.last_key}; keys must rise")
        self.seen.add(key)
        self.last_key = max(self.last_key, key)
        if self.rows is None:
            return
        row = self.rows.get(key)
        if row is None:
            self.find("extra_member", key, "the index does not have it")
            return
        if sha256 != row.sha256:
            self.find("sample", key, "its bytes are not those that the index has")
        for name, value in place.items():
            if getattr(row, name) != value:
                self.find("index", key, f"{name} is {value}, the index says {getattr(row, name)}")
        for name in _SAME:
            if values and values.get(name) != getattr(row, name):
                says = f"{_short(values.get(name))} in its JSON, {_short(getattr(row, name))} in the index"
                self.find("index", key, f"{name} is {says}")
        if values and _length(values) != row.duration_s:
            self.find("index", key, f"its JSON lasts {_length(values)} s, the index says {row.duration_s}")

    def ask_for_missing(self) -> None:
        named = {finding.key for finding in self.report.findings}
        for key in self.rows or ():
            if key not in self.seen and key not in named:
                self.find("missing_sample", key, "the index has it, the shard does not")
        if not self.seen and not self.report.findings:
            self.find("missing_sample", None, "it holds no samples")
        if self.rows is None and self.known and len(self.seen) != self.known.samples and not self.report.findings:
            self.find("missing_sample", None, f"{len(self.seen)} samples, {self.known.samples} were written")


def _length(values: dict[str, Any]) -> float | None:
    try:
        return float(values["stop_s"] - values["start_s"])
    except (KeyError, TypeError, OverflowError):
        return None


def _short(value: object) -> str:
    return ascii(value)[:80]


def shown(name: str) -> str:
    """A name as it can be printed, whatever the disk or the index holds."""
    return name if name.isascii() and name.isprintable() else ascii(name)[:200]
