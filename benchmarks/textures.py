"""Videos with the statistics of real ones (1/f texture, pan, scene cuts, a moving thing, grain) that also say where
they are: the frame number stands in the picture, and no two places of the sound are alike."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from makers import BITS, noise_track

_SCENE_S = 4.0
_SCENES = 4


def textured(
    path: Path, lines: int, seconds: float, fps: Fraction, rate_hz: int, keyframe_s: float = 5.0
) -> np.ndarray:
    """Write H.264 high with B-frames + stereo AAC, 16:9. Returns its sound, `(samples,)` float32."""
    width = lines * 16 // 9
    sound = noise_track(seconds, rate_hz)
    rng = np.random.default_rng(lines)
    scenes = [_texture(rng, lines, width) for _ in range(_SCENES)]
    grain = rng.normal(0, 2.5, (lines + 64, width + 64)).astype(np.float32)
    with av.open(str(path), "w", options={"fflags": "bitexact"}) as out:
        video = out.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt = width, lines, "yuv420p"
        video.options = {"crf": "23", "preset": "veryfast", "g": str(round(keyframe_s * fps))}
        audio = out.add_stream("aac", rate=rate_hz, layout="stereo")
        for number in range(round(seconds * fps)):
            frame = av.VideoFrame(width, lines, "yuv420p")
            luma = _luma(scenes, grain, number, float(fps), lines, width)
            for plane, values in zip(frame.planes, (luma, *_chroma(scenes, number, float(fps), luma)), strict=True):
                rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
                rows[: plane.height, : plane.width] = values
            frame.pts, frame.time_base = number, 1 / fps
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for first in range(0, len(sound), 1024):
            piece = np.repeat(sound[None, first : first + 1024], 2, axis=0)
            heard = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), format="fltp", layout="stereo")
            heard.sample_rate, heard.pts, heard.time_base = rate_hz, first, Fraction(1, rate_hz)
            out.mux(audio.encode(heard))
        out.mux(audio.encode(None))
    return sound


def _texture(rng: np.random.Generator, lines: int, width: int) -> np.ndarray:
    """A picture twice the size, whose spectrum falls with 1/f."""
    shape = (2 * lines, 2 * width)
    distance = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
    noise = np.fft.rfft2(rng.standard_normal(shape))
    picture = np.fft.irfft2(noise / np.maximum(distance, 1 / shape[1]), shape)
    return (128 + 40 * picture / picture.std()).astype(np.float32)


def _luma(scenes: list[np.ndarray], grain: np.ndarray, number: int, fps: float, lines: int, width: int) -> np.ndarray:
    time_s = number / fps
    scene = scenes[int(time_s / _SCENE_S) % _SCENES]
    pan = time_s % _SCENE_S / _SCENE_S
    top, left = int(pan * lines / 4), int(pan * width / 3)
    picture = scene[top : top + lines, left : left + width].copy()
    size = lines // 4
    at = int((0.5 + 0.4 * np.sin(time_s * 2)) * (width - size)), lines // 2
    picture[at[1] : at[1] + size, at[0] : at[0] + size] = scene[-size:, -size:] * 0.6
    shift = number * 7 % 64
    picture += grain[shift : shift + lines, 64 - shift : 64 - shift + width]
    cell = lines // 9
    for bit in range(BITS):
        row, column = divmod(bit, 6)
        value = 235 if number >> bit & 1 else 16
        picture[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = value
    return np.clip(picture, 16, 235).astype(np.uint8)


def _chroma(scenes: list[np.ndarray], number: int, fps: float, luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    other = scenes[(int(number / fps / _SCENE_S) + 1) % _SCENES]
    rows, columns = luma.shape[0] // 2, luma.shape[1] // 2
    first = np.clip(128 + (other[:rows, :columns] - 128) / 4, 16, 240).astype(np.uint8)
    return first, first[::-1]
