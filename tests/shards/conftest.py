"""The tiny workspace that the tests of verify and repair damage copies of."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from named_everywhere import build_named
from small_shards import build


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def named(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny workspace with one of its videos named in every place that there is."""
    return build_named(tmp_path_factory.mktemp("named"), small)
