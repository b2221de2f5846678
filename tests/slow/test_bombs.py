"""Files made to cost much through the media child: none takes more than 1 GB or half a minute, and each says why."""

from pathlib import Path

import pytest
from bombs import BOMBS, explode

pytestmark = pytest.mark.slow


def test_every_bomb_ends_small_and_with_a_reason(tmp_path: Path) -> None:
    outcomes = [explode(name, tmp_path) for name in BOMBS]
    assert len(outcomes) >= 60
    assert [outcome for outcome in outcomes if outcome.hurts] == []
