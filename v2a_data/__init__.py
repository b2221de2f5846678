"""v2a_data: from label names to a grounded dataset for sound from silent video.

The command line is `v2a-data`; everything it does is also a function here. The tables
of a workspace come back as pandas frames: `load_manifest`, `load_table`, `load_index`.
"""

from typing import Any

__version__ = "0.1.0"
_TABLES = ("load_index", "load_manifest", "load_table")


def __getattr__(name: str) -> Any:
    """The table functions, imported when they are first asked for: the command line starts without them."""
    if name in _TABLES:
        from v2a_data import tables

        return getattr(tables, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
