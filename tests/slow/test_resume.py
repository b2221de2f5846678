"""A killed training goes on with the very next batch, whatever the number of ranks and workers, to the same weights."""

from pathlib import Path

import pytest
from resume import run

pytestmark = pytest.mark.slow


def test_kills_change_neither_order_nor_weights(tmp_path: Path) -> None:
    found = run(tmp_path, kills=5, seed=4, per_life=2)
    assert (found.order, found.weights) == ([], [])
    assert found.kills == 5
    assert found.lives >= 3  # elastic, one rank, two ranks
