"""A bound on what reading a file from elsewhere may allocate: a small one can claim to hold very much."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_MORE_BYTES = 1_000_000_000
_STATM = Path("/proc/self/statm")


@contextmanager
def at_most(more_bytes: int = MOST_MORE_BYTES) -> Iterator[None]:
    """Inside, this process can map so many bytes more than it has now; what asks for more raises `MemoryError`.

    The bound holds for all threads, so it is for moments and for reading without threads. Linux only: elsewhere
    nothing is bounded.
    """
    if not _STATM.is_file():
        yield
        return
    mapped = int(_STATM.read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    others = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([mapped + more_bytes, *others]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
