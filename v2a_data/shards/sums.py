"""`shards/SHA256SUMS`: the hash of every file of the folder, so that it can be checked without a ledger.

`sha256sum -c SHA256SUMS` reads it too. Its last line is the hash of the lines above, so that no byte of it can
change unseen.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from v2a_data.files import write_text
from v2a_data.shards.format import CARD_FILES, INDEX_FILE

SUMS_FILE = "SHA256SUMS"
_HEAD = f"# v2a-data checksums 1; also read by: sha256sum -c {SUMS_FILE}\n"
_LAST = "# sha256 of the lines above: "
_MAX_BYTES = 100_000_000
_HASH = r"(?P<sha256>[0-9a-f]{64})"
_INDEX = re.compile(rf"{_HASH}  {re.escape(INDEX_FILE)}\n")
_CARD = re.compile(rf"{_HASH}  (?P<name>{'|'.join(map(re.escape, CARD_FILES))})\n")
_SHARD = re.compile(
    r"# (?P<samples>0|[1-9]\d{0,11}) samples, (?P<bytes>0|[1-9]\d{0,17}) bytes\n"
    rf"{_HASH}  (?P<name>[A-Za-z0-9_-][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*)\n"
)


@dataclass(frozen=True)
class Known:
    """What a shard was when it was written."""

    samples: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Sums:
    """The content of `SHA256SUMS`; `cards` has the hashes of `README.md` and `croissant.json` by name."""

    index_sha256: str
    shards: Mapping[str, Known]
    cards: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """The file: the same content is always the same text."""
        lines = [_HEAD, f"{self.index_sha256}  {INDEX_FILE}\n"]
        lines += [f"{sha256}  {name}\n" for name, sha256 in sorted(self.cards.items())]
        for name, known in sorted(self.shards.items()):
            lines.append(f"# {known.samples} samples, {known.bytes} bytes\n{known.sha256}  {name}\n")
        body = "".join(lines)
        return f"{body}{_LAST}{hashlib.sha256(body.encode()).hexdigest()}\n"


def write_sums(folder: Path, sums: Sums) -> bool:
    """Write the file whole, unless it stands there already; returns whether it was written."""
    path, text = folder / SUMS_FILE, sums.text()
    if path.is_file() and path.stat().st_size == len(text) and path.read_bytes() == text.encode():
        return False
    write_text(path, text)
    return True


def read_sums(folder: Path) -> Sums:
    """What the file says. Raises `ValueError` where a byte of it changed, `FileNotFoundError` where there is none."""
    path = folder / SUMS_FILE
    if not path.exists():
        raise FileNotFoundError(path)
    if not path.is_file() or path.stat().st_size > _MAX_BYTES:
        raise ValueError("not a list of checksums")
    body = path.read_bytes()
    text = body.decode("ascii", "replace")
    index = _INDEX.match(text, len(_HEAD))
    if index is None:
        raise ValueError("not a list of checksums")
    shards, cards, place = dict[str, Known](), dict[str, str](), index.end()
    while found := _CARD.match(text, place):
        cards[found["name"]] = found["sha256"]
        place = found.end()
    while found := _SHARD.match(text, place):
        shards[found["name"]] = Known(int(found["samples"]), int(found["bytes"]), found["sha256"])
        place = found.end()
    sums = Sums(index["sha256"], shards, cards)
    # Written again it must be the same file: this covers the first line, the order, the last line and its hash.
    if sums.text().encode() != body:
        raise ValueError("it does not agree with its own last line")
    return sums
