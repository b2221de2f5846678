"""Judges what was trained on the test split, beside baselines, each figure with its interval."""

import json
import shutil
import wave
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from v2a.built import decoder_name
from v2a.config import TrainConfig
from v2a.evaluate_video import VideoEvaluation, VideoJudge, video_text
from v2a.generate import SoundMaker, to_pcm
from v2a.metrics import METRICS
from v2a.metrics.bank import Bank, Look, Setting, look
from v2a.metrics.base import Clip, Sound
from v2a.metrics.energy import COLLAPSED_ABOVE, COLLAPSED_BELOW
from v2a.metrics.intervals import Figure, interval
from v2a.metrics.rows import BASELINES
from v2a.metrics.training_bank import build_bank, chosen
from v2a.models.base import VideoEncoder
from v2a.models.vqvae3d import Vqvae3d
from v2a.reading.decode import Decoder
from v2a.reading.form import Form, Grid
from v2a.reading.sets import data_hash
from v2a.training import checkpoint
from v2a_data.console import Console, table
from v2a_data.errors import DiskError, FatalError, InterruptedRunError, MissingToolError, NothingError, UsageError
from v2a_data.files import whole_file, write_text
from v2a_data.shards.format import STAMP
from v2a_data.shards.read import Entry, Sample, ShardSet

CHANCE = 0.5
_SHOWN = 6
MOST_CLIPS = 500
FORMS: tuple[Literal["tied", "literal"], ...] = ("tied", "literal")


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    is_model: bool
    figures: dict[str, Figure]
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """The whole table: `clips` judged of `of_clips`, how many of each label; `not_for_use` where tiny models
    judged the clips; `video` is the video encoder's table."""

    clips: int
    videos: int
    rows: list[Row]
    of_clips: int = 0
    not_for_use: bool = False
    labels: dict[str, int] = field(default_factory=dict)
    video: VideoEvaluation | None = None

    def to_json(self) -> dict[str, Any]:
        rows = [
            {
                "name": row.name,
                "model": row.is_model,
                "flags": list(row.flags),
                **{name: figure.to_json() for name, figure in row.figures.items()},
            }
            for row in self.rows
        ]
        counts = {"clips": self.clips, "of_clips": self.of_clips, "videos": self.videos, "labels": self.labels}
        video = None if self.video is None else self.video.to_json()
        return {**counts, "not_for_use": self.not_for_use, "rows": rows, "video": video}


def evaluation_text(values: dict[str, Any]) -> str:
    """`Evaluation.to_json` as tables for people; the headline metric first, the video encoder below."""
    text = table(header_cells(values), [row_cells(row) for row in values["rows"]])
    if values.get("video"):
        text = f"{text}\n\n{video_text(values['video'])}"
    return f"{STAMP}\n{text}" if values.get("not_for_use") else text


def header_cells(values: dict[str, Any]) -> tuple[str, ...]:
    """The table's first line: how many clips were judged, then the metrics."""
    part = f"{values['clips']} of {values['of_clips']}" if values["of_clips"] > values["clips"] else values["clips"]
    return (f"{part} test clips of {values['videos']} videos", *METRICS)


def row_cells(row: dict[str, Any]) -> tuple[str, ...]:
    """One line of the table as text: name with flags, headline figures with their intervals."""
    cells = [row["name"] + "".join(f" ({flag})" for flag in row["flags"])]
    for metric in METRICS:
        figure = row[metric]
        if figure["mean"] is None:
            cells.append("-")
        elif METRICS[metric].headline:
            cells.append(f"{figure['mean']:.3f} [{figure['low']:.3f}, {figure['high']:.3f}]")
        else:
            cells.append(f"{figure['mean']:.3f}")
    return tuple(cells)


