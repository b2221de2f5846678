"""Which files `v2a generate` reads and writes, from what was typed."""

from collections import Counter
from pathlib import Path

from v2a_data.errors import UsageError

# What else lies in a folder of videos is no failure.
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mkv", ".webm", ".mov", ".avi", ".flv", ".ts", ".mpg", ".mpeg", ".ogv")


def jobs_of(video: Path, output: Path) -> list[tuple[Path, Path]]:
    """What to read and what to write. Raises `UsageError` where they do not fit."""
    if video.is_dir():
        if output.suffix:
            raise UsageError(f"-o {output}: a folder of videos needs a folder to write to")
        files = sorted(path for path in video.iterdir() if path.is_file() and not path.name.startswith("."))
        if not files:
            raise UsageError(f"{video} holds no files")
        stems = Counter(path.stem for path in files)
        names = [path.stem if stems[path.stem] == 1 else path.name for path in files]
        return [(path, output / f"{name}.mp4") for path, name in zip(files, names, strict=True)]
    if not video.is_file():
        raise UsageError(f"{video} does not exist")
    if output.is_dir():
        return [(video, output / f"{video.stem}.mp4")]
    if output.suffix.lower() not in (".wav", ".mp4", ".mkv"):
        raise UsageError(f"-o {output}: expected a .wav, .mp4 or .mkv file, or a folder that exists")
    return [(video, output)]


def check_targets(jobs: list[tuple[Path, Path]]) -> None:
    """Raise `UsageError` where an output would replace a video that is read."""
    sources = {source.resolve() for source, _ in jobs}
    for _, target in jobs:
        if target.resolve() in sources:
            raise UsageError(f"-o {target}: that is a video to read", hint="name another file or folder")
