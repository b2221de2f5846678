"""Judges what was trained on the test split, beside baselines, each figure with its interval."""

import json
import wave
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from v2a.config import TrainConfig
from v2a.decode import Decoder
from v2a.generate import SoundMaker, to_pcm
from v2a.metrics import METRICS
from v2a.metrics.base import Clip, Sound
from v2a.metrics.energy import COLLAPSED_ABOVE, COLLAPSED_BELOW
from v2a.metrics.rows import BASELINES
from v2a_data.console import Console, table
from v2a_data.errors import MissingToolError, NothingError
from v2a_data.files import write_text
from v2a_data.shards.format import STAMP
from v2a_data.shards.read import Sample, ShardSet

_DRAWS = 2000
CHANCE = 0.5
FORMS: tuple[Literal["tied", "literal"], ...] = ("tied", "literal")


@dataclass(frozen=True)
class Figure:
    """A mean over clips with its 95 % bootstrap interval, resampled by video; null without values."""

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    is_model: bool
    figures: dict[str, Figure]
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Evaluation:
    """The whole table; `not_for_use` where tiny models judged the clips."""

    clips: int
    videos: int
    rows: list[Row]
    not_for_use: bool = False

    def to_json(self) -> dict[str, Any]:
        rows = [
            {
                "name": row.name,
                "model": row.is_model,
                "flags": list(row.flags),
                **{name: {"mean": f.mean, "low": f.low, "high": f.high} for name, f in row.figures.items()},
            }
            for row in self.rows
        ]
        return {"clips": self.clips, "videos": self.videos, "not_for_use": self.not_for_use, "rows": rows}


def evaluation_text(values: dict[str, Any]) -> str:
    """`Evaluation.to_json` as a table for people; the headline metric first."""
    header = (f"{values['clips']} test clips of {values['videos']} videos", *METRICS)
    text = table(header, [row_cells(row) for row in values["rows"]])
    return f"{STAMP}\n{text}" if values.get("not_for_use") else text


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


def evaluate(config: TrainConfig, shards: ShardSet, checkpoints: Path, out: Path, console: Console) -> Evaluation:
    """Generate sound for every test clip with every trained form, judge it, write JSON and WAV files to `out`.

    Raises `NothingError` without test clips, `MissingToolError` before anything was trained.
    """
    entries = shards.split("test")
    if not entries:
        raise NothingError(f"{shards.folder} has no test clips", hint="raise splits.test in the recipe")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    makers = _makers(config, checkpoints, device)
    form = next(iter(makers.values())).form
    clips: list[Clip] = []
    stamped = False
    made: dict[str, list[Sound]] = {name: [] for name in makers}
    decoder = Decoder(form)
    with console.progress("generate", len(entries), "clips") as progress:
        for entry in entries:
            sample = shards.read(entry, verify=True)
            stamped |= bool(sample.values.get("not_for_use"))
            planes, sound = decoded(decoder, sample)
            clips.append(Clip(entry.key, entry.label, entry.group_id, Sound(sound, form.rate_hz)))
            for name, maker in makers.items():
                generated = maker.whole(planes)
                made[name].append(Sound(generated, form.rate_hz))
                write_wav(out / "generated" / name / f"{entry.key}.wav", generated, form.rate_hz)
            progress.step()
    result = replace(judge(clips, made), not_for_use=stamped)
    write_text(out / "evaluation.json", json.dumps(result.to_json(), indent=1) + "\n")
    return result


def _makers(config: TrainConfig, checkpoints: Path, device: torch.device) -> dict[str, SoundMaker]:
    makers = {}
    for kind in FORMS:
        try:
            formed = replace(config, form=kind)
            makers[f"{config.decoder.model} {kind}"] = SoundMaker.load(formed, checkpoints, device)
        except MissingToolError:
            if kind == config.form:
                raise
    return makers


def decoded(decoder: Decoder, sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """A whole sample in the decoder's form: planes `(T, h * 3 / 2, w)` and sound `(samples,)`."""
    form, fps = decoder.form, Fraction(sample.values["fps"])
    count = sample.entry.frames // decoder.frame_step(fps)
    planes = np.empty(form.plane_shape(count), np.uint8)
    sound = np.empty(count * form.samples_per_frame, np.float32)
    decoder.decode(sample.mp4, fps, planes, sound)
    return planes, sound


def judge(clips: Sequence[Clip], made: dict[str, list[Sound]]) -> Evaluation:
    """The table for generated sounds by row name; baselines are added. Models stand first."""
    sounds: list[tuple[str, bool, list[Sound]]] = [(name, True, generated) for name, generated in made.items()]
    sounds += [(name, False, baseline(clips)) for name, baseline in BASELINES.items()]
    groups = [clip.group for clip in clips]
    rows = []
    for name, is_model, generated in sounds:
        figures = {metric: interval(METRICS[metric]()(generated, clips), groups) for metric in METRICS}
        rows.append(Row(name, is_model, figures, flags(figures) if is_model else ()))
    return Evaluation(len(clips), len(set(groups)), rows)


def flags(figures: dict[str, Figure]) -> tuple[str, ...]:
    """What went wrong with a model: its sound has next to no energy, or does not follow the picture."""
    found = []
    energy, headline = figures["energy_ratio"].mean, figures["swap_auc_in_class"].low
    if energy is not None and not COLLAPSED_BELOW <= energy <= COLLAPSED_ABOVE:
        found.append("collapsed")
    if headline is not None and headline <= CHANCE:
        found.append("ignores the picture")
    return tuple(found)


def interval(values: Sequence[float | None], groups: Sequence[str]) -> Figure:
    """Mean and 95 % percentile bootstrap. Clips of one video are drawn together: they are not independent."""
    known = [(value, group) for value, group in zip(values, groups, strict=True) if value is not None]
    if not known:
        return Figure(None, None, None)
    names = sorted({group for _, group in known})
    place = {group: i for i, group in enumerate(names)}
    totals, counts = np.zeros(len(names)), np.zeros(len(names))
    for value, group in known:
        totals[place[group]] += value
        counts[place[group]] += 1
    draws = np.random.default_rng(0).integers(0, len(names), (_DRAWS, len(names)))
    means = totals[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Figure(float(totals.sum() / counts.sum()), float(low), float(high))


def write_wav(path: Path, sound: np.ndarray, rate_hz: int) -> None:
    """16 bit mono."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(to_pcm(sound).tobytes())
