"""Ids inside of texts: found and taken out, however many ids and however long the text."""

import re
from collections.abc import Iterable, Iterator

IN_PLACE = "(removed)"
_WORD = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN = re.compile(r"[A-Za-z0-9_-]+\Z")


class Traces:
    """Names of some videos: as they stand alone, inside clip ids, in addresses and in file names."""

    def __init__(self, names: Iterable[str]) -> None:
        known = {name for name in names if name}
        self._words = {name for name in known if _PLAIN.match(name)}
        self._others = sorted(known - self._words)
        # The longest first: `yt-` and what follows go together.
        self._sizes = sorted({len(name) for name in self._words}, reverse=True)

    def inside(self, text: str) -> bool:
        """Whether a text names one of them."""
        return next(self._spans(text), None) is not None or any(other in text for other in self._others)

    def out_of(self, text: str) -> str:
        """The text with other words in their place."""
        parts, last = [], 0
        for start, stop in self._spans(text):
            parts += [text[last:start], IN_PLACE]
            last = stop
        text = "".join([*parts, text[last:]])
        for other in self._others:
            text = text.replace(other, IN_PLACE)
        return text

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        shortest = self._sizes[-1] if self._sizes else len(text) + 1
        for word in _WORD.finditer(text):
            at, end = word.span()
            while at + shortest <= end:
                size = next((size for size in self._sizes if self._is_name(text, at, size)), 0)
                if size:
                    yield at, at + size
                at += size or 1

    def _is_name(self, text: str, at: int, size: int) -> bool:
        name = text[at : at + size]
        if name not in self._words:
            return False
        # Ids of rendered videos end in a number, which may go on.
        return not (name.startswith("sy-") and text[at + size : at + size + 1].isdigit())
