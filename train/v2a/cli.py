"""The `v2a` command line: train, encode, tune, generate, evaluate, demo."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2a_data.cli.common import Common, DryRun, VersionOption, command, new_app
from v2a_data.errors import DiskError, ExitCode, FatalError, InterruptedRunError, UsageError

if TYPE_CHECKING:
    from v2a.config import TrainConfig
    from v2a.train import Context
    from v2a_data.console import Console
    from v2a_data.shards.read import ShardSet

app = new_app(
    "v2a",
    "Train, generate and judge sound for silent video.\n\n"
    "\b\n  v2a demo      the whole job on a synthetic world, about 5 minutes",
)


@app.callback()
def _root(
    version: VersionOption = False,
) -> None:
    pass


Shards = Annotated[
    str | None,
    typer.Option("--shards", metavar="PLACE", help="Folder or address of shards. Default: <workspace>/shards."),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--shards",
        metavar="PLACE",
        help="Folder or address of shards; several in equal parts. Default: train.sets, else <workspace>/shards.",
    ),
]


def train(
    common: Common,
    what: Annotated[
        str | None, typer.Argument(metavar="[vqvae|decoder]", help="Default: both, one after the other.")
    ] = None,
    shards: Sets = None,
    dry_run: DryRun = False,
    force: Annotated[bool, typer.Option("--force", help="Start again from nothing.")] = False,
) -> int:
    """Train the video encoder, then the sound decoder.

    From the shards of the workspace, or sets of them anywhere; goes on from the newest checkpoints. On several GPUs:
    `torchrun --nproc-per-node 4 -m v2a train`.
    """
    from v2a.train import Context, describe
    from v2a.training import ranks
    from v2a.training.memory import sizes
    from v2a_data.console import Console

    if what not in (None, "vqvae", "decoder"):
        raise UsageError(f"{what!r}: expected vqvae or decoder")
    config = _config(common, shards)
    workers = common.workers if common.workers is not None else 1
    chosen = _training_shards(common, config)
    checkpoints = common.workspace / "checkpoints"
    place = ranks.join()
    console = common.console if place.leads else Console("train", quiet=True)
    _warn_of_leaks(console, chosen)
    context = Context(config, chosen, checkpoints, workers, console, force, place)
    if dry_run:
        rows = sizes(config, place)
        words = [f"{r['model']}: {r['parameters'] / 1e6:.2f} M parameters, {r['bytes'] / 1e9:.2f} GB" for r in rows]
        samples = len(chosen.split("train"))
        console.result(
            {"dry_run": True, "samples": samples, "models": rows},
            "\n".join([*words, f"would train on {samples} samples"]),
        )
        return ExitCode.OK
    try:
        if not place.leads:
            _trained(context, what)
            return ExitCode.OK
        with common.open_workspace(create=True) as workspace, common.record(workspace) as record:
            record.note(**describe(context))
            values = _trained(context, what)
            record.note(trained=values)
    finally:
        ranks.leave()
    lines = [_trained_line(row) for row in values]
    console.result({"trained": values}, "\n".join([*lines, f"in {checkpoints}; next: v2a evaluate"]))
    return ExitCode.OK


def _trained(context: "Context", what: str | None) -> list[dict[str, Any]]:
    from v2a.train import train_decoder, train_vqvae

    trained = []
    if what in (None, "vqvae"):
        trained.append(train_vqvae(context))
    if what in (None, "decoder"):
        trained.append(train_decoder(context))
    return [{"model": t.name, "steps": t.steps, "complaint": t.complaint, **t.parts, "best": t.best} for t in trained]


def _trained_line(row: dict[str, Any]) -> str:
    """One training for people: its last figures, and those of its best validation."""
    parts = {key: value for key, value in row.items() if isinstance(value, float)}
    words = f"{row['model']}: {row['steps']} steps, " + ", ".join(f"{k} {v:.4g}" for k, v in parts.items())
    best = ", ".join(f"{k} {v:.4g}" for k, v in row["best"].items())
    return f"{words}; best validation: {best}" if best else words


def encode(
    common: Common,
    split: Annotated[list[str] | None, typer.Option("--split", metavar="NAME", help="Default: all of them.")] = None,
    shards: Sets = None,
    dry_run: DryRun = False,
) -> int:
    """Write the codes of splits beside the trained video encoder.

    `train decoder` makes those of the training split by itself; codes that are there are not made again.
    """
    from v2a.built import form_of, load_vqvae
    from v2a.codes import encode_split
    from v2a.training.ranks import alone

    console, config = common.console, _config(common, shards)
    workers = common.workers if common.workers is not None else 1
    chosen = _training_shards(common, config)
    splits = list(dict.fromkeys(split)) if split else sorted({entry.split for entry in chosen.entries})
    if dry_run:
        console.result({"dry_run": True, "splits": splits}, f"would encode {', '.join(splits)}")
        return ExitCode.OK
    with common.open_workspace(create=True) as workspace, common.record(workspace) as record:
        encoder, found = load_vqvae(config, workspace.checkpoints, alone().device)
        form = form_of(config.view)
        made = [encode_split(encoder, found, chosen, name, form, workers, console) for name in splits]
        rows = [{"split": e.split, "samples": e.samples, "code_frames": e.code_frames, "bytes": e.bytes} for e in made]
        record.note(encoded=rows)
    words = [f"{e.split}: {e.samples} samples, {e.bytes / 1e6:.1f} MB in {e.folder}" for e in made]
    console.result({"encoded": rows}, "\n".join(words))
    return ExitCode.OK


def tune(common: Common, shards: Sets = None, dry_run: DryRun = False) -> int:
    """Search for better options, as `[train.tune]` of the recipe says.

    Trials are judged by in-class swap-AUC on the validation split. Run the same command again to go on with a
    search that was stopped.
    """
    from v2a.train import Context
    from v2a.training.ranks import alone
    from v2a.tune import checked_space
    from v2a.tune import tune as search
    from v2a_data.console import table

    console, config = common.console, _config(common, shards)
    workers = common.workers if common.workers is not None else 1
    chosen = _training_shards(common, config)
    _warn_of_leaks(console, chosen)
    context = Context(config, chosen, common.workspace / "checkpoints", workers, console, False, alone())
    names = list(checked_space(config))
    if dry_run:
        console.result({"dry_run": True, "options": names}, f"would search {', '.join(names)}")
        return ExitCode.OK
    with common.open_workspace(create=True) as workspace, common.record(workspace) as record:
        found = search(context, lambda done, of: console.say(f"tune: {done} of {of} trials"))
        rows = [{"trial": f.number, "state": f.state, "swap_auc": f.value, "options": f.options} for f in found]
        record.note(trials=rows)
    cells = [(str(f.number), _figure(f.value), f.state, *(str(f.options.get(n, "")) for n in names)) for f in found]
    best = " ".join(f"--set {shlex.quote(f'train.{name}={value}')}" for name, value in found[0].options.items())
    what = "" if any(name.startswith("vqvae.") for name in names) else " decoder"
    places = "".join(f" --shards {shlex.quote(place)}" for place in shards or ())
    next_words = (
        f"\nthe best one: v2a train{what} {best}{places}" if found[0].value is not None else "\nnone has a value"
    )
    words = table(("trial", "swap-AUC", "state", *names), cells)
    console.result({"trials": rows}, words + next_words)
    return ExitCode.OK


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def generate(
    common: Common,
    video: Annotated[Path, typer.Argument(metavar="VIDEO|DIR", help="A video, or a folder of videos.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="OUT", help="A .wav, .mp4 or .mkv file; a folder for a folder.")
    ],
    dry_run: DryRun = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what was written before.")] = False,
) -> int:
    """Make the sound of silent video of any length.

    The video's own sound, if it has one, is ignored.
    """
    import torch

    from v2a.generate import SoundMaker, generate_file
    from v2a.targets import VIDEO_SUFFIXES, check_targets, jobs_of
    from v2a_data.errors import ItemError, NothingError

    jobs = jobs_of(video, output)
    check_targets(jobs)
    taken = [target for _, target in jobs if target.exists()]
    if taken and not force:
        raise UsageError(f"{taken[0]} exists", hint="--force overwrites; -o names another place")
    console = common.console
    if dry_run:
        console.result({"dry_run": True, "files": [str(t) for _, t in jobs]}, f"would write {len(jobs)} files")
        return ExitCode.OK
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    maker = SoundMaker.load(_config(common), common.workspace / "checkpoints", device)
    done, failed = {}, {}
    with console.progress("generate", None, "frames") as progress:
        for source, target in jobs:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                done[str(target)] = generate_file(maker, source, target, progress.step) / float(maker.form.fps)
            except ItemError as error:
                console.warn(f"{source.name}: {error}")
                if error.reason != "not_media" or source.suffix.lower() in VIDEO_SUFFIXES:
                    failed[str(source)] = str(error)
    lines = [f"{target}: {seconds:.2f} s of generated sound" for target, seconds in done.items()]
    console.result({"written": done, "failed": failed}, "\n".join(lines))
    if not done:
        raise NothingError(f"no sound was made: {next(iter(failed.values()), 'none of the files is a video')}")
    return ExitCode.PARTIAL if failed else ExitCode.OK


def evaluate(common: Common, shards: Shards = None, dry_run: DryRun = False) -> int:
    """Judge what was trained, on the test split of the sets that it was trained on or of another, beside baselines.

    Baselines: the real sound, sounds of other clips, of the most alike training clips, their mean, noise, silence.
    """
    from v2a.evaluate import evaluate as run_evaluate
    from v2a.evaluate import evaluation_text
    from v2a.reading.address import check_place
    from v2a.reading.sets import mixed, open_place

    console = common.console
    if shards is not None:
        check_place(shards, "--shards")
    config = _config(common)
    places, weights = zip(*(_places(common, config) if shards is None else [(shards, 1.0)]), strict=True)
    chosen = mixed([open_place(place) for place in places], weights).only(config.labels)
    if dry_run:
        clips = len(chosen.split("test"))
        console.result({"dry_run": True, "clips": clips}, f"would judge {clips} test clips of {chosen.place}")
        return ExitCode.OK
    with common.open_workspace(create=True) as workspace, common.record(workspace) as record:
        # Another set's tables stand beside the workspace's own.
        out = workspace.reports / ("evaluate" if shards is None else _report_name(shards))
        training = chosen if shards is None else _known_training(common, config)
        if training is not None:
            _warn_of_trained_on(console, chosen, training)
        result = run_evaluate(config, chosen, training, workspace.checkpoints, out, console)
        record.note(evaluation=result.to_json())
    console.result(result.to_json(), f"{evaluation_text(result.to_json())}\nsounds, code maps and figures in {out}")
    return ExitCode.OK


def demo(
    common: Common,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the demo.")] = Path("v2a-demo"),
    videos: Annotated[int, typer.Option("--videos", min=20, help="Videos of the synthetic world.")] = 210,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the world.")] = 0,
    dry_run: DryRun = False,
) -> int:
    """The whole job on a synthetic world, with a report.

    Fetch, curate, shard, train, generate, evaluate, report. Only loopback is used. Typing the printed
    commands by hand gives the same workspace.
    """
    from v2a.demo import run_demo

    if dry_run:
        words = f"would render {videos} videos into {out}, fetch, curate, shard, train, generate, evaluate; about 6 min"
        common.console.result({"dry_run": True, "out": str(out), "videos": videos}, words)
        return ExitCode.OK
    return run_demo(common, out, videos, seed)


def _training_shards(common: Common, config: "TrainConfig") -> "ShardSet":
    """What is trained on: the sets of the configuration, or the workspace's own shards."""
    from v2a.reading.sets import open_sets

    return open_sets(_places(common, config), config.labels)


