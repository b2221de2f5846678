"""Listings for tests of sources: a recipe with this in `[source]`, folders of the test's own."""

from pathlib import Path
from typing import Any

from v2a_data.recipe import load_recipe
from v2a_data.sources.base import Listing


def listing(folder: Path, known: frozenset[str] = frozenset(), resolved: Any = None, **source: Any) -> Listing:
    """`folder` gets `cache` and `scratch`."""
    recipe = load_recipe("keep_all", {"source": {"lookup_sleep_s": 0, **source}})
    return Listing(recipe, folder / "cache", known, resolved or {}, folder / "scratch")
