"""One shard file: written whole, read back, and only then given its name."""

import hashlib
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from v2a_data.errors import FatalError
from v2a_data.files import sha256_file, whole_file
from v2a_data.shards.format import KEY, ordered


@dataclass(frozen=True)
class Member:
    """A sample on its way into a shard: its JSON fields and the file with its media.

    `body` is its JSON as it stood in a shard before, byte for byte; else it is made from `values`.
    """

    key: str
    values: dict[str, Any]
    media: Path
    body: bytes | None = None

    def json(self) -> bytes:
        """The bytes of its JSON. Raises `ValueError` for other fields than the contract's."""
        return json_bytes(self.values) if self.body is None else self.body


@dataclass(frozen=True)
class WrittenShard:
    """A shard that is in place: its size, its hash, and per sample where its members are."""

    bytes: int
    sha256: str
    places: list[dict[str, Any]]


def json_bytes(values: dict[str, Any]) -> bytes:
    """A sample's JSON as it stands in a shard. Raises `ValueError` for other fields than the contract's."""
    return json.dumps(ordered(values), ensure_ascii=False, separators=(",", ":")).encode()


def write_shard(path: Path, members: Sequence[Member]) -> WrittenShard:
    """Write members in the order of their keys. Same members, same bytes.

    Every member is read back and compared before the file gets its name.
    """
    from webdataset import TarWriter

    hashes: dict[str, str] = {}
    with whole_file(path) as temporary:
        with temporary.open("wb") as file, TarWriter(file, encoder=False, mtime=0) as writer:
            for member in sorted(members, key=lambda m: m.key):
                if not KEY.match(member.key):
                    raise FatalError(f"{member.key!r} cannot be the key of a sample")
                body = member.json()
                media = member.media.read_bytes()
                hashes[member.key] = hashlib.sha256(media + body).hexdigest()
                writer.write({"__key__": member.key, "json": body, "mp4": media})
        places = _read_back(temporary, hashes)
        return WrittenShard(temporary.stat().st_size, sha256_file(temporary), places)


def _read_back(path: Path, hashes: dict[str, str]) -> list[dict[str, Any]]:
    places: dict[str, dict[str, Any]] = {}
    bodies: dict[str, dict[str, bytes]] = {}
    found: dict[str, str] = {}
    with tarfile.open(path, "r:") as tar:
        for info in tar:
            key, _, kind = info.name.partition(".")
            member = tar.extractfile(info)
            assert member is not None
            bodies.setdefault(key, {})[kind] = member.read()
            places.setdefault(key, {"key": key}).update(
                {f"{kind}_offset": info.offset_data, f"{kind}_bytes": info.size}
            )
            if bodies[key].keys() >= {"mp4", "json"}:
                both = bodies.pop(key)
                found[key] = hashlib.sha256(both["mp4"] + both["json"]).hexdigest()
                places[key]["sha256"] = found[key]
    if found != hashes:
        raise FatalError(
            f"{path}: what was written does not read back", hint="check the disk, then run the command again"
        )
    return list(places.values())
