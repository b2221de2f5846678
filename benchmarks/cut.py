"""CPU time and exactness of cuts: ours, a bare PyAV loop, ffmpeg's segment muxer and video2dataset, on the same files.

Files carry their frame number in the picture and noise in the sound, so each clip shows where it was cut. A reader of
datasets takes frame k of a clip for its second k / fps, and audio sample j for its second j / rate; the errors are
measured against that. All run in one thread; methods take turns, medians of CPU seconds (user + system) per clip.
"""

import argparse
import resource
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cutters
import inputs
import numpy as np
from cutters import SPEC, Source
from makers import decode_all, read_code
from textures import textured

from v2a_data.console import table
from v2a_data.media import cut as product
from v2a_data.media.check import check_back
from v2a_data.media.passes import plan_passes

SECONDS, START_S = 10.0, 2.0
LINES = (720, 360, 144)
LIMITS = {720: 1.15, 360: 1.15, 144: 1.30}
CHECK_LIMIT_S, PEER_LIMIT = 0.035, 4.0
OURS, BARE, SEGMENT = "v2a_data.media.cut", "bare PyAV loop", "ffmpeg -f segment"
PEER, PEER_LOW = "video2dataset, exact", "video2dataset, its default (low)"
CHECK, PLANNED = "  its check apart", "as planned from the keyframes"
METHODS: dict[str, Callable[[Source, Path], None]] = {
    OURS: cutters.ours,
    BARE: cutters.bare,
    SEGMENT: cutters.segment,
    PEER: cutters.video2dataset,
    PEER_LOW: cutters.video2dataset_low,
}
HEADER = ("lines", "method", "CPU s per clip", "ratio to bare", "frames", "picture off ms", "audio samples off")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=4, help="clips per file")
    parser.add_argument("--rounds", type=int, default=5, help="methods take turns so often; medians are shown")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    rows, found = [], {}
    with tempfile.TemporaryDirectory() as name:
        for lines in LINES:
            source = make_source(Path(name), lines, options.clips)
            seconds = measure(source, Path(name), options.rounds)
            places = {method: errors(Path(name) / method, source) for method in METHODS}
            found[lines] = (seconds, places)
            rows += table_rows(lines, seconds, places)
        ways = measure_ways(Path(name), options.rounds)
    print(table(("reading 4 clips, 2 of them far apart", "CPU s per clip"), [(k, f"{v:.3f}") for k, v in ways.items()]))
    values = figures(found) | {"planned_to_best_way": round(ways[PLANNED] / min(ways.values()), 3)}
    words = ", ".join(f"{key} {value}" for key, value in values.items())
    inputs.show("cut", HEADER, rows, words, options.json, **values)
    return 0 if within(values) else 1


def make_source(folder: Path, lines: int, clips: int) -> Source:
    """A 30 fps file with keyframes 5 s apart; clips start on the 2 s grid, not on keyframes."""
    fps, rate_hz = Fraction(30), 44100
    path = folder / f"source-{lines}.mp4"
    edges = [START_S + SECONDS * i for i in range(clips + 1)]
    sound = textured(path, lines, edges[-1] + 0.5, fps, rate_hz)
    cutters.split_streams(path)
    return Source(path, lines, fps, sound, rate_hz, tuple(pairwise(edges)))


def measure(source: Source, folder: Path, rounds: int) -> dict[str, float]:
    """Median CPU seconds per clip by method; ours without its check, which is a row of its own."""
    taken: dict[str, list[float]] = {method: [] for method in (*METHODS, CHECK)}
    for _ in range(rounds):
        for method, run in METHODS.items():
            shutil.rmtree(folder / method, ignore_errors=True)
            (folder / method).mkdir()
            with CheckClock() as clock:
                before = cpu_s()
                run(source, folder / method)
                used = cpu_s() - before
            taken[method].append(used - clock.seconds)
            if method == OURS:
                taken[CHECK].append(clock.seconds)
    return {method: statistics.median(values) / len(source.spans) for method, values in taken.items()}


def measure_ways(folder: Path, rounds: int) -> dict[str, float]:
    """Median CPU seconds per clip of a 360-line file with near and far spans: as planned, in one pass, each sought."""
    path, rate_hz = folder / "ways.mp4", 44100
    sound = textured(path, 360, 100.0, Fraction(30), rate_hz)
    source = Source(path, 360, Fraction(30), sound, rate_hz, ((2.0, 12.0), (12.0, 22.0), (60.0, 70.0), (88.0, 98.0)))
    ways: dict[str, Callable[..., list[range]]] = {
        PLANNED: plan_passes,
        "all in one pass": lambda spans, *_: [range(len(spans))],
        "each sought": lambda spans, *_: [range(i, i + 1) for i in range(len(spans))],
    }
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, plan in ways.items():
            shutil.rmtree(folder / "ways", ignore_errors=True)
            (folder / "ways").mkdir()
            with patch.object(product, "plan_passes", plan):
                before = cpu_s()
                cutters.ours(source, folder / "ways")
                taken[way].append((cpu_s() - before) / len(source.spans))
    return {way: statistics.median(values) for way, values in taken.items()}


