"""Workers of a cluster die while `curate` runs on it: the tables are those of one process, the poison is quarantined."""

from pathlib import Path

import pytest
from dask_kills import run

pytestmark = pytest.mark.slow


def test_killed_workers_change_nothing(tmp_path: Path) -> None:
    found = run(tmp_path, kills=5, seed=3)
    assert found.troubles == []
    assert (found.kills, found.quarantined) == (5, 1)
