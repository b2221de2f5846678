"""Checks of the machine and the installation."""

import platform
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from v2a_data.errors import FatalError, ItemError, MissingToolError
from v2a_data.files import free_bytes
from v2a_data.runs import package_version

if TYPE_CHECKING:
    from v2a_data.recipe import Recipe

_PACKAGES = {
    "yt-dlp": "2026.7.4",
    "av": "18",
    "ffmpeg-python": "0.2",
    "pandas": "3",
    "pyarrow": "22",
    "webdataset": "1",
    "torch": "2.10",
    "open-clip-torch": "3.3",
    "typer": "0.21",
    "dask": "2026.7",
    "faiss-cpu": "1.13",
    "silero-vad": "6.2",
    "onnxruntime": "1.24",
}
# The first FFmpeg without CVE-2026-40962 (memory written out of bounds by a MOV file).
_FFMPEG_FIXED = "8.1"
_OLD_AFTER_DAYS = 60
_DISK_GB = 5.0


@dataclass(frozen=True)
class Check:
    """One check: what was found, and how to mend it where it failed. Optional ones only warn."""

    name: str
    ok: bool
    found: str
    fix: str = ""
    optional: bool = False


def checks(workspace: Path, recipe: str | None = None) -> list[Check]:
    """All checks, in the order they are shown; `recipe` instead of the workspace's own."""
    machine = [
        *_python(),
        *_packages(),
        _yt_dlp_age(),
        *_ffmpeg(),
        *_media_child(),
        _runtime(),
        *_torch(),
        _disk(workspace),
    ]
    return [*machine, *_models(workspace, recipe)]


def _python() -> Iterator[Check]:
    fits = sys.version_info >= (3, 11)
    yield Check("python", fits, platform.python_version(), "install Python 3.11 or newer")
    fits = sqlite3.sqlite_version_info >= (3, 38)
    yield Check("sqlite", fits, sqlite3.sqlite_version, "use a Python whose sqlite3 is 3.38 or newer")


def _packages() -> Iterator[Check]:
    for name, floor in _PACKAGES.items():
        found = package_version(name)
        fits = found is not None and _numbers(found) >= _numbers(floor)
        yield Check(name, fits, found or "not installed", f"pip install '{name}>={floor}'")


def _numbers(version: str) -> list[int]:
    parts = version.split("+", maxsplit=1)[0].split(".")
    return [int("".join(c for c in part if c.isdigit()) or 0) for part in parts]


def _yt_dlp_age() -> Check:
    found = package_version("yt-dlp") or "0"
    numbers = ([*_numbers(found), 1, 1, 1])[:3]
    try:
        days = (datetime.now(UTC) - datetime(*numbers, tzinfo=UTC)).days  # type: ignore[misc,arg-type]
    except ValueError:
        days = 9999
    fix = "pip install -U 'yt-dlp[default,deno]': sites change faster than this"
    return Check("yt-dlp age", days <= _OLD_AFTER_DAYS, f"{days} days", fix, optional=True)


def _ffmpeg() -> Iterator[Check]:
    from v2a_data.media.ffmpeg import ffmpeg_path

    fix = "pip install imageio-ffmpeg, or set V2A_FFMPEG to an ffmpeg program"
    try:
        path = ffmpeg_path()
        done = subprocess.run([path, "-version"], capture_output=True, timeout=20, check=False)
    except (MissingToolError, OSError, subprocess.TimeoutExpired) as error:
        yield Check("ffmpeg", False, str(error), fix)
        return
    words = done.stdout.decode("utf-8", "replace").split("\n")[0]
    yield Check("ffmpeg", done.returncode == 0, f"{words[:60]} at {path}", fix)
    if done.returncode == 0:
        version = words.removeprefix("ffmpeg version ").split(" ")[0]
        yield ffmpeg_age("ffmpeg's age", version, "pip install -U imageio-ffmpeg, or set V2A_FFMPEG to a newer ffmpeg")


def ffmpeg_age(name: str, version: str, fix: str) -> Check:
    """Warns of an FFmpeg that hostile files are known to break. A build without a release number counts as old."""
    found = re.match(r"n?(\d+\.\d+)", version)
    fixed = found is not None and _numbers(found[1]) >= _numbers(_FFMPEG_FIXED)
    why = (
        f"before {_FFMPEG_FIXED} a MOV file can write out of bounds (CVE-2026-40962), if your system has not mended it"
    )
    return Check(name, fixed, version, f"{fix}: {why}", optional=True)


