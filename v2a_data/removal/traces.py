"""Ids inside of texts: found and taken out, however many ids and however long the text."""

import re
from collections.abc import Iterable, Iterator

IN_PLACE = "(removed)"
# So many are looked for one by one, which is the fastest by far.
_FEW = 50
_PLAIN = re.compile(r"[A-Za-z0-9_-]+\Z")


class Traces:
    """Names of some videos: as they stand alone, inside clip ids, in addresses and in file names."""

    def __init__(self, names: Iterable[str]) -> None:
        known = {name for name in names if name}
        self._words = {name for name in known if _PLAIN.match(name)}
        self._others = sorted(known - self._words)
        # The longest first: `yt-` and what follows go together.
        self._sizes = sorted({len(name) for name in self._words}, reverse=True)
        shortest = self._sizes[-1] if self._sizes else 1
        self._word = re.compile(rf"[A-Za-z0-9_-]{{{shortest},}}")
        # A video id is found where its YouTube id is.
        self._bytes = [name.encode() for name in known if name.removeprefix("yt-") not in known - {name}]

    def inside(self, text: str) -> bool:
        """Whether a text names one of them."""
        return next(self._spans(text), None) is not None or any(other in text for other in self._others)

    def in_bytes(self, body: bytes) -> bool:
        """Whether bytes of any kind name one of them."""
        if len(self._bytes) <= _FEW and not any(name in body for name in self._bytes):
            return False
        return self.inside(body.decode("latin-1")) or any(other.encode() in body for other in self._others)

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
        if not self._sizes:
            return
        shortest = self._sizes[-1]
        for word in self._word.finditer(text):
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
