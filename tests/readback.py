"""What a cut really holds, read from its codes and compared with the source's truth; the product's figures unused."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
from coded import Coded, lag, make_coded, read_tones, resampled, track
from makers import BITS

from v2a_data.media.cut import CutResult, CutSpec, cut

SPEC = CutSpec(128, 72, Fraction(25), 16000, 1, 20)
_X264 = (("preset", "veryfast"), ("crf", "16"))
_VP9 = (("deadline", "realtime"), ("cpu-used", "8"), ("b", "1M"))
_OPEN_GOP = (*_X264, ("x264-params", "open-gop=1:bframes=3:b-adapt=0"))

# One kind of source for each way in which a cut goes wrong.
KINDS = {
    "fps": Coded("fps.mp4", fps=Fraction(60000, 1001), video_options=_X264),
    "gop": Coded("gop.mp4", fps=Fraction(30), gop=300, rate_hz=48000, video_options=_OPEN_GOP),
    "container": Coded("container.ts", offset_s=10.0, gop=100, rate_hz=48000, channels=1, video_options=_X264),
    "codec": Coded("codec.webm", fps=Fraction(24), video_codec="libvpx-vp9", video_options=_VP9, audio_codec="libopus", rate_hz=48000),
    "late sound": Coded("late.mkv", fps=Fraction(30000, 1001), audio_codec="pcm_s16le", sound_s=0.25),
    "variable": Coded("variable.mp4", variable=True, video_options=_X264),
    "rotation": Coded("rotation.mov", rotation=90, audio_codec="pcm_s16le", rate_hz=22050),
    "edit list": Coded("edit.mp4", hidden_s=0.5, fps=Fraction(25), video_options=_X264),
}  # fmt: skip


@dataclass(frozen=True)
class Found:
    """A cut's frames as source times `shown_s (n,)`, how many audio samples its sound comes late, and what the tones of
    each whole second inside say."""

    shown_s: np.ndarray
    late_samples: float
    heard: dict[int, int]


def cut_coded(form: Coded, folder: Path, *spans: tuple[float, float], spec: CutSpec = SPEC) -> list[CutResult]:
    """Make the source and cut these spans out of it."""
    return cut(str(make_coded(folder, form)), spans, spec, str(folder))


def cuts(path: Path, form: Coded, count: int, at_once: int, folder: Path) -> Iterator[CutResult]:
    """`count` random spans of one source, at most `at_once` per call, taken in turns from close and distant ones."""
    for seed in itertools.count():
        wanted = random_spans(form, seed, sparse=seed % 2 == 1)[: min(at_once, count)]
        yield from cut(str(path), wanted, SPEC, str(folder))
        count -= len(wanted)
        if not count:
            return


def random_spans(form: Coded, seed: int, sparse: bool) -> list[tuple[float, float]]:
    """Spans of 2 to 10 s, mostly short, at whole milliseconds: side by side, or with long stretches between them."""
    rng = np.random.default_rng(seed)
    spans: list[tuple[float, float]] = []
    start = form.sound_s + (rng.uniform(0, 12) if sparse else 0.0)
    while True:
        stop = start + 2 + 8 * rng.random() ** 6
        if stop > form.seconds - 0.2:
            return spans
        spans.append((round(start, 3), round(stop, 3)))
        start = stop + (rng.uniform(4, 12) if sparse else float(rng.choice([0.0, 0.04, 0.5])))


@cache
def truth(form: Coded, rate_hz: int) -> np.ndarray:
    """The source's sound at another rate, sample j at second j / rate of the file's own clock."""
    samples = round(form.seconds * rate_hz)
    return resampled(track(form.seconds, form.rate_hz), samples, form.zero_s * rate_hz)


def read_cut(path: str | Path, form: Coded, start_s: float, spec: CutSpec = SPEC) -> Found:
    """Read all codes of a cut that should start at `start_s` of its source."""
    frames, sound = decode(path)
    shown_s = form.frame_s()[read_codes(frames)] + form.zero_s
    first = round(start_s * spec.rate_hz)
    late = lag(sound[0], truth(form, spec.rate_hz)[first : first + sound.shape[1]])
    return Found(shown_s, late, _tones(sound[0], start_s - form.zero_s, spec.rate_hz))


def _tones(sound: np.ndarray, first_s: float, rate_hz: int) -> dict[int, int]:
    """For each second that lies wholly inside: what its tones say."""
    heard = {}
    for second in range(int(np.ceil(first_s)), int(first_s + len(sound) / rate_hz)):
        at = round((second - first_s + 0.05) * rate_hz)
        heard[second] = read_tones(sound[at : at + round(0.9 * rate_hz)], rate_hz)
    return heard


def decode(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Luma `(frames, height, width)` uint8 and sound `(channels, samples)` float64 of a cut, by its time stamps."""
    frames: dict[Fraction, np.ndarray] = {}
    parts: list[np.ndarray] = []
    with av.open(str(path)) as container:
        for item in container.decode():
            if isinstance(item, av.VideoFrame):
                luma = np.frombuffer(memoryview(item.planes[0]), np.uint8).reshape(item.height, -1)
                frames[item.pts * item.time_base] = luma[:, : item.width].copy()
            else:
                assert item.pts * item.time_base * item.sample_rate == sum(part.shape[0] for part in parts)
                parts.append(item.to_ndarray().reshape(-1, item.layout.nb_channels))
    times = sorted(frames)
    assert times == [k / SPEC.fps for k in range(len(times))]
    return np.stack([frames[time] for time in times]), np.concatenate(parts).T / 32768.0


def read_codes(frames: np.ndarray, cell: tuple[float, float] = (8, 8)) -> np.ndarray:
    """The number in each frame of `(n, height, width)` luma, with cells so wide and high."""
    numbers = np.zeros(len(frames), int)
    for bit in range(BITS):
        row, column = divmod(bit, 6)
        x, y = round((column + 0.5) * cell[0]), round((row + 0.5) * cell[1])
        numbers |= (frames[:, y - 1 : y + 2, x - 1 : x + 2].mean((1, 2)) > 128).astype(int) << bit
    return numbers


def check(result: CutResult, form: Coded) -> None:
    """All that a cut promises, from its content: counts, picture, sound, and its own figures for both."""
    assert (result.reason, result.message) == (None, ""), (result.start_s, result.stop_s)
    found = read_cut(result.path or "", form, result.start_s)
    frames = round((result.stop_s - result.start_s) * 25)
    assert (len(found.shown_s), result.frames, result.audio_samples) == (frames, frames, frames * 640)
    grid_s = result.start_s + np.arange(frames) / 25
    errors_s = np.abs(found.shown_s - grid_s)
    source_s = form.frame_s() + form.zero_s
    interval_s = np.diff(source_s).max()
    assert errors_s.max() <= interval_s / 2 + 0.02
    nearest_s = np.abs(source_s[None] - grid_s[:, None]).min(axis=1)
    assert (errors_s - nearest_s).max() <= form.tick_s
    assert result.picture_error_s == pytest.approx(errors_s.max(), abs=form.tick_s)
    assert found.heard
    assert found.heard == {second: second for second in found.heard}
    assert abs(found.late_samples) <= max(0.5, form.sound_tick_s * SPEC.rate_hz)
    assert result.sound_error_samples == 0
