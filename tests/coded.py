"""Media whose every moment names itself: a number in each frame, a tone code in each second, noise beneath.

What a cut shows is read back from it alone, with nothing of the code under test.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter
from makers import coded_frame, noise_track

_BITS = 6
_TONES_HZ = 3100 + 50 * np.arange(2 * _BITS).reshape(_BITS, 2)
_RAMP_S = 0.01
_TICK = Fraction(1, 90000)
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}
# Samples per packet where the encoder wants a fixed number.
_BLOCKS = {"aac": 1024, "libopus": 960}
# Samples that an encoder puts before the first one.
_LEADS = {"aac": 1024, "libmp3lame": 1105, "ac3": 256}


@dataclass(frozen=True)
class Coded:
    """What to make. All times are seconds as a player shows them, 0 being its first.

    `variable` gives frames of 10 to 60 ms; `picture_s` and `sound_s` are when each starts; the gaps are stretches
    that are missing; `hidden_s` is media that an edit list skips; `offset_s` is where the container's own clock
    starts; `aspect` is one pixel's width by its height; `rotation` is stored, so the shown picture is upright;
    `gains` is what each channel has of the sound; `patch` is the colour of the lower right.
    """

    name: str
    seconds: float = 12.0
    fps: Fraction = Fraction(25)
    variable: bool = False
    gop: int = 50
    width: int = 128
    height: int = 72
    video_codec: str = "libx264"
    video_options: tuple[tuple[str, str], ...] = (("preset", "ultrafast"), ("crf", "16"))
    pix_fmt: str = "yuv420p"
    audio_codec: str = "aac"
    rate_hz: int = 44100
    channels: int = 2
    picture_s: float = 0.0
    sound_s: float = 0.0
    hidden_s: float = 0.0
    offset_s: float = 0.0
    rotation: int = 0
    aspect: Fraction = Fraction(1)
    cell: int = 8
    gains: tuple[float, ...] | None = None
    picture_gap: tuple[float, float] | None = None
    sound_gap: tuple[float, float] | None = None
    patch: tuple[int, int, int] | None = None
    matrix: int = Colorspace.ITU601

    @property
    def zero_s(self) -> float:
        """How long moment 0 is after the file's own start, which in MPEG-TS and FLV is the encoder's lead-in."""
        if not self.name.endswith((".ts", ".flv")):
            return 0.0
        first_s = min(self.picture_s, self.sound_s - _LEADS.get(self.audio_codec, 0) / self.rate_hz)
        return round(-first_s, 3) if self.name.endswith(".flv") else -first_s

    @property
    def tick_s(self) -> float:
        """How far the container may move a frame: Matroska and FLV keep whole milliseconds, the others finer ones."""
        return 1e-3 if self.name.endswith((".mkv", ".webm", ".flv")) else 2e-5

    @property
    def sound_tick_s(self) -> float:
        """How far the container may move all sound.

        Opus begins 6.5 ms before 0 and has blocks of 20 ms, so Matroska's whole milliseconds are all off by 0.5. The
        roundings of other codecs differ from packet to packet, and so they show the true time.
        """
        return 5e-4 if self.audio_codec == "libopus" and self.name.endswith((".mkv", ".webm")) else 0.0

    def frame_s(self) -> np.ndarray:
        """When frame k appears; hidden frames have times below 0."""
        if self.variable:
            steps = np.random.default_rng(1).integers(10, 61, round(self.seconds / 0.03)) / 1000
            times = np.concatenate([[0.0], np.cumsum(steps)])
        else:
            times = np.arange(round((self.seconds + self.hidden_s) * self.fps)) / float(self.fps)
        times = times + self.picture_s - self.hidden_s
        return times[times < self.seconds]


@cache
def track(seconds: float, rate_hz: int) -> np.ndarray:
    """`(samples,)` float32: noise up to 3 kHz, and above it, in second n, six tones that spell n in binary."""
    sound = noise_track(seconds, rate_hz)
    times = np.arange(len(sound)) / rate_hz
    ramp = np.clip(np.minimum(times % 1, 1 - times % 1) / _RAMP_S, 0, 1)
    for bit in range(_BITS):
        hz = _TONES_HZ[bit][times.astype(int) >> bit & 1]
        sound = sound + 0.03 * ramp * np.sin(2 * np.pi * hz * times)
    return sound.astype(np.float32)


def read_tones(sound: np.ndarray, rate_hz: int) -> int:
    """The number that the tones in a stretch of sound `(samples,)` spell."""
    times = np.arange(len(sound)) / rate_hz
    window = np.hanning(len(sound))
    power = np.abs(np.exp(-2j * np.pi * _TONES_HZ[..., None] * times) @ (sound * window))
    return sum(int(one > zero) << bit for bit, (zero, one) in enumerate(power))


def resampled(sound: np.ndarray, samples: int, later: float = 0.0) -> np.ndarray:
    """Band-limited sound with another number of samples over the same time, moved by `later` of them."""
    turn = np.exp(-2j * np.pi * np.arange(len(sound) // 2 + 1) * later / samples)
    return np.fft.irfft(np.fft.rfft(sound) * turn, samples) * samples / len(sound)


def lag(sound: np.ndarray, truth: np.ndarray, parts: int = 4) -> float:
    """Samples by which `sound` comes later than `truth` of the same length, in steps of 1 / parts, within ± 2,000."""
    size = 1 << int(np.ceil(np.log2(len(sound) + 2000)))
    spectrum = np.fft.rfft(sound, size) * np.conj(np.fft.rfft(truth, size))
    correlation = np.fft.irfft(spectrum, size * parts)
    reach = 2000 * parts
    return (int(np.argmax(np.concatenate([correlation[-reach:], correlation[: reach + 1]]))) - reach) / parts


def make_coded(folder: Path, form: Coded) -> Path:
    """Write the file `form.name`; picture and sound lie side by side in it, as they do in real files."""
    path = folder / form.name
    options = {"fflags": "bitexact"}
    if path.suffix in (".mp4", ".mov"):
        options["movie_timescale"] = str(form.rate_hz)  # its default is 1 ms, to which a late start would be rounded
    with av.open(str(path), "w", options=options) as out:
        video, audio = _streams(out, form)
        frames, chunks = _pictures(form), _sounds(form)
        frame, chunk = next(frames, None), next(chunks, None)
        while frame is not None or chunk is not None:
            if chunk is None or (frame is not None and frame.time <= chunk.time):
                out.mux(video.encode(frame))
                frame = next(frames, None)
            else:
                out.mux(audio.encode(chunk))
                chunk = next(chunks, None)
        out.mux(video.encode(None))
        out.mux(audio.encode(None))
    if form.hidden_s:
        hide(path, form.hidden_s)
    return path


def _streams(out: av.container.OutputContainer, form: Coded) -> tuple[av.VideoStream, av.AudioStream]:
    video = out.add_stream(form.video_codec, rate=form.fps)
    sideways = form.rotation % 180 == 90
    video.width, video.height = (form.height, form.width) if sideways else (form.width, form.height)
    video.pix_fmt = form.pix_fmt
    video.codec_context.thread_count = 1
    video.codec_context.sample_aspect_ratio = 1 / form.aspect if sideways else form.aspect
    if form.video_codec != "mpeg4":
        video.codec_context.time_base = _TICK
    if form.matrix != Colorspace.ITU601:
        video.codec_context.colorspace = 1
    if form.rotation:
        video.set_display_rotation(form.rotation)
    video.options = {"g": str(form.gop), **dict(form.video_options)}
    audio = out.add_stream(form.audio_codec, rate=form.rate_hz, layout=_LAYOUTS[form.channels])
    if form.audio_codec in _BLOCKS:
        audio.bit_rate = 96000 * form.channels
    return video, audio


def _pictures(form: Coded) -> Iterator[av.VideoFrame]:
    to_format = VideoReformatter()
    for number, time_s in enumerate(form.frame_s()):
        if _within(time_s, form.picture_gap):
            continue
        picture = coded_frame(number, form.width, form.height, form.cell)
        if form.patch:
            picture[form.height // 2 :, form.width // 2 :] = form.patch
        stored = np.ascontiguousarray(np.rot90(picture, -(form.rotation // 90)))
        frame = av.VideoFrame.from_ndarray(stored, format="rgb24")
        frame = to_format.reformat(frame, format=form.pix_fmt, dst_colorspace=form.matrix)
        frame.pts, frame.time_base = round((time_s + form.offset_s + form.hidden_s) / _TICK), _TICK
        yield frame


def _sounds(form: Coded) -> Iterator[av.AudioFrame]:
    """Hidden media is the sound played backwards, so that it is heard where it must not be."""
    sound = track(form.seconds, form.rate_hz)
    hidden, first = round(form.hidden_s * form.rate_hz), round(form.sound_s * form.rate_hz)
    sound = np.concatenate([sound[:hidden][::-1], sound])[first:]
    rows = np.outer(form.gains or (1.0,) * form.channels, sound).astype(np.float32)
    layout, size = _LAYOUTS[form.channels], _BLOCKS.get(form.audio_codec, 1024)
    to_codec = av.AudioResampler(format=av.Codec(form.audio_codec, "w").audio_formats[0], layout=layout)
    for at in range(0, len(sound), size):
        if _within((first + at) / form.rate_hz, form.sound_gap):
            continue
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(rows[:, at : at + size]), format="fltp", layout=layout)
        frame.sample_rate, frame.time_base = form.rate_hz, Fraction(1, form.rate_hz)
        frame.pts = round(form.offset_s * form.rate_hz) + first + at
        yield from to_codec.resample(frame)


def _within(time_s: float, gap: tuple[float, float] | None) -> bool:
    return gap is not None and gap[0] <= time_s < gap[1]


def hide(path: Path, seconds: float) -> None:
    """Let every track's edit list in an MP4 or MOV start so much later in its media."""
    data = bytearray(path.read_bytes())
    for start, stop in _boxes(data, 0, len(data), (b"moov", b"trak")):
        (at, _), (clock, _) = (
            *_boxes(data, start, stop, (b"edts", b"elst")),
            *_boxes(data, start, stop, (b"mdia", b"mdhd")),
        )
        assert data[at] == data[clock] == 0 and int.from_bytes(data[at + 4 : at + 8]) == 1
        per_second = int.from_bytes(data[clock + 12 : clock + 16])
        media_time = int.from_bytes(data[at + 12 : at + 16]) + round(seconds * per_second)
        data[at + 12 : at + 16] = media_time.to_bytes(4)
    path.write_bytes(data)


def _boxes(data: bytearray, start: int, stop: int, names: tuple[bytes, ...]) -> Iterator[tuple[int, int]]:
    """Where the contents of the boxes at the path `names` start and stop."""
    while start < stop:
        size = int.from_bytes(data[start : start + 4])
        if data[start + 4 : start + 8] == names[0]:
            inside = (start + 8, start + size)
            if len(names) == 1:
                yield inside
            else:
                yield from _boxes(data, *inside, names[1:])
        start += size
