"""Checks of the machine and the installation."""

import platform
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from v2a_data.errors import MissingToolError
from v2a_data.runs import package_version

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
    "silero-vad": "6.2",
    "onnxruntime": "1.24",
}
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


def checks(workspace: Path) -> list[Check]:
    """All checks, in the order they are shown."""
    return [*_python(), *_packages(), _yt_dlp_age(), _ffmpeg(), _runtime(), *_torch(), _disk(workspace), *_models()]


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


def _ffmpeg() -> Check:
    from v2a_data.media.ffmpeg import ffmpeg_path

    fix = "pip install imageio-ffmpeg, or set V2A_FFMPEG to an ffmpeg program"
    try:
        path = ffmpeg_path()
        done = subprocess.run([path, "-version"], capture_output=True, timeout=20, check=False)
    except (MissingToolError, OSError, subprocess.TimeoutExpired) as error:
        return Check("ffmpeg", False, str(error), fix)
    words = done.stdout.decode("utf-8", "replace").split("\n")[0]
    return Check("ffmpeg", done.returncode == 0, f"{words[:60]} at {path}", fix)


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
    place = workspace.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 1e9
    return Check(
        "disk",
        free >= _DISK_GB,
        f"{free:.0f} GB free at {place}",
        f"have {_DISK_GB:.0f} GB free, or name another place with -w",
    )


def _models() -> Iterator[Check]:
    from v2a_data.scorers.base import model_folder
    from v2a_data.scorers.speech import Speech

    try:
        model = Speech(Speech.Config()).model
        yield Check("model silero-vad", True, f"{(model.sha256 or '')[:12] if model else ''}, MIT")
    except MissingToolError as error:
        yield Check("model silero-vad", False, error.message, error.hint or "")
    folder = model_folder()
    found = sorted(path.stem for path in folder.glob("*.onnx")) if folder.is_dir() else []
    fix = f"put a tagger (<name>.onnx with <name>.json) into {folder}; recipes without audio_tags need none"
    yield Check("audio taggers", bool(found), ", ".join(found) or "none", fix, optional=True)
