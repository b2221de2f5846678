"""The codes of a split, written by themselves: beside those of other splits, once, and what the encoder gives."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small import FORM, LENGTHS, At, die
from v2a.codes import CodeCache, encode_split
from v2a.models.vqvae3d import Vqvae3d
from v2a.reading.ring import whole_samples
from v2a.training import checkpoint

from v2a_data.console import Console
from v2a_data.errors import NothingError
from v2a_data.shards.read import ShardSet

SPLITS = ("train", "train", "test", "train", "test")


@pytest.fixture
def split(coded: ShardSet) -> ShardSet:
    pairs = zip(coded.entries, SPLITS, strict=True)
    return ShardSet(coded.folder, [replace(entry, split=name) for entry, name in pairs])


@pytest.fixture
def encoder(tmp_path: Path) -> tuple[Vqvae3d, checkpoint.Checkpoint]:
    torch.manual_seed(0)
    options = {"channels": (4, 8), "codes": 16, "strides": ((2, 2, 2), (2, 2, 2))}
    model = Vqvae3d(Vqvae3d.Config(**options)).eval()  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(model.parameters())
    checkpoint.save(tmp_path / "vqvae3d", model, optimizer, {"step": 3, "about": {"model": "vqvae3d"}})
    return model, checkpoint.require(tmp_path / "vqvae3d", "")


def test_each_split_has_its_own_codes(
    split: ShardSet, encoder: tuple[Vqvae3d, checkpoint.Checkpoint], console: Console
) -> None:
    model, found = encoder
    made = [encode_split(model, found, split, name, FORM, 0, console) for name in ("train", "test")]
    assert [each.samples for each in made] == [3, 2]
    assert len({each.folder for each in made}) == 2 and all(each.folder.is_dir() for each in made)
    for each, name in zip(made, ("train", "test"), strict=True):
        frames = [length // 2 // 4 for length, own in zip(LENGTHS, SPLITS, strict=True) if own == name]
        assert each.code_frames == sum(frames)
        assert each.bytes == sum(path.stat().st_size for path in each.folder.iterdir()) > 0
        assert json.loads((each.folder / "done.json").read_text())["split"] == name
    # The decoder's training finds the same folder and encodes nothing.
    cache = CodeCache.build(
        model, split, split.split("train"), FORM, found.folder.parent, found, 0, At("encode", 1, die)
    )
    assert cache.folder == made[0].folder
    read = [sample.frames.copy() for sample in whole_samples(cache, split.split("train"))]
    assert sum(len(frames) for frames in read) == made[0].code_frames
    assert len(np.unique(np.concatenate(read))) > 2


def test_it_is_written_once_and_another_encoders_go(
    split: ShardSet, encoder: tuple[Vqvae3d, checkpoint.Checkpoint], console: Console
) -> None:
    model, found = encoder
    first = {name: encode_split(model, found, split, name, FORM, 0, console).folder for name in ("train", "test")}
    assert encode_split(model, found, split, "train", FORM, 0, At("encode", 1, die)).folder == first["train"]
    later = replace(found, state={**found.state, "about": {"model": "another"}})
    second = encode_split(model, later, split, "train", FORM, 0, console).folder
    assert not first["train"].exists() and second.is_dir() and first["test"].is_dir()


def test_a_split_without_samples_is_said(
    split: ShardSet, encoder: tuple[Vqvae3d, checkpoint.Checkpoint], console: Console
) -> None:
    with pytest.raises(NothingError, match="has no samples in the split 'val'"):
        encode_split(*encoder, split, "val", FORM, 0, console)
