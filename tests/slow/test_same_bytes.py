"""One folder of videos, the installed commands, and everything about the machine changed: the same bytes."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from rebuilding import hashes
from worlds import RECIPE

from v2a_data.shards.format import CARD_FILES, INDEX_FILE
from v2a_data.shards.sums import SUMS_FILE

pytestmark = pytest.mark.slow
_SYNTH = ("--videos", "6", "--labels", "Airplane,Drum", "--view", "steady", "--lines", "72", "--seconds", "4.1-6")
_SETS = ("clips.seconds=2", "splits.test=4", "shard.width=64", "shard.height=36")
# File names come as surrogates to a Python that is not told of UTF-8.
PLAIN = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
VARIANTS = {
    "one worker, time zone, hash seed": (1, "files", {"TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "77"}),
    "four workers of one thread": (4, "files", {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}),
    "a locale without UTF-8": (0, "files", PLAIN),
    "files copied in another order": (0, "shuffled", {"TZ": "America/St_Johns", "PYTHONHASHSEED": "5"}),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of videos; the same one copied in another order and at other times; one with other names."""
    folder = tmp_path_factory.mktemp("same")
    words = [sys.executable, "-m", "v2a_data", "synth", str(folder / "world"), *_SYNTH, "-q"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    videos = sorted((folder / "world" / "videos").iterdir())
    names = [f"{('Airplane', 'Drum')[i % 2]}/{i} é {path.suffix}" for i, path in enumerate(videos)]
    order = random.Random(3).sample(range(len(videos)), len(videos))
    assert order != sorted(order)
    for i, path in enumerate(videos):
        _copy(path, folder / "files" / names[i], 1_700_000_000)
        # Sorted by these names the videos come the other way round.
        _copy(path, folder / "renamed" / Path(names[i]).parent / f"{9 - i}{path.suffix}", 1_700_000_000)
    for i in order:
        _copy(videos[i], folder / "shuffled" / names[i], 1_000_000_000 + i)
    return folder


def _copy(path: Path, target: Path, at_s: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
    os.utime(target, (at_s, at_s))


def dataset(place: Path, name: str, files: str, workers: int, environment: dict[str, str]) -> Path:
    root = place / name.replace(",", "").replace(" ", "-")
    fetch = ["fetch", "--source", "local", "--input", str(place / files), "--recipe", RECIPE]
    sets = [word for item in _SETS for word in ("--set", item)]
    for words in ([*fetch, *sets], ["curate"], ["shard", "--samples-per-shard", "3"]):
        command = [sys.executable, "-m", "v2a_data", *words, "-w", str(root), "--workers", str(workers), "-q"]
        env = {**os.environ, "PYTHONHASHSEED": "0", **environment}
        done = subprocess.run(command, env=env, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return root


@pytest.fixture(scope="module")
def reference(place: Path) -> Path:
    return dataset(place, "reference", "files", 0, {"TZ": "UTC", "LC_ALL": "C.utf8"})


@pytest.mark.parametrize("name", VARIANTS)
def test_the_bytes_do_not_depend_on(name: str, place: Path, reference: Path) -> None:
    workers, files, environment = VARIANTS[name]
    expected = hashes(reference)
    assert {Path(file).name for file in expected} > {INDEX_FILE, SUMS_FILE, *CARD_FILES}
    assert sum(file.endswith(".tar") for file in expected) >= 4
    assert hashes(dataset(place, name, files, workers, environment)) == expected


def test_other_names_change_what_says_the_name_and_nothing_else(place: Path, reference: Path) -> None:
    one, two = samples(reference), samples(dataset(place, "renamed files", "renamed", 0, {}))
    assert one.keys() == two.keys()
    for key, (values, media) in one.items():
        other, same = two[key]
        assert media == same
        assert {field for field in values if values[field] != other[field]} == {"native_id"}
    assert any("é" in values["native_id"] for values, _ in one.values())


def samples(root: Path) -> dict[str, tuple[dict, str]]:
    """JSON and hash of the media of each sample, by shard and key."""
    found = {}
    for path in sorted((root / "shards").rglob("*.tar")):
        with tarfile.open(path) as tar:
            bodies = {info.name: tar.extractfile(info).read() for info in tar}
        for name, body in bodies.items():
            if name.endswith(".json"):
                media = hashlib.sha256(bodies[name.replace(".json", ".mp4")]).hexdigest()
                found[f"{path.name} {name}"] = (json.loads(body), media)
    return found
