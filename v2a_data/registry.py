"""Lazy registries: `"name": "module:Attr"`, one row per source, scorer, model or metric."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from v2a_data.errors import UsageError, nearest


class Registry(Mapping[str, Any]):
    """Names to classes; a class is imported when it is first asked for.

    Raises `UsageError` with the nearest known names for an unknown one.
    """

    def __init__(self, kind: str, rows: dict[str, str]) -> None:
        self.kind = kind
        self.rows = rows

    def __getitem__(self, name: str) -> Any:
        if name not in self.rows:
            raise UsageError(f"unknown {self.kind} {name!r}; {nearest(name, list(self.rows))}")
        module, _, attribute = self.rows[name].partition(":")
        return getattr(import_module(module), attribute)

    def __contains__(self, name: object) -> bool:
        return name in self.rows

    def __iter__(self) -> Iterator[str]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)
