"""The media child: a process that does one decoding job at a time for its parent.

Started as `python -I -m v2a_data.media.child` by `confine`. Requests and answers are JSON, each after its length
as 4 bytes; arrays and media travel as files in the folder that a request names. Every answer is
`{"ok": …}` or `{"error": {"reason": …, "message": …}}`.
"""

import errno
import json
import os
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from fractions import Fraction
from typing import Any, BinaryIO

import av
import numpy as np

from v2a_data.errors import ItemError
from v2a_data.media.build import build
from v2a_data.media.confine import FILE_BYTES, allow_cpu
from v2a_data.media.count import count
from v2a_data.media.cut import cut
from v2a_data.media.grid import Grid
from v2a_data.media.picture import FitRule
from v2a_data.media.probe import probe
from v2a_data.media.spec import CutSpec
from v2a_data.media.tap import TapSpec, tap

_MAX_MESSAGE = 64_000_000
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


class Server:
    """The jobs a parent can ask for."""

    def __init__(self) -> None:
        self.grid: Grid | None = None

    def probe(self, path: str, max_duration_s: float) -> Any:
        return probe(path, max_duration_s).to_json()

    def tap(self, path: str, spec: dict[str, Any], folder: str) -> Any:
        return tap(path, TapSpec.from_json(spec), folder)

    def cut(self, path: str, spans: list[tuple[float, float]], spec: dict[str, Any], folder: str) -> Any:
        pairs = [(float(start_s), float(stop_s)) for start_s, stop_s in spans]
        return [asdict(result) for result in cut(path, pairs, CutSpec.from_json(spec), folder)]

    def count(self, path: str, fps: str) -> Any:
        return asdict(count(path, Fraction(fps)))

    def build(self) -> Any:
        return build()

    def grid_open(self, path: str, width: int, height: int, fps: str, fit: FitRule) -> Any:
        self.grid = Grid(path, width, height, Fraction(fps), fit)
        return {}

    def grid_take(self, count: int, target: str) -> Any:
        if self.grid is None:
            raise ItemError("internal", "grid_take before grid_open")
        frames = self.grid.take(count)
        np.save(target, frames)
        return {"frames": len(frames)}


def read_message(stream: BinaryIO) -> Any | None:
    """The next JSON message, or null at the end of the stream."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    (size,) = struct.unpack(">I", head)
    if size > _MAX_MESSAGE:
        raise ValueError(f"message of {size} bytes")
    return json.loads(stream.read(size))


def write_message(stream: BinaryIO, value: Any) -> None:
    """Send one JSON message."""
    body = json.dumps(value).encode()
    stream.write(struct.pack(">I", len(body)) + body)
    stream.flush()


def answer(jobs: dict[str, Callable[..., Any]], request: dict[str, Any]) -> dict[str, Any]:
    """Run one request within its `cpu_s`. Only a full memory ends the process; every other failure is an answer."""
    try:
        allow_cpu(request["cpu_s"])
        return {"ok": jobs[request["op"]](**request["args"])}
    except ItemError as error:
        return {"error": {"reason": error.reason, "message": error.message}}
    except MemoryError:
        return {"error": {"reason": "too_much_memory", "message": ""}, "exit": True}
    except OSError as error:
        # FFmpeg's are OSErrors too, and say of a damaged file what the system would say of a disk.
        if isinstance(error, av.FFmpegError) and error.errno not in _FULL:
            return {"error": {"reason": "damaged", "message": str(error)}}
        if error.errno == errno.EFBIG:  # our own bound on what one file may swell to, not the disk's
            return {"error": {"reason": "too_large", "message": f"decodes to more than {FILE_BYTES} bytes"}}
        return {"error": {"reason": "os_error", "message": str(error), "errno": error.errno}}
    except Exception as error:  # what a hostile file triggers inside PyAV is not known in advance
        return {"error": {"reason": "damaged", "message": f"{type(error).__name__}: {error}"}}


def _exit_with_parent() -> None:
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Serve requests from stdin until it closes."""
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not end up between the messages
    _exit_with_parent()
    server = Server()
    jobs = {name: getattr(server, name) for name in ("probe", "tap", "cut", "count", "build", "grid_open", "grid_take")}
    while (request := read_message(requests)) is not None:
        reply = answer(jobs, request)
        write_message(answers, reply)
        if reply.get("exit"):
            return


if __name__ == "__main__":
    main()
