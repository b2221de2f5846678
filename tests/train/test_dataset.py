"""The plain face: each crop once, with any number of workers and ranks; the README's three lines as they stand."""

import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers import read_code
from small import FORM, LENGTHS, sample_sound
from test_remote import write_index
from torch.utils.data import DataLoader
from v2a.dataset import ShardDataset
from v2a.reading.order import Plan
from v2a.reading.sets import mixed, weights_of
from v2a.reading.source import shard_source
from v2a.stream import ShardStream

from v2a_data.errors import FatalError, NothingError
from v2a_data.shards.read import ShardSet

SECONDS, CROP = 0.64, 8
EPOCH = sum(frames // 2 // CROP for frames in LENGTHS)


def dataset(shards: ShardSet, **options: Any) -> ShardDataset:
    return ShardDataset(shards, seconds=SECONDS, form=FORM, seed=3, **options)


def places(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(row["key"], int(row["start_frame"])) for row in rows]


def of_plan(data: ShardDataset, plan: Plan) -> list[tuple[str, int]]:
    return [(data.entries[plan.picks[p].sample].key, plan.picks[p].starts[c]) for p, c in plan.crops]


def test_an_iteration_is_an_epoch_in_order(coded: ShardSet) -> None:
    data = dataset(coded)
    number = {entry.key: i for i, entry in enumerate(coded.entries)}
    rows = list(data)
    assert places(rows) == of_plan(data, data.plan()) and len(rows) == EPOCH
    for row in rows:
        start = row["start_frame"]
        assert [read_code(plane[:36].numpy(), 0.5) for plane in row["planes"]] == [2 * (start + i) for i in range(CROP)]
        heard = sample_sound(number[row["key"]])[start * 1280 : (start + CROP) * 1280]
        np.testing.assert_allclose(row["sound"].numpy(), heard, atol=1.01 / 32768)
    assert places(list(data)) == places(rows)
    data.set_epoch(1)
    assert places(list(data)) != places(rows)
    assert data.video(rows[0]["planes"][None]).shape == (1, 3, CROP, 36, 64)


@pytest.mark.slow
def test_workers_and_ranks_share_an_epoch_and_persistent_ones_see_the_next(coded: ShardSet) -> None:
    seen: dict[int, list[tuple[str, int]]] = {0: [], 1: []}
    for rank in range(2):
        data = dataset(coded, rank=rank, world=2)
        loader = DataLoader(data, batch_size=2, num_workers=2, multiprocessing_context="spawn", persistent_workers=True)
        for epoch in (0, 1):
            data.set_epoch(epoch)
            for batch in loader:
                assert batch["planes"].shape[1:] == (CROP, 54, 64) and batch["sound"].shape[1:] == (CROP * 1280,)
                seen[epoch] += zip(batch["key"], batch["start_frame"].tolist(), strict=True)
        del loader
    for epoch in (0, 1):
        data = dataset(coded)
        data.set_epoch(epoch)
        assert Counter(seen[epoch]) == Counter(of_plan(data, data.plan()))


def test_the_readmes_lines_with_forked_workers(coded: ShardSet, tmp_path: Path) -> None:
    """The process that forks has no decoder loaded: a fork of one that has can hang."""
    shutil.copy(coded.folder / "s.tar", tmp_path)
    write_index(tmp_path, coded.entries)
    code = f"""
import sys
from torch.utils.data import DataLoader
from v2a.dataset import ShardDataset

data = ShardDataset({str(tmp_path)!r}, seconds=2)
assert "av" not in sys.modules
for batch in DataLoader(data, batch_size=8, num_workers=2):
    video, sound = data.video(batch["planes"]), batch["sound"]
    print(len(video), *video.shape[1:], *sound.shape[1:])
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert sum(int(line[0]) for line in lines) == 5
    assert {tuple(line[1:]) for line in lines} == {("3", "50", "144", "256", "32000")}


def test_a_damaged_sample_is_replaced_as_in_the_stream(coded: ShardSet, tmp_path: Path) -> None:
    body = bytearray((coded.folder / "s.tar").read_bytes())
    body[coded.entries[2].mp4_offset + 99] ^= 1
    (tmp_path / "s.tar").write_bytes(body)
    told: list[Any] = []
    data = dataset(ShardSet(tmp_path, coded.entries), report=told.append)
    plan = data.plan()
    wanted = []
    for pick, crop in plan.crops:
        good = pick
        while plan.picks[good].sample == 2:
            good = (good + 1) % len(plan.picks)
        starts = plan.picks[good].starts
        wanted.append((coded.entries[plan.picks[good].sample].key, starts[crop % len(starts)]))
    assert places(list(data)) == wanted
    assert [found.key for found in told] == [coded.entries[2].key]
    for entry in coded.entries:
        body[entry.mp4_offset + 99] ^= 1
    body[coded.entries[2].mp4_offset + 99] ^= 3
    (tmp_path / "s.tar").write_bytes(body)
    with pytest.raises(FatalError, match="in a row are damaged"):
        list(dataset(ShardSet(tmp_path, coded.entries), report=told.append))


def test_nothing_to_give_is_said(coded: ShardSet) -> None:
    with pytest.raises(NothingError, match="no samples of the split 'test'"):
        ShardDataset(coded, "test")
    with pytest.raises(NothingError, match="no sample of the split 'train' is 100 s long"):
        ShardDataset(coded, seconds=100)


@pytest.mark.parametrize("workers", [0, 1])
def test_sets_are_mixed_by_weight_out_of_their_own_folders(coded: ShardSet, tmp_path: Path, workers: int) -> None:
    """The second set has one sample, with another place in its shard; half of every epoch is of it."""
    (tmp_path / "s.tar").write_bytes(bytes(512) + (coded.folder / "s.tar").read_bytes())
    moved = [
        replace(entry, mp4_offset=entry.mp4_offset + 512, json_offset=entry.json_offset + 512)
        for entry in coded.entries[4:]
    ]
    shards = mixed([ShardSet(coded.folder, coded.entries[:4]), ShardSet(tmp_path, moved)], (2.0, 3.0))
    entries = shards.split("train")
    source = shard_source(shards, entries, FORM, workers)
    with ShardStream(source, entries, 20, 5, 3, crops="one", weights=weights_of(shards)) as stream:
        for crops in islice(stream, 4):
            assert Counter(key == moved[0].key for key in crops.keys) == {True: 3, False: 2}
            for row, start in enumerate(crops.start_frames):
                assert read_code(crops.frames[row, 0, :36], 0.5) == 2 * start
    rows = list(dataset(shards, crops="one"))
    assert Counter(row["key"] == moved[0].key for row in rows) == {True: 3, False: 2}
    for row in rows:
        assert read_code(row["planes"][0, :36].numpy(), 0.5) == 2 * row["start_frame"]