def evaluate(
    config: TrainConfig, shards: ShardSet, training: ShardSet | None, checkpoints: Path, out: Path, console: Console
) -> Evaluation:
    """Generate sound for test clips with every trained form, judge it, write JSON, WAV files and code maps.

    Baselines retrieve from the training clips of `training`, if it is there. All sounds are compared with
    each other, so of a large split a fixed random choice is judged. Raises `NothingError` without test clips,
    `MissingToolError` before anything was trained.
    """
    whole = shards.split("test")
    entries = chosen(whole, (), MOST_CLIPS)
    if not entries:
        raise NothingError(f"{shards.place} has no test clips", hint="raise splits.test in the recipe")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    makers = _makers(config, checkpoints, device, console)
    first = next(iter(makers.values()))
    video = _video_judge(first.encoder, first.form, out, entries)
    heard = _generated(shards, entries, makers, video, out, console)
    if training is not None and training.split("train"):
        _warn_of_other_data(config, training, checkpoints, console)
    bank = _bank(training, whole, first.form, console)
    result = replace(
        judge(Setting(heard.clips, heard.looks, bank), heard.made),
        of_clips=len(whole),
        not_for_use=heard.stamped,
        labels=dict(sorted(Counter(clip.label for clip in heard.clips).items())),
        video=None if video is None else video.result(),
    )
    write_text(out / "evaluation.json", json.dumps(result.to_json(), indent=1) + "\n")
    return result


@dataclass
class _Heard:
    """Test clips, how they look, and the sounds made for them; `stamped` where tiny models judged any of them."""

    clips: list[Clip]
    looks: list[Look]
    made: dict[str, list[Sound]]
    stamped: bool = False


def _generated(
    shards: ShardSet,
    entries: Sequence[Entry],
    makers: dict[str, SoundMaker],
    video: VideoJudge | None,
    out: Path,
    console: Console,
) -> _Heard:
    """Every clip is decoded once; sounds are also written as files."""
    form = next(iter(makers.values())).form
    decoder, heard = Decoder(form), _Heard([], [], {name: [] for name in makers})
    shutil.rmtree(out / "generated", ignore_errors=True)
    with console.progress("generate", len(entries), "clips") as progress:
        for entry in entries:
            sample = shards.read(entry, verify=True)
            heard.stamped |= bool(sample.values.get("not_for_use"))
            planes, sound = decoded(decoder, sample)
            heard.clips.append(Clip(entry.key, entry.label, entry.group_id, Sound(sound, form.rate_hz, entry.key)))
            heard.looks.append(look(planes, form.height))
            if video is not None:
                video.add(entry.key, entry.group_id, planes)
            for name, maker in makers.items():
                generated = maker.whole(planes)
                heard.made[name].append(Sound(generated, form.rate_hz))
                write_wav(out / "generated" / name / f"{entry.key}.wav", generated, form.rate_hz)
            progress.step()
    return heard


def _video_judge(encoder: VideoEncoder, form: Form, out: Path, entries: Sequence[Entry]) -> VideoJudge | None:
    """Null for an encoder that rebuilds no video. A few clips, the labels in turn, are shown."""
    if not isinstance(encoder, Vqvae3d):
        return None
    labels = sorted({entry.label for entry in entries})
    per_label = [[entry.key for entry in entries if entry.label == label] for label in labels]
    shown = [key for keys in zip_longest(*per_label) for key in keys if key is not None][:_SHOWN]
    shutil.rmtree(out / "codes", ignore_errors=True)
    return VideoJudge(encoder, form, out / "codes", shown)


def _bank(training: ShardSet | None, test: Sequence[Entry], form: Form, console: Console) -> Bank | None:
    """Training clips of other videos than the test clips; a warning where there are none."""
    entries = chosen(training.split("train"), test) if training is not None else []
    if training is None or not entries:
        console.warn("there are no training clips of other videos: no sound is retrieved from them")
        return None
    try:
        return build_bank(training, entries, form, console)
    except (DiskError, InterruptedRunError):
        raise
    except FatalError as error:
        console.warn(f"{error.message}: no sound is retrieved from training clips")
        return None


