"""Media files written byte by byte, so that they can say what no muxer would write: Matroska, MOV, AVI, MPEG-TS, Ogg.

Every file that these make by default is sound: 64x36 JPEG pictures, 25 a second, and 8 kHz mono PCM.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import av
import numpy as np

FPS, RATE_HZ = 25, 8000
PCM = bytes(2 * RATE_HZ // FPS)


@cache
def jpeg(width: int = 64, height: int = 36) -> bytes:
    """One grey JPEG."""
    context = av.CodecContext.create("mjpeg", "w")
    context.width, context.height, context.pix_fmt = width, height, "yuvj420p"
    context.time_base = 1
    frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 99, np.uint8), format="rgb24")
    return b"".join(
        bytes(packet) for packet in [*context.encode(frame.reformat(format="yuvj420p")), *context.encode(None)]
    )


def sized_jpeg(width: int, height: int) -> bytes:
    """The small JPEG with another size in its header, and as long as FFmpeg expects of such a one at least."""
    body = bytearray(jpeg())
    at = body.index(b"\xff\xc0") + 5
    body[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(body) + bytes(width * height // 250)


# Matroska


def element(name: int, body: bytes) -> bytes:
    """An EBML element with a size of 8 bytes."""
    return name.to_bytes((name.bit_length() + 7) // 8, "big") + struct.pack(">Q", len(body) | 1 << 56) + body


def number(name: int, value: int) -> bytes:
    return element(name, value.to_bytes(8, "big"))


def picture_entry(width: int = 64, height: int = 36, codec: str = "V_MJPEG", more: bytes = b"") -> bytes:
    """TrackEntry 1."""
    video = element(0xE0, number(0xB0, width) + number(0xBA, height))
    return element(
        0xAE, number(0xD7, 1) + number(0x73C5, 1) + number(0x83, 1) + element(0x86, codec.encode()) + video + more
    )


def sound_entry(
    rate_hz: float = RATE_HZ, channels: int = 1, codec: str = "A_PCM/INT/LIT", more: bytes = b"", track: int = 2
) -> bytes:
    """TrackEntry 2."""
    audio = element(0xE1, element(0xB5, struct.pack(">d", rate_hz)) + number(0x9F, channels) + number(0x6264, 16))
    ids = number(0xD7, track) + number(0x73C5, track) + number(0x83, 2)
    return element(0xAE, ids + element(0x86, codec.encode()) + audio + more)


def block(track: int, body: bytes, after_ms: int = 0) -> bytes:
    """A SimpleBlock, marked as a keyframe."""
    return element(0xA3, bytes([0x80 | track]) + struct.pack(">hB", after_ms, 0x80) + body)


def cluster(time_ms: int, blocks: bytes) -> bytes:
    return element(0x1F43B675, number(0xE7, time_ms) + blocks)


def plain_clusters(seconds: float, picture: bytes = b"", sound: bytes = PCM, from_ms: int = 0) -> bytes:
    """One cluster per frame: a picture and its sound."""
    both = block(1, picture or jpeg()) + block(2, sound)
    return b"".join(cluster(from_ms + n * 1000 // FPS, both) for n in range(round(seconds * FPS)))


def mkv(entries: bytes = b"", clusters: bytes = b"", more: bytes = b"", scale_ns: int = 1_000_000) -> bytes:
    """A whole file; `more` stands between tracks and clusters."""
    head = element(0x1A45DFA3, element(0x4282, b"matroska") + number(0x4287, 4) + number(0x4285, 2))
    info = element(0x1549A966, number(0x2AD7B1, scale_ns))
    tracks = element(0x1654AE6B, entries or picture_entry() + sound_entry())
    return head + element(0x18538067, info + tracks + more + (clusters or plain_clusters(4)))


# MOV


def box(kind: bytes, body: bytes) -> bytes:
    """A box; those of 4 GB and more are not needed here."""
    return struct.pack(">I", 8 + len(body)) + kind + body


def full(kind: bytes, *values: int, tail: bytes = b"") -> bytes:
    """A box with version and flags 0, then 32-bit numbers."""
    return box(kind, struct.pack(f">{1 + len(values)}I", 0, *values) + tail)


@dataclass
class Track:
    """One track of a MOV file; each sample is its own chunk."""

    handler: bytes
    entry: bytes
    scale: int
    times: Sequence[tuple[int, int]]
    size: int
    offsets: Sequence[int]
    count: int | None = None
    edits: bytes = b""
    more: bytes = b""
    duration: int = 0
    references: bytes = b""
    per_chunk: int = 1

    def box(self, number: int) -> bytes:
        """The `trak` box."""
        picture = self.handler == b"vide"
        head = full(
            b"tkhd",
            0,
            0,
            number,
            0,
            self.duration,
            0,
            0,
            0,
            0,
            65536,
            0,
            0,
            0,
            65536,
            0,
            0,
            0,
            1 << 30,
            64 << 16,
            36 << 16,
        )
        media = full(b"mdhd", 0, 0, self.scale, self.duration, 0)
        media += full(b"hdlr", 0, tail=self.handler + bytes(13))
        media_head = full(b"vmhd", 0, 0) if picture else full(b"smhd", 0)
        here = box(b"url ", struct.pack(">I", 1))
        data = box(b"dinf", full(b"dref", 1, tail=self.references or here))
        flat = [number for pair in self.times for number in pair]
        table = full(b"stsd", 1, tail=self.entry) + full(b"stts", len(self.times), *flat)
        table += full(b"stsc", 1, 1, self.per_chunk, 1)
        table += full(b"stsz", self.size, len(self.offsets) if self.count is None else self.count)
        table += full(b"stco", len(self.offsets), *self.offsets) + self.more
        information = box(b"minf", media_head + data + box(b"stbl", table))
        return box(b"trak", head + self.edits + box(b"mdia", media + information))


def picture_sample_entry(kind: bytes = b"jpeg", width: int = 64, height: int = 36, more: bytes = b"") -> bytes:
    fields = struct.pack(">6xH16xHHIIIH32xHh", 1, width, height, 72 << 16, 72 << 16, 0, 1, 24, -1)
    return box(kind, fields + more)


def sound_sample_entry(rate_hz: int = RATE_HZ, channels: int = 1) -> bytes:
    return box(b"sowt", struct.pack(">6xHHHIHHHHI", 1, 0, 0, 0, channels, 16, 0, 0, rate_hz << 16))


def plain_tracks(seconds: float = 4) -> tuple[Track, Track]:
    """Picture and sound, all pictures of one JPEG and all sound of one block of silence at the head of `mdat`."""
    count, at = round(seconds * FPS), len(FILE_TYPE) + 8
    picture = Track(b"vide", picture_sample_entry(), FPS, [(count, 1)], len(jpeg()), [at] * count)
    sound_at, samples = at + len(jpeg()), RATE_HZ // FPS
    sound = Track(b"soun", sound_sample_entry(), RATE_HZ, [(count * samples, 1)], 2, [sound_at] * count)
    sound.count, sound.per_chunk = count * samples, samples
    return picture, sound


FILE_TYPE = box(b"ftyp", b"qt  \0\0\2\0qt  ")


def mov(*tracks: Track, more: bytes = b"", after: bytes = b"", moov: bytes | None = None) -> bytes:
    """A whole file; `more` stands inside `moov`, `after` behind it, `moov` instead of it."""
    return FILE_TYPE + box(b"mdat", jpeg() + PCM) + (movie(*tracks, more=more) if moov is None else moov) + after


def movie(*tracks: Track, more: bytes = b"") -> bytes:
    """The `moov` box."""
    chosen = tracks or plain_tracks()
    head = full(b"mvhd", 0, 0, 1000, 0, 65536, 256 << 16, 0, 0, 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30, *[0] * 6, 3)
    return box(b"moov", head + b"".join(track.box(index + 1) for index, track in enumerate(chosen)) + more)


# The others


def riff(kind: bytes, body: bytes) -> bytes:
    """A chunk of AVI or WAV."""
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def avi_picture(rate: int = FPS, scale: int = 1, width: int = 64, height: int = 36) -> bytes:
    """The `strl` of MJPEG pictures."""
    head = struct.pack("<4s4sIHHIIIIIIII8x", b"vids", b"MJPG", 0, 0, 0, 0, scale, rate, 0, 100, 0, 0, 0)
    form = struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, b"MJPG", 0, 0, 0, 0, 0)
    return riff(b"LIST", b"strl" + riff(b"strh", head) + riff(b"strf", form))


def avi_sound(rate_hz: int = RATE_HZ, channels: int = 1) -> bytes:
    """The `strl` of PCM."""
    wide = 2 * channels
    head = struct.pack("<4sIIHHIIIIIIII8x", b"auds", 0, 0, 0, 0, 0, 1, rate_hz, 0, 100, 0, 0, wide)
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * wide & 0xFFFFFFFF, wide, 16)
    return riff(b"LIST", b"strl" + riff(b"strh", head) + riff(b"strf", form))


def avi(streams: bytes = b"") -> bytes:
    """A whole file of 4 s."""
    head = riff(b"avih", struct.pack("<14I", 40000, 0, 0, 0, 100, 0, 2, 0, 64, 36, 0, 0, 0, 0))
    listed = riff(b"LIST", b"hdrl" + head + (streams or avi_picture() + avi_sound()))
    data = (riff(b"00dc", jpeg()) + riff(b"01wb", PCM)) * 100
    return riff(b"RIFF", b"AVI " + listed + riff(b"LIST", b"movi" + data))


def ogg_pages(bodies: Sequence[bytes], serials: Sequence[int]) -> bytes:
    """First pages of so many streams, all bodies of one length; the checksums are right."""
    size = len(bodies[0])
    head = struct.pack("<4sBBqIIIBB", b"OggS", 0, 2, 0, 0, 0, 0, 1, size)
    pages = np.frombuffer(head + bytes(size), np.uint8)[None].repeat(len(bodies), axis=0)
    pages[:, 14:18] = np.asarray(serials, "<u4").view(np.uint8).reshape(-1, 4)
    pages[:, 28:] = np.frombuffer(b"".join(bodies), np.uint8).reshape(-1, size)
    table = np.zeros(256, np.uint32)
    for index in range(256):
        value = index << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
        table[index] = value
    checks = np.zeros(len(pages), np.uint32)
    for column in range(pages.shape[1]):
        checks = checks << np.uint32(8) ^ table[(checks >> np.uint32(24)) ^ pages[:, column]]
    pages[:, 22:26] = checks.astype("<u4").view(np.uint8).reshape(-1, 4)
    return pages.tobytes()


def ts_streams(count: int) -> bytes:
    """MPEG-TS without tables: the first packet of an MP2 stream on each of `count` PIDs."""
    body = b"\0\0\1\xc0\0\0\x80\0\0" + b"\xff\xfd\x80\x00" + bytes(171)
    return b"".join(struct.pack(">BHB", 0x47, 0x4000 | 32 + n % 8128, 0x10) + body for n in range(count))
