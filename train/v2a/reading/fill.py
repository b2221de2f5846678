"""One sample's crops into rows of memory: what a stream worker does. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from v2a.reading.decode import Decoder, Target
from v2a.reading.form import DamagedError, Form
from v2a.reading.sets import pool_of
from v2a.reading.spans import Pool
from v2a_data.errors import FatalError
from v2a_data.shards.read import Entry


@dataclass(frozen=True)
class Piece:
    """`frames` frames of a sample from `start` on, for `row`; a longer row repeats them where the job says so."""

    start: int
    frames: int
    row: int


@dataclass(frozen=True)
class Job:
    """Pieces of one sample."""

    entry: Entry
    pieces: tuple[Piece, ...]
    tile: bool = False
    # What the asker knows it by.
    mark: int = 0


@dataclass(frozen=True)
class Trouble:
    """Why a job could not be done: the sample is damaged, or the run cannot go on."""

    damaged: bool
    message: str
    hint: str | None = None


class Filler:
    """Reads and decodes samples of sets by their numbers. One decoder is kept."""

    def __init__(self, form: Form, pools: Mapping[int, Pool]) -> None:
        self.form, self.pools = form, dict(pools)
        self._decoder = Decoder(form)

    def attempt(self, job: Job, frames: np.ndarray, sound: np.ndarray) -> Trouble | None:
        """Fill the job's rows, or say why not."""
        try:
            self._fill(job, frames, sound)
        except FatalError as error:
            return Trouble(False, error.message, error.hint)
        except DamagedError as error:
            return Trouble(True, str(error))
        except (OSError, MemoryError) as error:
            return Trouble(False, str(error) or type(error).__name__)
        except Exception as error:  # whatever a damaged file makes of the decoder
            return Trouble(True, f"{type(error).__name__}: {error}")
        return None

    def close(self) -> None:
        """Close what is open."""
        for pool in self.pools.values():
            pool.spans.close()

    def _fill(self, job: Job, frames: np.ndarray, sound: np.ndarray) -> None:
        pool, each = self.pools[pool_of(job.entry)], self.form.samples_per_frame
        targets = [
            Target(piece.start, frames[piece.row, : piece.frames], sound[piece.row, : piece.frames * each])
            for piece in job.pieces
        ]
        shown, heard = self._decoder.fill(pool.spans.read(job.entry)[0], pool.fps, targets)
        wanted = sum(piece.frames for piece in job.pieces)
        if shown < wanted or heard < wanted * each:
            raise DamagedError(f"decodes to {shown} of {wanted} frames, {heard} of {wanted * each} audio samples")
        if job.tile:
            for piece in job.pieces:
                tile(frames[piece.row], piece.frames)
                tile(sound[piece.row], piece.frames * each)


def tile(row: np.ndarray, filled: int) -> None:
    """Repeat the first `filled` values to the row's end."""
    for first in range(filled, len(row), filled):
        rest = row[first : first + filled]
        rest[:] = row[: len(rest)]
