"""verify: every truncation, flip, missing, extra, swapped or shifted thing is found and named; hostile tars end fast."""

import io
import json
import os
import random
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from small_shards import QUIET, TEST, TRAIN, copy, edit, files, flip
from typer.testing import CliRunner

from v2a_data.cli import app
from v2a_data.engine import SerialEngine
from v2a_data.errors import FatalError, UsageError
from v2a_data.files import sha256_file
from v2a_data.shards.check import MAX_FINDINGS, ShardReport, check_shard
from v2a_data.shards.format import CARD_FILES, INDEX_FILE
from v2a_data.shards.index import index_by_shard
from v2a_data.shards.read import Entry, open_shards
from v2a_data.shards.sums import SUMS_FILE, Known, Sums, read_sums, write_sums
from v2a_data.shards.ustar import BLOCK, TarError, parse_header
from v2a_data.shards.verify import VerifyResult, verify


def look(folder: Path, share: float = 0.0, seed: int = 0) -> VerifyResult:
    return verify(folder, SerialEngine(), QUIET, share=share, seed=seed)


def rows_of(folder: Path, name: str) -> list[Entry]:
    return dict(index_by_shard(folder / INDEX_FILE))[name]


def kinds(report: ShardReport | VerifyResult) -> set[tuple[str, str | None]]:
    return {(finding.kind, finding.key) for finding in report.findings}


@pytest.fixture
def shards(small: Path, tmp_path: Path) -> Path:
    return copy(small / "shards", tmp_path / "shards")


Tar = list[tuple[tarfile.TarInfo, bytes]]


def rewritten(path: Path, change: Callable[[Tar], Tar]) -> None:
    """A tar with valid headers whose members were changed."""
    with tarfile.open(path) as tar:
        members = [(info, tar.extractfile(info).read()) for info in tar]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for info, body in change(members):
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))


def believed(folder: Path) -> None:
    """Sums that vouch for the folder as it is: what is found then is found by index, JSON and tar alone."""
    sums = read_sums(folder)
    there = {
        name: Known(known.samples, (folder / name).stat().st_size, sha256_file(folder / name))
        for name, known in sums.shards.items()
    }
    write_sums(folder, Sums(sha256_file(folder / INDEX_FILE), there, sums.cards))


def test_what_shard_wrote_is_sound(small: Path) -> None:
    before = files(small)
    result = look(small / "shards", share=1.0)
    assert (result.findings, result.total) == ([], 0)
    assert (result.shards, result.samples, result.decoded) == (2, 4, 4)
    assert files(small) == before
    assert look(small / "shards", share=0.01).decoded == 2, "at least one of each shard"


def test_the_sums_are_read_by_sha256sum_too(small: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "--strict", "-c", SUMS_FILE], cwd=small / "shards", capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(b": OK") == 5


def test_every_truncation_is_found(shards: Path) -> None:
    known, rows = read_sums(shards).shards[TEST], rows_of(shards, TEST)
    path = shards / TEST
    whole = path.read_bytes()
    assert check_shard(shards, TEST, known, rows).findings == []
    for size in range(len(whole) - BLOCK, -1, -BLOCK):
        os.truncate(path, size)
        assert ("size", None) in kinds(check_shard(shards, TEST, known, rows))
        # The tar alone says so too, and with the index the samples that are gone are named.
        assert kinds(check_shard(shards, TEST, None, None)), size
        named = {key for _, key in kinds(check_shard(shards, TEST, None, rows))}
        assert {r.key for r in rows if r.mp4_offset + r.mp4_bytes > size} <= named, size
    path.write_bytes(whole[:1000])
    assert look(shards).total > 0


