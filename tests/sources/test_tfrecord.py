"""TFRecords and tf.Examples against Google's protobuf library and RFC 3720; hostile bytes end in an error."""

import contextlib
import struct
from pathlib import Path

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example as with_example
from hypothesis import given, settings
from hypothesis import strategies as st
from records_made import classes, example, record, sequence, slow_crc32c

from v2a_data.errors import FatalError
from v2a_data.sources.tfrecord import DamagedRecordError, crc32c, features, masked_crc32c, read_records


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_checksums_of_rfc_3720(data: bytes, crc: int) -> None:
    assert crc32c(data) == crc == slow_crc32c(data)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=64), st.integers(0, 3))
def test_checksums_of_any_length_and_over_blocks(data: bytes, blocks: int) -> None:
    long = data + bytes(range(256)) * 16 * blocks
    assert crc32c(long) == slow_crc32c(long)
    assert crc32c(long[:-1]) == slow_crc32c(long[:-1])


def test_the_mask_is_tensorflows() -> None:
    # The head of every record of 4,096 bytes that TensorFlow ever wrote: rotate by 15, add 0xa282ead8.
    crc = slow_crc32c(struct.pack("<Q", 4096))
    assert masked_crc32c(struct.pack("<Q", 4096)) == ((crc >> 15 | crc << 17) % 2**32 + 0xA282EAD8) % 2**32


def test_records_are_read_back(tmp_path: Path) -> None:
    bodies = [b"", b"a", example(id=[b"abcd"], labels=[3, 46]), bytes(10_000)]
    path = tmp_path / "x.tfrecord"
    path.write_bytes(b"".join(map(record, bodies)))
    assert list(read_records(path)) == bodies


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda b: b[:-1], "byte 17: the file ends inside a record"),
        (lambda b: b[:20], "byte 17: the file ends inside a record's head"),
        (lambda b: b[:17] + b"\xff" + b[18:], "byte 17: the length does not have its checksum"),
        (lambda b: b[:-6] + b"\xff" + b[-5:], "byte 17: the data do not have their checksum"),
        (lambda b: b + record(bytes(2000)), "byte 39: a record of 2000 bytes, at most 1000 are read"),
        (lambda b: b"<html>not found</html>", "byte 0: the length does not have its checksum"),
    ],
)
def test_damaged_files_are_refused_with_the_byte(change, words: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "x.tfrecord"
    path.write_bytes(change(record(b"a") + record(b"second")))
    with pytest.raises(FatalError) as caught:
        list(read_records(path, most_bytes=1000))
    assert caught.value.message == f"x.tfrecord, {words}"


names = st.text(max_size=8)
lists = st.one_of(
    st.lists(st.binary(max_size=20), min_size=1, max_size=5),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=5),
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(names, lists, max_size=5))
def test_features_are_those_that_protobuf_wrote(values: dict[str, list]) -> None:
    wanted = frozenset(values)
    expected = {name: tuple(items) for name, items in values.items()}
    assert features(example(**values), wanted) == expected
    assert features(sequence(2, **values), wanted) == expected
    assert features(example(**values), frozenset()) == {}


def by_protobuf(data: bytes) -> dict[str, tuple] | None:
    message = classes()["Example"]()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return None
    kinds = ("bytes_list", "float_list", "int64_list")
    return {
        name: next((tuple(getattr(f, kind).value) for kind in kinds if f.HasField(kind)), ())
        for name, f in message.features.feature.items()
    }


SEED = example(id=[b"abcd"], labels=[3, 46, -1], mean=[0.5, 1.5])


@settings(max_examples=400, deadline=None)
@given(at=st.integers(0, len(SEED) - 1), value=st.integers(0, 255), cut=st.integers(0, len(SEED)))
@with_example(at=0, value=0x0B, cut=len(SEED))
def test_changed_bytes_are_read_as_protobuf_reads_them_or_refused(at: int, value: int, cut: int) -> None:
    data = (SEED[:at] + bytes([value]) + SEED[at + 1 :])[:cut]
    expected = by_protobuf(data)
    try:
        found = features(data, frozenset({"id", "labels", "mean"}))
    except DamagedRecordError:
        return
    # Stricter on what it refuses, never other on what it reads; names are not looked at where nobody wants them.
    if expected is not None:
        known = [(name, expected[name]) for name in ("id", "labels", "mean") if expected.get(name)]
        assert repr(sorted(found.items())) == repr(known)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
@with_example(b"\x0a" * 50)
@with_example(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")
@with_example(b"\xff" * 40)
def test_any_bytes_end_in_features_or_an_error(data: bytes) -> None:
    with contextlib.suppress(DamagedRecordError):
        assert features(data, frozenset({"id"})).keys() <= {"id"}
