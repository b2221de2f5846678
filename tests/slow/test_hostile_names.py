"""20,000 ids, labels and titles made by hypothesis; see `tests/fetch/test_hostile_names.py`."""

from pathlib import Path

import pytest
from hostile_names import run_all

pytestmark = pytest.mark.slow


def test_hostile_ids_labels_and_titles(tmp_path: Path) -> None:
    assert run_all(20_000, 1000, tmp_path) >= 20_000