def _warn_of_other_data(config: TrainConfig, training: ShardSet, checkpoints: Path, console: Console) -> None:
    about = checkpoint.require(checkpoints / decoder_name(config), "v2a train decoder").state["about"]
    if about.get("shards", data_hash(training)) != data_hash(training):
        console.warn(
            f"{training.place} is not what was trained on: the nearest and mean rows are not from the training data; "
            "name its sets with train.sets"
        )


def _makers(config: TrainConfig, checkpoints: Path, device: torch.device, console: Console) -> dict[str, SoundMaker]:
    """The configured form first; others that were trained on the same encoder and view stand beside it."""
    first = SoundMaker.load(config, checkpoints, device)
    makers = {f"{config.decoder.model} {config.form}": first}
    for kind in FORMS:
        if kind == config.form:
            continue
        name = f"{config.decoder.model} {kind}"
        try:
            maker = SoundMaker.load(replace(config, form=kind), checkpoints, device)
        except MissingToolError:
            continue
        except UsageError as error:
            console.warn(f"{name} is left out: {error.message}")
            continue
        if maker.form == first.form:
            makers[name] = maker
        else:
            console.warn(f"{name} is left out: it was trained with another view")
    return makers


def decoded(decoder: Decoder, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """A whole sample in the decoder's form: planes `(T, …)` and sound `(samples,)`."""
    form, fps = decoder.form, Fraction(sample.values["fps"])
    count = Grid(form, fps).length(sample.entry.frames)
    planes = np.empty(form.plane_shape(count), np.uint8)
    sound = np.empty(count * form.samples_per_frame, np.float32)
    shown, heard = decoder.decode(sample.mp4, fps, planes, sound)
    if (shown, heard) != (count, len(sound)):
        raise FatalError(
            f"{sample.entry.shard}: {sample.entry.key} decodes to {shown} of {count} frames, "
            f"{heard} of {len(sound)} audio samples",
            hint="write this dataset again with `v2a-data shard --force`",
        )
    return planes, sound


def judge(setting: Setting, made: dict[str, list[Sound]]) -> Evaluation:
    """The table for generated sounds by row name; baselines are added. Models stand first.

    One baseline's sounds are held at a time.
    """
    models = [_row(name, True, generated, setting.clips) for name, generated in made.items()]
    baselines = [_row(name, False, baseline(setting), setting.clips) for name, baseline in BASELINES.items()]
    return Evaluation(len(setting.clips), len({clip.group for clip in setting.clips}), models + baselines)


def _row(name: str, is_model: bool, generated: Sequence[Sound] | None, clips: Sequence[Clip]) -> Row:
    """All figures are null where a baseline cannot be had."""
    groups = [clip.group for clip in clips]
    nothing: list[float | None] = [None] * len(clips)
    values = {metric: nothing if generated is None else METRICS[metric]()(generated, clips) for metric in METRICS}
    figures = {metric: interval(found, groups) for metric, found in values.items()}
    return Row(name, is_model, figures, flags(figures, values["energy_ratio"]) if is_model else ())


def flags(figures: dict[str, Figure], energies: Sequence[float | None]) -> tuple[str, ...]:
    """What is wrong with a model: most of its sounds have next to no energy, or far too much, or nothing shows that
    they follow the picture.

    Energies are judged by their median: one loud clip among silent ones decides a mean.
    """
    found = []
    known = [energy for energy in energies if energy is not None]
    if known and not COLLAPSED_BELOW <= float(np.median(known)) <= COLLAPSED_ABOVE:
        found.append("collapsed")
    headline = figures["swap_auc_in_class"].low
    if headline is not None and headline <= CHANCE:
        found.append("not shown to follow the picture")
    return tuple(found)


def write_wav(path: Path, sound: np.ndarray, rate_hz: int) -> None:
    """16 bit mono."""
    with whole_file(path) as temporary, wave.open(str(temporary), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(to_pcm(sound).tobytes())
