"""Files that name other files or addresses, and files made to cost much: nothing is followed, all end with a reason."""

import ctypes
import os
import resource
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest
from bombs_made import BOMBS
from boxes import box, mov, plain_tracks

from v2a_data.errors import ItemError
from v2a_data.media import confine, ffmpeg
from v2a_data.media.client import MediaChild
from v2a_data.media.cut import CutSpec
from v2a_data.media.limits import open_media
from v2a_data.media.tap import TapSpec

MARK = b"CANARY-6f1d"
SOUND = b"RIFF\x64\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\x40\0\0\0" + bytes(64)
_IN_ACCESS, _IN_OPEN = 0x1, 0x20


class Trap:
    """A file and a listening socket that nobody may touch, and what tells when somebody did (inotify)."""

    def __init__(self, folder: Path, media: Path) -> None:
        self.folder, self.canary, self.address = folder, folder / "canary.ts", ""
        self.connections = 0
        with av.open(str(media)) as source, av.open(str(self.canary), "w") as out:
            streams = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
            for packet in source.demux():
                if packet.size:
                    packet.stream = streams[packet.stream.index]
                    out.mux(packet)
        self.canary.write_bytes(self.canary.read_bytes() + MARK)
        libc = ctypes.CDLL(None, use_errno=True)
        self.watch = libc.inotify_init1(os.O_NONBLOCK)
        for path in (self.canary, *self._aliases()):
            assert libc.inotify_add_watch(self.watch, bytes(path), _IN_ACCESS | _IN_OPEN) >= 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _aliases(self) -> Iterator[Path]:
        """Names under which some formats look for the rest of themselves."""
        for name in ("001.jpg", "vobsub.sub"):
            os.link(self.canary, self.folder / name)
            yield self.folder / name

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self.server.accept()
            except OSError:
                return
            self.connections += 1
            line.close()

    def touched(self) -> tuple[int, int]:
        """How often the canary was opened or read, and how many connected, since last asked."""
        self.connect()  # they are taken in turn: when this one is answered, all before it are counted
        connections, self.connections = self.connections - 1, 0
        try:
            return len(os.read(self.watch, 1 << 20)) // 16, connections
        except BlockingIOError:
            return 0, connections

    def connect(self) -> None:
        """Do what nobody else may."""
        with socket.create_connection(("127.0.0.1", int(self.address.split(":")[1])), timeout=5) as line:
            assert line.recv(1) == b""

    def close(self) -> None:
        os.close(self.watch)
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


@pytest.fixture(scope="module")
def trap(media: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trap]:
    made = Trap(tmp_path_factory.mktemp("trap"), media("short.mp4", seconds=1.0))
    yield made
    made.close()


@pytest.fixture(scope="module")
def child() -> Iterator[MediaChild]:
    with MediaChild() as started:
        yield started


def hls(target: str) -> str:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n"


def dash(target: str) -> str:
    return (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S" '
        'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period duration="PT1S"><AdaptationSet><Representation '
        f'id="0" bandwidth="1" mimeType="video/mp2t"><BaseURL>{target}</BaseURL></Representation></AdaptationSet>'
        "</Period></MPD>"
    )


def sdp(port: str) -> str:
    return f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 33\n"


def ssa(target: str) -> str:
    return f"[Script Info]\nScriptType: v4.00+\nVideo File: {target}\nAudio File: {target}\n\n[Events]\n"


def vobsub() -> str:
    return "# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\ntimestamp: 00:00:00:000, filepos: 0\n"


def alias(name: bytes) -> bytes:
    """A `dref` that says that the data are in the file of that name beside this one."""
    path = b"/" + name + bytes((len(name) + 1) % 2)
    path = struct.pack(">hH", 2, len(path)) + path
    record = bytes(10) + bytes(28) + bytes(12) + bytes([len(name)]) + name.ljust(63, b"\0") + bytes(16)
    record += struct.pack(">hh", 1, 1) + bytes(16) + path + struct.pack(">h", -1)
    return box(b"alis", struct.pack(">I", 0) + record.ljust(160, b"\0"))


def pointing_mov(canary: str) -> bytes:
    picture, sound = plain_tracks()
    picture.references = sound.references = alias(Path(canary).name.encode())
    return mov(picture, sound)


