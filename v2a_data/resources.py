"""Data files that ship with the packages: recipes, label tables, training fragments.

A checkout is looked at first: an editable install may hold a stale copy in site-packages.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent


def _folder(in_checkout: str, in_package: Path) -> Path:
    checkout = _CHECKOUT / in_checkout
    if (_CHECKOUT / "pyproject.toml").is_file() and checkout.is_dir():
        return checkout
    return in_package


def pipelines() -> Path:
    """Folder of the shipped recipes (`*.toml`)."""
    return _folder("pipelines", _PACKAGE / "_pipelines")


def manifests() -> Path:
    """Folder of the shipped label tables."""
    return _folder("manifests", _PACKAGE / "_manifests")


def train_configs() -> Path:
    """Folder of the shipped training fragments (`*.toml`)."""
    return _folder("train/configs", _CHECKOUT / "v2a" / "_configs")
