"""Samples to batches: the same for any number of workers and from any point on; nothing twice, nothing torn."""

import io
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers import decode_all, read_code
from small import FORM, LENGTHS, SHARD_FPS, Seen, sample_sound
from v2a.reading.damage import Damaged, DamageLog
from v2a.reading.decode import Decoder
from v2a.reading.fill import Job
from v2a.reading.form import Form
from v2a.reading.ring import Ring, whole_samples
from v2a.reading.source import shard_source
from v2a.stream import Crops, Cursor, ShardStream

from v2a_data.errors import FatalError, NothingError, UsageError
from v2a_data.shards.read import ShardSet

CROP, BATCH = 8, 4
PER_EPOCH = sum(frames // 2 // CROP for frames in LENGTHS)


def open_stream(shards: ShardSet, workers: int = 0, cursor: Cursor | None = None, **options: Any) -> ShardStream:
    entries = shards.split("train")
    settings = {"crop_frames": CROP, "batch": BATCH, "seed": 3, "block": 2, **options}
    return ShardStream(shard_source(shards, entries, FORM, workers), entries, cursor=cursor, **settings)  # type: ignore[arg-type]


def batches(shards: ShardSet, count: int, workers: int = 0, cursor: Cursor | None = None, **options: Any) -> list[Seen]:
    with open_stream(shards, workers, cursor, **options) as stream:
        return [Seen.of(crops) for crops in islice(stream, count)]


def places(crops: Crops | Seen) -> list[tuple[str, int]]:
    starts = crops.start_frames if isinstance(crops, Crops) else crops.starts
    return list(zip(crops.keys, starts, strict=True))


@pytest.fixture(scope="module")
def in_order(coded: ShardSet) -> list[Seen]:
    """Three epochs, without workers."""
    return batches(coded, 3 * (PER_EPOCH // BATCH))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_no_batch(coded: ShardSet, in_order: list[Seen], workers: int) -> None:
    assert batches(coded, len(in_order), workers) == in_order


@pytest.mark.parametrize("done", range(1, 10))
def test_a_stream_taken_up_anywhere_gives_the_very_next_batches(
    coded: ShardSet, in_order: list[Seen], done: int
) -> None:
    with open_stream(coded) as stream:
        for _ in islice(stream, done):
            pass
        cursor = replace(stream.cursor)
    assert batches(coded, len(in_order) - done, cursor=cursor) == in_order[done:]


def test_another_number_of_workers_takes_it_up_too(coded: ShardSet, in_order: list[Seen]) -> None:
    assert batches(coded, 4, workers=2, cursor=Cursor(1, 2)) == in_order[PER_EPOCH // BATCH + 2 :][:4]


@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_share_the_same_global_batches(coded: ShardSet, world: int, workers: int) -> None:
    """Row for row and bit for bit, across an epoch's end and from the middle of one."""
    whole = batches(coded, 6, batch=6)
    parts = [batches(coded, 6, workers, batch=6, rank=rank, world=world) for rank in range(world)]
    for number, batch in enumerate(whole):
        now = [part[number] for part in parts]
        assert batch.keys == sum((part.keys for part in now), ())
        assert batch.starts == sum((part.starts for part in now), ())
        for field in ("frames", "sound"):
            assert b"".join(getattr(part, field) for part in now) == getattr(batch, field)
    later = batches(coded, 2, workers, Cursor(1, 1), batch=6, rank=world - 1, world=world)
    assert later == parts[-1][PER_EPOCH // 6 + 1 :][:2]


def test_a_rank_decodes_no_crop_of_another(coded: ShardSet) -> None:
    with open_stream(coded, batch=4, rank=1, world=4) as stream:
        jobs: list[Job] = []
        ask = stream.source.ask
        stream.source.ask = lambda job: (jobs.append(job), ask(job))[1]  # type: ignore[method-assign, func-returns-value]
        for _ in islice(stream, 2 * (PER_EPOCH // 4)):
            pass
        ours = []
        for plan in (stream.plan(0), stream.plan(1)):
            for pick, crop in plan.crops[1 : PER_EPOCH // 4 * 4 : 4]:
                chosen = plan.picks[pick]
                ours.append((stream.entries[chosen.sample].key, chosen.starts[crop]))
    asked = [(job.entry.key, piece.start) for job in jobs for piece in job.pieces]
    assert Counter(asked[: len(ours)]) == Counter(ours)
    with pytest.raises(UsageError, match="a batch of 4 cannot be shared by 3 ranks"):
        open_stream(coded, world=3)
    with pytest.raises(UsageError, match="this is rank 2"):
        open_stream(coded, rank=2, world=2)


def asked_of(stream: ShardStream) -> list[str]:
    """The keys that the stream asks its source for, as it does."""
    asked: list[str] = []
    ask = stream.source.ask

    def noted(job: Job) -> None:
        asked.append(job.entry.key)
        ask(job)

    stream.source.ask = noted  # type: ignore[method-assign]
    return asked


def test_blocks_before_the_cursor_are_not_decoded(coded: ShardSet) -> None:
    with open_stream(coded, cursor=Cursor(0, PER_EPOCH // BATCH - 1)) as stream:
        asked = asked_of(stream)
        next(iter(stream))
        first_epoch = {stream.plan(0).picks[pick].sample for pick, _ in stream.plan(0).crops[-BATCH:]}
    assert 0 < len(asked) <= len(first_epoch) + 5


def test_every_sample_gives_as_many_crops_as_fit_once_per_epoch(coded: ShardSet) -> None:
    for epoch in range(3):
        seen = batches(coded, PER_EPOCH, batch=1, cursor=Cursor(epoch, 0))
        got = [place for batch in seen for place in places(batch)]
        assert Counter(key for key, _ in got) == {
            entry.key: frames // 2 // CROP for entry, frames in zip(coded.entries, LENGTHS, strict=True)
        }
        for entry, frames in zip(coded.entries, LENGTHS, strict=True):
            starts = sorted(start for key, start in got if key == entry.key)
            assert starts[0] >= 0 and starts[-1] + CROP <= frames // 2
            assert {b - a for a, b in pairwise(starts)} <= {CROP}


def test_the_last_partial_batch_is_left_out_and_the_next_epoch_follows(coded: ShardSet) -> None:
    assert PER_EPOCH % BATCH
    with open_stream(coded) as stream:
        seen = [(stream.cursor.epoch, stream.cursor.batch) for _ in islice(stream, 2 * (PER_EPOCH // BATCH))]
    per_epoch = range(1, PER_EPOCH // BATCH + 1)
    assert seen == [(epoch, batch) for epoch in range(2) for batch in per_epoch]


def test_epochs_and_seeds_differ(coded: ShardSet, in_order: list[Seen]) -> None:
    per_epoch = PER_EPOCH // BATCH
    epochs = [[places(batch) for batch in in_order[i * per_epoch :][:per_epoch]] for i in range(3)]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert [places(batch) for batch in batches(coded, per_epoch, seed=4)] != epochs[0]


def test_the_phase_of_the_crops_is_drawn(coded: ShardSet) -> None:
    starts = {
        start % CROP
        for epoch in range(6)
        for batch in batches(coded, PER_EPOCH, batch=1, cursor=Cursor(epoch, 0))
        for _, start in places(batch)
    }
    assert len(starts) > 3


def test_picture_and_sound_of_a_crop_lie_together(coded: ShardSet) -> None:
    number = {entry.key: i for i, entry in enumerate(coded.entries)}
    with open_stream(coded) as stream:
        for crops in islice(stream, PER_EPOCH // BATCH):
            assert crops.frames.shape == (BATCH, CROP, 54, 64)
            assert crops.sound.shape == (BATCH, CROP * 1280)
            assert crops.labels == ("x",) * BATCH
            for row, (key, start) in enumerate(places(crops)):
                shown = [read_code(plane[:36], 0.5) for plane in crops.frames[row]]
                assert shown == [2 * (start + i) for i in range(CROP)]
                whole = sample_sound(number[key])
                heard = whole[start * 1280 : (start + CROP) * 1280]
                np.testing.assert_allclose(crops.sound[row], heard, atol=1.01 / 32768)


def test_colours_are_those_of_swscale_at_full_size(coded: ShardSet) -> None:
    entry = coded.entries[0]
    mp4 = coded.read(entry).mp4
    form = Form(128, 72, SHARD_FPS, 16000)
    planes = np.empty(form.plane_shape(entry.frames), np.uint8)
    sound = np.empty(entry.frames * 640, np.float32)
    assert Decoder(form).decode(mp4, SHARD_FPS, planes, sound) == (entry.frames, entry.frames * 640)
    grey, heard, _ = decode_all(io.BytesIO(mp4))
    assert [read_code(plane[:72]) for plane in planes] == list(range(entry.frames))
    # PyAV's "gray" is full range; the planes are limited.
    as_grey = (planes[:, :72].astype(float) - 16) * 255 / 219
    assert np.abs(as_grey - np.stack(grey)).max() <= 1.5
    assert np.array_equal(sound, heard[0])


def test_too_few_crops_are_nothing(coded: ShardSet) -> None:
    with pytest.raises(NothingError, match=f"5 samples give {PER_EPOCH} crops, fewer than a batch of {PER_EPOCH + 1}"):
        open_stream(coded, batch=PER_EPOCH + 1)
    with pytest.raises(NothingError, match="5 samples give 0 crops"):
        open_stream(coded, crop_frames=1000)
    with pytest.raises(NothingError, match="no samples of this split"):
        shard_source(coded, [], FORM, 0)


def test_rates_that_the_shards_do_not_have_are_refused(coded: ShardSet) -> None:
    entries = coded.split("train")
    with pytest.raises(FatalError, match=r"train\.view\.fps 50 is more than the shards' 25"):
        ShardStream(shard_source(coded, entries, replace(FORM, fps=Fraction(50)), 0), entries, 4, 1, 0)
    source = shard_source(coded, entries, replace(FORM, rate_hz=8000), 0)
    with pytest.raises(FatalError, match=r"train\.view\.rate_hz 8000 is not the shards' 16000"):
        next(iter(ShardStream(source, entries, 4, 1, 0)))


def damaged(shards: ShardSet, folder: Path, numbers: Iterable[int], how: str = "one bit") -> ShardSet:
    """A copy of the shard in which samples are spoiled."""
    body = bytearray((shards.folder / "s.tar").read_bytes())
    entries = list(shards.entries)
    for number in numbers:
        entry = entries[number]
        if how == "garbage":
            body[entry.mp4_offset : entry.mp4_offset + entry.mp4_bytes] = os.urandom(entry.mp4_bytes)
        elif how == "one bit":
            body[entry.mp4_offset + entry.mp4_bytes // 2] ^= 16
        elif how == "its text":
            body[entry.json_offset + 5] ^= 1
        elif how == "another's media":
            other = entries[3]
            entries[number] = replace(entry, mp4_offset=other.mp4_offset, mp4_bytes=other.mp4_bytes)
        elif how == "an index that promises more":
            entries[number] = replace(entry, frames=entry.frames + 100)
        elif how == "truncated":
            body = body[: entry.mp4_offset + 100]
    (folder / "s.tar").write_bytes(body)
    return ShardSet(folder, entries)


def by_rule(stream: ShardStream, epoch: int, bad: set[int]) -> list[tuple[str, int]]:
    """The places of an epoch in global order, with damaged samples replaced as the rule says."""
    plan = stream.plan(epoch)
    wanted = []
    for pick, crop in plan.crops[: len(plan.crops) // BATCH * BATCH]:
        good = pick
        while plan.picks[good].sample in bad or not plan.picks[good].starts:
            good = (good + 1) % len(plan.picks)
        chosen = plan.picks[good]
        wanted.append((stream.entries[chosen.sample].key, chosen.starts[crop % len(chosen.starts)]))
    return wanted


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("garbage", "its hash is not that of the index"),
        ("one bit", "its hash is not that of the index"),
        ("its text", "its hash is not that of the index"),
        ("another's media", "its hash is not that of the index"),
    ],
)
def test_a_damaged_sample_is_said_and_replaced_by_rule(
    coded: ShardSet, tmp_path: Path, workers: int, how: str, why: str
) -> None:
    """What takes its place is exactly what the sound shards have there."""
    shards, per_epoch, told = damaged(coded, tmp_path, [2], how), PER_EPOCH // BATCH, []
    with open_stream(shards, workers, report=told.append) as stream:
        seen = [Seen.of(crops) for crops in islice(stream, 2 * per_epoch)]
        wanted = by_rule(stream, 0, {2}) + by_rule(stream, 1, {2})
        assert stream.damage.found == told == [Damaged(coded.entries[2].key, "s.tar", why)]
    assert [place for batch in seen for place in places(batch)] == wanted
    number = {entry.key: i for i, entry in enumerate(coded.entries)}
    for batch in seen:
        sounds = np.frombuffer(batch.sound, np.float32).reshape(BATCH, -1)
        for heard, (key, start) in zip(sounds, places(batch), strict=True):
            np.testing.assert_allclose(
                heard, sample_sound(number[key])[start * 1280 : (start + CROP) * 1280], atol=1.01 / 32768
            )


def test_the_replacement_is_the_same_for_every_rank_and_from_any_point_on(coded: ShardSet, tmp_path: Path) -> None:
    shards = damaged(coded, tmp_path, [1, 2])
    quiet: dict[str, Any] = {"report": lambda found: None}
    whole = batches(shards, 7, **quiet)
    halves = [batches(shards, 7, 1, rank=rank, world=2, **quiet) for rank in (0, 1)]
    for number, batch in enumerate(whole):
        assert batch.keys == halves[0][number].keys + halves[1][number].keys
        assert batch.starts == halves[0][number].starts + halves[1][number].starts
    for done in range(1, PER_EPOCH // BATCH + 1):
        assert batches(shards, 7 - done, cursor=Cursor(0, done), **quiet) == whole[done:]


def test_an_index_that_promises_more_than_there_is(coded: ShardSet, tmp_path: Path) -> None:
    shards = damaged(coded, tmp_path, [2], "an index that promises more")
    with open_stream(shards, crops="one", report=lambda found: None, crop_frames=85, tile=True) as stream:
        next(iter(stream))
        assert [found.reason for found in stream.damage.found] == [
            "decodes to 38 of 85 frames, 48000 of 108800 audio samples"
        ]


def test_what_is_damaged_is_said_on_the_way(
    coded: ShardSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batches(damaged(coded, tmp_path, [2]), 6)
    said = capsys.readouterr().err
    assert said.count("warning") == 1
    assert f"s.tar: sample {coded.entries[2].key}: its hash is not that of the index; another takes its place" in said


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_damaged_samples_end_the_run_by_name(coded: ShardSet, tmp_path: Path, workers: int) -> None:
    shards = damaged(coded, tmp_path, range(5))
    with pytest.raises(FatalError, match="5 samples in a row are damaged") as caught:
        batches(shards, 3, workers, report=lambda found: None)
    assert all(entry.key in caught.value.message for entry in coded.entries)
    cut = damaged(coded, tmp_path, [0], "truncated")
    with pytest.raises(FatalError, match="the shard ends inside it"):
        batches(cut, 3, workers, report=lambda found: None)


def test_more_than_ten_and_one_in_a_hundred_are_too_many(coded: ShardSet) -> None:
    entry = coded.entries[0]
    for samples, borne in ((5, 10), (1000, 10), (5000, 50)):
        log = DamageLog(samples, lambda found: None)
        for i in range(borne):
            for _ in range(2):
                log.note(replace(entry, key=f"k{i}"), "why")
        with pytest.raises(
            FatalError, match=rf"{borne + 1} samples are damaged: .*k{borne}: why; and {borne - 4} more"
        ):
            log.note(replace(entry, key=f"k{borne}"), "why")


def test_a_shard_that_is_gone_is_no_damage(coded: ShardSet, tmp_path: Path) -> None:
    with pytest.raises(FatalError, match="No such file"):
        batches(ShardSet(tmp_path, coded.entries), 1)


def test_a_dead_worker_is_said_and_leaves_no_shared_memory(coded: ShardSet) -> None:
    entries = coded.split("train")
    source = shard_source(coded, entries, FORM, 1)
    assert isinstance(source, Ring)
    samples = whole_samples(source, entries)
    next(samples)
    made = [Path("/dev/shm") / shared._memory.name for shared in source._shared]
    assert all(path.exists() for path in made)
    (worker,) = source._workers
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()
    with pytest.raises(FatalError, match="a stream worker died"):
        list(samples)
    source.close()
    assert not any(path.exists() for path in made)


def test_whole_samples_come_in_order_however_few_rows_there_are(coded: ShardSet) -> None:
    source = shard_source(coded, coded.entries, FORM, 2)
    try:
        seen = [
            (sample.entry.key, len(sample.frames), [read_code(plane[:36], 0.5) for plane in sample.frames[:3]])
            for sample in whole_samples(source, coded.entries * 3)
        ]
    finally:
        source.close()
    wanted = [(entry.key, frames // 2, [0, 2, 4]) for entry, frames in zip(coded.entries, LENGTHS, strict=True)]
    assert seen == wanted * 3


def test_workers_import_no_torch() -> None:
    code = "import sys, v2a.reading.ring, v2a.reading.fill, v2a.reading.spans; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_jobs_that_nobody_does_any_more_do_not_keep_a_process(coded: ShardSet) -> None:
    """More than a pipe holds are asked for when the ring is closed."""
    code = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
if __name__ == "__main__":
    from pathlib import Path
    from small import FORM, opened
    from v2a.reading.fill import Job, Piece
    from v2a.reading.source import shard_source

    shards = opened(Path({str(coded.folder)!r}))
    source = shard_source(shards, shards.entries, FORM, 1)
    source.allocate(1, 8)
    for _ in range(3000):
        source.ask(Job(shards.entries[0], (Piece(0, 8, 0),)))
    source.close()
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