def test_every_flipped_byte_is_found(shards: Path) -> None:
    """300 bits anywhere in any file; one in a sample names the sample."""
    rng = random.Random(4)
    rows = {name: rows_of(shards, name) for name in (TRAIN, TEST)}
    names = [TRAIN, TEST, INDEX_FILE, SUMS_FILE, *CARD_FILES]
    for name in [rng.choice(names) for _ in range(300)]:
        offset, bit = rng.randrange((shards / name).stat().st_size), rng.randrange(8)
        flip(shards / name, offset, bit)
        found = look(shards)
        assert name in {f.shard for f in found.findings}, (name, offset, bit)
        for row in rows.get(name, ()):
            inside = any(
                a <= offset < a + n for a, n in ((row.mp4_offset, row.mp4_bytes), (row.json_offset, row.json_bytes))
            )
            assert (("sample", row.key) in kinds(found)) == inside, (name, offset, bit)
            header = any(a - BLOCK <= offset < a for a in (row.mp4_offset, row.json_offset))
            assert not header or ("header", row.key) in kinds(found), (name, offset, bit)
        flip(shards / name, offset, bit)
    assert look(shards).total == 0


def test_each_byte_of_the_sums_and_of_a_header_counts(shards: Path) -> None:
    for offset in range((shards / SUMS_FILE).stat().st_size):
        flip(shards / SUMS_FILE, offset, 5)
        with pytest.raises(ValueError, match=r"checksums|last line"):
            read_sums(shards)
        flip(shards / SUMS_FILE, offset, 5)
    header = bytearray((shards / TEST).read_bytes()[:BLOCK])
    for offset in range(BLOCK):
        header[offset] ^= 1
        with pytest.raises(TarError):
            parse_header(bytes(header))
        header[offset] ^= 1
    parse_header(bytes(header))


def test_missing_and_extra_files(shards: Path) -> None:
    (shards / "train" / "world-train-000007.tar").write_bytes((shards / TRAIN).read_bytes())
    (shards / "test" / "notes.txt").write_text("x")
    (shards / TEST).unlink()
    (shards / "train" / ".tmp-1.tar").write_text("a writer's")
    found = {(f.kind, f.shard) for f in look(shards).findings}
    assert ("missing_shard", TEST) in found
    assert {name for kind, name in found if kind == "extra_shard"} == {
        "train/world-train-000007.tar",
        "test/notes.txt",
    }
    assert not [f for f in found if ".tmp-" in f[1]]


@pytest.mark.parametrize("name", CARD_FILES)
def test_a_card_that_changed_or_is_gone_is_named_and_nothing_else(name: str, shards: Path) -> None:
    text = (shards / name).read_text()
    (shards / name).write_text(text.replace("\n", "\r\n"))
    assert [(f.kind, f.shard) for f in look(shards).findings] == [("card", name)]
    (shards / name).unlink()
    assert [(f.kind, f.shard) for f in look(shards).findings] == [("missing_card", name)]
    (shards / name).symlink_to("/dev/zero")
    assert [(f.kind, f.shard) for f in look(shards).findings] == [("missing_card", name)]


def test_sums_that_know_no_cards_are_read(shards: Path) -> None:
    """Folders written before the sums covered the cards."""
    write_sums(shards, replace(read_sums(shards), cards={}))
    (shards / "README.md").write_text("a card of one's own")
    assert look(shards).total == 0


@pytest.mark.parametrize("gone", [INDEX_FILE, SUMS_FILE])
def test_without_one_of_the_tables_the_other_is_used(gone: str, shards: Path) -> None:
    (shards / gone).unlink()
    found = look(shards)
    assert [f.shard for f in found.findings] == [gone]
    assert found.samples == 4
    flip(shards / TEST, 2000)
    assert {f.shard for f in look(shards).findings} == {gone, TEST}


def test_a_damaged_index_is_not_blamed_on_the_shards(shards: Path) -> None:
    edit(shards / INDEX_FILE, lambda body: body.__delitem__(slice(3000, 3100)))
    found = look(shards)
    assert [(f.kind, f.shard) for f in found.findings] == [("index", INDEX_FILE)]
    (shards / SUMS_FILE).unlink()
    assert {f.shard for f in look(shards).findings} == {INDEX_FILE, SUMS_FILE}


def swap_media(members: Tar) -> Tar:
    (a, x), (b, y), (c, z), (d, w) = members
    return [(a, x), (b, w), (c, z), (d, y)]


def renamed(members: Tar) -> Tar:
    for info, _ in members[:2]:
        info.name = info.name.replace("sy-", "sy-9")
    return sorted(members, key=lambda m: m[0].name)