def _places(common: Common, config: "TrainConfig") -> list[tuple[str, float]]:
    own = [(str(common.workspace / "shards"), 1.0)]
    return [(each.shards, each.weight) for each in config.sets] or own


def _warn_of_leaks(console: "Console", shards: "ShardSet") -> None:
    from v2a.reading.sets import held_out_elsewhere

    found = held_out_elsewhere(shards)
    if found:
        console.warn(
            f"{len(found)} samples to train on are of videos that another set holds out, such as {found[0].key}: "
            f"figures on that set will be too good{_leaks_hint(shards)}"
        )


def _warn_of_trained_on(console: "Console", judged: "ShardSet", training: "ShardSet") -> None:
    from v2a.reading.sets import trained_on

    found = trained_on(judged.split("test"), training.split("train"))
    if found:
        console.warn(
            f"{len(found)} test clips are of videos that are trained on, such as {found[0].key}: "
            f"figures will be too good{_leaks_hint(judged, training)}"
        )


def _leaks_hint(*sets: "ShardSet") -> str:
    """`leaks` takes folders alone."""
    from v2a.reading.sets import parts_of

    here = not any("://" in part.place for shards in sets for part in parts_of(shards))
    return "; `v2a-data leaks A B` names them" if here else ""


def _known_training(common: Common, config: "TrainConfig") -> "ShardSet | None":
    """What is trained on, where it can be had: another set is judged without it too."""
    from v2a_data.shards.format import INDEX_FILE

    if not config.sets and not (common.workspace / "shards" / INDEX_FILE).is_file():
        return None
    try:
        return _training_shards(common, config)
    except (DiskError, InterruptedRunError):
        raise
    except FatalError as error:
        common.console.warn(f"{error.message}; what was trained on is left out")
        return None


