"""A full, limited or read-only disk: exit 7 with words, nothing half-written under a final name, and it goes on."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kill_harness import scratch, snapshot
from worlds import RECIPE

pytestmark = pytest.mark.slow
STAGES = ("fetch", "curate", "shard")
needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")


def command(stage: str, workspace: Path, world: Path, workers: int = 0) -> list[str]:
    words = [sys.executable, "-m", "v2a_data", stage, "-w", str(workspace), "--workers", str(workers), "-q"]
    if stage == "fetch":
        words += ["--source", "local", "--input", str(world / "videos"), "--label", "Drum", "--recipe", RECIPE]
        words += ["--set", "splits.test=2"]
    return words


def run(words: list[str], limit: int | None = None) -> tuple[int, str]:
    def lower() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(words, capture_output=True, text=True, check=False, preexec_fn=lower)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def reference(world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The undisturbed workspace as it was before each stage, and at the end."""
    folder = tmp_path_factory.mktemp("reference")
    copies = {}
    for stage in STAGES:
        if (folder / "w").exists():
            copies[stage] = shutil.copytree(folder / "w", folder / stage)
        assert run(command(stage, folder / "w", world)) == (0, "")
    return {**copies, "end": folder / "w"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that can be filled and made read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=False).returncode:
        pytest.skip("cannot mount here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def prepare(stage: str, reference: dict[str, Path], workspace: Path) -> None:
    if stage in reference:
        shutil.copytree(reference[stage], workspace)


def check_nothing_torn(workspace: Path, reference: dict[str, Path]) -> None:
    """What bears a final name is what an undisturbed run makes, byte for byte."""
    finished, whole = snapshot(workspace), snapshot(reference["end"])
    files = {name: mark for name, mark in finished.items() if not name.startswith("ledger/")}
    assert files.items() <= {**whole, **(snapshot(reference["shard"]))}.items()


def fill(disk: Path, left: int) -> Path:
    """Take the disk's space but for `left` bytes."""
    filler = disk / "filler"
    room = shutil.disk_usage(disk).free - left
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, room)
    return filler


@needs_mount
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("stage", "left"),
    [("fetch", 700_000), ("curate", 300_000), ("curate", 5_000_000), ("shard", 400_000), ("shard", 0)],
)
def test_a_full_disk(stage: str, left: int, workers: int, disk: Path, reference: dict[str, Path], world: Path) -> None:
    workspace = disk / "w"
    prepare(stage, reference, workspace)
    filler = fill(disk, left)
    code, err = run(command(stage, workspace, world, workers))
    assert code == 7, err
    assert "No space left on device" in err or "disk is full" in err or "disk I/O error" in err
    assert "free space" in err
    assert "Traceback" not in err
    check_nothing_torn(workspace, reference)
    filler.unlink()
    for later in STAGES[STAGES.index(stage) :]:
        assert run(command(later, workspace, world)) == (0, "")
    assert snapshot(workspace) == snapshot(reference["end"])
    assert scratch(workspace) == []


@needs_mount
@pytest.mark.parametrize("stage", STAGES)
def test_a_read_only_disk(stage: str, disk: Path, reference: dict[str, Path], world: Path) -> None:
    prepare(stage, reference, disk / "w")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    code, err = run(command(stage, disk / "w", world))
    assert code == 7, err
    assert "Read-only file system" in err or "readonly" in err
    assert str(disk) in err
    assert "Traceback" not in err
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert run(command(stage, disk / "w", world)) == (0, "")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_may_not_grow(workers: int, reference: dict[str, Path], world: Path, tmp_path: Path) -> None:
    """A quota: files end at a size below that of a shard."""
    workspace = tmp_path / "w"
    prepare("shard", reference, workspace)
    limit = max(path.stat().st_size for path in (reference["end"] / "shards").rglob("*.tar")) // 2
    assert limit > (workspace / "ledger.sqlite").stat().st_size + 100_000
    code, err = run(command("shard", workspace, world, workers), limit)
    assert code == 7, err
    assert "File too large" in err
    assert not [p for p in (workspace / "shards").rglob("*") if p.is_file() and p.stat().st_size >= limit]
    check_nothing_torn(workspace, reference)
    assert run(command("shard", workspace, world)) == (0, "")
    assert snapshot(workspace) == snapshot(reference["end"])
