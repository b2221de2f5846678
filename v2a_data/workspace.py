"""The folder in which one dataset is being made: its paths, its lock, its recipe."""

import contextlib
import os
import shutil
from pathlib import Path
from types import TracebackType

from v2a_data import recipe as recipes
from v2a_data.errors import UsageError
from v2a_data.files import disk_error, is_disk_error, take_lock, write_text
from v2a_data.ids import check_video_id
from v2a_data.ledger import Ledger
from v2a_data.recipe import Recipe

DEFAULT = "v2a-workspace"


class Workspace:
    """A workspace that exists. Open it with `Workspace.open`, which takes its lock, or `Workspace.read`."""

    def __init__(self, root: Path, ledger: Ledger, lock: int | None) -> None:
        self.root = root
        self.ledger = ledger
        self._lock = lock

    @classmethod
    def open(cls, root: Path, command: str, *, create: bool = True) -> "Workspace":
        """Open for writing, made where there is none and `create` is set.

        Raises `BusyError` while another command holds it, `UsageError` where there is none.
        """
        if not create and not (root / "ledger.sqlite").is_file():
            raise _no_workspace(root)
        try:
            root.mkdir(parents=True, exist_ok=True)
            lock = take_lock(root / ".lock", command)
        except OSError as error:
            if is_disk_error(error):
                raise disk_error(error) from None
            raise
        try:
            workspace = cls(root, Ledger(root / "ledger.sqlite"), lock)
            workspace._clean_tmp()
            workspace._check_whole(command)
        except BaseException:
            os.close(lock)
            raise
        return workspace

    @classmethod
    def read(cls, root: Path) -> "Workspace":
        """Open an existing one for reading only."""
        if not (root / "ledger.sqlite").is_file():
            raise _no_workspace(root)
        return cls(root, Ledger(root / "ledger.sqlite", read_only=True), None)

    @classmethod
    def look(cls, root: Path) -> "Workspace":
        """For a dry run: an existing one for reading, or an empty one that is nowhere on disk."""
        if (root / "ledger.sqlite").is_file():
            return cls.read(root)
        return cls(root, Ledger(None), None)

    def close(self) -> None:
        self.ledger.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> "Workspace":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def tmp(self) -> Path:
        """Scratch space; emptied when the workspace is opened for writing."""
        path = self.root / "tmp"
        path.mkdir(exist_ok=True)
        return path

    @property
    def shards(self) -> Path:
        return self.root / "shards"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def recipe_file(self) -> Path:
        return self.recipe_path(self.root)

    @staticmethod
    def recipe_path(root: Path) -> Path:
        """Where a workspace keeps its resolved recipe."""
        return root / "recipe.toml"

    def media_path(self, video_id: str, extension: str) -> Path:
        """Where a video's media live: `media/<2 characters>/<video_id>.<ext>`."""
        check_video_id(video_id)
        safe = "".join(c for c in extension.lower().lstrip(".") if c.isascii() and c.isalnum())[:5] or "bin"
        return self.root / "media" / _bucket(video_id) / f"{video_id}.{safe}"

    def recipe(self) -> Recipe | None:
        """The recipe this dataset is made with, or null in a new workspace."""
        if not self.recipe_file.is_file():
            return None
        return recipes.build_recipe(recipes.read_table(self.recipe_file), str(self.recipe_file))

    def adopt(self, recipe: Recipe, *, force: bool) -> None:
        """Make `recipe` the workspace's own. A different one is refused with a diff unless forced."""
        current = self.recipe()
        if current is not None and recipe != current and not force:
            lines = "\n  ".join(recipes.diff(current, recipe))
            raise UsageError(
                f"{self.root} was made with another recipe:\n  {lines}",
                hint="--force applies the change; what it does not touch is not done again",
            )
        if recipe != current:
            write_text(self.recipe_file, recipes.dump_recipe(recipe))

    def _check_whole(self, command: str) -> None:
        """Raise `UsageError` while a removal is not done: half of what it takes out is gone."""
        if command != "remove" and self.ledger.meta("removing") is not None:
            raise UsageError(
                f"{self.root}: a removal was interrupted", hint="`v2a-data remove` without options goes on with it"
            )

    def _clean_tmp(self) -> None:
        """Remove what killed commands left: scratch folders and temporary files."""
        leftovers = [*self.tmp.iterdir(), *self.root.glob(".tmp-*")]
        for folder in ("media", "scores", "shards", "runs"):
            leftovers += (self.root / folder).glob("**/.tmp-*")
        for leftover in leftovers:
            with contextlib.suppress(OSError):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def _no_workspace(root: Path) -> UsageError:
    return UsageError(f"{root} is not a workspace", hint="run `v2a-data fetch` first, or name one with -w")


def _bucket(video_id: str) -> str:
    """Two characters that spread ids evenly and are safe on case-folding file systems."""
    from hashlib import sha256

    return sha256(video_id.encode()).hexdigest()[:2]
