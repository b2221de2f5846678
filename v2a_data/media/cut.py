"""Exact cuts: frames on a fixed grid and sound by timestamp, in one pass on one clock.

A span `[start_s, stop_s)` becomes `round(duration · fps)` frames and `frames · rate / fps` audio
samples, always; a span that the source does not really fill is refused, never padded. Every file
is decoded back and compared before it counts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from v2a_data.errors import ItemError
from v2a_data.media.decode import Media, Picture, SoundChunk
from v2a_data.media.limits import file_url, open_media
from v2a_data.media.pick import Picker
from v2a_data.media.picture import Scaler, split_planes
from v2a_data.media.sound import Timeline, mix_to, resample
from v2a_data.media.x264 import x264_params

# CONTRACTS, "short": a hole of more than this beyond the source's own frame interval.
_HOLE_S = 0.040
_MAX_INTERVAL_S = 0.5
# Sound is decoded this far beyond the span on both sides, so that resampling has context.
_MARGIN_S = 0.25
# Skipping to a later keyframe pays when it saves at least this much decoding.
_SEEK_GAIN_S = 1.0
_MAX_LAG_SAMPLES = 800
_QUIET = 1e-4


@dataclass(frozen=True)
class CutSpec:
    """The form of a sample."""

    width: int
    height: int
    fps: Fraction
    rate_hz: int
    channels: int
    crf: int

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "CutSpec":
        return cls(**{**value, "fps": Fraction(value["fps"])})

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "fps": f"{self.fps.numerator}/{self.fps.denominator}"}

    def frames(self, duration_s: float) -> int:
        """Frames of a span of this length."""
        return round(duration_s * self.fps)

    def audio_samples(self, frames: int) -> int:
        """Audio samples that go with so many frames."""
        return round(frames * self.rate_hz / self.fps)


@dataclass(frozen=True)
class CutResult:
    """One span: where its file is and how exact it is, or why it was refused."""

    start_s: float
    stop_s: float
    path: str | None
    frames: int = 0
    audio_samples: int = 0
    picture_error_s: float | None = None
    sound_error_samples: int | None = None
    reason: str | None = None
    message: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def cut(path: str, spans: Sequence[tuple[float, float]], spec: CutSpec, folder: str) -> list[CutResult]:
    """Cut `spans` (rising, not overlapping) out of one file into `<folder>/<index>.mp4`.

    Each span ends as a file or with a reason: `short`, `miscounted`, `sound_shifted`. Raises
    `ItemError` where the file as a whole cannot be decoded.
    """
    results = []
    for index, collected in _collect(path, spans, spec):
        target = Path(folder) / f"{index:06d}.mp4"
        start_s, stop_s = spans[index]
        try:
            results.append(_finish(collected, target, spec))
        except ItemError as error:
            target.unlink(missing_ok=True)
            results.append(CutResult(start_s, stop_s, None, reason=error.reason, message=error.message))
    return results


class _Span:
    """What is gathered for one span while the file streams by."""

    def __init__(self, start_s: float, stop_s: float, spec: CutSpec, scaler: Scaler) -> None:
        self.start_s, self.stop_s, self.spec, self.scaler = start_s, stop_s, spec, scaler
        self.frames = spec.frames(stop_s - start_s)
        self.grid_s = start_s + np.arange(self.frames) * float(1 / spec.fps)
        self.picker = Picker(self.grid_s, "nearest")
        self.canvases: list[np.ndarray] = []
        self.shown_s: list[float] = []
        self.source_s: list[float] = []
        self.timeline = Timeline(max(0.0, start_s - _MARGIN_S))
        self.chunks: list[np.ndarray] = []
        self.chunk_s = 0.0
        self.picture_done = self.sound_done = False

    @property
    def sound_s(self) -> float:
        """The time of the first collected sample, to a few microseconds."""
        return self.timeline.start_s + self.timeline.shift_s

    @property
    def complete(self) -> bool:
        return self.picture_done and self.sound_done

    def push(self, item: Picture | SoundChunk) -> None:
        if isinstance(item, SoundChunk):
            self._push_sound(item)
        elif not self.picture_done:
            # A frame before the span may be the nearest to its first grid time, so all are offered.
            self.source_s.append(item.time_s)
            self._take(self.picker.push(item))
            self.picture_done = item.time_s >= self.stop_s

    def _push_sound(self, chunk: SoundChunk) -> None:
        duration_s = chunk.samples.shape[1] / chunk.rate_hz
        self.chunk_s = max(self.chunk_s, duration_s)
        if chunk.time_s + duration_s > self.timeline.start_s and not self.sound_done:
            samples = self.timeline.lay(chunk)
            if samples is not None:
                self.chunks.append(samples)
        self.sound_done = chunk.time_s >= self.stop_s + _MARGIN_S

    def finish(self) -> None:
        """The file ended: the last frame stands for the grid times that are left."""
        self._take(self.picker.finish())

    def _take(self, picked: Iterator[tuple[int, Picture]]) -> None:
        for _, picture in picked:
            if self.shown_s and self.shown_s[-1] == picture.time_s:
                self.canvases.append(self.canvases[-1])
            else:
                self.canvases.append(self.scaler.canvas(picture.frame, self.spec.width, self.spec.height))
            self.shown_s.append(picture.time_s)


def _collect(path: str, spans: Sequence[tuple[float, float]], spec: CutSpec) -> Iterator[tuple[int, _Span]]:
    """Spans in order, each with its frames and sound; one pass, with skips over long unused stretches."""
    media = Media(open_media(path))
    if media.video is None or media.audio is None:
        raise ItemError("no_picture" if media.video is None else "no_sound")
    keyframes = _keyframes(path)
    scaler = Scaler(float(media.video.sample_aspect_ratio or 1))
    index = 0
    while index < len(spans):
        group = _group(spans, index, keyframes)
        yield from _read(media, [_Span(*spans[i], spec, scaler) for i in range(index, index + group)], index)
        index += group
        if index < len(spans):
            media.container.close()
            media = Media(open_media(path))
    media.container.close()


def _read(media: Media, spans: list[_Span], first_index: int) -> Iterator[tuple[int, _Span]]:
    """One run through the file for neighbouring spans; each is given out when it is complete."""
    done = 0
    for item in media.decode(max(0.0, spans[0].start_s - _MARGIN_S)):
        ahead = done
        while ahead < len(spans) and item.time_s >= spans[ahead].start_s - 2 * _MAX_INTERVAL_S:
            spans[ahead].push(item)
            ahead += 1
        while done < len(spans) and spans[done].complete:
            yield first_index + done, spans[done]
            spans[done].canvases = []
            done += 1
        if done == len(spans):
            return
    for span in spans[done:]:
        span.finish()
        yield first_index + done, span
        span.canvases = []
        done += 1


def _keyframes(path: str) -> np.ndarray:
    """Times of the picture's keyframes, read from packets."""
    media = Media(open_media(path))
    times = [
        float(packet.pts * packet.time_base) - media.origin_s
        for packet in media.container.demux(media.video)
        if packet.is_keyframe and packet.pts is not None and packet.time_base is not None
    ]
    media.container.close()
    return np.sort(np.asarray(times))


