"""Ways to cut 10 s clips out of a video, for `cut.py`: ours, a bare PyAV loop, ffmpeg's segment muxer, video2dataset.

Each takes a source and a folder and leaves one file per span there, or for video2dataset a picture and a sound file.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from v2a_data.media.cut import cut
from v2a_data.media.spec import CutSpec
from v2a_data.media.x264 import x264_params

SPEC = CutSpec(256, 144, Fraction(25), 16000, 1, 23)
_SCALE = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_PARAMS = x264_params(256, 25, "min-keyint=25", "scenecut=0")
_X264: dict[str, object] = {"crf": "23", "preset": "veryfast", "tune": "fastdecode", "x264-params": _PARAMS}


@dataclass(frozen=True)
class Source:
    """A file with neighbouring spans."""

    path: Path
    lines: int
    fps: Fraction
    sound: np.ndarray
    rate_hz: int
    spans: tuple[tuple[float, float], ...]


def ours(source: Source, folder: Path) -> None:
    """`v2a_data.media.cut`, as the media child calls it."""
    results = cut(str(source.path), source.spans, SPEC, str(folder))
    assert all(result.reason is None for result in results), results


def bare(source: Source, folder: Path) -> None:
    """The least that PyAV can do for the same files: one pass, one scaler, nearest frame by count, no checks.

    It knows that the source has no gap, no offset and square pixels, which a real cutter has to find out.
    """
    with av.open(str(source.path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        video.codec_context.thread_count = audio.codec_context.thread_count = 1
        scaler, parts, clip = VideoReformatter(), [], 0
        resampler = av.AudioResampler(format="s16", layout="mono", rate=SPEC.rate_hz)
        start_s, stop_s = source.spans[0]
        out = _Out(folder / "000000.mp4")
        last: av.VideoFrame | None = None
        for frame in container.decode(video, audio):
            if isinstance(frame, av.AudioFrame):
                parts += [piece.to_ndarray() for piece in resampler.resample(frame)]
                continue
            assert isinstance(frame, av.VideoFrame)
            while clip < len(source.spans) and last is not None and out.next_s(start_s) <= frame.time:
                nearer = out.next_s(start_s) - last.time <= frame.time - out.next_s(start_s)
                out.add(scaler, last if nearer else frame)
                if out.frames == SPEC.frames(stop_s - start_s):
                    clip, out = clip + 1, out.turn(folder / f"{clip + 1:06d}.mp4", clip + 1 < len(source.spans))
                    start_s, stop_s = source.spans[min(clip, len(source.spans) - 1)]
            last = frame
        parts += [piece.to_ndarray() for piece in resampler.resample(None)]
        out.finish(np.concatenate(parts, axis=1)[0], source.spans)


class _Out:
    """Files of the bare loop; their sound is added when all of it is resampled."""

    def __init__(self, path: Path) -> None:
        options = {"movflags": "faststart", "fflags": "bitexact"}
        self.frames, self.closed = 0, list[tuple[av.container.OutputContainer, av.AudioStream]]()
        self.container = av.open(str(path), "w", format="mp4", options=options)
        self.video = self.container.add_stream("libx264", rate=SPEC.fps)
        self.video.width, self.video.height, self.video.pix_fmt = SPEC.width, SPEC.height, "yuv420p"
        self.video.codec_context.thread_count, self.video.options = 1, _X264
        self.audio = self.container.add_stream("flac", rate=SPEC.rate_hz, layout="mono", format="s16")

    def next_s(self, start_s: float) -> float:
        return start_s + self.frames / float(SPEC.fps)

    def add(self, scaler: VideoReformatter, frame: av.VideoFrame) -> None:
        small = scaler.reformat(
            frame, SPEC.width, SPEC.height, "yuv420p", dst_colorspace=Colorspace.ITU601, interpolation=_SCALE,
            dst_color_range=ColorRange.MPEG, threads=1,
        )  # fmt: skip
        small.pts, small.time_base, small.pict_type = self.frames, 1 / SPEC.fps, av.video.frame.PictureType.NONE
        self.container.mux(self.video.encode(small))
        self.frames += 1

    def turn(self, path: Path, more: bool) -> "_Out":
        """The next file; this one waits for its sound."""
        self.container.mux(self.video.encode(None))
        following = _Out(path) if more else self
        following.closed = [*self.closed, (self.container, self.audio)]
        return following

    def finish(self, sound: np.ndarray, spans: Sequence[tuple[float, float]]) -> None:
        for (container, audio), (start_s, stop_s) in zip(self.closed, spans, strict=True):
            first, last = round(start_s * SPEC.rate_hz), round(stop_s * SPEC.rate_hz)
            for at in range(first, last, 4608):
                frame = av.AudioFrame.from_ndarray(sound[None, at : min(at + 4608, last)], format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = SPEC.rate_hz, at - first, Fraction(1, SPEC.rate_hz)
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
            container.close()


def segment(source: Source, folder: Path) -> None:
    """ffmpeg's own segment muxer, one process per video, with our x264 options and sound."""
    edges = ",".join(str(start_s) for start_s, _ in source.spans) + f",{source.spans[-1][1]}"
    form = ["-vf", "fps=25,scale=256:144:flags=area", "-c:v", "libx264", "-preset", "veryfast", "-tune", "fastdecode"]
    form += ["-crf", "23", "-x264-params", _PARAMS, "-force_key_frames", edges, "-threads", "1"]
    form += ["-c:a", "aac", "-ar", "16000", "-ac", "1", "-f", "segment", "-segment_times", edges]
    _ffmpeg("-threads", "1", "-i", source.path, *form, "-reset_timestamps", "1", folder / "part_%d.mp4")
    for index in range(len(source.spans)):
        (folder / f"part_{index + 1}.mp4").rename(folder / f"{index:06d}.mp4")