def _report_name(place: str) -> str:
    """Sets of one name in two places have two folders."""
    from v2a_data.recipe import digest

    place = place.rstrip("/") if "://" in place else str(Path(place).resolve())
    return f"evaluate-{place.rpartition('/')[2]}-{digest(place)[:6]}"


def _config(common: Common, shards: list[str] | None = None) -> "TrainConfig":
    """The training configuration: the workspace's recipe, or --recipe, with --set and the places of --shards on top."""
    from v2a.config import WeightedShards
    from v2a.reading.address import check_place

    for place in shards or ():
        check_place(place, "--shards")
    config = _recipes_config(common)
    return replace(config, sets=tuple(WeightedShards(shards=place) for place in shards)) if shards else config


def _recipes_config(common: Common) -> "TrainConfig":
    from v2a.config import load_train_config
    from v2a_data.recipe import build_recipe, load_recipe, merge, read_table, to_table
    from v2a_data.workspace import Workspace

    over = common.overrides()
    if common.recipe is not None:
        return load_train_config(load_recipe(common.recipe, over).train)
    path = Workspace.recipe_path(common.workspace)
    if not path.is_file():
        raise UsageError(f"{common.workspace} has no recipe", hint="run `v2a-data fetch`, or name one with --recipe")
    return load_train_config(build_recipe(merge(to_table(read_table(path)), over), str(path)).train)


command(app, "demo")(demo)
command(app, "train")(train)
command(app, "encode")(encode)
command(app, "tune")(tune)
command(app, "generate")(generate)
command(app, "evaluate")(evaluate)


def main() -> None:
    """Entry point of the console script."""
    app()