def _group(spans: Sequence[tuple[float, float]], first: int, keyframes: np.ndarray) -> int:
    """How many spans from `first` on are cheapest read in one go, without skipping ahead."""
    count = 1
    while first + count < len(spans):
        here = spans[first + count - 1][1]
        before = keyframes[keyframes <= spans[first + count][0] - 2 * _MARGIN_S]
        if len(before) and before[-1] - here > _SEEK_GAIN_S:
            break
        count += 1
    return count


def _finish(span: _Span, target: Path, spec: CutSpec) -> CutResult:
    picture_error_s = _check_picture(span)
    reference, rate_in_hz = _check_sound(span)
    samples = spec.audio_samples(span.frames)
    sound = _place(reference, rate_in_hz, span, spec, samples)
    pcm = np.clip(np.round(sound * 32768.0), -32768, 32767).astype(np.int16)
    encode(target, span.canvases, pcm, spec)
    sound_error = _check_back(target, span.frames, pcm, spec, reference, rate_in_hz, span)
    return CutResult(span.start_s, span.stop_s, str(target), span.frames, samples, picture_error_s, sound_error)


def _check_picture(span: _Span) -> float:
    """Largest distance of a shown frame from its grid time; refuses holes and missing ends."""
    times = np.asarray(span.source_s)
    if len(span.canvases) != span.frames or len(times) == 0:
        raise ItemError("short", "no picture")
    steps = np.diff(times)
    interval = min(float(np.median(steps)) if len(steps) else _MAX_INTERVAL_S, _MAX_INTERVAL_S)
    allowed = interval + _HOLE_S
    inside = times[(times >= span.start_s - allowed) & (times < span.stop_s)]
    if len(inside) == 0 or inside[0] > span.start_s + _HOLE_S:
        late = (inside[0] if len(inside) else span.stop_s) - span.start_s
        raise ItemError("short", f"picture starts {late:.3f} s late")
    holes = np.diff(np.append(inside, min(times[-1] + interval, span.stop_s)))
    if len(holes) and holes.max() > allowed:
        raise ItemError("short", f"picture stands still for {holes.max():.3f} s")
    if times[-1] + interval < span.stop_s - _HOLE_S:
        raise ItemError("short", f"picture ends {span.stop_s - times[-1] - interval:.3f} s early")
    return float(np.max(np.abs(np.asarray(span.shown_s) - span.grid_s)))


