"""What several tests of scorers share."""

from pathlib import Path

import pytest
from tiny import make_clip


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A CLIP of red and blue: its architecture and its weights."""
    return make_clip(tmp_path_factory.mktemp("clip"), steps=60)
