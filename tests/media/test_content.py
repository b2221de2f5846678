"""The codes in picture and sound come back from where they were: 8 kinds of source, a few spans of each."""

from dataclasses import replace
from pathlib import Path

import pytest
from coded import make_coded
from readback import KINDS, check, cuts


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_cut_shows_is_what_the_source_showed_then(kind: str, tmp_path: Path) -> None:
    form = replace(KINDS[kind], seconds=24.0)
    for result in cuts(make_coded(tmp_path, form), form, 6, 3, tmp_path):
        check(result, form)
