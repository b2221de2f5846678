"""`v2a-data synth`: render a world of videos with known truth, and serve it."""

import re
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from v2a_data.cli.common import Common, DryRun
from v2a_data.errors import ExitCode, UsageError

_LABELS = "Airplane,Drum, or with turns: Airplane:3,Drum. Default: all."
_VIEWS = "small: 2 s of each scene at 64 x 36, 16 kHz. steady: from a tripod, nothing else moves, plain 16:9 files."


def synth(
    common: Common,
    out: Annotated[Path, typer.Argument(help="Folder of the world.")],
    videos: Annotated[int, typer.Option("--videos", min=1, help="How many.")] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, max=999_999_999, help="Another seed, another world.")] = 0,
    labels: Annotated[str | None, typer.Option("--labels", metavar="SPEC", help=_LABELS)] = None,
    lines: Annotated[int | None, typer.Option("--lines", help="Picture height; default: mixed.")] = None,
    seconds: Annotated[str, typer.Option("--seconds", metavar="LOW-HIGH", help="Length of each video.")] = "12-90",
    faults: Annotated[
        str,
        typer.Option("--faults", metavar="SPEC", help="all, none, or shares of videos per kind: still:0.2,voice:0.1."),
    ] = "all",
    sound: Annotated[
        bool, typer.Option("--sound/--no-sound", help="Without sound: videos to try `v2a generate` on.")
    ] = True,
    ood: Annotated[bool, typer.Option("--ood", help="Physical parameters outside the usual ranges.")] = False,
    view: Annotated[str, typer.Option("--view", metavar="full|small|steady", help=_VIEWS)] = "full",
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve a rendered world on loopback as YouTube-8M and AudioSet do.")
    ] = False,
    port: Annotated[int, typer.Option("--port", help="Port of --serve; 0 takes a free one.")] = 0,
    misbehave: Annotated[
        str | None,
        typer.Option("--misbehave", metavar="SPEC", help="Shares of requests of --serve: 429:0.1,reset:0.05."),
    ] = None,
    dry_run: DryRun = False,
) -> int:
    """Render synthetic videos with known truth, or serve them.

    \b
    v2a-data synth world --videos 20; v2a-data fetch --source synthetic --input world --recipe demo
    """
    from v2a_data.synthetic.faults import parse_faults
    from v2a_data.synthetic.plan import View
    from v2a_data.synthetic.world import WORLD_LABELS, parse_turns, plan_world, render_world

    console = common.console
    if serve and dry_run:
        console.result({"dry_run": True, "serve": str(out)}, f"would serve {out} on loopback")
        return ExitCode.OK
    if serve:
        return _serve(out, port, misbehave, seed, common)
    if misbehave:
        raise UsageError("--misbehave says how --serve answers", hint="add --serve")
    if view not in get_args(View):
        raise UsageError(f"--view {view!r}: expected one of {', '.join(get_args(View))}")
    if lines is not None and (lines < 36 or lines > 1080 or lines % 4):
        raise UsageError(f"--lines {lines}: a multiple of 4 from 36 to 1080")
    names = parse_turns(labels) if labels else WORLD_LABELS
    plans = plan_world(
        seed,
        videos,
        names,
        lines,
        _range(seconds),
        faults=parse_faults(faults),
        sound=sound,
        ood=ood,
        view=cast(View, view),
    )
    options = {"labels": labels or "all", "lines": lines, "seconds": seconds, "faults": faults, "view": view}
    total_s = sum(plan.duration_s for plan in plans)
    if dry_run:
        console.result(
            {"dry_run": True, "videos": len(plans), "seconds": total_s},
            f"would render {len(plans)} videos, {total_s:.0f} s",
        )
        return ExitCode.OK
    engine = common.engine()
    try:
        with console.progress("render", len(plans), "videos") as progress:
            about = render_world(plans, out, engine, progress.step, {**options, "ood": ood, "sound": sound})
    finally:
        engine.close()
    console.result(
        about,
        f"rendered {len(plans)} videos, {total_s:.0f} s, into {out}; world v{about['version']}, hash {about['hash']}",
    )
    return ExitCode.OK


def _range(text: str) -> tuple[float, float]:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)", text)
    low, high = (float(match[1]), float(match[2])) if match else (0.0, 0.0)
    if not 1 <= low <= high <= 600:
        raise UsageError(f"--seconds {text!r}: expected LOW-HIGH between 1 and 600, for example 12-40")
    return low, high


def _served(out: Path, address: str) -> list[str]:
    """What to say of a served world, with a command that fetches from it."""
    paths = {"label_url": "2/j/v/{mid}.js", "lookup_url": "2/j/i/{prefix}/{id}.js", "watch_url": "media/{id}.mp4"}
    sets = " ".join(f"--set source.{key}={address}/{path}" for key, path in paths.items())
    return [
        f"serving {out} at {address}; Ctrl-C ends it",
        f"v2a-data fetch --recipe demo --label Dog --set fetch.target_videos=10 {sets}",
    ]


def _serve(out: Path, port: int, misbehave: str | None, seed: int, common: Common) -> int:
    from v2a_data.engine import pause, stop_signals
    from v2a_data.synthetic.server import Misbehaviour, parse_misbehaviour, serve_world

    bad = Misbehaviour(parse_misbehaviour(misbehave), seed) if misbehave else None
    with serve_world(out, port, misbehave=bad) as address, stop_signals() as stop:
        common.console.result({"address": address}, "\n".join(_served(out, address)))
        while not stop.asked:
            pause(3600.0)
    return ExitCode.OK
