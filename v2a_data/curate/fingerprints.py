"""Fingerprints of kept clips: one decode of their spans, small, whatever the recipe scores; measured once per method.

A clip that holds nothing to go by (black, still, silent) has null there: it is not like any other.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from v2a_data import schema
from v2a_data.console import Console
from v2a_data.engine import Engine, Job, Step
from v2a_data.errors import ItemError
from v2a_data.ledger import Ledger, Row
from v2a_data.media.client import MediaChild, shared_child, twice
from v2a_data.media.fingerprint import (
    CROPS,
    LUMA,
    MARGIN_S,
    PICTURE_STEP_S,
    SOUND_STEP_S,
    VERSION,
    picture_hashes,
    sound_hashes,
)
from v2a_data.media.tap import TapSpec, luma_name
from v2a_data.schema import WINDOW_S
from v2a_data.workspace import Workspace

# Spans closer than this are decoded in one go, as long as they are few enough for the memory.
_NEAR_S, _LONGEST_S = 10.0, 300.0
_EDGE_S = 1e-6


@dataclass(frozen=True)
class Prints:
    """Hashes of one clip: `picture (steps, crops)` and `sound (steps, 1)` uint64; no rows: nothing was measured."""

    picture: np.ndarray
    sound: np.ndarray

    @classmethod
    def from_row(cls, picture: bytes | None, sound: bytes | None) -> "Prints":
        """From the columns of the ledger."""
        return cls(
            np.frombuffer(picture or b"", "<u8").reshape(-1, len(CROPS)),
            np.frombuffer(sound or b"", "<u8").reshape(-1, 1),
        )

    def to_row(self) -> dict[str, bytes | None]:
        """As columns of the ledger, null where no moment was measured."""
        return {
            "picture": self.picture.astype("<u8").tobytes() if self.picture.any() else None,
            "sound": self.sound.astype("<u8").tobytes() if self.sound.any() else None,
        }


@dataclass(frozen=True)
class PrintRequest:
    """Spans of one video to measure, in order: `(name, start_s, stop_s)`."""

    video_id: str
    path: str
    duration_s: float
    spans: tuple[tuple[str, float, float], ...]
    folder: str


@dataclass(frozen=True)
class PrintAnswer:
    """One `Prints` per span, or why there is none."""

    request: PrintRequest
    prints: list[Prints] = field(default_factory=list)
    reason: str | None = None


def measure(workspace: Workspace, recipe_hash: str, engine: Engine, console: Console) -> int:
    """Measure kept clips that have no fingerprints of this version yet; returns how many clips were."""
    ledger = workspace.ledger
    missing = _missing(ledger, recipe_hash)
    if not missing:
        return 0
    done = 0
    with console.progress("fingerprints", len(missing), "clips") as progress:

        def record(_: Job, answer: PrintAnswer) -> None:
            nonlocal done
            with ledger.transaction():
                ledger.insert(schema.FINGERPRINTS, _rows(answer), existing="replace")
            done += len(answer.request.spans)
            progress.step(len(answer.request.spans))

        engine.run(_jobs(workspace, missing), record)
    return done


def _missing(ledger: Ledger, recipe_hash: str) -> list[Row]:
    sql = (
        "SELECT c.clip_id, c.video_id, c.start_s, c.stop_s, m.path, "
        "json_extract(m.probe, '$.duration_s') AS duration_s FROM clips c JOIN media m USING (video_id) "
        "WHERE c.recipe_hash = ?1 AND c.verdict = 'keep' AND m.deleted IS NULL "
        "AND NOT EXISTS (SELECT 1 FROM fingerprints f "
        "WHERE f.clip_id = c.clip_id AND f.stop_s = c.stop_s AND f.version = ?2) ORDER BY c.video_id, c.start_s"
    )
    return ledger.rows(sql, (recipe_hash, VERSION))


def _jobs(workspace: Workspace, rows: Sequence[Row]) -> Iterator[Job]:
    folder = str(workspace.tmp.absolute())
    first = 0
    for last in range(1, len(rows) + 1):
        if last < len(rows) and rows[last]["video_id"] == rows[first]["video_id"]:
            continue
        row = rows[first]
        spans = tuple((r["clip_id"], r["start_s"], r["stop_s"]) for r in rows[first:last])
        path = str((workspace.root / row["path"]).absolute())
        request = PrintRequest(row["video_id"], path, row["duration_s"], spans, folder)
        yield Job(f"fingerprint-{row['video_id']}", (Step(measure_video, (request,)),))
        first = last


def _rows(answer: PrintAnswer) -> list[dict[str, object]]:
    request, empty = answer.request, Prints.from_row(None, None)
    found = answer.prints or [empty] * len(request.spans)
    return [
        {
            "clip_id": clip_id,
            "stop_s": stop_s,
            "version": VERSION,
            "video_id": request.video_id,
            "reason": answer.reason,
            **prints.to_row(),
        }
        for (clip_id, _, stop_s), prints in zip(request.spans, found, strict=True)
    ]


def measure_video(request: PrintRequest) -> PrintAnswer:
    """Fingerprints of one video's spans; runs in a worker, decodes in its child."""

    def job() -> list[Prints]:
        found: list[Prints] = []
        for spans in _runs(request.spans):
            found += measure_spans(shared_child(), Path(request.path), spans, request.duration_s, Path(request.folder))
        return found

    try:
        return PrintAnswer(request, twice(job))
    except ItemError as error:
        return PrintAnswer(request, reason=error.reason)


def _runs(spans: Sequence[tuple[str, float, float]]) -> Iterator[list[tuple[float, float]]]:
    run: list[tuple[float, float]] = []
    for _, start_s, stop_s in spans:
        if run and (start_s > run[-1][1] + _NEAR_S or stop_s > run[0][0] + _LONGEST_S):
            yield run
            run = []
        run.append((start_s, stop_s))
    yield run


def measure_spans(
    child: MediaChild, path: Path, spans: Sequence[tuple[float, float]], duration_s: float, scratch: Path
) -> list[Prints]:
    """Fingerprints of spans of a file, in order, from one decode. Raises `ItemError`."""
    start_s = spans[0][0] - MARGIN_S if spans[0][0] >= MARGIN_S else spans[0][0]
    windows = np.arange(start_s, min(duration_s, spans[-1][1] + MARGIN_S) - _EDGE_S, WINDOW_S)
    spec = TapSpec(tuple(map(float, windows)), WINDOW_S, luma=(LUMA,), sound=("mono16k",))
    with tempfile.TemporaryDirectory(dir=scratch, prefix="fingerprint-") as folder:
        child.tap(path, spec, Path(folder), duration_s)
        luma = np.load(Path(folder) / f"{luma_name(*LUMA)}.npy", allow_pickle=False)
        heard = Path(folder) / "sound-mono16k.npy"
        sound = np.load(heard, allow_pickle=False)[:, 0] if heard.is_file() else np.zeros(0, np.float32)
    picture, sounds = picture_hashes(luma), sound_hashes(sound)[:, None]
    return [
        Prints(
            _part(picture, PICTURE_STEP_S, a - start_s, b - start_s),
            _part(sounds, SOUND_STEP_S, a - start_s, b - start_s),
        )
        for a, b in spans
    ]


def _part(hashes: np.ndarray, step_s: float, start_s: float, stop_s: float) -> np.ndarray:
    return hashes[round(start_s / step_s) : int((stop_s + _EDGE_S) / step_s)]
