"""How taggers differ: what they take instead of sound, and where their list of classes stands.

A family is a module with `features`, `classes` and `LIST`; the table of models names the family of each tagger.
"""

from pathlib import Path
from typing import Protocol

import numpy as np

from v2a_data.errors import UsageError, nearest


class Family(Protocol):
    """`LIST` is the file of classes: a suffix that replaces the model's, or a name in its folder."""

    LIST: str

    def features(self, sound: np.ndarray) -> np.ndarray:
        """`(n, samples)` float32 at 16 kHz → what the model takes, first axis n."""
        ...

    def classes(self, path: Path) -> list[str]:
        """AudioSet ids in the order of the outputs. Raises `ValueError`, `KeyError` for a file that is no such list."""
        ...


def family(name: str) -> Family:
    """A family by name. Raises `UsageError` with the nearest one."""
    from v2a_data.scorers.taggers import ced, waveform

    known: dict[str, Family] = {"waveform": waveform, "ced": ced}
    if name not in known:
        raise UsageError(f"no tagger family {name!r}; {nearest(name, list(known))}")
    return known[name]
