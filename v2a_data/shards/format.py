"""The contract between `v2a-data` and `v2a`: what a shard, a sample and its JSON are.

A shard is a tar with, per sample, `<key>.json` and `<key>.mp4` (H.264 + FLAC, fixed frame rate), in
the order of keys, integer mtime 0. `shards/index.parquet` says where each member starts.
"""

import re
from pathlib import Path
from typing import Any

KEY = re.compile(r"[A-Za-z0-9_-]+\Z")
INDEX_FILE = "index.parquet"
CARD_FILE = "README.md"
CROISSANT_FILE = "croissant.json"
CARD_FILES = (CARD_FILE, CROISSANT_FILE)
SPLITS = ("train", "validation", "test")
# Said wherever a sample's `not_for_use` is true.
STAMP = "NOT FOR USE: judged by tiny models that only know the synthetic world"
# Said wherever the recipe has `splits.by = "within_video"`.
LEAKY = "LEAKY BY DESIGN: train and test are parts of the same videos"

# Same fields in every sample, in this order; null where nothing was measured.
SAMPLE_FIELDS = (
    "key",
    "source",
    "video_id",
    "native_id",
    "url",
    "label",
    "labels",
    "text",
    "start_s",
    "stop_s",
    "split",
    "group_id",
    "width",
    "height",
    "fps",
    "frames",
    "rate_hz",
    "channels",
    "audio_samples",
    "picture_error_s",
    "sound_error_samples",
    "seen",
    "heard",
    "verdict",
    "recipe",
    "recipe_hash",
    "models",
    "not_for_use",
    "licence",
    "v2a_data",
)


def shard_name(dataset: str, split: str, number: int) -> str:
    """Path of a shard below `shards/`, as the Hugging Face hub reads splits from names."""
    return f"{split}/{dataset}-{split}-{number:06d}.tar"


def shard_number(name: str) -> int:
    """The number in a shard's name."""
    return int(Path(name).stem.rsplit("-", 1)[-1])


def label_text(label: str) -> str:
    """The `text` of a sample without a caption of its own."""
    return f"a video of {label.lower()} with its sound"


def ordered(sample: dict[str, Any]) -> dict[str, Any]:
    """The sample's JSON in the order of the contract. Raises `ValueError` for other fields."""
    if sample.keys() != set(SAMPLE_FIELDS):
        raise ValueError(f"sample fields differ: {sorted(sample.keys() ^ set(SAMPLE_FIELDS))}")
    return {name: sample[name] for name in SAMPLE_FIELDS}
