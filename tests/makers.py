"""Small media files that say what they are: frame numbers in the picture, pulses in the sound."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 12
_CELL = 16


def coded_frame(number: int, width: int, height: int, cell: int = _CELL) -> np.ndarray:
    """RGB picture whose top left cells hold `number` in binary, white for 1, on a moving grey ground."""
    shade = 60 + (np.add.outer(np.arange(height), np.arange(width)) + 3 * number) % 60
    frame = np.repeat(shade[..., None], 3, axis=2).astype(np.uint8)
    for bit in range(BITS):
        row, column = divmod(bit, 6)
        value = 235 if number >> bit & 1 else 16
        frame[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = value
    return frame


def read_code(frame: np.ndarray, scale: float = 1.0) -> int:
    """The number in a decoded grey or RGB picture; `scale` is its size relative to the original."""
    grey = frame if frame.ndim == 2 else frame.mean(axis=2)
    number = 0
    for bit in range(BITS):
        row, column = divmod(bit, 6)
        y, x = round((row + 0.5) * _CELL * scale), round((column + 0.5) * _CELL * scale)
        number |= int(grey[y - 1 : y + 2, x - 1 : x + 2].mean() > 128) << bit
    return number


def noise_track(seconds: float, rate_hz: int, seed: int = 0) -> np.ndarray:
    """Sound in which every place is different: band-limited noise, `(samples,)` float32."""
    rng = np.random.default_rng(seed)
    samples = round(seconds * rate_hz)
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hz = np.fft.rfftfreq(samples, 1 / rate_hz)
    spectrum[(hz < 100) | (hz > 3000)] = 0
    sound = np.fft.irfft(spectrum, samples)
    return (0.4 * sound / np.abs(sound).max()).astype(np.float32)


@dataclass(frozen=True)
class Clip:
    """What to make. `sound` None means no sound stream; `late_s` delays the sound's timestamps."""

    seconds: float = 11.0
    fps: Fraction = Fraction(25)
    width: int = 256
    height: int = 144
    gop: int = 50
    rate_hz: int = 44100
    channels: int = 2
    video_codec: str = "libx264"
    audio_codec: str = "aac"
    late_s: float = 0.0
    sound: np.ndarray | None = None
    silent_track: bool = False
    no_sound: bool = False
    rotation: int = 0
    drop: tuple[float, float] | None = None
    pix_fmt: str = "yuv420p"
    audio_bits: int | None = None


def make(path: Path, clip: Clip = Clip()) -> Path:
    """Write the file; picture k shows k at k / fps, sound is `noise_track` unless given."""
    options = {"fflags": "bitexact"}
    with av.open(str(path), "w", options=options) as out:
        video = out.add_stream(clip.video_codec, rate=clip.fps)
        video.width, video.height, video.pix_fmt = clip.width, clip.height, clip.pix_fmt
        video.options = {"crf": "12", "g": str(clip.gop)} if clip.video_codec == "libx264" else {"g": str(clip.gop)}
        if clip.video_codec == "libvpx-vp9":
            video.options |= {"deadline": "realtime", "cpu-used": "8", "b": "2M"}
        audio = None if clip.no_sound else out.add_stream(clip.audio_codec, rate=clip.rate_hz, layout=layout(clip))
        if audio is not None and clip.audio_bits is not None:
            audio.bit_rate = clip.audio_bits
        for number in range(round(clip.seconds * clip.fps)):
            time_s = number / float(clip.fps)
            if clip.drop and clip.drop[0] <= time_s < clip.drop[1]:
                continue
            frame = av.VideoFrame.from_ndarray(coded_frame(number, clip.width, clip.height), format="rgb24")
            frame.pts, frame.time_base = number, 1 / clip.fps
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if audio is not None:
            _write_sound(out, audio, clip)
    return path


def layout(clip: Clip) -> str:
    return {1: "mono", 2: "stereo", 6: "5.1"}[clip.channels]


def _write_sound(out: av.container.OutputContainer, stream: av.AudioStream, clip: Clip) -> None:
    sound = clip.sound if clip.sound is not None else noise_track(clip.seconds, clip.rate_hz)
    if clip.silent_track:
        sound = np.zeros_like(sound)
    rows = sound if sound.ndim == 2 else np.repeat(sound[None], clip.channels, axis=0)
    shift = round(clip.late_s * clip.rate_hz)
    resampler = av.AudioResampler(format=stream.format, layout=layout(clip), rate=clip.rate_hz)
    for first in range(0, rows.shape[1], 960):
        piece = np.ascontiguousarray(rows[:, first : first + 960])
        frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout=layout(clip))
        frame.sample_rate, frame.pts, frame.time_base = clip.rate_hz, first + shift, Fraction(1, clip.rate_hz)
        for ready in resampler.resample(frame):
            ready.pts, ready.time_base = frame.pts, frame.time_base
            out.mux(stream.encode(ready))
    out.mux(stream.encode(None))


def decode_all(source: object) -> tuple[list[np.ndarray], np.ndarray, list[float]]:
    """Frames as grey, sound `(channels, samples)` float32, and frame times of a file or file object."""
    frames, times, parts = [], [], []
    with av.open(source) as container:
        for packet in container.demux():
            for item in packet.decode():
                if isinstance(item, av.VideoFrame):
                    frames.append(item.to_ndarray(format="gray"))
                    times.append(float(item.pts * item.time_base))
                else:
                    array = item.to_ndarray()
                    array = array if item.format.is_planar else array.reshape(-1, item.layout.nb_channels).T
                    scale = 32768.0 if array.dtype.kind == "i" else 1.0
                    parts.append(array.astype(np.float32) / scale)
    return frames, np.concatenate(parts, axis=1) if parts else np.zeros((1, 0), np.float32), times
