"""The media child: limits, deadlines, deaths, and files that are not what they say."""

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from v2a_data import doctor
from v2a_data.errors import ItemError
from v2a_data.media import client, confine
from v2a_data.media.client import MediaChild, twice
from v2a_data.media.tap import TapSpec


@pytest.fixture
def child():
    with MediaChild() as started:
        yield started


def refused(child: MediaChild, path: Path) -> str:
    with pytest.raises(ItemError) as caught:
        child.probe(path, 3600.0)
    return caught.value.reason


HOSTILE = {
    "playlist.mp4": b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "concat.mp4": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "dash.mp4": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period/></MPD>',
    "sdp.mp4": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
    "pointer.mp4": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 10\n",
    "text.md": b"# not media\n",
    "-dash-first.mp4": b"\x00" * 64,
    "zeros.mkv": b"\x00" * 4096,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_disguised_files_are_not_media(name: str, child: MediaChild, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(HOSTILE[name])
    assert refused(child, path) == "not_media"


def test_empty_and_missing_files_have_their_own_reasons(child: MediaChild, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    assert refused(child, tmp_path / "empty.mp4") == "empty_file"
    assert refused(child, tmp_path / "nowhere.mp4") == "missing_file"


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.7, 0.98])
def test_truncated_files_end_with_a_reason_or_get_shorter(
    keep: float, child: MediaChild, media, tmp_path: Path
) -> None:
    body = media("c.mkv", fps=Fraction(30000, 1001), rate_hz=48000).read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(body[: int(len(body) * keep)])
    reason, duration_s = None, 0.0
    try:
        duration_s = child.probe(path, 3600.0).duration_s
    except ItemError as error:
        reason = error.reason
    assert duration_s < 11.0
    assert reason in (None, "not_media", "no_picture", "no_sound", "sound_undecodable", "picture_undecodable")


def test_flipped_bytes_never_kill_the_caller(child: MediaChild, media, tmp_path: Path) -> None:
    body = media("a.mp4").read_bytes()
    rng = np.random.default_rng(0)
    spec = TapSpec((0.0, 2.0), 2.0, luma=((64, 36, 12.5),), sound=("source",))
    reasons = []
    for trial in range(25):
        broken = bytearray(body)
        for place in rng.integers(0, len(body), 40):
            broken[place] ^= int(rng.integers(1, 256))
        path = tmp_path / f"{trial}.mp4"
        path.write_bytes(broken)
        try:
            found = child.probe(path, 3600.0)
            child.tap(path, spec, tmp_path, found.duration_s)
        except ItemError as error:
            reasons.append(error.reason)
    assert not {"crashed", "timed_out"} & set(reasons), reasons


def test_a_dead_child_is_an_item_error_and_starts_again(child: MediaChild, media) -> None:
    path = media("a.mp4")
    assert child.probe(path, 3600.0).duration_s > 10
    process = child._process
    os.kill(process.pid, signal.SIGSEGV)
    with pytest.raises(ItemError) as caught:
        child.probe(path, 3600.0)
    assert caught.value.reason == "crashed"
    assert "signal 11" in caught.value.message
    assert child.probe(path, 3600.0).duration_s > 10
    assert child._process.pid != process.pid


def test_the_deadline_kills(child: MediaChild, media, monkeypatch: pytest.MonkeyPatch) -> None:
    child.probe(media("a.mp4"), 3600.0)
    os.kill(child._process.pid, signal.SIGSTOP)
    monkeypatch.setattr(client, "_BASE_S", 0.5)
    started = time.monotonic()
    with pytest.raises(ItemError) as caught:
        child.probe(media("a.mp4"), 3600.0)
    assert caught.value.reason == "timed_out"
    assert time.monotonic() - started < 10
    assert child._process is None


def test_two_deaths_quarantine() -> None:
    deaths = iter([ItemError("crashed", "one"), ItemError("timed_out", "two")])

    def job() -> None:
        raise next(deaths)

    with pytest.raises(ItemError) as caught:
        twice(job)
    assert caught.value.reason == "quarantined"
    assert twice(iter([ItemError]).__next__) is ItemError


def test_the_child_gets_no_secrets_and_no_torch(media) -> None:
    environment = dict(os.environ)
    os.environ["V2A_TEST_SECRET"] = "canary"
    try:
        with MediaChild() as started:
            started.probe(media("a.mp4"), 3600.0)
            pid = started._process.pid
            seen = Path(f"/proc/{pid}/environ").read_bytes()
            maps = Path(f"/proc/{pid}/maps").read_text()
            limits = Path(f"/proc/{pid}/limits").read_text()
    finally:
        os.environ.clear()
        os.environ.update(environment)
    assert b"canary" not in seen
    assert "libtorch" not in maps
    assert "1500000000" in next(line for line in limits.splitlines() if line.startswith("Max address space"))


def test_the_child_ends_with_its_parent() -> None:
    code = (
        "import subprocess, sys, time\n"
        "from v2a_data.media.client import MediaChild\n"
        "c = MediaChild(); c._start(); print(c._process.pid, flush=True); time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the media child outlived its parent")


def test_a_picture_too_large_is_refused(child: MediaChild, tmp_path: Path) -> None:
    import av

    path = tmp_path / "bomb.mkv"
    with av.open(str(path), "w") as out:
        picture, sound = out.add_stream("ffv1", rate=1), out.add_stream("flac", rate=8000, layout="mono", format="s16")
        picture.width, picture.height, picture.pix_fmt = 10000, 8000, "gray"
        frame = av.VideoFrame.from_ndarray(np.zeros((8000, 10000), np.uint8), format="gray")
        quiet = av.AudioFrame.from_ndarray(np.zeros((1, 4608), np.int16), format="s16", layout="mono")
        quiet.sample_rate, quiet.pts, frame.pts = 8000, 0, 0
        for stream, first in ((picture, frame), (sound, quiet)):
            out.mux(stream.encode(first))
            out.mux(stream.encode(None))
    assert refused(child, path) == "too_large"


def test_requests_that_are_no_jobs_are_answers_not_deaths(child: MediaChild) -> None:
    with pytest.raises(ItemError) as caught:
        child._call(10.0, "no_such_job")
    assert caught.value.reason == "damaged"
    assert json.dumps(caught.value.message)


@pytest.mark.parametrize(
    ("version", "fixed"),
    [
        ("8.1.2", True),
        ("n9.0.2-17-g2a571b6068-20260930", True),
        ("10.0", True),
        ("8.0.3", False),
        ("5.1.9-0+deb12u1", False),
        ("N-119000-gdeadbeef", False),
    ],
)
def test_doctor_warns_of_an_ffmpeg_that_media_can_break(
    version: str, fixed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The program and the one inside PyAV; a warning, since a distribution may have mended an old number."""
    import av

    program = tmp_path / "ffmpeg"
    program.write_text(f"#!/bin/sh\necho 'ffmpeg version {version} Copyright (c) the FFmpeg developers'\n")
    program.chmod(0o755)
    monkeypatch.setenv("V2A_FFMPEG", str(program))
    monkeypatch.setattr(av, "ffmpeg_version_info", version)
    found = {check.name: check for check in (*doctor._ffmpeg(), *doctor._media_child())}
    assert found["ffmpeg"].ok
    for name, package in (("ffmpeg's age", "imageio-ffmpeg"), ("PyAV's FFmpeg", "av")):
        check = found[name]
        assert (check.ok, check.optional, check.found) == (fixed, True, version)
        assert f"pip install -U {package}" in check.fix
        assert "CVE-2026-40962" in check.fix


def test_doctor_says_what_holds_the_media_child(monkeypatch: pytest.MonkeyPatch) -> None:
    *_, check = doctor._media_child()
    held = confine.Confinement(no_network=False, processes=None)
    with MediaChild() as started:
        network, user = (
            os.readlink(f"/proc/{started._start().pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")
            for kind in ("net", "user")
            if started.build()
        )
    assert check.ok == network
    assert check.found == (
        f"{'no network' if network else 'network not closed'}, "
        f"{f'at most {confine.MAX_PROCESSES}' if user else 'any number of'} processes"
    )
    monkeypatch.setattr(MediaChild, "confinement", lambda child: held)
    *_, check = doctor._media_child()
    assert (check.ok, check.optional, check.found) == (False, True, "network not closed, any number of processes")
