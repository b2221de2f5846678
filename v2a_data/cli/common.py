"""What every command shares: its common options, its errors, its exit codes. Nothing heavy is imported."""

import inspect
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2a_data.errors import ExitCode, FatalError, UsageError

if TYPE_CHECKING:
    from v2a_data.console import Console
    from v2a_data.engine import Engine
    from v2a_data.runs import RunRecord
    from v2a_data.workspace import Workspace

WorkspaceOption = Annotated[
    Path, typer.Option("--workspace", "-w", envvar="V2A_WORKSPACE", help="Folder of the dataset.", show_default=True)
]
RecipeOption = Annotated[str | None, typer.Option("--recipe", help="Name of a shipped recipe, or a .toml file.")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe value.")]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=0, help="Worker processes; 0 works in order. Default: one per core; v2a train: 1."),
]
SchedulerOption = Annotated[
    str | None, typer.Option("--scheduler", metavar="ADDR", help="A Dask scheduler that exists.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but warnings and errors.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="More messages.")]
DebugOption = Annotated[bool, typer.Option("--debug", envvar="V2A_DEBUG", help="Tracebacks.")]

DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
ModelsOption = Annotated[
    str | None,
    typer.Option("--models", metavar="tiny", help="Judge with the tiny models of this package; stamped not for use."),
]
KeepMedia = Annotated[
    str | None,
    typer.Option("--keep-media", metavar="yes|no", help="no: `shard` deletes media whose clips it has written."),
]
Force = Annotated[bool, typer.Option("--force", help="Apply a changed recipe, replace what it made.")]


def _show_version(context: typer.Context, value: bool) -> None:
    if value:
        from v2a_data import __version__

        root = context.find_root()
        sys.stdout.write(f"{root.command.name or root.info_name} {__version__}\n")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
]

_COMMON: tuple[tuple[str, Any, Any], ...] = (
    ("workspace", WorkspaceOption, Path("v2a-workspace")),
    ("recipe", RecipeOption, None),
    ("sets", SetOption, None),
    ("workers", WorkersOption, None),
    ("scheduler", SchedulerOption, None),
    ("as_json", JsonOption, False),
    ("quiet", QuietOption, False),
    ("verbose", VerboseOption, False),
    ("debug", DebugOption, False),
    ("version", VersionOption, False),
)


@dataclass(frozen=True)
class Common:
    """The common options of one call."""

    command: str
    workspace: Path
    recipe: str | None
    sets: list[str]
    workers: int | None
    scheduler: str | None
    as_json: bool
    quiet: bool
    verbose: bool
    debug: bool

    @property
    def console(self) -> "Console":
        from v2a_data.console import Console

        return Console(self.command, as_json=self.as_json, quiet=self.quiet, verbose=self.verbose)

    def engine(self, *, models: bool = False) -> "Engine":
        """The engine that `--workers` and `--scheduler` ask for."""
        from v2a_data.engine import open_engine

        workers = self.workers if self.workers is not None else os.cpu_count() or 1
        return open_engine(workers, self.scheduler, models=models)

    def in_order(self) -> "Engine":
        """No cluster, for work that goes one by one anyway."""
        from v2a_data.engine import SerialEngine

        return SerialEngine()

    def open_workspace(self, *, dry_run: bool = False, create: bool = False) -> "Workspace":
        """The workspace, locked for writing; for a dry run only looked at.

        Raises `UsageError` where there is none and it must not be made.
        """
        from v2a_data.workspace import Workspace

        if dry_run:
            return Workspace.look(self.workspace)
        return Workspace.open(self.workspace, self.command, create=create)

    def record(self, workspace: "Workspace") -> "RunRecord":
        """The run record of this call."""
        from v2a_data.removal.refused import Refused
        from v2a_data.runs import RunRecord, command_line

        hide = Refused(workspace.ledger).hide
        return RunRecord(workspace.runs, self.command, [hide(word) for word in command_line()])

    def overrides(self) -> dict[str, Any]:
        """`--set` values as a recipe table."""
        from v2a_data.recipe import parse_sets

        return parse_sets(self.sets)


def new_app(name: str, help: str) -> typer.Typer:
    """A command line without rich markup, so that help starts fast and titles cannot format it."""
    return typer.Typer(
        name=name,
        help=help,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def command(app: typer.Typer, name: str) -> Callable[[Callable[..., int | None]], Callable[..., None]]:
    """Register a function as a command. It gets a `Common` first, then its own options; what it
    returns is the exit code."""

    def register(function: Callable[..., int | None]) -> Callable[..., None]:
        own = list(inspect.signature(function).parameters.values())[1:]
        shared = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
            for key, kind, default in _COMMON
        ]
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]

        def run(**values: Any) -> None:
            picked = {key: values.pop(key) for key, _, _ in _COMMON}
            del picked["version"]
            common = Common(command=name, **{**picked, "sets": picked["sets"] or []})
            raise typer.Exit(guarded(common, lambda: function(common, **values)))

        run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in [*own, *shared]}
        run.__doc__ = function.__doc__
        app.command(name, help=inspect.getdoc(function))(run)
        return run

    return register


