"""The parent's side of the media child: start it, ask it, kill it at the deadline."""

import atexit
import contextlib
import json
import math
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from v2a_data.errors import ItemError
from v2a_data.media import confine
from v2a_data.media.picture import FitRule
from v2a_data.media.probe import Probe

# A job may take this long, plus a share of the media's length.
_BASE_S = 30.0
_PER_MEDIA_SECOND = 0.5
# Processor time of a probe, which only reads: several times what a long video takes. No other job is held to less than
# its deadline.
_PROBE_CPU_S = 1.0
_PROBE_CPU_PER_MEDIA_SECOND = 0.0006
_PROBE_BYTES_PER_CPU_S = 10_000_000
# A child whose pipe broke is dying; it gets this long, so that what it died of can be said.
_DYING_S = 5.0
_MAX_ANSWER = 64_000_000


class MediaChild:
    """One decoding subprocess, started when first asked and again after it was killed.

    Every call raises `ItemError`: a reason from the child, `timed_out` past the deadline, or
    `crashed` when the child died. Use as a context manager, or call `close`.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "MediaChild":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def probe(self, path: Path, max_duration_s: float) -> Probe:
        """What the file holds."""
        size = path.stat().st_size if path.is_file() else 0
        cpu_s = _PROBE_CPU_S + _PROBE_CPU_PER_MEDIA_SECOND * max_duration_s + size / _PROBE_BYTES_PER_CPU_S
        answer = self._call(_BASE_S, "probe", cpu_s, path=str(path), max_duration_s=max_duration_s)
        return Probe.from_json(answer)

    def tap(self, path: Path, spec: Any, folder: Path, duration_s: float) -> dict[str, Any]:
        """Decode once for the scorers (`media.tap.tap`)."""
        return dict(self._call(_deadline(duration_s), "tap", path=str(path), spec=asdict(spec), folder=str(folder)))

    def cut(
        self, path: Path, spans: Sequence[tuple[float, float]], spec: dict[str, Any], folder: Path, duration_s: float
    ) -> list[dict[str, Any]]:
        """Cut spans into files (`media.cut.cut`); one result per span."""
        deadline = _deadline(duration_s) + 5.0 * len(spans)
        return list(self._call(deadline, "cut", path=str(path), spans=list(spans), spec=spec, folder=str(folder)))

    def build(self) -> str:
        """Versions of PyAV and of the FFmpeg inside it (`media.build.build`)."""
        return str(self._call(_BASE_S, "build"))

    def count(self, path: Path, fps: Fraction, duration_s: float) -> dict[str, Any]:
        """Decode a finished sample and count what it holds (fields of `media.count.Counted`)."""
        return dict(self._call(_deadline(duration_s), "count", path=str(path), fps=str(fps)))

    def grid_open(self, path: Path, width: int, height: int, fps: Fraction, fit: FitRule = "pad") -> None:
        """Start handing out the frames of a video (`media.grid.Grid`)."""
        self._call(_BASE_S, "grid_open", path=str(path), width=width, height=height, fps=str(fps), fit=fit)

    def grid_take(self, count: int, folder: Path) -> np.ndarray:
        """The next frames of the opened video, `(n, height * 3 / 2, width)` uint8; fewer at its end."""
        target = folder / "grid.npy"
        self._call(_BASE_S + count * 0.2, "grid_take", count=count, target=str(target))
        return np.load(target, allow_pickle=False)

    def close(self) -> None:
        """End the child."""
        if self._process is not None:
            confine.kill_group(self._process)
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe:
                    pipe.close()
            self._process = None

    def _call(self, deadline_s: float, op: str, cpu_s: float | None = None, **args: Any) -> Any:
        cpu_s = math.ceil(cpu_s or deadline_s)
        process = self._start()
        assert process.stdin is not None and process.stdout is not None
        body = json.dumps({"op": op, "args": args, "cpu_s": cpu_s}).encode()
        stop = time.monotonic() + deadline_s
        try:
            process.stdin.write(struct.pack(">I", len(body)) + body)
            process.stdin.flush()
            (size,) = struct.unpack(">I", self._read(process, 4, stop))
            if size > _MAX_ANSWER:
                raise EOFError
            reply = json.loads(self._read(process, size, stop))
        except TimeoutError:
            self.close()
            raise ItemError("timed_out", f"{op} took more than {deadline_s:.0f} s") from None
        except (BrokenPipeError, EOFError):
            code = self._ended(process)
            if code == -signal.SIGXCPU:
                raise ItemError("timed_out", f"{op} used more than {cpu_s} s of processor time") from None
            raise ItemError("crashed", f"{op} ended the decoder with {_ending(code)}") from None
        if reply.get("exit"):
            self.close()
        if "error" not in reply:
            return reply["ok"]
        error = reply["error"]
        if error["reason"] == "os_error":
            raise OSError(error.get("errno") or 0, error["message"])
        raise ItemError(error["reason"], error["message"])

    def confinement(self) -> confine.Confinement:
        """What this system lets a child be kept from."""
        self.build()
        assert self._process is not None
        return confine.look(self._process.pid)

    def _ended(self, process: subprocess.Popen[bytes]) -> int:
        """The exit code of a child that answers no more."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_DYING_S)
        self.close()
        return int(process.returncode)

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                confine.command(0, [sys.executable, "-I", "-m", "v2a_data.media.child"]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=confine.environment(),
                bufsize=0,
                start_new_session=True,  # Ctrl-C reaches the driver only; the child ends with its parent
            )
        return self._process

    @staticmethod
    def _read(process: subprocess.Popen[bytes], size: int, stop: float) -> bytes:
        assert process.stdout is not None
        parts: list[bytes] = []
        while size:
            ready, _, _ = select.select([process.stdout], [], [], max(0.0, stop - time.monotonic()))
            if not ready:
                raise TimeoutError
            part = os.read(process.stdout.fileno(), min(size, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _deadline(duration_s: float) -> float:
    return _BASE_S + _PER_MEDIA_SECOND * duration_s


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def twice(job: Any) -> Any:
    """Run a job of the child; a second death or timeout on the same video raises `quarantined`."""
    try:
        return job()
    except ItemError as error:
        if error.reason not in ("timed_out", "crashed"):
            raise
    try:
        return job()
    except ItemError as error:
        if error.reason in ("timed_out", "crashed"):
            raise ItemError("quarantined", f"killed its decoder twice, last: {error}") from None
        raise


_shared: MediaChild | None = None


def shared_child() -> MediaChild:
    """The one child of this process."""
    global _shared
    if _shared is None:
        _shared = MediaChild()
        atexit.register(_shared.close)
    return _shared
