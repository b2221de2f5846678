"""Judges the video encoder on test clips: how well it rebuilds them, how many codes it uses, beside baselines."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from v2a import pictures
from v2a.codes import encode
from v2a.colour import video
from v2a.metrics.intervals import Figure, interval
from v2a.metrics.picture import luma, psnr_db, ssim
from v2a.models.nearest import perplexity
from v2a.models.vqvae3d import Vqvae3d
from v2a.reading.form import Form
from v2a_data.console import table
from v2a_data.files import whole_file

MEAN_FRAME, UNTRAINED = "mean frame", "untrained codebook"
_CHUNK_FRAMES = 32
_SHOWN_FRAMES = 4


@dataclass(frozen=True)
class VideoRow:
    """One line: means over clips, and how the whole set's codes spread; null for what has no codes."""

    name: str
    psnr_db: Figure
    ssim: Figure
    perplexity: float | None
    codes_used: int | None

    def to_json(self) -> dict[str, Any]:
        figures = {"psnr_db": self.psnr_db.to_json(), "ssim": self.ssim.to_json()}
        return {"name": self.name, **figures, "perplexity": self.perplexity, "codes_used": self.codes_used}


@dataclass(frozen=True)
class VideoEvaluation:
    """The table of the video encoder, which has `codes` codes."""

    clips: int
    frames: int
    codes: int
    rows: list[VideoRow]

    def to_json(self) -> dict[str, Any]:
        counts = {"clips": self.clips, "frames": self.frames, "codes": self.codes}
        return {**counts, "rows": [row.to_json() for row in self.rows]}


def video_text(values: dict[str, Any]) -> str:
    """`VideoEvaluation.to_json` as a table for people."""
    return table(video_header(values), [video_cells(row, values["codes"]) for row in values["rows"]])


def video_header(values: dict[str, Any]) -> tuple[str, ...]:
    """The table's first line."""
    return f"{values['frames']} frames of {values['clips']} test clips", "psnr_db", "ssim", "perplexity", "codes used"


def video_cells(row: dict[str, Any], codes: int) -> tuple[str, ...]:
    """One line of the table as text, figures with their intervals."""
    cells = [row["name"]]
    for name, digits in (("psnr_db", 2), ("ssim", 3)):
        values = row[name]
        low_to_high = f"[{values['low']:.{digits}f}, {values['high']:.{digits}f}]" if values["mean"] is not None else ""
        cells.append(f"{values['mean']:.{digits}f} {low_to_high}" if low_to_high else "-")
    used = row["codes_used"]
    return (*cells, "-", "-") if used is None else (*cells, f"{row['perplexity']:.1f}", f"{used} of {codes}")


@dataclass
class _Gathered:
    """What one row has so far: values per clip, and how often each code was used."""

    psnr_db: list[float | None] = field(default_factory=list)
    ssim: list[float | None] = field(default_factory=list)
    uses: np.ndarray | None = None


