"""Files made to cost much: small on disk, large in what they say or unpack to. Each is one row of `BOMBS`."""

import io
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from functools import cache

import av
import numpy as np
from boxes import (
    FILE_TYPE,
    FPS,
    PCM,
    RATE_HZ,
    avi,
    avi_picture,
    avi_sound,
    block,
    box,
    cluster,
    element,
    full,
    jpeg,
    mkv,
    mov,
    movie,
    number,
    ogg_pages,
    picture_entry,
    picture_sample_entry,
    plain_clusters,
    plain_tracks,
    sized_jpeg,
    sound_entry,
    sound_sample_entry,
    ts_streams,
)

MANY = 100_000
MEGA = 1_000_000
DAY_S = 86_400
_WIDE = 0xFFFFFFFF


# Pictures


def png(width: int, height: int, kind: int = 0) -> bytes:
    """A black PNG: grey (0) or RGB (2)."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    pixels = zeros((1 + width * (3 if kind else 1)) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@cache
def zeros(count: int) -> bytes:
    """So many zero bytes, packed by zlib."""
    packer, piece = zlib.compressobj(9), bytes(1 << 20)
    parts = [packer.compress(piece[: min(1 << 20, count - at)]) for at in range(0, count, 1 << 20)]
    return b"".join([*parts, packer.flush()])


def vfw(fourcc: bytes, width: int, height: int) -> bytes:
    """CodecPrivate of V_MS/VFW/FOURCC."""
    return element(0x63A2, struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, fourcc, 0, 0, 0, 0, 0))


def png_video(width: int, height: int, frames: int, fps: int, kind: int = 0) -> bytes:
    picture, quiet = block(1, png(width, height, kind)), block(2, bytes(2 * RATE_HZ // fps))
    clusters = b"".join(cluster(n * 1000 // fps, picture + quiet) for n in range(frames))
    return mkv(picture_entry(width, height, "V_MS/VFW/FOURCC", vfw(b"MPNG", width, height)) + sound_entry(), clusters)


def grown_h264() -> bytes:
    """MPEG-TS whose H.264 grows from 64x36 to 8192x4352 after a second."""
    parts = []
    for width, height, frames, first in ((64, 36, 25, 0), (8192, 4352, 1, 25)):
        file = io.BytesIO()
        with av.open(file, "w", format="mpegts") as out:
            video, audio = out.add_stream("libx264", rate=FPS), out.add_stream("mp2", rate=16000, layout="mono")
            video.width, video.height, video.pix_fmt = width, height, "yuv420p"
            video.options = {"preset": "ultrafast", "tune": "zerolatency"}
            for n in range(first, first + frames):
                frame = av.VideoFrame(width, height, "yuv420p")
                for plane in frame.planes:
                    plane.update(bytes(plane.buffer_size))
                frame.pts, frame.time_base = n, Fraction(1, FPS)
                out.mux(video.encode(frame))
                sound = av.AudioFrame.from_ndarray(np.zeros((1, 640), np.int16), format="s16", layout="mono")
                sound.sample_rate, sound.pts, sound.time_base = 16000, n * 640, Fraction(1, 16000)
                out.mux(audio.encode(sound))
            out.mux(video.encode(None))
        parts.append(file.getvalue())
    return b"".join(parts)


def vp8(width: int, height: int) -> bytes:
    """The head of a VP8 keyframe of that size, and nothing behind it but zeros."""
    return b"\x10\x02\x00\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(64)


# Sound of a day


def coded(codec: str, rate_hz: int, samples: int, options: dict[str, str] | None = None) -> tuple[bytes, bytes, int]:
    """One packet of silence out of an encoder's middle, its CodecPrivate, and how many samples it holds."""
    context = av.CodecContext.create(codec, "w")
    context.sample_rate, context.layout = rate_hz, "mono"
    context.format = "s16" if codec == "flac" else "fltp" if codec == "aac" else "flt"
    context.options = options or {}
    context.open()
    kind = np.int16 if codec == "flac" else np.float32
    packets = []
    size = context.frame_size or samples
    for n in range(6):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, size), kind), format=context.format.name, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, n * size, Fraction(1, rate_hz)
        packets += context.encode(frame)
    return bytes(packets[-1]), bytes(context.extradata or b""), size


