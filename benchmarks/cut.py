"""Exact 10 s clips at 256x144: `v2a_data.media.cut` beside one ffmpeg process per clip, on the same files.

Sources carry their frame number in the picture and noise in the sound, so each clip shows where it was cut. A
reader of datasets takes frame k of a clip for its second k / fps, and audio sample j for its second j / rate; the
errors are measured against that.
"""

import argparse
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import imageio_ffmpeg
import inputs
import numpy as np
from makers import Clip, decode_all, make, noise_track, read_code

from v2a_data.media.client import MediaChild
from v2a_data.media.spec import CutSpec

WIDTH, HEIGHT, RATE_HZ, SECONDS = 256, 144, 16000, 10.0
SPEC = CutSpec(WIDTH, HEIGHT, Fraction(25), RATE_HZ, 1, 23)
FORMS = ((Fraction(25), "mp4", 44100), (Fraction(30), "mp4", 48000), (Fraction(30000, 1001), "mkv", 44100))
HEADER = ("method", "in parallel", "clips/s", "CPU s per clip", "frames", "picture off s", "sound off s")


@dataclass(frozen=True)
class Source:
    """A file with its spans."""

    path: Path
    fps: Fraction
    spans: tuple[tuple[float, float], ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=6, help="clips per source file")
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3, help="methods take turns so often; medians are shown")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = [source(folder, i, options.clips) for i in range(options.files)]
        cases = [(method, parallel) for parallel in (1, 2) for method in METHODS]
        rounds = [[timed(*case, sources, folder) for case in cases] for _ in range(options.rounds)]
        speeds = {case: statistics.median(r[i][0] for r in rounds) for i, case in enumerate(cases)}
        used = {case: statistics.median(r[i][1] for r in rounds) for i, case in enumerate(cases)}
        rows = [
            (name, n, round(speeds[name, n], 2), round(used[name, n], 2), *errors(target(folder, name, n), sources))
            for name, n in cases
        ]
    ratios = {n: round(speeds[OURS, n] / speeds[THEIRS, n], 2) for n in (1, 2)}
    words = ", ".join(f"{value} with {n} in parallel" for n, value in ratios.items())
    inputs.show("cut", HEADER, rows, f"ratio of clips/s: {words}", options.json, ratio=ratios)


def source(folder: Path, index: int, clips: int) -> Source:
    """A 360-line file as YouTube has them, keyframes 5 s apart; clips start on the 2 s grid, not on keyframes."""
    fps, kind, rate_hz = FORMS[index % len(FORMS)]
    seconds = 2.0 + clips * SECONDS + 0.5
    form = Clip(seconds, fps, 640, 360, round(5 * fps), rate_hz, sound=noise_track(seconds, rate_hz))
    spans = [2.0 + SECONDS * i for i in range(clips + 1)]
    return Source(make(folder / f"source-{index}.{kind}", form), fps, tuple(pairwise(spans)))


def target(folder: Path, method: str, parallel: int) -> Path:
    """Where a method's clips lie."""
    return folder / f"{method.replace(' ', '')}-{parallel}"


def timed(method: str, parallel: int, sources: Sequence[Source], folder: Path) -> tuple[float, float]:
    """Clips per second and CPU seconds per clip, decoders started within."""
    for s in range(len(sources)):
        (target(folder, method, parallel) / str(s)).mkdir(parents=True, exist_ok=True)
    clips = sum(len(source.spans) for source in sources)
    cpu, started = cpu_s(), time.monotonic()
    METHODS[method](sources, target(folder, method, parallel), parallel)
    return clips / (time.monotonic() - started), (cpu_s() - cpu) / clips


def errors(folder: Path, sources: Sequence[Source]) -> tuple[str, str, str]:
    """Fewest and most frames, and the largest errors of picture and sound."""
    found = [position(folder / str(s), source, i) for s, source in enumerate(sources) for i in range(len(source.spans))]
    frames, picture, sound = zip(*found, strict=True)
    return f"{min(frames)}-{max(frames)}", f"{max(picture):.4f}", f"{max(sound):.5f}"


def cpu_s() -> float:
    """CPU time of ended children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ours(sources: Sequence[Source], folder: Path, parallel: int) -> None:
    """A media child per worker, all clips of a file in one go, each checked by decoding it back."""
    waiting = list(enumerate(sources))

    def work(_: int) -> None:
        with MediaChild() as child:
            while waiting:
                s, source = waiting.pop()
                results = child.cut(source.path, source.spans, SPEC.to_json(), folder / str(s), source.spans[-1][1])
                assert all(result["reason"] is None for result in results), results

    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(work, range(parallel)))


def theirs(sources: Sequence[Source], folder: Path, parallel: int) -> None:
    """One ffmpeg process per clip."""
    form = ["-vf", f"scale={WIDTH}:{HEIGHT}", "-r", "25", "-ar", str(RATE_HZ), "-ac", "1"]
    form += ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-c:a", "aac"]
    start = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-y", "-v", "error"]

    def work(job: tuple[int, Source, int]) -> None:
        s, source, i = job
        start_s, stop_s = source.spans[i]
        span = ["-ss", str(start_s), "-t", str(stop_s - start_s), "-i", str(source.path)]
        subprocess.run([*start, *span, *form, str(folder / str(s) / f"{i:06d}.mp4")], check=True)

    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(work, [(s, source, i) for s, source in enumerate(sources) for i in range(len(source.spans))]))


OURS, THEIRS = "v2a_data.media.cut", "ffmpeg -ss -t -vf scale"
METHODS: dict[str, Callable[[Sequence[Source], Path, int], None]] = {OURS: ours, THEIRS: theirs}


def position(folder: Path, source: Source, clip: int) -> tuple[int, float, float]:
    """Frames, and the largest distance (s) of pictures and of the sound from where they were asked for."""
    start_s, _ = source.spans[clip]
    frames, sound, _ = decode_all(str(folder / f"{clip:06d}.mp4"))
    with av.open(str(folder / f"{clip:06d}.mp4")) as container:
        fps, rate_hz = container.streams.video[0].average_rate, container.streams.audio[0].rate
    shown_s = np.asarray([read_code(frame, frame.shape[1] / 640) for frame in frames]) / float(source.fps)
    wanted_s = start_s + np.arange(len(frames)) / float(fps or 25)
    return (
        len(frames),
        float(np.abs(shown_s - wanted_s).max()),
        abs(lag_s(sound.mean(axis=0), rate_hz, start_s, source)),
    )


def lag_s(sound: np.ndarray, rate_hz: int, start_s: float, source: Source) -> float:
    """How much later than wanted the sound plays what the source has there; found within a keyframe distance."""
    with av.open(str(source.path)) as container:
        rate_in_hz = container.streams.audio[0].rate
    truth = noise_track(2.0 + len(source.spans) * SECONDS + 0.5, rate_in_hz)
    first_s = max(0.0, start_s - 6.0)
    count = min(len(sound), 5 * rate_hz)
    times = first_s + np.arange(count + 12 * rate_hz) / rate_hz
    reference = np.interp(times, np.arange(len(truth)) / rate_in_hz, truth, right=0.0)
    size = 1 << int(np.ceil(np.log2(len(reference) + count)))
    spectrum = np.fft.rfft(reference, size) * np.conj(np.fft.rfft(sound[:count] - sound[:count].mean(), size))
    found_s = first_s + int(np.fft.irfft(spectrum, size)[: len(reference)].argmax()) / rate_hz
    return start_s - found_s


if __name__ == "__main__":
    main()