def video2dataset(source: Source, folder: Path, precise: bool = True) -> None:
    """video2dataset's own steps (iejMac/video2dataset at 28e7d1c851a2298f3a75375f6e324950405987e7), as its dataset of
    separate pictures (mp4) and sounds (m4a) makes them. Its arguments, through ffmpeg-python:

    - subsamplers/clipping_subsampler.py `_get_clips`: `map=0, f="segment", segment_times=…, reset_timestamps=1`, and
      `force_key_frames=…` for `precision="exact"`, `c="copy"` for its default `"low"`; run for each of the two files;
    - subsamplers/resolution_subsampler.py: `filter("scale", -2, height)`, `reset_timestamps=1`;
    - subsamplers/frame_subsampler.py: `filter("fps", fps=25)`, `reset_timestamps=1`;
    - subsamplers/audio_rate_subsampler.py: `ar="16000"`, `ac=1`, `f="m4a"` (ffmpeg has no such muxer; mp4 here).

    No preset is named there, so ffmpeg's own apply: libx264 medium, AAC. With FFmpeg 9.0 and B-frames the segment muxer
    loses the first split, even where a keyframe was forced for it: the clips after it are shifted, which makes this
    method's errors look larger, and its CPU smaller, than with an older ffmpeg.
    """
    edges = ",".join(str(start_s) for start_s, _ in source.spans) + f",{source.spans[-1][1]}"
    how = ["-force_key_frames", edges] if precise else ["-c", "copy"]
    for kind, stream in (("mp4", "v"), ("m4a", "a")):
        whole = source.path.with_suffix(f".{stream}.{kind}")
        cuts = ["-map", "0", "-f", "segment", "-segment_times", edges, "-reset_timestamps", "1", *how]
        _ffmpeg("-i", whole, *cuts, folder / f"clip_%d.{kind}")
    for index in range(len(source.spans)):
        clip, small = folder / f"clip_{index + 1}.mp4", folder / f"small_{index}.mp4"
        _ffmpeg("-i", clip, "-filter_complex", "[0]scale=-2:144[s0]", "-map", "[s0]", "-reset_timestamps", "1", small)
        even = folder / f"{index:06d}.mp4"
        _ffmpeg("-i", small, "-filter_complex", "[0]fps=fps=25[s0]", "-map", "[s0]", "-reset_timestamps", "1", even)
        heard = folder / f"{index:06d}.m4a"
        _ffmpeg("-i", folder / f"clip_{index + 1}.m4a", "-f", "mp4", "-ac", "1", "-ar", "16000", heard)


def video2dataset_low(source: Source, folder: Path) -> None:
    """The same with its default precision, whose cuts lie seconds from where they were asked for."""
    video2dataset(source, folder, precise=False)


def split_streams(path: Path) -> None:
    """The picture and the sound as files of their own, which is how video2dataset downloads them."""
    _ffmpeg("-i", path, "-map", "0:v", "-c", "copy", path.with_suffix(".v.mp4"))
    _ffmpeg("-i", path, "-map", "0:a", "-c", "copy", path.with_suffix(".a.m4a"))


def _ffmpeg(*words: object) -> None:
    start = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-y", "-v", "error"]
    subprocess.run([*start, *map(str, words)], check=True)