class CheckClock:
    """Adds up the CPU time of the product's own check of finished files while it is inside."""

    def __enter__(self) -> "CheckClock":
        self.seconds, self._patch = 0.0, patch.object(product, "check_back", self._timed)
        self._patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.stop()

    def _timed(self, *args: Any) -> int | None:
        before = cpu_s()
        try:
            return check_back(*args)
        finally:
            self.seconds += cpu_s() - before


def cpu_s() -> float:
    """CPU time of this process and its ended children."""
    own, theirs = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + theirs.ru_utime + theirs.ru_stime


def errors(folder: Path, source: Source) -> tuple[str, float, float]:
    """Fewest and most frames, and the largest errors of picture (s) and sound (audio samples of the clip)."""
    found = [position(folder, source, i) for i in range(len(source.spans))]
    frames, picture_s, sound = zip(*found, strict=True)
    return f"{min(frames)}-{max(frames)}", max(picture_s), max(sound)


def position(folder: Path, source: Source, clip: int) -> tuple[int, float, float]:
    """Frames, and the largest distance of pictures (s) and of the sound (samples) from where they were asked for."""
    start_s, _ = source.spans[clip]
    frames, sound, _ = decode_all(str(folder / f"{clip:06d}.mp4"))
    beside = folder / f"{clip:06d}.m4a"
    if beside.exists():
        _, sound, _ = decode_all(str(beside))
    shown_s = np.asarray([read_code(frame) for frame in frames]) / float(source.fps)
    wanted_s = start_s + np.arange(len(frames)) / float(SPEC.fps)
    lag = lag_s(sound.mean(axis=0), start_s, source) * SPEC.rate_hz
    return len(frames), float(np.abs(shown_s - wanted_s).max()), abs(round(lag))


def lag_s(sound: np.ndarray, start_s: float, source: Source) -> float:
    """How much later than wanted the sound plays what the source has there; found within a keyframe distance."""
    first_s, count = max(0.0, start_s - 6.0), 5 * SPEC.rate_hz
    times = first_s + np.arange(count + 12 * SPEC.rate_hz) / SPEC.rate_hz
    reference = np.interp(times, np.arange(len(source.sound)) / source.rate_hz, source.sound, right=0.0)
    size = 1 << int(np.ceil(np.log2(len(reference) + count)))
    spectrum = np.fft.rfft(reference, size) * np.conj(np.fft.rfft(sound[:count] - sound[:count].mean(), size))
    found_s = first_s + int(np.fft.irfft(spectrum, size)[: len(reference)].argmax()) / SPEC.rate_hz
    return start_s - found_s


def table_rows(
    lines: int, seconds: dict[str, float], places: dict[str, tuple[str, float, float]]
) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for method in METHODS:
        frames, picture_s, sound = places[method]
        ratio = f"{seconds[method] / seconds[BARE]:.2f}"
        rows.append((lines, method, f"{seconds[method]:.3f}", ratio, frames, f"{picture_s * 1000:.1f}", f"{sound:.0f}"))
        if method == OURS:
            rows.append((lines, CHECK, f"{seconds[CHECK]:.3f}", "", "", "", ""))
    return rows


def figures(found: dict[int, tuple[dict[str, float], dict[str, tuple[str, float, float]]]]) -> dict[str, float]:
    """The figures with limits. A peer's are against ours with its check."""
    values: dict[str, float] = {}
    for lines, (seconds, _) in found.items():
        values[f"cpu_ratio_{lines}p"] = round(seconds[OURS] / seconds[BARE], 3)
    values["check_cpu_s"] = round(max(seconds[CHECK] for seconds, _ in found.values()), 4)
    for key, peer in (("peer_cpu_ratio", PEER), ("peer_low_cpu_ratio", PEER_LOW)):
        for lines, (seconds, _) in found.items():
            values[f"{key}_{lines}p"] = round(seconds[peer] / (seconds[OURS] + seconds[CHECK]), 2)
    values["peer_cpu_ratio"] = min(values[f"peer_cpu_ratio_{lines}p"] for lines in found)
    values["sound_error_samples_max"] = max(places[OURS][2] for _, places in found.values())
    values["picture_error_ms_max"] = round(1000 * max(places[OURS][1] for _, places in found.values()), 2)
    return values


def within(values: dict[str, float]) -> bool:
    """Whether every limit holds: half a source frame and half an output frame make 37 ms here."""
    ratios = all(values[f"cpu_ratio_{lines}p"] <= limit for lines, limit in LIMITS.items())
    exact = values["sound_error_samples_max"] == 0 and values["picture_error_ms_max"] <= 1000 * (0.5 / 30 + 0.5 / 25)
    return ratios and exact and values["check_cpu_s"] <= CHECK_LIMIT_S and values["peer_cpu_ratio"] >= PEER_LIMIT


if __name__ == "__main__":
    sys.exit(main())