def _media_child() -> Iterator[Check]:
    from v2a_data.media.build import ffmpeg_version
    from v2a_data.media.client import MediaChild

    yield ffmpeg_age("PyAV's FFmpeg", ffmpeg_version(), "pip install -U av")
    try:
        with MediaChild() as child:
            held = child.confinement()
    except (ItemError, OSError) as error:
        yield Check("media child", False, str(error), "reinstall v2a-data and av: nothing can be decoded like this")
        return
    network = "no network" if held.no_network else "network not closed"
    processes = f"at most {held.processes} processes" if held.processes else "any number of processes"
    fix = (
        "the whitelists keep media from the network without it; to close it as well, run on Linux and allow "
        "unprivileged user namespaces"
    )
    yield Check("media child", held.no_network, f"{network}, {processes}", fix, optional=True)


def _runtime() -> Check:
    for name in ("deno", "node", "bun", "qjs"):
        found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
        if found and name == "deno":
            return Check("JavaScript runtime", True, found)
    fix = (
        "pip install 'yt-dlp[default,deno]': YouTube needs a JavaScript runtime, deno is the one that is on by default"
    )
    return Check("JavaScript runtime", False, "no deno", fix)


def _torch() -> Iterator[Check]:
    try:
        import torch
        import torchvision
    except (ImportError, RuntimeError, OSError) as error:
        words = str(error).split("\n")[0][:120]
        fix = "install torch and torchvision together from one index: pip install --force-reinstall torch torchvision"
        yield Check("torch and torchvision", False, words, fix)
        return
    yield Check("torch and torchvision", True, f"{torch.__version__} and {torchvision.__version__}")
    gpu = torch.cuda.is_available()
    words = torch.cuda.get_device_name(0) if gpu else "none; everything runs on the CPU"
    yield Check("GPU", gpu, words, "training the full models needs one; curating does not", optional=True)


def _disk(workspace: Path) -> Check:
    free = free_bytes(workspace) / 1e9
    return Check(
        "disk",
        free >= _DISK_GB,
        f"{free:.0f} GB free for {workspace}",
        f"have {_DISK_GB:.0f} GB free, or name another place with -w",
    )


def _models(workspace: Path, recipe: str | None) -> Iterator[Check]:
    """silero-vad, then the models of the recipe; without one, all that a scorer can use, none of them needed."""
    from v2a_data.models.choice import model_names, names_tiny
    from v2a_data.models.registry import MODELS
    from v2a_data.scorers.speech import Speech
    from v2a_data.shards.format import STAMP

    try:
        model = Speech(Speech.Config()).model
        yield Check("model silero-vad", True, f"{(model.sha256 or '')[:12] if model else ''}, MIT")
    except MissingToolError as error:
        yield Check("model silero-vad", False, error.message, error.hint or "")
    try:
        chosen = _recipe(workspace, recipe)
    except FatalError as error:
        yield Check("recipe", False, error.message, error.hint or "mend the recipe, or name another with --recipe")
        return
    usable = [name for name, row in MODELS.items() if row.scorer]
    yield from (_model(name, needed=chosen is not None) for name in (model_names(chosen) if chosen else usable))
    if chosen is not None and names_tiny(chosen):
        fix = "name real models in the recipe; see `v2a-data models list`"
        yield Check("dataset", False, STAMP, fix, optional=True)


def _recipe(workspace: Path, name: str | None) -> "Recipe | None":
    from v2a_data.recipe import build_recipe, load_recipe, read_table
    from v2a_data.workspace import Workspace

    if name is not None:
        return load_recipe(name)
    path = Workspace.recipe_path(workspace)
    return build_recipe(read_table(path), str(path)) if path.is_file() else None


def _model(name: str, *, needed: bool) -> Check:
    from v2a_data.models import store

    try:
        found = store.find(name)
        return Check(f"model {name}", True, f"{found.sha256[:12]}, {found.row.licence}")
    except FatalError as error:
        fix = error.hint or "see `v2a-data models list`"
        words = error.message.removeprefix(f"model {name}").lstrip(": ")
        return Check(f"model {name}", False, words, fix, optional=not needed)
