"""What a process that reads media may do to the machine; nothing of this loads FFmpeg.

`python -I -m v2a_data.media.confine SECONDS PROGRAM ARGUMENT…` bounds itself for good and becomes PROGRAM. So no line
of PROGRAM, or of a library that it loads, runs without the bounds: memory, file size, open files, core dumps, and
where the system allows it no network and few processes.

Processor time has two forms. A program that does one thing gets SECONDS as its hard limit. The media child does many
jobs, so it is started with 0 (no limit yet) and moves its soft limit with `allow_cpu` before each of them. The parent's
deadline is wall time; this one also ends a child whose parent is gone, and a probe that unpacks for ever on an idle
machine as on a busy one.
"""

import contextlib
import ctypes
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Addresses, libraries included; and what of them may be written to, which bounds what is resident to about 1 GB.
MEMORY_BYTES = 1_500_000_000
DATA_BYTES = 900_000_000
FILE_BYTES = 16_000_000_000
OPEN_FILES = 64
MAX_PROCESSES = 32
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
_KINDS = ("user", "net")
# linux/sched.h
_COUNTS_BY_NAMESPACE = (5, 14)
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000


def command(seconds: int, arguments: Sequence[str]) -> list[str]:
    """The command line that starts `arguments` within the bounds; `seconds` of processor time, or 0 for no limit."""
    return [sys.executable, "-I", "-m", "v2a_data.media.confine", str(seconds), *arguments]


def environment(outer: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The few variables that a confined process is given: no tokens, no proxies, no settings of Python or FFmpeg."""
    return {name: outer[name] for name in _KEPT_VARIABLES if name in outer} | _ONE_THREAD


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads its own session, and whatever it has started in it. Waits for it."""
    if process.returncode is None:  # not waited for, so its number still is its own
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()


def confine(seconds: int) -> None:
    """Bound the calling process, and all that it becomes or starts, for good."""
    _set(resource.RLIMIT_AS, MEMORY_BYTES)
    _set(resource.RLIMIT_DATA, DATA_BYTES)
    _set(resource.RLIMIT_FSIZE, FILE_BYTES)
    _set(resource.RLIMIT_NOFILE, OPEN_FILES)
    _set(resource.RLIMIT_CORE, 0)
    if seconds:
        _set(resource.RLIMIT_CPU, seconds)
    _close_network()


def allow_cpu(seconds: int) -> None:
    """Let the calling process use so many more seconds of processor time; SIGXCPU ends it after that."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    wanted = int(used.ru_utime + used.ru_stime) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (_within(wanted, hard), hard))


@dataclass(frozen=True)
class Confinement:
    """What holds for a process beside the limits that every system has; `processes` is null without a bound."""

    no_network: bool
    processes: int | None


def look(pid: int) -> Confinement:
    """How a confined process of ours differs from this one, as Linux shows it; elsewhere it does not differ."""
    try:
        own, network = (
            os.readlink(f"/proc/{pid}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}") for kind in _KINDS
        )
        limit = resource.prlimit(pid, resource.RLIMIT_NPROC)[0] if own else None
    except (OSError, AttributeError):
        return Confinement(no_network=False, processes=None)
    return Confinement(network, limit)


def _kernel() -> tuple[int, ...]:
    """Version of the running kernel, major and minor."""
    return tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])


def _set(which: int, wanted: int) -> None:
    """Soft and hard limit: `wanted`, or this process's own hard limit where that is lower, since none may be raised."""
    limit = _within(wanted, resource.getrlimit(which)[1])
    resource.setrlimit(which, (limit, limit))


def _within(wanted: int, hard: int) -> int:
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def _close_network() -> None:
    """Move to a network namespace that holds nothing; go on without where the system refuses.

    Root leaves the network alone, and keeps reading files of others. Everyone else needs a user namespace for it, in
    which Linux from 5.14 on counts this process and its children only, so that a bound on processes is one on them;
    before, and outside of one, it would count all processes of the user, and for root it is not enforced at all.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_NETWORK) == 0 or libc.unshare(_NEW_USER | _NEW_NETWORK) != 0:
        return
    if _kernel() >= _COUNTS_BY_NAMESPACE:
        _set(resource.RLIMIT_NPROC, MAX_PROCESSES)


if __name__ == "__main__":
    confine(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - the arguments are ours, and no shell is what is wanted
