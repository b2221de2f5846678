"""Validation on clips that are never trained on: reconstructions of the video encoder, sounds of the decoder."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from v2a.codes import encode
from v2a.colour import video
from v2a.metrics import METRICS
from v2a.metrics.base import Clip, Sound
from v2a.metrics.picture import psnr_db
from v2a.models.base import SoundDecoder, VideoEncoder
from v2a.models.nearest import counted, perplexity
from v2a.pictures import code_maps, spectrograms
from v2a.reading.form import Form
from v2a.reading.ring import whole_samples
from v2a.reading.sets import by_pool
from v2a.reading.source import shard_source
from v2a.training.journal import Journal
from v2a_data.files import whole_file
from v2a_data.shards.read import Entry, ShardSet

# Enough to tell better from worse, few enough to be done in seconds.
_MOST_VIDEOS = 16
_MOST_SOUNDS = 64
_SHOWN = 4
# What the best sound decoder is chosen by: the first that could be measured.
SOUND_BY = ("swap_auc_in_class", "swap_auc")
_FIGURES = ("swap_auc_in_class", "swap_auc", "onset_f1", "envelope_corr", "energy_ratio")


class HeldOutVideo:
    """Reconstructions of the first `frames` frames of clips, decoded anew each time so that memory stays flat."""

    def __init__(self, model: VideoEncoder, shards: ShardSet, form: Form, frames: int) -> None:
        self._model, self._shards, self._form, self._frames = model, shards, form, frames
        self._entries = _spread(shards.split("validation"), _MOST_VIDEOS)

    @torch.inference_mode()
    def __call__(self, step: int, folder: Path, journal: Journal | None) -> dict[str, float]:
        """`psnr_db` (mean over clips), `perplexity` and `codes_used` over all; nothing where all are damaged."""
        psnr: list[float] = []
        shown: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        device = next(self._model.parameters()).device
        uses = torch.zeros(self._model.codes, dtype=torch.int64, device=device)
        source = shard_source(self._shards, self._entries, self._form, 0)
        for sample in whole_samples(source, self._entries):
            if sample.trouble is not None:
                continue  # `v2a-data verify` is for that
            planes = torch.from_numpy(sample.frames[None, : self._frames]).to(device)
            clear = video(planes, self._form)
            codes = self._model.encode(clear).codes
            rebuilt = self._model.decode(self._model.lookup(codes), *clear.shape[2:])
            psnr.append(psnr_db(float((rebuilt - clear).square().mean())))
            uses += counted(codes, self._model.codes)
            if len(shown) < _SHOWN:
                shown.append((_first(clear), _first(rebuilt), codes[0, 0].cpu().numpy()))
        if not psnr:
            return {}
        image = code_maps(*(np.stack(part) for part in zip(*shown, strict=True)))
        _keep_picture(image, step, folder, journal)
        used = float((uses > 0).sum())
        return {"psnr_db": sum(psnr) / len(psnr), "perplexity": float(perplexity(uses.double())), "codes_used": used}


class HeldOutSound:
    """Sounds for the first window of clips, from codes that are made once; `tile` repeats clips that are shorter."""

    def __init__(
        self, model: SoundDecoder, encoder: VideoEncoder, shards: ShardSet, form: Form, rows: int, *, tile: bool
    ) -> None:
        self._model, self._encoder, self._shards, self._form = model, encoder, shards, form
        self._rows, self._tile = rows, tile
        self._clips: list[Clip] = []
        self._codes: list[np.ndarray] = []

    def _open(self) -> None:
        """Encode the clips; only in the process that judges, and not before it does."""
        frames = self._model.shape.frames * self._encoder.stride[0]
        entries = self._shards.split("validation")
        source = shard_source(self._shards, entries, self._form, 0)
        chosen = _spread([e for e in entries if self._tile or source.length(e) >= frames], _MOST_SOUNDS)
        for sample in whole_samples(source, chosen):
            if sample.trouble is not None:
                continue
            # Shorter ones are repeated, as in training.
            entry, planes = sample.entry, np.resize(sample.frames, (frames, *sample.frames.shape[1:]))
            self._codes.append(encode(self._encoder, planes, self._form))
            real = Sound(np.resize(sample.sound, self._model.shape.samples), self._form.rate_hz, entry.key)
            self._clips.append(Clip(entry.key, entry.label, entry.group_id, real))

    def __call__(self, step: int, folder: Path, journal: Journal | None) -> dict[str, float]:
        """Means over clips of the metrics that say whether sound follows the picture, and whether there is any."""
        if not self._clips:
            self._open()
        made = [Sound(sound, self._form.rate_hz) for sound in self._generated()]
        if not made:
            return {}
        self._keep(made, step, folder, journal)
        figures = {}
        for name in _FIGURES:
            known = [value for value in METRICS[name]()(made, self._clips) if value is not None]
            if known:
                figures[name] = sum(known) / len(known)
        return figures

    @torch.inference_mode()
    def _generated(self) -> list[np.ndarray]:
        device = next(self._model.parameters()).device
        out: list[np.ndarray] = []
        for first in range(0, len(self._codes), self._rows):
            codes = torch.from_numpy(np.stack(self._codes[first : first + self._rows])).to(device).long()
            out += list(self._model.generate(self._encoder.lookup(codes)).clamp(-1, 1).float().cpu().numpy())
        return out

    def _keep(self, made: Sequence[Sound], step: int, folder: Path, journal: Journal | None) -> None:
        rows = []
        for clip, sound in list(zip(self._clips, made, strict=True))[:2]:
            rows += [(f"{clip.label}: generated", sound.samples), (f"{clip.label}: real", clip.real.samples)]
        _keep_picture(spectrograms(rows, self._form.rate_hz), step, folder, journal)
        if journal is not None:
            journal.sound(step, "validation/generated", made[0].samples, self._form.rate_hz)


def _spread(entries: Sequence[Entry], most: int) -> list[Entry]:
    """At most so many, as many of each set, evenly over its split, so that every label has its share."""
    sets = by_pool(entries).values()
    each = max(1, most // max(1, len(sets)))
    return [part[i] for part in sets for i in _even(len(part), each)]


def _even(count: int, most: int) -> list[int]:
    """At most so many of the numbers below `count`, evenly spaced."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()


def _first(shown: Tensor) -> np.ndarray:
    """The first frame `(h, w, C)` of `(1, C, T, h, w)`."""
    return np.asarray(shown[0, :, 0].permute(1, 2, 0).float().cpu().numpy())


def _keep_picture(png: bytes, step: int, folder: Path, journal: Journal | None) -> None:
    from PIL import Image

    with whole_file(folder / "samples" / f"step-{step:06d}.png") as temporary:
        temporary.write_bytes(png)
    if journal is not None:
        journal.picture(step, "validation/samples", np.asarray(Image.open(io.BytesIO(png)).convert("RGB")))