def guarded(common: Common, call: Callable[[], int | None]) -> int:
    """Run a command; every known trouble becomes a message and its exit code."""
    console = common.console
    interrupted = _note_interrupts()
    try:
        return int(call() or ExitCode.OK)
    except FatalError as error:
        _say(console, common, error, error.message, error.hint)
        return int(error.exit_code)
    except KeyboardInterrupt:
        return _stopped()
    except OSError as error:
        if interrupted.is_set():
            return _stopped()
        from v2a_data.files import disk_error, is_disk_error

        if is_disk_error(error):
            trouble = disk_error(error)
            _say(console, common, error, trouble.message, trouble.hint)
            return int(ExitCode.DISK)
        words = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        _say(console, common, error, words, None)
        return int(ExitCode.FAILURE)
    except Exception as error:  # the last place before the user: a message instead of a traceback
        # Packages that are interrupted while they load raise whatever they like.
        return _stopped() if interrupted.is_set() else _unknown(console, common, error)


def _stopped() -> int:
    sys.stderr.write("stopped at once; run the same command again to go on\n")
    return int(ExitCode.INTERRUPTED)


def _note_interrupts() -> threading.Event:
    """Ctrl-C raises `KeyboardInterrupt` as always, and is remembered where something swallows that."""
    seen = threading.Event()
    if threading.current_thread() is threading.main_thread():

        def note(number: int, frame: Any) -> None:
            seen.set()
            signal.default_int_handler(number, frame)

        signal.signal(signal.SIGINT, note)
    return seen


def _unknown(console: "Console", common: Common, error: Exception) -> int:
    message = f"{type(error).__name__}: {error}"
    _say(console, common, error, message, "this is a bug; please report it with what --debug shows")
    return int(ExitCode.FAILURE)


def _say(console: "Console", common: Common, error: Exception, message: str, hint: str | None) -> None:
    logging.getLogger("v2a_data").debug("ended", exc_info=error)
    from v2a_data.console import printable

    sys.stderr.write("".join(f"{printable(line)}\n" for line in f"error: {message}".splitlines()))
    if hint:
        sys.stderr.write(f"  {printable(hint)}\n")
    if common.debug:
        sys.stderr.write("".join(traceback.format_exception(error)))


def parse_keep_media(text: str | None) -> list[str]:
    """`--keep-media` as what `--set` would say. Raises `UsageError` for what is neither yes nor no."""
    if text not in (None, "yes", "no"):
        raise UsageError(f"--keep-media {text!r}: expected yes or no")
    return [] if text is None else [f"fetch.keep_media={'true' if text == 'yes' else 'false'}"]


def parse_limit(text: str | None) -> int | str | None:
    """`--limit`: a count, or "all". Raises `UsageError` for anything else."""
    if text is None or text == "all":
        return text
    if text.isascii() and text.isdecimal():
        return int(text)
    raise UsageError(f"--limit {text!r}: expected a number or 'all'")
