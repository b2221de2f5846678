"""What measuring the picture adds to decoding it once: the decode tap of `curate` beside a bare PyAV loop.

The tap gives what all scorers of a recipe need; the loop decodes picture and sound of the same file and drops them.
Both run in this process on one thread and take turns; CPU time is counted, medians are shown. What the picture adds
is a tap of the picture's measures alone less a decode of the picture alone. What it takes to bring frames to a model's
size and colours is the model's, and told apart; the rest of the whole tap is the sound's. Scorers without a model
count, each with what it measures; models do not.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import inputs
import numpy as np
from makers import noise_track

from v2a_data.curate.score import PartVideo, tap_spec, tap_view
from v2a_data.media.tap import tap
from v2a_data.recipe import load_recipe
from v2a_data.schema import WINDOW_S
from v2a_data.scorers import SCORERS
from v2a_data.scorers.base import Scorer

LIMIT = 1.2
FPS, RATE_HZ = 30, 44100
# Lines: width and kbit/s, as a site that transcodes serves them.
FORMS = {720: (1280, 2100), 360: (640, 740), 144: (256, 250)}
HEADER = ("lines", "decode ms", "+ picture ms", "+ models' frames ms", "+ sound ms", "picture ratio", "with frames",
          "with sound", "limit")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="airplane", help="whose scorers are fed")
    parser.add_argument("--seconds", type=int, default=40, help="length of each file")
    parser.add_argument("--rounds", type=int, default=9, help="ways take turns so often; medians are shown")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    scorers = [SCORERS[name](config) for name, config in load_recipe(options.recipe).scorers.items()]
    rows, ratios, worst = [], dict[str, float](), 0.0
    for lines, (width, kbit) in FORMS.items():
        with tempfile.TemporaryDirectory() as name:
            path = render(Path(name) / "source.mp4", width, lines, kbit, options.seconds)
            ms = measure(path, options.seconds, scorers, Path(name), options.rounds)
        ratio = 1 + ms["picture"] / ms["decode"]
        fed = ratio + ms["frames"] / ms["decode"]
        ratios |= {f"picture_ratio_{lines}p": round(ratio, 3), f"with_frames_ratio_{lines}p": round(fed, 3)}
        worst = max(worst, ratio)
        parts = (round(ms[key], 2) for key in ("decode", "picture", "frames", "sound"))
        rows.append((lines, *parts, *fixed(ratio, fed, fed + ms["sound"] / ms["decode"], LIMIT)))
    words = "CPU ms per second of media; ratios to one full decode of picture and sound"
    inputs.show("tap", HEADER, rows, words, options.json, **ratios)
    return int(worst > LIMIT)


def fixed(*values: float) -> tuple[str, ...]:
    return tuple(f"{value:.3f}" for value in values)


def measure(path: Path, seconds: int, scorers: list[Scorer], folder: Path, rounds: int) -> dict[str, float]:
    """CPU ms per second of media: of one full decode, and what picture and sound measures add to it."""
    windows = tuple(float(start) for start in np.arange(0, seconds, WINDOW_S))
    spec = tap_spec(windows, [scorer.needs for scorer in scorers])
    whole, alone = folder / "whole", folder / "alone"
    whole.mkdir()
    alone.mkdir()
    video = PartVideo("lo-0", str(path), "", float(seconds), windows)
    ways: dict[str, Callable[[], object]] = {
        "decode": lambda: bare(path, "video", "audio"),
        "decode picture": lambda: bare(path, "video"),
        "tap": lambda: tap(str(path), spec, str(whole)),
        "tap picture": lambda: tap(str(path), replace(spec, sound=()), str(alone)),
        "tap measures": lambda: tap(str(path), replace(spec, sound=(), frames=()), str(alone)),
    }
    for scorer in scorers:
        if not scorer.uses_model:
            ways[scorer.name] = partial(measured, scorer, video, whole)
    taken = [{name: cpu_s(way) for name, way in ways.items()} for _ in range(rounds + 1)][1:]
    cost = {name: statistics.median(each[name] for each in taken) / seconds * 1e3 for name in ways}
    eyes, ears = (
        sum(cost[it.name] for it in scorers if not it.uses_model and (it.needs.sound == "none") == of_picture)
        for of_picture in (True, False)
    )
    picture = cost["tap measures"] - cost["decode picture"] + eyes
    frames = cost["tap picture"] - cost["tap measures"]
    sound = cost["tap"] - cost["tap picture"] - (cost["decode"] - cost["decode picture"]) + ears
    return {"decode": cost["decode"], "picture": picture, "frames": frames, "sound": sound}


def measured(scorer: Scorer, video: PartVideo, folder: Path) -> None:
    """One scorer over the whole file, its tap read from disk as in `curate`."""
    scorer.score([tap_view(video, scorer.needs, folder, RATE_HZ)])


def cpu_s(way: Callable[[], object]) -> float:
    started = time.process_time()
    way()
    return time.process_time() - started


def bare(path: Path, *kinds: str) -> None:
    """The loop that a decode takes at least."""
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type in kinds]
        for stream in streams:
            stream.codec_context.thread_count = 1
        for packet in container.demux(streams):
            packet.decode()


def render(path: Path, width: int, height: int, kbit: int, seconds: int) -> Path:
    """A picture with detail of all sizes that pans, with a new scene each 4 s and grain; stereo noise."""
    rng = np.random.default_rng(0)
    ground, grain = texture(rng, 2 * width, 2 * height), rng.integers(-3, 4, (8, height, width)).astype(np.int16)
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.bit_rate, video.options = kbit * 1000, {"preset": "veryfast", "g": str(5 * FPS)}
        audio = out.add_stream("aac", rate=RATE_HZ, layout="stereo")
        for number in range(seconds * FPS):
            top = int(number * 1.3 + number // (4 * FPS) * 97) % height
            left = int(number * 2.1 + number // (4 * FPS) * 171) % width
            shown = ground[top : top + height, left : left + width]
            planes = np.empty((height * 3 // 2, width), np.uint8)
            planes[:height] = np.clip(shown + grain[number % 8], 16, 235)
            colour = shown[::2, ::2].reshape(-1)
            planes[height:].reshape(-1)[:] = np.concatenate([colour, 255 - colour])
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        write_sound(out, audio, seconds)
    return path


def texture(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Noise whose amplitude falls with frequency, as in photographs, `(height, width)` uint8."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    fall = np.hypot(rows, columns)
    fall[0, 0] = 1.0
    ground = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((height, width))) / fall, (height, width))
    return np.clip(128 + 40 * (ground - ground.mean()) / ground.std(), 16, 235).astype(np.uint8)


def write_sound(out: av.container.OutputContainer, audio: av.AudioStream, seconds: int) -> None:
    sound = np.stack([noise_track(seconds, RATE_HZ, seed) for seed in (0, 1)])
    for first in range(0, sound.shape[1], 1024):
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(sound[:, first : first + 1024]), format="fltp", layout="stereo"
        )
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, first, Fraction(1, RATE_HZ)
        out.mux(audio.encode(frame))
    out.mux(audio.encode(None))


if __name__ == "__main__":
    sys.exit(main())