ATTACKS: dict[str, Callable[[Trap], str | bytes]] = {
    "hls.m3u8": lambda trap: hls("canary.ts"),
    "hls.mp4": lambda trap: hls("canary.ts"),
    "hls.avi": lambda trap: hls(f"file://{trap.canary}"),
    "hls.ts": lambda trap: hls(f"http://{trap.address}/canary.ts"),
    "hls_key.mkv": lambda trap: hls("canary.ts").replace(
        "#EXTINF", f'#EXT-X-KEY:METHOD=AES-128,URI="http://{trap.address}/key"\n#EXTINF'
    ),
    "hls_http.m3u8": lambda trap: hls(f"http://{trap.address}/canary.ts"),
    "concat.mp4": lambda trap: "ffconcat version 1.0\nfile canary.ts\n",
    "concat_absolute.webm": lambda trap: f"ffconcat version 1.0\nfile '{trap.canary}'\n",
    "concat_http.flv": lambda trap: f"ffconcat version 1.0\nfile 'http://{trap.address}/canary.ts'\n",
    "subfile.mp4": lambda trap: hls(f"subfile,,start,0,end,0,,:{trap.canary}"),
    "dash.mp4": lambda trap: dash("canary.ts"),
    "dash_http.mpd": lambda trap: dash(f"http://{trap.address}/canary.ts"),
    "session.sdp": lambda trap: sdp(trap.address.split(":")[1]),
    "session.mp4": lambda trap: sdp(trap.address.split(":")[1]),
    "%03d.jpg": lambda trap: b"\x89PNG\r\n\x1a\n" + bytes(64),
    "titles.ass": lambda trap: ssa(str(trap.canary)),
    "vobsub.idx": lambda trap: vobsub(),
    "vobsub.mp4": lambda trap: vobsub(),
    "alias.mov": lambda trap: pointing_mov(str(trap.canary)),
}


def test_the_trap_notices_a_read_and_a_connection(trap: Trap) -> None:
    trap.touched()
    assert trap.touched() == (0, 0)
    assert MARK in trap.canary.read_bytes()
    assert trap.touched()[0] >= 2
    trap.connect()
    assert trap.touched() == (0, 1)


def follow(path: Path, **options: str) -> None:
    """Open a file as one would without knowing better."""
    try:
        with av.open(str(path), options=options) as container:
            for _ in container.demux():
                pass
    except av.FFmpegError:
        pass


@pytest.mark.parametrize("name", ["hls.m3u8", "concat.mp4", "%03d.jpg", "vobsub.idx"])
def test_without_the_lists_ffmpeg_reads_the_canary(name: str, trap: Trap) -> None:
    """What the next test finds refused does work otherwise."""
    write(trap, name)
    trap.touched()
    follow(trap.folder / name)
    assert trap.touched()[0] > 0


def test_without_the_lists_the_program_reads_the_canary(trap: Trap) -> None:
    path = write(trap, "concat.mp4")
    trap.touched()
    subprocess.run([ffmpeg.ffmpeg_path(), "-v", "quiet", "-i", path, "-f", "null", "-"], check=False, timeout=60)
    assert trap.touched()[0] > 0


def test_without_the_lists_ffmpeg_connects_and_follows_an_alias(trap: Trap) -> None:
    listing, movie = write(trap, "hls_http.m3u8"), write(trap, "alias.mov")
    trap.touched()
    follow(listing, protocol_whitelist="file,http,tcp")
    assert trap.touched()[1] > 0
    follow(movie, enable_drefs="1")
    assert trap.touched()[0] > 0


def write(trap: Trap, name: str) -> Path:
    body, path = ATTACKS[name](trap), trap.folder / name
    path.write_bytes(body.encode() if isinstance(body, str) else body)
    return path


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_that_a_file_names_is_opened(name: str, trap: Trap, child: MediaChild, tmp_path: Path) -> None:
    path, sound = write(trap, name), tmp_path / "sound.wav"
    trap.touched()
    spec = CutSpec(64, 36, Fraction(25), 16000, 1, 30).to_json()
    tapped = TapSpec((0.0,), 1.0, ((1, 64),), ((64, 36, 12.5),), ("source", "mono16k"))
    sound.write_bytes(SOUND)
    jobs: list[Callable[[], object]] = [
        lambda: open_media(path),
        lambda: child.probe(path, 3600.0),
        lambda: child.tap(path, tapped, tmp_path, 1.0),
        lambda: child.cut(path, [(0.0, 1.0)], spec, tmp_path, 1.0),
        lambda: child.count(path, Fraction(25), 1.0),
        lambda: child.grid_open(path, 64, 36, Fraction(25)),
        lambda: child.grid_take(25, tmp_path),
        lambda: ffmpeg.mux(path, sound, tmp_path / "muxed.mkv"),
    ]
    reasons, words = [], ""
    for job in jobs:
        try:
            job()
            reasons.append("read")
        except ItemError as error:
            reasons.append(error.reason)
            words = error.message
    assert trap.touched() == (0, 0)
    assert not [file for file in tmp_path.iterdir() if MARK in file.read_bytes()]
    if name != "alias.mov":  # a MOV file like any other, but that its data are elsewhere
        assert reasons == [*["not_media"] * 6, "internal", "ffmpeg_failed"]
        # A new ffmpeg takes no file for HLS that is not named so; an old one does, and meets the list.
        assert "whitelist" in words or name.startswith(("hls", "subfile"))


