"""TFRecords as TensorFlow writes them: messages by Google's protobuf library, checksums by the definition, bit by bit."""

import struct
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto


@cache
def classes() -> dict[str, Any]:
    """`Example` and `SequenceExample` of tensorflow/core/example/*.proto."""
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")

    def add(name: str, *fields: tuple[str, int, int, int, str], parent: Any = None) -> Any:
        message = (parent.nested_type if parent is not None else file.message_type).add(name=name)
        for field_name, number, label, kind, type_name in fields:
            message.field.add(name=field_name, number=number, label=label, type=kind, type_name=type_name or None)
        return message

    one, many, text = _FIELD.LABEL_OPTIONAL, _FIELD.LABEL_REPEATED, _FIELD.TYPE_STRING
    inside = _FIELD.TYPE_MESSAGE
    add("BytesList", ("value", 1, many, _FIELD.TYPE_BYTES, ""))
    add("FloatList", ("value", 1, many, _FIELD.TYPE_FLOAT, ""))
    add("Int64List", ("value", 1, many, _FIELD.TYPE_INT64, ""))
    lists = ("bytes_list", ".t.BytesList"), ("float_list", ".t.FloatList"), ("int64_list", ".t.Int64List")
    feature = add("Feature", *((name, n, one, inside, kind) for n, (name, kind) in enumerate(lists, 1)))
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    add("FeatureList", ("feature", 1, many, inside, ".t.Feature"))
    for outer, name, value in (("Features", "feature", "Feature"), ("FeatureLists", "feature_list", "FeatureList")):
        entry = "".join(part.title() for part in name.split("_")) + "Entry"
        holder = add(outer, (name, 1, many, inside, f".t.{outer}.{entry}"))
        made = add(entry, ("key", 1, one, text, ""), ("value", 2, one, inside, f".t.{value}"), parent=holder)
        made.options.map_entry = True
    add("Example", ("features", 1, one, inside, ".t.Features"))
    add(
        "SequenceExample",
        ("context", 1, one, inside, ".t.Features"),
        ("feature_lists", 2, one, inside, ".t.FeatureLists"),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = ("Example", "SequenceExample")
    return {n: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{n}")) for n in names}


def _fill(features: Any, values: Mapping[str, Sequence[Any]]) -> None:
    for name, items in values.items():
        feature = features.feature[name]
        kind = {bytes: feature.bytes_list, float: feature.float_list, int: feature.int64_list}[type(items[0])]
        kind.value.extend(items)


def example(**values: Sequence[Any]) -> bytes:
    """A tf.Example; a list of bytes, floats or integers per name."""
    message = classes()["Example"]()
    _fill(message.features, values)
    return message.SerializeToString()


def sequence(frames: int, /, **context: Sequence[Any]) -> bytes:
    """A tf.SequenceExample with this context and so many frames of `rgb` and `audio`."""
    message = classes()["SequenceExample"]()
    _fill(message.context, context)
    for name, size in (("rgb", 1024), ("audio", 128)):
        for i in range(frames):
            message.feature_lists.feature_list[name].feature.add().bytes_list.value.append(bytes([i % 256]) * size)
    return message.SerializeToString()


def slow_crc32c(data: bytes) -> int:
    """CRC-32C bit by bit, from RFC 3720's definition."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def record(data: bytes) -> bytes:
    """One record of a TFRecord file."""

    def masked(part: bytes) -> bytes:
        crc = slow_crc32c(part)
        return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def video(key: str, *labels: int) -> bytes:
    """A record of a video-level shard, features and all."""
    means = {"mean_rgb": [0.25] * 1024, "mean_audio": [-0.5] * 128}
    return record(example(id=[key.encode()], labels=list(labels), **means))
