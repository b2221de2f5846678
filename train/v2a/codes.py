"""A split as codes: written once by the frozen encoder, read at random by the decoder's training.

checkpoints/vqvae3d/codes-<hash>/codes.npy   (samples, T, h, w) int16, int32 for large codebooks
                                /sound.npy   (samples, T · audio samples per code frame) int16
                                /done.json   split, keys in order, frames (none: a damaged sample); written last
"""

import json
import shutil
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from v2a.colour import video
from v2a.models.base import VideoEncoder
from v2a.reading.damage import Damaged, DamageLog
from v2a.reading.fill import Job, Trouble, tile
from v2a.reading.form import Form
from v2a.reading.ring import SampleSource, whole_samples
from v2a.reading.sets import pool_of
from v2a.reading.source import shard_source
from v2a.training.checkpoint import Checkpoint
from v2a_data.console import Console
from v2a_data.errors import NothingError, UsageError
from v2a_data.files import write_text
from v2a_data.recipe import digest, to_table
from v2a_data.shards.read import Entry, ShardSet

_CHUNK_FRAMES = 128
_NAMES = {True: "grey pictures", False: "pictures in colour"}
_FULL_SCALE = np.float32(1 / 32768)


class CodeCache:
    """Codes and sound of a split, memory-mapped; a `SampleSource` whose frames are codes (T, h, w)."""

    def __init__(self, folder: Path, entries: Sequence[Entry], samples_per_frame: int) -> None:
        self.folder, self.samples_per_frame = folder, samples_per_frame
        done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
        self._place = {(pool_of(entry), entry.key): i for i, entry in enumerate(entries)}
        self._lengths = done["frames"]
        self._codes = np.load(folder / "codes.npy", mmap_mode="r", allow_pickle=False)
        self._sound = np.load(folder / "sound.npy", mmap_mode="r", allow_pickle=False)
        self._asked: deque[Job] = deque()

    @classmethod
    def build(
        cls,
        encoder: VideoEncoder,
        shards: ShardSet,
        entries: Sequence[Entry],
        form: Form,
        folder: Path,
        checkpoint: Checkpoint,
        workers: int,
        console: Console,
    ) -> "CodeCache":
        """The cache of this encoder and these samples of one split, made now unless it is there.

        Older ones of the split go: only one is ever asked for. Raises `UsageError` for an encoder of other pictures.
        """
        if encoder.grey != form.grey:
            raise UsageError(
                f"{checkpoint.folder.parent} was trained on {_NAMES[encoder.grey]}, "
                f"train.view.grey = {str(form.grey).lower()} shows {_NAMES[form.grey]}",
                hint=f"set train.view.grey = {str(encoder.grey).lower()}, or train it again with "
                "`v2a train vqvae --force`",
            )
        time = encoder.stride[0]
        about = [
            checkpoint.state["about"],
            checkpoint.fingerprint(),
            to_table(form),
            [[e.key, e.sha256] for e in entries],
        ]
        target = folder / f"codes-{digest(about)}"
        if not (target / "done.json").is_file():
            for old in folder.glob("codes-*"):
                if _split_of(old) in (None, entries[0].split):
                    shutil.rmtree(old)
            source = shard_source(shards, entries, form, workers)
            try:
                _write(target, encoder, source, entries, form, console)
            finally:
                source.close()
        return cls(target, entries, form.samples_per_frame * time)

    def length(self, entry: Entry) -> int:
        return int(self._lengths[self._place[pool_of(entry), entry.key]])

    def ahead(self) -> int:
        return 0

    def allocate(self, rows: int, frames: int) -> None:
        self.frames = np.empty((rows, frames, *self._codes.shape[2:]), self._codes.dtype)
        self.sound = np.empty((rows, frames * self.samples_per_frame), np.float32)

    def ask(self, job: Job) -> None:
        self._asked.append(job)

    def answer(self) -> tuple[Job, Trouble | None]:
        job = self._asked.popleft()
        i, each = self._place[pool_of(job.entry), job.entry.key], self.samples_per_frame
        for piece in job.pieces:
            stop, heard = piece.start + piece.frames, piece.frames * each
            self.frames[piece.row, : piece.frames] = self._codes[i, piece.start : stop]
            np.multiply(
                self._sound[i, piece.start * each : stop * each], _FULL_SCALE, out=self.sound[piece.row, :heard]
            )
            if job.tile:
                tile(self.frames[piece.row], piece.frames)
                tile(self.sound[piece.row], heard)
        return job, None

    def close(self) -> None:
        """The maps go with the object."""


