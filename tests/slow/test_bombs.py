"""Files made to cost much through the media child: none takes over 1 GB or past its deadline, and each says why."""

from pathlib import Path

import pytest
from bombs import BOMBS, explode

pytestmark = pytest.mark.slow


def test_every_bomb_ends_small_and_with_a_reason(tmp_path: Path) -> None:
    outcomes = [explode(name, tmp_path) for name in BOMBS]
    assert len(outcomes) >= 60
    assert [outcome for outcome in outcomes if outcome.hurts] == []
    assert {"too_large", "too_long", "too_dense", "too_many_streams", "too_much_memory"} <= {o.reason for o in outcomes}