CHEAP = {
    "declared 65535x65535 in MOV": "cut",
    "PNG of 12000x12000": "too_large",
    "JPEG of 8192x8192": "too_large",
    "JPEG grows to 8192x8192": "too_large",
    "H.264 grows to 8192x4352": "too_large",
    "VP8 of 16383x16383": "too_large",
    "10^5 streams in MOV": "too_many_streams",
    "10^5 streams in AVI": "too_many_streams",
    "8128 streams in MPEG-TS": "too_many_streams",
    "100 streams": "too_many_streams",
    "stsz: 4 thousand million samples": "no_picture",
    "fragment of 30 million samples": "too_much_memory",
    "a day in 32,000 samples": "too_long",
    "times of 10^9 s": "too_long",
    "10^5 pictures at one time": "too_dense",
    "PNG of 8K, 25 a second": "too_dense",
    "sound of 1 Hz": "sound_out_of_range",
    "255 channels": "sound_out_of_range",
    "boxes 10^5 deep": "not_media",
}


@pytest.mark.parametrize("name", CHEAP)
def test_a_bomb_ends_with_its_reason(name: str, child: MediaChild, tmp_path: Path) -> None:
    suffix, made = BOMBS[name]
    path = tmp_path / f"bomb.{suffix}"
    path.write_bytes(made())
    spec = CutSpec(64, 36, Fraction(25), 16000, 1, 30).to_json()
    try:
        found = child.probe(path, 3600.0)
        child.tap(path, TapSpec((0.0, 2.0), 2.0, ((1, 64),)), tmp_path, found.duration_s)
        (cut,) = child.cut(path, [(0.0, 2.0)], spec, tmp_path, found.duration_s)
        reason = cut["reason"] or "cut"
    except ItemError as error:
        reason = error.reason
    assert reason == CHEAP[name]


@pytest.mark.parametrize("name", ["10^5 streams in MOV", "fragment of 30 million samples", "boxes 10^5 deep"])
def test_a_bomb_ends_the_ffmpeg_program_too(name: str, tmp_path: Path) -> None:
    path, sound = tmp_path / "bomb.mov", tmp_path / "sound.wav"
    path.write_bytes(BOMBS[name][1]())
    sound.write_bytes(SOUND)
    with pytest.raises(ItemError) as caught:
        ffmpeg.mux(path, sound, tmp_path / "out.mkv")
    assert caught.value.reason == "ffmpeg_failed"
    path.write_bytes(mov())
    ffmpeg.mux(path, sound, tmp_path / "out.mkv")
    assert (tmp_path / "out.mkv").stat().st_size > 1000


def test_growth_is_refused_where_it_is_met(child: MediaChild, tmp_path: Path) -> None:
    """Probe reads the first picture only; the tap and the cut meet the large one."""
    path = tmp_path / "grows.mkv"
    path.write_bytes(BOMBS["JPEG grows to 8192x8192"][1]())
    found = child.probe(path, 3600.0)
    assert (found.picture.width, found.picture.height) == (64, 36)
    spec = CutSpec(64, 36, Fraction(25), 16000, 1, 30).to_json()
    for job in (
        lambda: child.tap(path, TapSpec((0.0, 2.0, 4.0), 2.0, ((1, 64),)), tmp_path, 4.2),
        lambda: child.cut(path, [(0.0, 4.2)], spec, tmp_path, 4.2),
        lambda: child.count(path, Fraction(25), 4.2),
    ):
        with pytest.raises(ItemError) as caught:
            job()
        assert caught.value.reason == "too_large"