@dataclass(frozen=True)
class Encoded:
    """What `encode_split` wrote or found: the cache's folder, samples, code frames of all of them, bytes."""

    folder: Path
    split: str
    samples: int
    code_frames: int
    bytes: int


def encode_split(
    encoder: VideoEncoder,
    found: Checkpoint,
    shards: ShardSet,
    split: str,
    form: Form,
    workers: int,
    console: Console,
) -> Encoded:
    """Write the codes of a split beside the encoder's checkpoint `found`, unless they are there.

    `form` must be that of the view that the decoder trains with. Raises `NothingError` for a split without samples.
    """
    entries = shards.split(split)
    if not entries:
        raise NothingError(f"{shards.place} has no samples in the split {split!r}")
    cache = CodeCache.build(encoder, shards, entries, form, found.folder.parent, found, workers, console)
    frames = sum(cache.length(entry) for entry in entries)
    size = sum(path.stat().st_size for path in cache.folder.iterdir())
    return Encoded(cache.folder, split, len(entries), frames, size)


def _split_of(folder: Path) -> str | None:
    """The split of a finished cache; those of before it was written down are of the training set."""
    try:
        done = json.loads((folder / "done.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return str(done.get("split", "train"))


def _write(
    target: Path, encoder: VideoEncoder, source: SampleSource, entries: Sequence[Entry], form: Form, console: Console
) -> None:
    time, rows, columns = encoder.stride
    # Only whole code frames: a crop must have its sound.
    lengths = [source.length(entry) // time for entry in entries]
    target.mkdir(parents=True)
    shape = (len(entries), max(lengths), -(-form.height // rows), -(-form.width // columns))
    kind = np.int16 if encoder.codes <= np.iinfo(np.int16).max else np.int32
    codes = np.lib.format.open_memmap(target / "codes.npy", "w+", kind, shape)
    audio = max(lengths) * time * form.samples_per_frame
    log = DamageLog(len(entries), _say(console))
    sound = np.lib.format.open_memmap(target / "sound.npy", "w+", np.int16, (len(entries), audio))
    with console.progress("encode", len(entries), "clips") as progress:
        for i, sample in enumerate(whole_samples(source, entries)):
            if sample.trouble is not None:
                log.note(sample.entry, sample.trouble.message)
                lengths[i] = 0
            else:
                frames = lengths[i] * time
                codes[i, : lengths[i]] = encode(encoder, sample.frames[:frames], form)
                heard = sample.sound[: frames * form.samples_per_frame]
                sound[i, : len(heard)] = np.clip(np.round(heard * 32768.0), -32768, 32767)
            progress.step()
    codes.flush()
    sound.flush()
    done = {"split": entries[0].split, "keys": [e.key for e in entries], "frames": lengths}
    write_text(target / "done.json", json.dumps(done))


def _say(console: Console) -> Callable[[Damaged], None]:
    return lambda found: console.warn(f"{found}; it is left out of the codes")


@torch.inference_mode()
def encode(encoder: VideoEncoder, planes: np.ndarray, form: Form) -> np.ndarray:
    """Planes `(T, …)` of a form → codes `(T / stride, h', w')`, as of the whole video, in chunks at flat memory.

    Every chunk is encoded with the frames on either side that its codes depend on.
    """
    device, time = next(encoder.parameters()).device, encoder.stride[0]
    size = max(1, _CHUNK_FRAMES // time) * time
    side = -(-encoder.reach // time) * time
    parts = []
    for first in range(0, len(planes), size):
        before = min(first, side)
        piece = planes[None, first - before : first + size + side].copy()
        codes = encoder.encode(video(torch.from_numpy(piece).to(device), form)).codes[0]
        parts.append(codes[before // time : (before + size) // time].cpu().numpy())
    return np.concatenate(parts)