class VideoJudge:
    """Takes whole test clips one after the other. Nothing of a clip is kept but its figures.

    Rows: the trained encoder and decoder; every frame of a clip answered by the mean of its frames, which a still
    camera makes good; and the trained encoder and decoder around a codebook as it was before training.
    """

    def __init__(self, encoder: Vqvae3d, form: Form, folder: Path, shown: Sequence[str]) -> None:
        """Pictures of the clips with the keys `shown` are written to `folder`."""
        self.form, self.folder, self.shown = form, folder, set(shown)
        self.device = next(encoder.parameters()).device
        self.encoders = {encoder.name: encoder, UNTRAINED: untrained_codebook(encoder)}
        names = (encoder.name, MEAN_FRAME, UNTRAINED)
        self.gathered = {name: _Gathered() for name in names}
        self.groups: list[str] = []
        self.frames = 0

    @torch.inference_mode()
    def add(self, key: str, group: str, planes: np.ndarray) -> None:
        """Judge one clip's planes `(T, …)` of the form."""
        self.groups.append(group)
        self.frames += len(planes)
        mean = self._mean_frame(planes)
        self._judge(MEAN_FRAME, planes, lambda first, stop: mean.expand(-1, stop - first, -1, -1))
        for name, encoder in self.encoders.items():
            codes = encode(encoder, planes, self.form)
            self._count(name, codes, encoder.codes)
            rebuild = rebuilder(encoder, codes, self.form)
            self._judge(name, planes, rebuild)
            if key in self.shown and name != UNTRAINED:
                self._show(key, planes, rebuild, codes, encoder.stride[0])

    def result(self) -> VideoEvaluation:
        """The table of all clips so far."""
        codes = next(iter(self.encoders.values())).codes
        rows = []
        for name, found in self.gathered.items():
            even = None if found.uses is None else spread(found.uses)
            used = None if found.uses is None else int(np.count_nonzero(found.uses))
            figures = (interval(found.psnr_db, self.groups), interval(found.ssim, self.groups))
            rows.append(VideoRow(name, *figures, even, used))
        return VideoEvaluation(len(self.groups), self.frames, codes, rows)

    def _clear(self, planes: np.ndarray) -> Tensor:
        """Planes `(T, …)` of the form → `(C, T, h, w)` in 0..1."""
        return video(torch.from_numpy(planes[None]).to(self.device), self.form)[0]

    def _mean_frame(self, planes: np.ndarray) -> Tensor:
        """`(C, 1, h, w)`."""
        firsts = range(0, len(planes), _CHUNK_FRAMES)
        sums = [self._clear(planes[first : first + _CHUNK_FRAMES]).sum(dim=1, keepdim=True) for first in firsts]
        return torch.stack(sums).sum(dim=0) / len(planes)

    def _judge(self, name: str, planes: np.ndarray, rebuild: Callable[[int, int], Tensor]) -> None:
        error, alike = 0.0, []
        for first in range(0, len(planes), _CHUNK_FRAMES):
            clear = self._clear(planes[first : first + _CHUNK_FRAMES])
            made = rebuild(first, first + clear.shape[1])
            error += float((clear - made).double().square().sum())
            alike.append(ssim(luma(clear), luma(made)))
        values = torch.cat(alike)
        size = (1 if self.form.grey else 3) * len(planes) * self.form.height * self.form.width
        self.gathered[name].psnr_db.append(psnr_db(error / size))
        self.gathered[name].ssim.append(float(values.mean()) if len(values) else None)

    def _count(self, name: str, codes: np.ndarray, size: int) -> None:
        uses = np.bincount(codes.reshape(-1), minlength=size)
        before = self.gathered[name].uses
        self.gathered[name].uses = uses if before is None else before + uses

    def _show(
        self, key: str, planes: np.ndarray, rebuild: Callable[[int, int], Tensor], codes: np.ndarray, time: int
    ) -> None:
        """Frames of a clip, their reconstructions and code maps, as in figures 4 to 7 of seed paper 000."""
        count = min(_SHOWN_FRAMES, len(planes))
        places = [(2 * i + 1) * len(planes) // (2 * count) for i in range(count)]
        frames, rebuilt = (
            np.stack([part.permute(1, 2, 0).float().cpu().numpy() for part in parts])
            for parts in (
                [self._clear(planes[i : i + 1])[:, 0] for i in places],
                [rebuild(i, i + 1)[:, 0] for i in places],
            )
        )
        body = pictures.code_maps(frames, rebuilt, codes[[i // time for i in places]])
        with whole_file(self.folder / f"{key}.png") as temporary:
            temporary.write_bytes(body)


def rebuilder(encoder: Vqvae3d, codes: np.ndarray, form: Form) -> Callable[[int, int], Tensor]:
    """How frames `first` to `stop` of a clip come back from its codes `(T', h', w')`: `(C, stop − first, h, w)`.

    The same as where the whole clip is rebuilt at once: the codes on either side are there too.
    """
    time = encoder.stride[0]
    side = -(-encoder.reach // time) + 1
    device = next(encoder.parameters()).device

    def rebuild(first: int, stop: int) -> Tensor:
        start = max(0, first // time - side)
        piece = torch.from_numpy(codes[start : -(-stop // time) + side]).to(device).long()
        whole = encoder.decode(encoder.lookup(piece[None]), piece.shape[0] * time, form.height, form.width)[0]
        return whole[:, first - start * time : stop - start * time]

    return rebuild


def untrained_codebook(encoder: Vqvae3d) -> Vqvae3d:
    """The same encoder and decoder around a codebook as it is before training."""
    other = copy.deepcopy(encoder)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        other.quantizer = Vqvae3d(encoder.config).quantizer
    return other.to(next(encoder.parameters()).device).eval().requires_grad_(False)


def spread(uses: np.ndarray) -> float:
    """Perplexity of how often each code was used, over any number of clips."""
    return float(perplexity(torch.from_numpy(uses).double()))