def twice_named(members: Tar) -> Tar:
    return [*members[:2], *members[:2], *members[2:]]


def pickled(members: Tar) -> Tar:
    return [*members, (tarfile.TarInfo(members[0][0].name.replace("json", "pkl")), b"\x80\x04N.")]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda m: m[:2], {("missing_sample", 1)}),
        (lambda m: m[2:], {("missing_sample", 0)}),
        (lambda m: [m[0], *m[2:]], {("order", 0)}),
        (lambda m: m[1:], {("order", 0)}),
        (lambda m: [m[0], m[2], m[1], m[3]], {("order", 0), ("order", 1)}),
        (lambda m: [m[2], m[3], m[0], m[1]], {("order", 0)}),
        (lambda m: [m[1], m[0], m[3], m[2]], {("order", 0), ("order", 1)}),
        (swap_media, {("sample", 0), ("sample", 1)}),
        (renamed, {("json", 2), ("extra_member", 2), ("missing_sample", 0)}),
        (twice_named, {("extra_member", 0)}),
        (pickled, {("extra_member", None)}),
    ],
)
@pytest.mark.parametrize("vouched", [False, True])
def test_members_that_are_not_what_they_were(
    change: Callable[[Tar], Tar], expected: set, vouched: bool, shards: Path
) -> None:
    keys: list = [row.key for row in rows_of(shards, TEST)]
    keys.append(keys[0].replace("sy-", "sy-9"))
    rewritten(shards / TEST, change)
    if vouched:
        believed(shards)
    found = look(shards)
    assert {(kind, key if key is None else keys[key]) for kind, key in expected} <= kinds(found)
    assert {f.shard for f in found.findings} == {TEST}
    assert all(f.what and f.fix for f in found.findings)


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("mp4_offset", lambda v: v + 512),
        ("json_offset", lambda v: v - 1),
        ("mp4_bytes", lambda v: v + 1),
        ("json_bytes", lambda v: v - 1),
        ("frames", lambda v: v + 1),
        ("audio_samples", lambda v: v - 1),
        ("duration_s", lambda v: v + 2),
        ("label", lambda v: f"{v}s"),
        ("split", lambda v: "validation"),
        ("group_id", lambda v: "g"),
        ("picture_error_s", lambda v: None),
        ("sound_error_samples", lambda v: 3),
        ("sha256", lambda v: "0" * 64),
    ],
)
def test_an_index_that_is_shifted_is_found_though_all_hashes_vouch_for_it(
    column: str, change: Callable, shards: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = shards / INDEX_FILE
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[1][column] = change(rows[1][column])
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    believed(shards)
    found = look(shards)
    assert {f.key for f in found.findings} == {rows[1]["key"]}
    expected = {"sha256": {"sample"}, "mp4_bytes": {"index", "sample"}}.get(column, {"index"})
    assert {f.kind for f in found.findings} == expected


def test_rows_of_two_samples_that_changed_places(shards: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = shards / INDEX_FILE
    table = pq.read_table(path)
    pq.write_table(pa.Table.from_pylist(table.to_pylist()[::-1], schema=table.schema), path)
    believed(shards)
    assert "comes after" in next(f.what for f in look(shards).findings if f.shard == INDEX_FILE)


def test_a_sample_that_does_not_decode_to_its_counts(shards: Path) -> None:
    """Everything vouches for it, and still it is a frame short: only decoding shows that."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from makers import Clip, make

    from v2a_data.shards.tar import Member, write_shard

    with tarfile.open(shards / TEST) as tar:
        pairs = {i.name: tar.extractfile(i).read() for i in tar}
    short = make(
        shards.parent / "short.mp4",
        Clip(seconds=9.96, width=64, height=36, rate_hz=16000, channels=1, audio_codec="flac"),
    )
    members = []
    for key in sorted({name.partition(".")[0] for name in pairs}):
        media = shards.parent / f"{key}.mp4"
        media.write_bytes(short.read_bytes() if not members else pairs[f"{key}.mp4"])
        members.append(Member(key, json.loads(pairs[f"{key}.json"]), media))
    places = {p["key"]: p for p in write_shard(shards / TEST, members).places}
    table = pq.read_table(shards / INDEX_FILE)
    rows = [row | places.get(row["key"], {}) for row in table.to_pylist()]
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), shards / INDEX_FILE)
    believed(shards)
    assert look(shards).total == 0
    found = look(shards, share=1.0)
    assert [(f.kind, f.key) for f in found.findings] == [("decode", members[0].key)]
    assert "frames 249, its JSON says 250" in found.findings[0].what
    # One of the two is drawn by seed: some seeds find it, some do not, each always the same.
    drawn = [look(shards, share=0.01, seed=seed).total for seed in range(6)]
    assert set(drawn) == {0, 1}
    assert drawn == [look(shards, share=0.01, seed=seed).total for seed in range(6)]


def special(name: str, kind: bytes, **more: object) -> bytes:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in more.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.USTAR_FORMAT)


def sized(field: bytes) -> bytes:
    """A plain member whose size field holds anything, with a right checksum."""
    block = bytearray(special("a.json", tarfile.REGTYPE))
    block[124:136] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def plain(name: str, body: bytes = b"x") -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(body)
    return info.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % BLOCK)


def pax(**headers: str) -> bytes:
    info = tarfile.TarInfo("a.json")
    info.pax_headers = headers
    return info.tobuf(tarfile.PAX_FORMAT)


HOSTILE = {
    "parent": plain("../evil.json"),
    "parents": plain("../../../../../../tmp/evil.mp4"),
    "absolute": plain("/tmp/evil.json"),
    "home": plain("~/evil.json"),
    "folders": plain("a/b.json"),
    "nul in name": plain("a\0b.json"),
    "escape codes": plain("\x1b[2Ja.json"),
    "no name": plain(""),
    "only a dot": plain(".json"),
    "wrong kind": plain("a.exe"),
    "long kind": plain("a.seg.mp4"),
    "symlink": special("a.json", tarfile.SYMTYPE, linkname="/etc/passwd"),
    "hard link": special("a.json", tarfile.LNKTYPE, linkname="../evil"),
    "device": special("a.json", tarfile.CHRTYPE, devmajor=1, devminor=5),
    "block device": special("a.json", tarfile.BLKTYPE, devmajor=8),
    "pipe": special("a.json", tarfile.FIFOTYPE),
    "folder": special("a.json", tarfile.DIRTYPE),
    "contiguous": special("a.json", tarfile.CONTTYPE),
    "sparse": special("a.json", b"S"),
    "unknown kind": special("a.json", b"Z"),
    "negative size": sized(b"-0000000001\0"),
    "base-256 negative": sized(b"\xff" * 12),
    "base-256 huge": sized(b"\x80" + b"\0" * 3 + b"\xff" * 8),
    "8 GB": sized(b"77777777777\0"),
    "size is text": sized(b"hello world\0"),
    "size is empty": sized(b"\0" * 12),
    "pax size": pax(size="99999999999999999999"),
    "pax path": pax(path="../../evil"),
    "pax bomb": special("./PaxHeaders/a", b"x", size=200_000_000) + b"7 a=b\n" * 100_000,
    "pax for all": special("g", b"g", size=1000) + bytes(1024),
    "GNU long name": special("././@LongLink", b"L", size=1 << 30) + b"a" * 100_000,
    "GNU long link": special("././@LongLink", b"K", size=1 << 30),
    "deep JSON": plain("a.json", b"[" * 900_000),
    "large JSON": plain("a.json", b'"' + b"a" * 3_000_000 + b'"') + plain("a.mp4"),
    "number bomb": plain("a.json", b'{"key": ' + b"9" * 900_000 + b"}") + plain("a.mp4"),
    "pickle": plain("a.pkl", b"\x80\x04cos\nsystem\n(S'touch evil'\ntR."),
    "npy": plain("a.npy", b"\x93NUMPY\x01\x00"),
    "torch": plain("a.pth", b"PK\x03\x04"),
    "gzip": b"\x1f\x8b\x08" + bytes(600),
    "noise": random.Random(0).randbytes(40_000),
    "empty": b"",
    "half a block": b"a" * 300,
    "zeros": bytes(1 << 20),
    "bytes after the end": bytes(10240) + plain("a.json"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("table", [False, True])
def test_hostile_tars_write_nothing_and_are_named(name: str, table: bool, small: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "shards"
    if table:
        copy(small / "shards", folder)
    path = folder / TEST
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(HOSTILE[name] + bytes(0 if len(HOSTILE[name]) % BLOCK else 10240))
    before, here, started = files(tmp_path), sorted(os.listdir()), time.monotonic()
    found = look(folder, share=1.0)
    assert time.monotonic() - started < 10
    assert [f for f in found.findings if f.shard == TEST and f.kind != "extra_shard"]
    assert all(f.line().isprintable() and len(f.line()) < 400 for f in found.findings)
    assert (files(tmp_path), sorted(os.listdir())) == (before, here)
    assert not Path("/tmp/evil.json").exists()


MEASURED = """
import atexit, pathlib, sys
atexit.register(lambda: sys.stderr.write(pathlib.Path("/proc/self/status").read_text()))
from v2a_data.cli import main
sys.argv = ["v2a-data", "verify", sys.argv[1], "--json", "-q"]
main()
"""


def limited(folder: Path) -> tuple[dict, float, int]:
    """The command in a process of its own: its answer, seconds, and peak memory in MB."""
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", MEASURED, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    peak = next(line for line in done.stderr.splitlines() if line.startswith("VmHWM:"))
    return json.loads(done.stdout), time.monotonic() - started, int(peak.split()[1]) // 1024


def test_a_million_empty_members(tmp_path: Path) -> None:
    path = tmp_path / "train" / "x-train-000000.tar"
    path.parent.mkdir()
    header = special("a.json", tarfile.REGTYPE) * 10_000
    with path.open("wb") as file:
        for _ in range(100):
            file.write(header)
    values, seconds, megabytes = limited(tmp_path)
    assert seconds < 10
    assert megabytes < 500
    assert values["findings_total"] >= MAX_FINDINGS
    assert len(values["findings"]) <= MAX_FINDINGS


@pytest.mark.parametrize("members", [0, 60])
def test_a_huge_sparse_tar(members: int, tmp_path: Path) -> None:
    """A bad header or large members, then 100 GB of nothing."""
    path = tmp_path / "train" / "x-train-000000.tar"
    path.parent.mkdir()
    with path.open("wb") as file:
        for number in range(members):
            file.write(plain(f"{number:02d}.json", b"{}"))
            file.write(special(f"{number:02d}.mp4", tarfile.REGTYPE, size=1 << 29))
            file.seek(1 << 29, os.SEEK_CUR)
        file.write(b"a" * BLOCK)
        file.truncate(100_000_000_000)
    values, seconds, megabytes = limited(tmp_path)
    assert seconds < 10
    assert megabytes < 500
    assert "header" in {f["kind"] for f in values["findings"]}


@pytest.mark.parametrize("kind", ["outside", "pipe", "folder", "device"])
def test_a_shard_that_is_no_file_of_the_folder(kind: str, shards: Path) -> None:
    path = shards / TEST
    path.rename(shards.parent / "elsewhere.tar")
    if kind == "outside":
        path.symlink_to(shards.parent / "elsewhere.tar")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    assert ("not_a_file", None) in kinds(look(shards))


@pytest.mark.parametrize("text", ["", "x", "# v2a-data", "\0" * 100])
def test_sums_of_any_kind_are_read_or_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / SUMS_FILE).write_text(text)
    with pytest.raises(ValueError, match="not a list"):
        read_sums(tmp_path)


@pytest.mark.parametrize("name", ["../x.tar", "/x.tar", "a/../x.tar", "a//x.tar", "a\nb.tar", ".tmp-x.tar", "a b.tar"])
def test_sums_name_nothing_outside(name: str, tmp_path: Path) -> None:
    (tmp_path / SUMS_FILE).write_text(Sums("0" * 64, {name: Known(1, 1, "0" * 64)}).text())
    with pytest.raises(ValueError, match=r"last line|checksums"):
        read_sums(tmp_path)


def test_the_command(small: Path, shards: Path) -> None:
    call = CliRunner().invoke
    done = call(app, ["verify", "-w", str(small), "--json"])
    assert done.exit_code == 0, done.stderr
    values = json.loads(done.stdout)
    assert (values["ok"], values["shards"], values["samples"], values["decoded"]) == (True, 2, 4, 2)
    flip(shards / TEST, rows_of(shards, TEST)[1].mp4_offset + 9)
    done = call(app, ["verify", str(shards), "--deep", "--workers", "0"])
    assert done.exit_code == 1
    key = rows_of(shards, TEST)[1].key
    assert f"{TEST}: sample {key}: its bytes are not those that the index has" in done.stdout
    assert "mend: `v2a-data repair`" in done.stdout
    assert "DAMAGED, 2 findings" in done.stdout
    assert json.loads(call(app, ["verify", str(shards), "--json"]).stdout)["findings_total"] == 2


def test_a_folder_without_shards_is_a_wrong_argument(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        look(tmp_path)
    assert "v2a-data shard" in str(caught.value.hint)
    assert CliRunner().invoke(app, ["verify", str(tmp_path / "nowhere")]).exit_code == 2


def test_workers_find_the_same(shards: Path) -> None:
    flip(shards / TEST, 3000)
    flip(shards / TRAIN, 3000)
    one = CliRunner().invoke(app, ["verify", str(shards), "--json", "--workers", "0"])
    two = CliRunner().invoke(app, ["verify", str(shards), "--json", "--workers", "2"])
    assert json.loads(one.stdout) == json.loads(two.stdout)


def bomb(folder: Path) -> None:
    """An index of 20 kB whose labels would fill 3 GB."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from v2a_data import schema

    count = 3000
    label = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), ["a" * 1_000_000])
    values = {"shard": "train/a.tar", "sha256": "0" * 64, "split": "train", "group_id": "g", "duration_s": 1.0}
    table = {column.name: [values.get(column.name, 1)] * count for column in schema.INDEX.columns}
    table |= {"key": [f"k{i:05d}" for i in range(count)], "label": label}
    table |= {name: [None] * count for name in ("picture_error_s", "sound_error_samples")}
    wanted = schema.arrow_schema(schema.INDEX.columns)
    wanted = wanted.set(wanted.get_field_index("label"), pa.field("label", label.type, nullable=False))
    made = pa.Table.from_pydict(table, schema=wanted)
    pq.write_table(made, folder / INDEX_FILE, compression="zstd", store_schema=False)