def test_what_unpacks_for_ever_uses_up_its_processor_time(
    child: MediaChild, media: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "packed.mkv"
    path.write_bytes(BOMBS["blocks that unpack to 90 MB each"][1]())
    monkeypatch.setattr("v2a_data.media.client._PROBE_CPU_S", 0.1)
    monkeypatch.setattr("v2a_data.media.client._PROBE_BYTES_PER_CPU_S", 1e9)
    with pytest.raises(ItemError, match="1 s of processor time") as caught:
        child.probe(path, 100.0)
    assert caught.value.reason == "timed_out"
    # Each job has its own allowance.
    for _ in range(3):
        assert child.probe(media("short.mp4", seconds=1.0), 3600.0).duration_s > 0.9


def test_a_track_that_swells_is_the_files_fault_and_not_the_disks(media: Callable[..., Path], tmp_path: Path) -> None:
    with MediaChild() as small:
        small.build()
        resource.prlimit(small._process.pid, resource.RLIMIT_FSIZE, (100_000, 100_000))
        with pytest.raises(ItemError) as caught:
            small.tap(media("a.mp4"), TapSpec((0.0, 2.0), 2.0, (), (), ("source",)), tmp_path, 4.0)
    assert caught.value.reason == "too_large"


# What a confined process may do


def confined(seconds: int, code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code as media are read."""
    command = confine.command(seconds, [sys.executable, "-I", "-c", code])
    return subprocess.run(command, env=confine.environment(), capture_output=True, text=True, timeout=60, check=False)


def may_unshare() -> bool:
    code = (
        "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(0x40000000) and ctypes.CDLL(None).unshare(0x50000000))"
    )
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(not may_unshare(), reason="this system lets nobody leave the network")
def test_a_confined_process_has_no_network_not_even_loopback(trap: Trap, child: MediaChild) -> None:
    host, port = trap.address.split(":")
    code = f"import socket; socket.create_connection(({host!r}, {port}), timeout=5); print('connected')"
    trap.touched()
    free = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert (free.stdout, trap.touched()[1]) == ("connected\n", 1)
    kept = confined(0, code)
    assert kept.returncode == 1
    assert "Network is unreachable" in kept.stderr
    assert trap.touched()[1] == 0
    assert child.confinement().no_network


def test_processor_time_and_memory_end(trap: Trap) -> None:
    assert confined(1, "while True: pass").returncode == -9
    assert "MemoryError" in confined(0, "bytearray(1_000_000_000)").stderr
    assert confined(0, "bytearray(300_000_000)").returncode == 0
    assert "File too large" in confined(0, f"open({str(trap.folder / 'f')!r}, 'wb').truncate(17_000_000_000)").stderr
    moving = (
        "import time; from v2a_data.media.confine import allow_cpu\n"
        "for _ in range(3):\n allow_cpu(1); stop = time.process_time() + 0.8\n while time.process_time() < stop: pass\n"
        "print('three jobs', flush=True); allow_cpu(0)\nwhile True: pass\n"
    )
    ended = confined(0, moving)
    assert (ended.stdout, ended.returncode) == ("three jobs\n", -24)


@pytest.mark.skipif(not may_unshare(), reason="a bound on processes needs a user namespace")
def test_processes_are_bounded_for_everyone_but_root() -> None:
    code = (
        "import os, threading, time\nfrom v2a_data.media import confine\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "confine.confine(0)\nstarted = 1\n"
        "try:\n"
        "    while started < 100: threading.Thread(target=time.sleep, args=(5,), daemon=True).start(); started += 1\n"
        "except RuntimeError: pass\n"
        "try: os.fork() or os._exit(0); print('forked')\n"
        "except BlockingIOError: print(started, flush=True)\n"
        "os._exit(0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{confine.MAX_PROCESSES}\n", "")


PROGRAM = """#!/bin/sh
{ env; cat /proc/self/limits; readlink /proc/self/ns/net; } > "$TMPDIR/seen"
sleep 60 & echo $! > "$TMPDIR/started"
wait
"""


def test_the_ffmpeg_program_is_confined_and_ends_with_what_it_started(
    monkeypatch: pytest.MonkeyPatch, media: Callable[..., Path], tmp_path: Path
) -> None:
    """In place of ffmpeg, a program that looks around and then never ends."""
    program = tmp_path / "ffmpeg"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    monkeypatch.setenv("V2A_FFMPEG", str(program))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setattr(ffmpeg, "_TIMEOUT_S", 3)
    with pytest.raises(ItemError) as caught:
        ffmpeg.mux(media("a.mp4"), tmp_path / "s.wav", tmp_path / "out.mp4")
    assert caught.value.reason == "timed_out"
    seen = (tmp_path / "seen").read_text()
    assert "secret" not in seen
    limits = {line[:25].strip(): line[25:].split()[1] for line in seen.splitlines() if line.startswith("Max ")}
    assert limits["Max cpu time"] == "3"
    assert limits["Max address space"] == "1500000000"
    assert limits["Max data size"] == "900000000"
    assert limits["Max file size"] == "16000000000"
    assert limits["Max open files"] == "64"
    if may_unshare():
        assert os.readlink("/proc/self/ns/net") not in seen
    left = Path(f"/proc/{(tmp_path / 'started').read_text().strip()}/stat")
    assert not left.exists() or left.read_text().split()[2] == "Z"
