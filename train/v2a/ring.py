"""Decoded samples in a fixed order: in this process, or by workers into a ring of shared memory.

The ring is allocated once; workers get slot numbers over a queue, so nothing is copied or pickled on
the way. Workers import no torch.
"""

import multiprocessing
import queue
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from v2a.decode import Decoder, Form
from v2a_data.errors import FatalError
from v2a_data.shards.read import Entry, ShardSet

_TIMEOUT_S = 60.0
# How often a waiting worker looks whether the driver still lives; a killed driver cannot end it.
_LOOK_UP_S = 2.0


@dataclass(frozen=True)
class Place:
    """One sample: its frames (T, …), its sound (samples,) float32, and where it lies in a ring."""

    frames: np.ndarray
    sound: np.ndarray
    slot: int = 0


class SampleSource(Protocol):
    """Gives whole samples in the order asked for."""

    samples_per_frame: int

    def length(self, entry: Entry) -> int:
        """Frames of a sample in this source's form."""
        ...

    def read(self, entries: Iterator[Entry]) -> Iterator[Place]: ...

    def release(self, place: Place) -> None:
        """The arrays of this place are no longer needed."""
        ...

    def close(self) -> None: ...


class InOrder:
    """No workers: each sample is decoded when it is asked for."""

    def __init__(self, folder: Path, form: Form, shard_fps: Fraction) -> None:
        self.shards, self.form, self.shard_fps = ShardSet(folder, ()), form, shard_fps
        self.decoder = Decoder(form)
        self.samples_per_frame = form.samples_per_frame

    def length(self, entry: Entry) -> int:
        return entry.frames // self.decoder.frame_step(self.shard_fps)

    def read(self, entries: Iterator[Entry]) -> Iterator[Place]:
        for entry in entries:
            frames = self.length(entry)
            planes = np.empty(self.form.plane_shape(frames), np.uint8)
            sound = np.empty(frames * self.samples_per_frame, np.float32)
            decode_entry(self.shards, entry, self.decoder, self.shard_fps, planes, sound)
            yield Place(planes, sound)

    def release(self, place: Place) -> None:
        """Nothing to give back."""

    def close(self) -> None:
        """Nothing to end."""


class Ring:
    """Worker processes and `slots` places in shared memory."""

    def __init__(self, folder: Path, form: Form, shard_fps: Fraction, longest: int, workers: int, slots: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._step = Decoder(form).frame_step(shard_fps)
        self.samples_per_frame = form.samples_per_frame
        frames = longest // self._step
        self._planes = _Shared(slots, form.plane_shape(frames), np.dtype(np.uint8))
        self._sound = _Shared(slots, (frames * form.samples_per_frame,), np.dtype(np.float32))
        self._tasks: Any = context.Queue()
        self._done: Any = context.Queue()
        self._free = list(range(slots))
        # Tasks are numbered for good, so that answers of an abandoned epoch are told apart.
        self._asked = 0
        arguments = (folder, form, shard_fps, self._planes.about, self._sound.about, self._tasks, self._done)
        self._workers = [context.Process(target=work, args=arguments, daemon=True) for _ in range(workers)]
        for worker in self._workers:
            worker.start()

    def length(self, entry: Entry) -> int:
        return entry.frames // self._step

    def read(self, entries: Iterator[Entry]) -> Iterator[Place]:
        slots: dict[int, int] = {}
        ready: set[int] = set()
        wanted = self._asked
        more = True
        while True:
            while more and self._free:
                entry = next(entries, None)
                if entry is None:
                    more = False
                    break
                slots[self._asked] = slot = self._free.pop()
                self._tasks.put((self._asked, slot, entry))
                self._asked += 1
            if wanted not in slots:
                return
            while wanted not in ready:
                ready.add(self._answer())
            slot = slots.pop(wanted)
            wanted += 1
            yield Place(self._planes.array[slot], self._sound.array[slot], slot)

    def _answer(self) -> int:
        while True:
            try:
                number, trouble = self._done.get(timeout=_TIMEOUT_S if self._alive() else 1.0)
            except queue.Empty:
                if not self._alive():
                    raise FatalError(
                        "a stream worker died", hint="run the command again; it goes on where it was"
                    ) from None
                continue
            if trouble is not None:
                raise FatalError(trouble)
            return int(number)

    def _alive(self) -> bool:
        return all(worker.is_alive() for worker in self._workers)

    def release(self, place: Place) -> None:
        self._free.append(place.slot)

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()
            worker.join()
        for shared in (self._planes, self._sound):
            shared.close()


class _Shared:
    """An array in shared memory that this process owns."""

    def __init__(self, slots: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        full = (slots, *shape)
        self._memory = SharedMemory(create=True, size=int(np.prod(full)) * dtype.itemsize)
        self.array: np.ndarray = np.ndarray(full, dtype, self._memory.buf)
        self.about = (self._memory.name, full, dtype.str)

    def close(self) -> None:
        self.array = np.empty(0)
        self._memory.close()
        self._memory.unlink()


def decode_entry(
    shards: ShardSet, entry: Entry, decoder: Decoder, shard_fps: Fraction, planes: np.ndarray, sound: np.ndarray
) -> None:
    """Read and decode one sample; raises `FatalError` naming it where it does not hold what the index says."""
    try:
        shown, heard = decoder.decode(shards.read(entry).mp4, shard_fps, planes, sound)
    except Exception as error:  # whatever a damaged file makes of the decoder
        hint = getattr(error, "hint", None)
        raise FatalError(f"{entry.shard}: sample {entry.key}: {error}", hint=hint) from error
    wanted = entry.frames // decoder.frame_step(shard_fps)
    if shown < wanted or heard < wanted * decoder.form.samples_per_frame:
        raise FatalError(f"{entry.shard}: {entry.key} decodes to {shown} of {wanted} frames, {heard} audio samples")


def work(
    folder: Path,
    form: Form,
    shard_fps: Fraction,
    planes_about: tuple[str, tuple[int, ...], str],
    sound_about: tuple[str, tuple[int, ...], str],
    tasks: Any,
    done: Any,
) -> None:
    """A worker: decode what the queue names into its slot, until killed or left alone."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    memories = [SharedMemory(name=about[0]) for about in (planes_about, sound_about)]
    planes, sound = (
        np.ndarray(about[1], np.dtype(about[2]), memory.buf)
        for about, memory in zip((planes_about, sound_about), memories, strict=True)
    )
    shards, decoder = ShardSet(folder, ()), Decoder(form)
    driver = multiprocessing.parent_process()
    while driver is None or driver.is_alive():
        try:
            number, slot, entry = tasks.get(timeout=_LOOK_UP_S)
        except queue.Empty:
            continue
        trouble = None
        try:
            decode_entry(shards, entry, decoder, shard_fps, planes[slot], sound[slot])
        except Exception as error:  # the driver ends the run with it
            trouble = str(error)
        done.put((number, trouble))