def day_of(codec: str, name: str, rate_hz: int, options: dict[str, str] | None = None) -> bytes:
    """24 h of silence, and a picture every half minute."""
    packet, private, samples = coded(codec, rate_hz, 4608, options)
    if codec == "flac":
        private = b"fLaC\x80\0\0\x22" + private
    step_ms, blocks = samples * 1000 / rate_hz, []
    inner = b"".join(block(2, packet, round(n * step_ms)) for n in range(int(30_000 / step_ms)))
    blocks = block(1, jpeg()) + inner
    entries = picture_entry() + sound_entry(rate_hz, 1, name, element(0x63A2, private))
    return mkv(entries, b"".join(cluster(ms, blocks) for ms in range(0, DAY_S * 1000, 30_000)))


def day_in_mov() -> bytes:
    """24 h of 100 pictures and 32,000 samples, each shown that long."""
    picture, sound = plain_tracks(4)
    picture.times, sound.times = [(100, DAY_S * FPS // 100)], [(32_000, DAY_S * RATE_HZ // 32_000)]
    return mov(picture, sound)


def one_png_often(times: int = 25_500, per_second: int = 17) -> bytes:
    """Minutes of pictures of 8K that are all the same bytes of the file."""
    picture, sound = plain_tracks(times / per_second)
    start, body = picture.offsets[0], png(7680, 4320)
    picture.entry, picture.scale = picture_sample_entry(b"png ", 7680, 4320), per_second
    picture.size, picture.times, picture.offsets = len(body), [(times, 1)], [start] * times
    sound.offsets = [start + len(body)] * len(sound.offsets)
    return FILE_TYPE + box(b"mdat", body + PCM) + movie(picture, sound)


# MOV tables


def picture_track(**changes: object) -> bytes:
    picture, sound = plain_tracks()
    for name, value in changes.items():
        setattr(picture, name, value)
    return mov(picture, sound)


def sound_track(**changes: object) -> bytes:
    picture, sound = plain_tracks()
    for name, value in changes.items():
        setattr(sound, name, value)
    return mov(picture, sound)


def nested(kind: bytes, depth: int) -> bytes:
    """Boxes in boxes: all sizes are right."""
    return b"".join(struct.pack(">I", 8 * (depth - n)) + kind for n in range(depth))


def edits(count: int, duration: int, start: int) -> bytes:
    return box(b"edts", full(b"elst", count, *[duration, start, 65536] * count))


def packed_moov() -> bytes:
    """A `moov` of 1 GB in a `cmov` of 1 MB."""
    packed = zeros(1_000_000_000)
    inner = box(b"dcom", b"zlib") + box(b"cmvd", struct.pack(">I", 1_000_000_000) + packed)
    return mov(moov=box(b"moov", box(b"cmov", inner)))


def fragment(count: int) -> bytes:
    """A fragment of so many samples in a few bytes: all sizes and durations are defaults."""
    head = box(b"tfhd", struct.pack(">IIII", 0x18, 1, 1, 1))
    run = box(b"trun", struct.pack(">II", 0, count))
    return box(b"moof", full(b"mfhd", 1) + box(b"traf", head + run))


def text_tag(size: int) -> bytes:
    """A title of so many letters."""
    title = box(b"\xa9nam", box(b"data", struct.pack(">II", 1, 0) + b"a" * size))
    return box(b"udta", full(b"meta", tail=full(b"hdlr", 0, tail=b"mdirappl" + bytes(9)) + box(b"ilst", title)))


# Matroska structures


def nested_ebml(names: list[int], depth: int) -> bytes:
    """Elements in elements; every size is "unknown", so that it need not be right."""
    body = b""
    for n in range(depth):
        name = names[n % len(names)]
        body += name.to_bytes((name.bit_length() + 7) // 8, "big") + b"\x01\xff\xff\xff\xff\xff\xff\xff"
    return body


def nested_tags(depth: int) -> bytes:
    """SimpleTags in SimpleTags with right sizes."""
    heads, size = [], 0
    for _ in range(depth):
        heads.append(b"\x67\xc8" + struct.pack(">Q", size | 1 << 56))
        size += 10
    return element(0x1254C367, element(0x7373, b"".join(reversed(heads))))


def zlib_track(unpacked: int, blocks: int) -> bytes:
    """Matroska's own compression: each block of the picture unpacks to so much."""
    packing = element(
        0x6240, number(0x5031, 0) + number(0x5032, 1) + number(0x5033, 0) + element(0x5034, number(0x4254, 0))
    )
    entries = picture_entry(more=element(0x6D80, packing)) + sound_entry()
    small = block(1, zlib.compress(jpeg())) + block(2, PCM)
    large = block(1, zeros(unpacked)) + block(2, PCM)
    return mkv(entries, b"".join(cluster(40 * n, small if n == 0 else large) for n in range(blocks)))


def wav_in_mkv(rate_hz: float, channels: int, body: bytes = PCM) -> bytes:
    return mkv(picture_entry() + sound_entry(rate_hz, channels), plain_clusters(4, sound=body))


def at_times(times_ms: list[int], scale_ns: int = MEGA) -> bytes:
    both = block(1, jpeg()) + block(2, PCM)
    return mkv(clusters=b"".join(cluster(ms, both) for ms in times_ms), scale_ns=scale_ns)


# The rest


def ogg_streams(count: int) -> bytes:
    body = b"\x01vorbis" + struct.pack("<IBIiiiBB", 0, 1, 8000, 0, 8000, 0, 0xB8, 1)
    return ogg_pages([body] * count, range(count))


def flac_picture() -> bytes:
    """A FLAC file that begins with six cover pictures of 16 MB."""
    _, private, _ = coded("flac", 8000, 4608)
    cover = struct.pack(">II", 3, 9) + b"image/png" + struct.pack(">I20xI", 0, (1 << 24) - 100)
    cover += bytes((1 << 24) - 100 - len(cover))
    covers = b"".join(bytes([6]) + len(cover).to_bytes(3, "big") + cover for _ in range(6))
    return b"fLaC\0\0\0\x22" + private + covers + b"\x81\0\0\0"


def id3_picture(size: int) -> bytes:
    """An MP3 whose ID3 tag says that it holds a picture of that size."""

    def safe(value: int) -> bytes:
        return bytes(value >> shift & 127 for shift in (21, 14, 7, 0))

    frame = b"APIC" + safe(size) + b"\0\0" + b"\0image/png\0\3\0" + bytes(size - 13)
    return b"ID3\4\0\0" + safe(len(frame)) + frame + b"\xff\xfb\x10\xc4" * 200


def flv_nested(depth: int) -> bytes:
    """FLV whose script tag holds objects in objects."""
    body = b"\2\0\x0aonMetaData" + b"\3\0\1a" * depth + b"\0\0\x09" * 3
    return b"FLV\1\5\0\0\0\x09\0\0\0\0" + b"\x12" + len(body).to_bytes(3, "big") + bytes(7) + body + bytes(4)


def wav(claimed: int, rate_hz: int, channels: int) -> bytes:
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, _WIDE, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", claimed)
        + b"WAVE"
        + b"fmt \x10\0\0\0"
        + form
        + b"data"
        + struct.pack("<I", claimed)
        + PCM
    )


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "JPEG of 8192x8192": ("mkv", lambda: mkv(clusters=plain_clusters(1, sized_jpeg(8192, 8192)))),
    "JPEG of 65500x65500": ("mkv", lambda: mkv(clusters=plain_clusters(0.2, sized_jpeg(65500, 65500)))),
    "declared 10^6 x 10^6": ("mkv", lambda: mkv(picture_entry(MEGA, MEGA) + sound_entry())),
    "declared 65535x65535 in MOV": ("mov", lambda: picture_track(entry=picture_sample_entry(b"jpeg", 65535, 65535))),
    "raw pictures of 65535x65535": (
        "mkv",
        lambda: mkv(picture_entry(65535, 65535, "V_UNCOMPRESSED", element(0x2EB524, b"I420")) + sound_entry()),
    ),
    "raw pictures of 60000x60000 in MOV": (
        "mov",
        lambda: picture_track(entry=picture_sample_entry(b"raw ", 60000, 60000)),
    ),
    "PNG of 12000x12000": ("mkv", lambda: png_video(12000, 12000, 25, 5)),
    "PNG of 8K, 25 a second": ("mkv", lambda: png_video(7680, 4320, 50, 25, 2)),
    "one PNG of 8K 25,500 times": ("mov", one_png_often),
    "PNG of 8K, 1 a second": ("mkv", lambda: png_video(7680, 4320, 4, 1, 2)),
    "JPEG grows to 8192x8192": (
        "mkv",
        lambda: mkv(clusters=plain_clusters(4) + plain_clusters(0.2, sized_jpeg(8192, 8192), from_ms=4000)),
    ),
    "H.264 grows to 8192x4352": ("ts", grown_h264),
    "VP8 of 16383x16383": (
        "mkv",
        lambda: mkv(picture_entry(64, 36, "V_VP8") + sound_entry(), plain_clusters(4, vp8(16383, 16383))),
    ),
    "10^5 streams in Matroska": (
        "mkv",
        lambda: mkv(picture_entry() + b"".join(sound_entry(track=2 + n) for n in range(MANY))),
    ),
    "10^5 streams in MOV": ("mov", lambda: mov(plain_tracks()[0], *[plain_tracks(0.04)[1]] * MANY)),
    "10^5 streams in AVI": ("avi", lambda: avi(avi_picture() + avi_sound() * MANY)),
    "10^5 streams in Ogg": ("ogg", lambda: ogg_streams(MANY)),
    "8128 streams in MPEG-TS": ("ts", lambda: ts_streams(8128)),
    "100 streams": ("mkv", lambda: mkv(picture_entry() + b"".join(sound_entry(track=2 + n) for n in range(99)))),
    "stsz: 4 thousand million samples": ("mov", lambda: picture_track(size=1, count=_WIDE, per_chunk=_WIDE)),
    "stsz: 40 million samples": ("mov", lambda: picture_track(size=1, count=40 * MEGA, per_chunk=MEGA)),
    "stts: 2 thousand million frames": ("mov", lambda: picture_track(times=[(0x7FFFFFFF, 1)])),
    "stts: a million entries": ("mov", lambda: picture_track(times=[(1, 1)] * MEGA)),
    "ctts: 2 thousand million entries": ("mov", lambda: picture_track(more=full(b"ctts", 0x7FFFFFF0, 1, 1))),
    "ctts: one entry for all": ("mov", lambda: picture_track(more=full(b"ctts", 1, 0x7FFFFFFF, 1))),
    "stsc: chunks of 2 thousand million": ("mov", lambda: picture_track(per_chunk=0x7FFFFFFF)),
    "10^5 edits": ("mov", lambda: picture_track(edits=edits(MANY, 4000, 0))),
    "edit of 49 days": ("mov", lambda: picture_track(edits=edits(1, _WIDE, 0x7FFFFFFF))),
    "boxes 10^5 deep": ("mov", lambda: mov(more=nested(b"udta", MANY))),
    "traks 10^5 deep": ("mov", lambda: mov(more=nested(b"trak", MANY))),
    "moov of 1 GB, packed": ("mov", packed_moov),
    "tag of 100 MB in MOV": ("mov", lambda: mov(more=text_tag(100 * MEGA))),
    "fragment of 2 thousand million samples": (
        "mov",
        lambda: mov(more=box(b"mvex", full(b"trex", 1, 1, 1, 1, 0)), after=fragment(0x7FFFFFFF)),
    ),
    "fragment of 30 million samples": (
        "mov",
        lambda: mov(more=box(b"mvex", full(b"trex", 1, 1, 1, 1, 0)), after=fragment(30 * MEGA)),
    ),
    "EBML element of 2^56 bytes": ("mkv", lambda: mkv(more=b"\x12\x54\xc3\x67\x01\xff\xff\xff\xff\xff\xff\xfe")),
    "CodecPrivate of 2^40 bytes": (
        "mkv",
        lambda: mkv(picture_entry(more=b"\x63\xa2" + struct.pack(">Q", 1 << 40 | 1 << 56)) + sound_entry()),
    ),
    "EBML of unknown size 10^5 deep": ("mkv", lambda: mkv(more=nested_ebml([0x1254C367, 0x7373, 0x67C8], MANY))),
    "SimpleTags 10^5 deep": ("mkv", lambda: mkv(more=nested_tags(MANY))),
    "tag of 100 MB in Matroska": (
        "mkv",
        lambda: mkv(
            more=element(
                0x1254C367,
                element(0x7373, element(0x67C8, element(0x45A3, b"TITLE") + element(0x4487, b"a" * (100 * MEGA)))),
            )
        ),
    ),
    "a million cues": (
        "mkv",
        lambda: mkv(
            more=element(
                0x1C53BB6B,
                element(0xBB, number(0xB3, 0) + element(0xB7, number(0xF7, 1) + number(0xF1, 0))) * MEGA,
            )
        ),
    ),
    "block that unpacks to 1 GB": ("mkv", lambda: zlib_track(1_000_000_000, 5)),
    "blocks that unpack to 90 MB each": ("mkv", lambda: zlib_track(90 * MEGA, 200)),
    "a day of silence, FLAC": ("mkv", lambda: day_of("flac", "A_FLAC", 8000)),
    "a day of silence, Opus": ("mkv", lambda: day_of("libopus", "A_OPUS", 48000, {"frame_duration": "60"})),
    "a day of silence, AAC": ("mkv", lambda: day_of("aac", "A_AAC", 8000)),
    "a day in 32,000 samples": ("mov", day_in_mov),
    "a million packets in 10 s": (
        "mkv",
        lambda: mkv(clusters=plain_clusters(9) + cluster(9500, block(2, bytes(2)) * MEGA)),
    ),
    "5 million packets in 10 s": (
        "mkv",
        lambda: mkv(clusters=plain_clusters(9) + cluster(9500, block(2, bytes(2)) * 5 * MEGA)),
    ),
    "times of 10^9 s": ("mkv", lambda: at_times([0, 40, 80, 10**12])),
    "times of 2^60 ns": ("mkv", lambda: at_times([2**60 + 40 * n for n in range(9)], 1)),
    "a jump to 3,500 s": ("mkv", lambda: at_times([*range(0, 4000, 40), *range(3_500_000, 3_504_000, 40)])),
    "a jump to 3,500 s at 192 kHz": (
        "mkv",
        lambda: mkv(
            picture_entry() + sound_entry(192_000, 2),
            plain_clusters(4, sound=bytes(4 * 7680)) + plain_clusters(4, sound=bytes(4 * 7680), from_ms=3_500_000),
        ),
    ),
    "a negative clock": (
        "mkv",
        lambda: mkv(clusters=cluster(0, block(1, jpeg(), -32768) + block(2, PCM, -32768)) + plain_clusters(4)),
    ),
    "10^5 pictures at one time": (
        "mkv",
        lambda: mkv(clusters=plain_clusters(4) + cluster(4000, block(1, jpeg()) * MANY)),
    ),
    "a thousand million frames a second": ("mkv", lambda: at_times([40 * n for n in range(100)], 1)),
    "2^31 frames a second in AVI": ("avi", lambda: avi(avi_picture(0x7FFFFFFF) + avi_sound())),
    "a frame in 2^31 s in AVI": ("avi", lambda: avi(avi_picture(1, 0x7FFFFFFF) + avi_sound())),
    "sound of 1 Hz": ("mkv", lambda: wav_in_mkv(1, 1)),
    "sound of 10^9 Hz": ("mkv", lambda: wav_in_mkv(1e9, 1)),
    "255 channels": ("mkv", lambda: wav_in_mkv(RATE_HZ, 255, bytes(2 * 255 * 320))),
    "65535 channels": ("mov", lambda: sound_track(entry=sound_sample_entry(RATE_HZ, 65535))),
    "sound packet of 90 MB": (
        "mkv",
        lambda: mkv(clusters=plain_clusters(4) + cluster(4000, block(2, bytes(90 * MEGA)))),
    ),
    "FLAC with 100 MB of covers": ("flac", flac_picture),
    "MP3 with a cover of 100 MB": ("mp3", lambda: id3_picture(100 * MEGA)),
    "FLV script 10^5 deep": ("flv", lambda: flv_nested(MANY)),
    "WAV that says 4 GB": ("wav", lambda: wav(_WIDE, 0x7FFFFFFF, 65535)),
}