def _check_sound(span: _Span) -> tuple[np.ndarray, int]:
    """The sound around the span at the source's rate; refuses holes and missing ends."""
    line = span.timeline
    if not span.chunks:
        raise ItemError("short", "no sound")
    allowed = min(span.chunk_s, _MAX_INTERVAL_S) + _HOLE_S
    late_s = (line.late_s or 0.0) - (span.start_s - line.start_s)
    if late_s > allowed:
        raise ItemError("short", f"sound starts {late_s:.3f} s late")
    if line.gap_s > allowed:
        raise ItemError("short", f"sound has a hole of {line.gap_s:.3f} s")
    if line.stop_s < span.stop_s - allowed:
        raise ItemError("short", f"sound ends {span.stop_s - line.stop_s:.3f} s early")
    return np.concatenate(span.chunks, axis=1), line.rate_hz


def _place(reference: np.ndarray, rate_in_hz: int, span: _Span, spec: CutSpec, samples: int) -> np.ndarray:
    """`(channels, samples)` at the sample rate, from `start_s` on.

    Sample 0 is the source sample nearest to `start_s`: at most half a source sample off. The lead
    kept before it for the resampler is a whole number of samples at both rates.
    """
    first = round((span.start_s - span.sound_s) * rate_in_hz)
    step = rate_in_hz // np.gcd(rate_in_hz, spec.rate_hz)
    lead = first // step * step
    mixed = mix_to(spec.channels, reference)
    out = resample(mixed[:, first - lead :], rate_in_hz, spec.rate_hz)[:, lead * spec.rate_hz // rate_in_hz :]
    if out.shape[1] < samples:
        out = np.pad(out, ((0, 0), (0, samples - out.shape[1])))
    return out[:, :samples]


def encode(target: Path, canvases: Sequence[np.ndarray], pcm: np.ndarray, spec: CutSpec) -> None:
    """Write H.264 + FLAC in MP4. Same input and FFmpeg build, same bytes."""
    with av.open(file_url(target), "w", format="mp4", options={"movflags": "faststart", "fflags": "bitexact"}) as out:
        video = out.add_stream("libx264", rate=spec.fps)
        video.width, video.height, video.pix_fmt = spec.width, spec.height, "yuv420p"
        video.codec_context.time_base = 1 / spec.fps
        video.codec_context.thread_count = 1
        gop = max(1, round(spec.fps))
        video.options = {
            "crf": str(spec.crf),
            "preset": "veryfast",
            "tune": "fastdecode",
            "x264-params": x264_params(spec.width, gop, f"min-keyint={gop}", "scenecut=0"),
            "flags": "+bitexact",
        }
        layout = "mono" if spec.channels == 1 else "stereo"
        audio = out.add_stream("flac", rate=spec.rate_hz, layout=layout, format="s16")
        audio.options = {"flags": "+bitexact"}
        for index, canvas in enumerate(canvases):
            frame = _video_frame(canvas, spec)
            frame.pts, frame.time_base = index, 1 / spec.fps
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        block = audio.codec_context.frame_size or 4096
        for first in range(0, pcm.shape[1], block):
            piece = np.ascontiguousarray(pcm[:, first : first + block].T.reshape(1, -1))
            sound = av.AudioFrame.from_ndarray(piece, format="s16", layout=layout)
            sound.sample_rate, sound.pts, sound.time_base = spec.rate_hz, first, Fraction(1, spec.rate_hz)
            out.mux(audio.encode(sound))
        out.mux(audio.encode(None))


def _video_frame(canvas: np.ndarray, spec: CutSpec) -> av.VideoFrame:
    frame = av.VideoFrame(spec.width, spec.height, "yuv420p")
    for plane, values in zip(frame.planes, split_planes(canvas, spec.width, spec.height), strict=True):
        padded = np.zeros((plane.height, plane.line_size), np.uint8)
        padded[:, : plane.width] = values
        plane.update(padded.tobytes())
    return frame


def _check_back(
    target: Path, frames: int, pcm: np.ndarray, spec: CutSpec, reference: np.ndarray, rate_in_hz: int, span: _Span
) -> int | None:
    """Decode the file again; refuses other counts, other sound, or sound that moved."""
    found, parts = 0, []
    with open_media(target) as container:
        for packet in container.demux():
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    found += 1
                elif isinstance(frame, av.AudioFrame):
                    parts.append(frame.to_ndarray().reshape(-1, spec.channels))
    back = np.concatenate(parts).T if parts else np.zeros((spec.channels, 0), np.int16)
    if found != frames or back.shape != pcm.shape:
        raise ItemError("miscounted", f"{found} frames and {back.shape[1]} samples of {frames} and {pcm.shape[1]}")
    if not np.array_equal(back, pcm):
        raise ItemError("miscounted", "the sound read back differs")
    heard = back.astype(np.float32) / 32768.0
    lag = sound_lag(heard, spec.rate_hz, reference, rate_in_hz, span.start_s - span.sound_s)
    if lag:
        raise ItemError("sound_shifted", f"{lag} audio samples")
    return lag


def sound_lag(sound: np.ndarray, rate_hz: int, reference: np.ndarray, rate_in_hz: int, offset_s: float) -> int | None:
    """Audio samples by which `sound` lags behind the source's, or null with nothing to correlate.

    The source is read off at the samples' own times by interpolation, a way that shares nothing
    with the resampler, and the two are cross-correlated.
    """
    count = sound.shape[1]
    times = offset_s + np.arange(count) / rate_hz
    source = np.interp(times, np.arange(reference.shape[1]) / rate_in_hz, mix_to(1, reference)[0], right=0.0)
    heard = mix_to(1, sound)[0].astype(np.float64)
    heard, source = heard - heard.mean(), source - source.mean()
    if np.abs(heard).max() < _QUIET or np.abs(source).max() < _QUIET:
        return None
    size = 1 << int(np.ceil(np.log2(count + _MAX_LAG_SAMPLES)))
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(source, size))
    correlation = np.fft.irfft(spectrum, size)
    window = np.concatenate([correlation[-_MAX_LAG_SAMPLES:], correlation[: _MAX_LAG_SAMPLES + 1]])
    if window.max() <= 0.2 * np.sqrt(np.sum(heard**2) * np.sum(source**2)):
        return None
    return int(window.argmax()) - _MAX_LAG_SAMPLES
