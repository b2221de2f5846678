"""Damage of every kind to a folder of shards: does `verify` find and name all of it, and `repair` undo it?

Bits flipped anywhere, every cut at a multiple of 512 bytes of the largest shard and as many random cuts as flips,
shards that changed places, are missing, or are there once more. Each damage is done to the sound folder, judged by
`verify` alone, and undone; some of them are also mended by `repair`, and every byte compared.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inputs import show
from kill_harness import Setting, finish
from kill_shards import curate_small, final_files

from v2a_data.console import Console
from v2a_data.engine import SerialEngine
from v2a_data.shards.index import index_by_shard
from v2a_data.shards.repair import repair
from v2a_data.shards.ustar import BLOCK
from v2a_data.shards.verify import verify
from v2a_data.workspace import Workspace

KINDS = ("flips", "truncations", "cuts", "swaps", "missing", "extra")
_QUIET = Console("flips", quiet=True)


@dataclass(frozen=True)
class Damage:
    """New content of some files (null: gone), and what `verify` has to name: a file and, inside a member, a sample."""

    kind: str
    content: dict[str, bytes | None]
    names: tuple[str, ...]
    key: str | None = None


@dataclass(frozen=True)
class Folder:
    """The sound folder: its files, and per shard the places of its samples."""

    shards: Path
    files: dict[str, bytes]
    places: dict[str, list[tuple[int, int, str]]]

    @property
    def tars(self) -> list[str]:
        return [name for name in self.files if name.endswith(".tar")]

    def put(self, content: dict[str, bytes | None]) -> None:
        for name, body in content.items():
            path = self.shards / name
            if body is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(body)

    def restore(self, damage: Damage) -> None:
        self.put({name: self.files.get(name) for name in damage.content})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--repairs", type=int, default=40, help="so many of the damages are also mended")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        folder = made(Path(place))
        damages = list(all_damages(folder, options.flips, random.Random(options.seed)))
        missed = [damage for damage in damages if not found(folder, damage)]
        mendable = [damage for damage in damages if damage.kind != "extra"]
        tried = random.Random(options.seed).sample(mendable, min(options.repairs, len(mendable)))
        identical = sum(mended(folder, damage) for damage in tried)
    counts, lost = Counter(d.kind for d in damages), Counter(d.kind for d in missed)
    values = {"in_samples": sum(d.key is not None for d in damages)}
    for kind in KINDS:
        values |= {kind: counts[kind], f"{kind}_found": counts[kind] - lost[kind]}
    values |= {"repaired": len(tried), "repaired_identical": identical}
    rows = [(kind, counts[kind], counts[kind] - lost[kind]) for kind in KINDS]
    words = (
        f"of {len(folder.tars)} shards and {len(folder.files) - len(folder.tars)} files beside them; the file is named "
        f"each time, and the sample in {values['in_samples']} flips inside one; "
        f"{identical} of {len(tried)} were mended to the same bytes"
    )
    seconds = round(time.monotonic() - started, 1)
    show("flips", ("damage", "done", "found"), rows, words, options.json, seed=options.seed, seconds=seconds, **values)
    return 1 if missed or identical < len(tried) else 0


def made(place: Path) -> Folder:
    """A workspace with 5 shards, made by the commands."""
    setting, root = Setting(place, (), samples_per_shard=3), place / "w"
    curate_small(setting, root)
    finish(setting, setting.command("shard", root, 0))
    shards = root / "shards"
    files = {name.removeprefix("shards/"): (shards.parent / name).read_bytes() for name in final_files(shards)}
    places = {
        name: [
            (start, start + size, row.key)
            for row in rows
            for start, size in ((row.json_offset, row.json_bytes), (row.mp4_offset, row.mp4_bytes))
        ]
        for name, rows in index_by_shard(shards / "index.parquet")
    }
    return Folder(shards, files, places)


def all_damages(folder: Folder, flips: int, rng: random.Random) -> Iterator[Damage]:
    """Every damage that is done, one after the other."""
    names, tars = sorted(folder.files), sorted(folder.tars)
    for number in range(flips):
        # Every file as often; every other one in a shard, where most bytes are.
        name = rng.choice(tars if number % 2 else names)
        body = bytearray(folder.files[name])
        offset = rng.randrange(len(body))
        body[offset] ^= 1 << rng.randrange(8)
        inside = [key for start, stop, key in folder.places.get(name, ()) if start <= offset < stop]
        yield Damage("flips", {name: bytes(body)}, (name,), next(iter(inside), None))
    largest = max(tars, key=lambda name: len(folder.files[name]))
    for size in range(0, len(folder.files[largest]), BLOCK):
        yield Damage("truncations", {largest: folder.files[largest][:size]}, (largest,))
    for _ in range(flips):
        name = rng.choice(tars)
        yield Damage("cuts", {name: folder.files[name][: rng.randrange(len(folder.files[name]))]}, (name,))
    for i, one in enumerate(tars):
        for two in tars[:i]:
            yield Damage("swaps", {one: folder.files[two], two: folder.files[one]}, (one, two))
        yield Damage("missing", {one: None}, (one,))
        more = one.replace("-00000", "-00001")
        yield Damage("extra", {more: folder.files[one]}, (more,))


def found(folder: Folder, damage: Damage) -> bool:
    """Whether `verify`, decoding nothing, names every damaged file, no other one, and the sample."""
    folder.put(damage.content)
    try:
        findings = verify(folder.shards, SerialEngine(), _QUIET, share=0.0).findings
    finally:
        folder.restore(damage)
    named = {finding.shard for finding in findings}
    return named == set(damage.names) and damage.key in {None, *(finding.key for finding in findings)}


def mended(folder: Folder, damage: Damage) -> bool:
    """Whether `repair` brings every byte of the folder back; the workspace is put back after it in any case."""
    root = folder.shards.parent
    aside = shutil.copytree(root, root.with_name("aside"))
    folder.put(damage.content)
    with Workspace.open(root, "repair") as workspace:
        recipe = workspace.recipe()
        assert recipe is not None
        repair(workspace, recipe, SerialEngine, _QUIET)
    found = [path for path in folder.shards.rglob("*") if path.is_file()]
    standing = {path.relative_to(folder.shards).as_posix(): path.read_bytes() for path in found}
    shutil.rmtree(root)
    aside.rename(root)
    return standing == folder.files


if __name__ == "__main__":
    sys.exit(main())
