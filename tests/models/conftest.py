"""The fixtures of `conftest_models`, which tests also import names from."""

from conftest_models import folder, hub, made, tiny

__all__ = ["folder", "hub", "made", "tiny"]