def test_an_index_that_claims_to_be_huge_is_refused_within_bounds(tmp_path: Path) -> None:
    bomb(tmp_path)
    assert (tmp_path / INDEX_FILE).stat().st_size < 50_000
    values, seconds, megabytes = limited(tmp_path)
    assert seconds < 30
    assert megabytes < 1600
    assert [f["kind"] for f in values["findings"] if f["shard"] == INDEX_FILE] == ["index"]
    assert "it cannot be read" in next(f["what"] for f in values["findings"] if f["shard"] == INDEX_FILE)


def test_a_text_that_no_index_holds_is_refused(shards: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(shards / INDEX_FILE)
    rows = table.to_pylist()
    rows[2]["label"] = "a" * 20_001
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), shards / INDEX_FILE)
    believed(shards)
    assert "column label holds a text of 20001 characters" in next(
        f.what for f in look(shards).findings if f.shard == INDEX_FILE
    )
    with pytest.raises(FatalError, match="column label holds a text of 20001 characters"):
        open_shards(shards)
    flip(shards / INDEX_FILE, 300)
    with pytest.raises(FatalError, match="it cannot be read"):
        open_shards(shards)


BOUNDED = """
import resource
from v2a_data.memory import at_most
before = resource.getrlimit(resource.RLIMIT_AS)
try:
    with at_most(100_000_000):
        small = bytearray(10_000_000)
        bytearray(200_000_000)
    raise SystemExit(3)
except MemoryError:
    pass
bytearray(200_000_000)
raise SystemExit(resource.getrlimit(resource.RLIMIT_AS) != before)
"""


def test_memory_is_bounded_for_a_moment(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", BOUNDED], check=False).returncode == 0
