"""TFRecord files and the tf.Example messages in them, read without TensorFlow.

A record is `length (8 bytes), masked CRC32C of those, data, masked CRC32C of the data`, little-endian. A tf.Example,
and the context of a tf.SequenceExample, is a map of features: lists of bytes, floats or integers. Every length is
checked before its bytes are read.
"""

import struct
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from v2a_data.errors import FatalError

Values = tuple[bytes | int | float, ...]
MOST_RECORD_BYTES = 32_000_000
_POLYNOMIAL = 0x82F63B78
_BLOCK = 4096
_ALL_ONES = 0xFFFFFFFF
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_BYTES, _FLOATS, _INTEGERS = 1, 2, 3


class DamagedRecordError(ValueError):
    """Bytes that are no such record or message."""


def read_records(path: Path, most_bytes: int = MOST_RECORD_BYTES) -> Iterator[bytes]:
    """Data of the records of a file, each held to its checksums.

    Raises `FatalError` naming file, byte and reason where one is damaged, cut short or larger than `most_bytes`.
    """
    with path.open("rb") as file:
        at = 0
        while head := file.read(12):
            try:
                data = _record(file, head, most_bytes)
            except DamagedRecordError as error:
                hint = "the file is damaged; remove it, then run the command again"
                raise FatalError(f"{path.name}, byte {at}: {error}", hint=hint) from None
            at += len(data) + 16
            yield data


def _record(file: BinaryIO, head: bytes, most_bytes: int) -> bytes:
    if len(head) < 12:
        raise DamagedRecordError("the file ends inside a record's head")
    length, crc = struct.unpack("<QI", head)
    if masked_crc32c(head[:8]) != crc:
        raise DamagedRecordError("the length does not have its checksum")
    if length > most_bytes:
        raise DamagedRecordError(f"a record of {length} bytes, at most {most_bytes} are read")
    data, tail = file.read(length), file.read(4)
    if len(data) < length or len(tail) < 4:
        raise DamagedRecordError("the file ends inside a record")
    if masked_crc32c(data) != int.from_bytes(tail, "little"):
        raise DamagedRecordError("the data do not have their checksum")
    return data


def masked_crc32c(data: bytes) -> int:
    """The checksum as TFRecords store it."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & _ALL_ONES


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli, RFC 3720): a block at once, from what each byte adds by its distance to the block's end."""
    table, state = _table(), _ALL_ONES
    values = np.frombuffer(data, np.uint8)
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK].copy()
        first = min(4, len(block))
        block[:first] ^= np.frombuffer(state.to_bytes(4, "little"), np.uint8)[:first]
        distances = np.arange(len(block) - 1, -1, -1)
        state = state >> 8 * first ^ int(np.bitwise_xor.reduce(table[distances, block]))
    return state ^ _ALL_ONES


@cache
def _table() -> np.ndarray:
    """What a byte adds to the checksum when so many bytes follow it, `(4096, 256)` uint32."""
    row = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        row = np.where(row & 1, row >> 1 ^ np.uint32(_POLYNOMIAL), row >> 1).astype(np.uint32)
    table = np.empty((_BLOCK, 256), np.uint32)
    table[0] = row
    for i in range(1, _BLOCK):
        table[i] = table[i - 1] >> 8 ^ row[table[i - 1] & 0xFF]
    return table


def features(message: bytes, wanted: frozenset[str]) -> Mapping[str, Values]:
    """The wanted features of a tf.Example, or of the context of a tf.SequenceExample, by name; empty ones left out.

    Raises `DamagedRecordError` for bytes that are no such message.
    """
    found: dict[str, Values] = {}
    for content in _inside(memoryview(message), 1):
        for entry in _inside(content, 1):
            name, feature = _entry(entry)
            if name in wanted:
                found[name] = _values(feature)
    return {name: values for name, values in found.items() if values}


def _inside(message: memoryview, wanted: int) -> Iterator[memoryview]:
    """Bodies of the fields of this number that have a length: messages, text, packed lists."""
    for number, wire, value in _fields(message):
        if number == wanted and wire == _LENGTH and isinstance(value, memoryview):
            yield value


def _entry(entry: memoryview) -> tuple[str, memoryview]:
    name, feature = b"", memoryview(b"")
    for value in _inside(entry, 1):
        name = bytes(value[:1000])
    for value in _inside(entry, 2):
        feature = value
    return name.decode("utf-8", "replace"), feature


def _values(feature: memoryview) -> Values:
    """What the feature's list holds; of lists of several kinds the last one counts, as in protobuf."""
    kind = 0
    values: list[bytes | int | float] = []
    for number, wire, value in _fields(feature):
        if number in (_BYTES, _FLOATS, _INTEGERS) and wire == _LENGTH and isinstance(value, memoryview):
            if number != kind:
                kind, values = number, []
            values += _list(number, value)
    return tuple(values)


def _list(kind: int, message: memoryview) -> list[bytes | int | float]:
    """Packed lists and single values, both of which protobuf reads."""
    values: list[bytes | int | float] = []
    for number, wire, value in _fields(message):
        if number != 1:
            continue
        if isinstance(value, memoryview):
            if kind == _BYTES:
                values.append(bytes(value))
            else:
                values += map(_signed, _varints(value)) if kind == _INTEGERS else _floats(value)
        elif kind == _INTEGERS and wire == _VARINT:
            values.append(_signed(value))
        elif kind == _FLOATS and wire == _FIXED32:
            values += _floats(value.to_bytes(4, "little"))
    return values


def _floats(packed: bytes | memoryview) -> tuple[float, ...]:
    if len(packed) % 4:
        raise DamagedRecordError("a list of floats that is none")
    return struct.unpack(f"<{len(packed) // 4}f", packed)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _varints(packed: memoryview) -> Iterator[int]:
    at = 0
    while at < len(packed):
        value, at = _varint(packed, at)
        yield value


def _fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Number, wire type and value of the fields of a message; groups, which nothing here uses, are refused."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, wire = key >> 3, key & 7
        if not 1 <= number < 1 << 29:
            raise DamagedRecordError("a field without a number")
        if wire == _VARINT:
            value, at = _varint(message, at)
            yield number, wire, value
            continue
        if wire == _LENGTH:
            size, at = _varint(message, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise DamagedRecordError(f"a field of wire type {wire}")
        if size > len(message) - at:
            raise DamagedRecordError("a field that is longer than its message")
        body, at = message[at : at + size], at + size
        yield number, wire, body if wire == _LENGTH else int.from_bytes(body, "little")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise DamagedRecordError("a number that is cut short")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
    raise DamagedRecordError("a number of more than ten bytes")
