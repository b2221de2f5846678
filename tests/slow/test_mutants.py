"""Damaged media through the media child: nobody dies but the child, and nothing takes long or swells."""

from pathlib import Path

import pytest
from mutants import MUTATIONS, rendered, run

pytestmark = pytest.mark.slow
FILES = 360


def test_no_damaged_file_hurts_the_run(tmp_path: Path) -> None:
    outcome = run(FILES, 7, tmp_path, rendered(tmp_path), lambda text: None)
    assert outcome.troubles == []
    assert sum(outcome.reasons.values()) == FILES
    assert outcome.controls == 18
    # The damage does something, and not everything.
    assert {kind for kind, found in outcome.by_kind if found == "refused"} == set(MUTATIONS)
    assert 0 < outcome.reasons["cut"] < FILES / 2
    assert len(outcome.reasons) >= 5
