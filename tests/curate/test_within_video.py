"""Splits within one video: time goes on from train to test, and gaps are as wide as asked."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

from v2a_data.curate.within_video import TimedClip, cut_in_time
from v2a_data.recipe import SplitsSection, load_recipe


def clips(video_id: str, count: int, seconds: float = 10.0, label: str = "A") -> list[TimedClip]:
    return [TimedClip(f"{video_id}-{n:04d}", video_id, label, n * seconds, (n + 1) * seconds) for n in range(count)]


def rules(**values: object) -> SplitsSection:
    return SplitsSection(by="within_video", **values)  # type: ignore[arg-type]


def test_one_long_video_is_train_then_gap_then_test() -> None:
    chosen = cut_in_time(clips("v", 503), rules(test=100, validation=0, gap_s=25.0))
    splits = [chosen.get(f"v-{n:04d}") for n in range(503)]
    assert splits == ["train"] * 400 + [None] * 3 + ["test"] * 100


def test_gaps_lie_before_and_after_validation() -> None:
    all_clips = clips("v", 60, seconds=2.0)
    chosen = cut_in_time(all_clips, rules(test=0.2, validation=0.1, gap_s=4.0))
    parts = {s: [c for c in all_clips if chosen.get(c.clip_id) == s] for s in ("train", "validation", "test")}
    assert {name: len(part) for name, part in parts.items()} == {"train": 38, "validation": 6, "test": 12}
    for before, after in pairwise(parts.values()):
        assert after[0].start_s - before[-1].stop_s == 4.0


def test_a_number_is_of_each_label_over_its_videos() -> None:
    several = clips("a", 10) + clips("b", 30) + clips("c", 25, label="B")
    chosen = cut_in_time(several, rules(test=8, validation=0, gap_s=0.0))
    tests = sorted(name for name, split in chosen.items() if split == "test")
    assert tests == [f"a-{n:04d}" for n in (8, 9)] + [f"b-{n:04d}" for n in range(24, 30)] + [
        f"c-{n:04d}" for n in range(17, 25)
    ]
    assert len(chosen) == 65


def test_the_papers_numbers_come_out_of_long_videos() -> None:
    recipe = load_recipe("rain_and_dogs")
    most = recipe.clips.max_per_video
    assert most is not None
    for label in recipe.labels:
        sizes = Counter(cut_in_time(clips("v", most, recipe.clips.seconds_of(label), label), recipe.splits).values())
        assert sizes["test"] == 100
        assert 400 <= sizes["train"] <= 405


def test_a_number_that_stands_does_not_grow_with_more_videos() -> None:
    asked = rules(test=100, validation=20, gap_s=10.0)
    first = clips("a", 110) + clips("b", 90)
    chosen = cut_in_time(first, asked)
    standing = [replace(clip, split=chosen[clip.clip_id]) for clip in first if clip.clip_id in chosen]
    after = cut_in_time(standing + clips("c", 300), asked)
    assert Counter(after.values())["test"] == 100
    assert Counter(after.values())["validation"] == 20
    assert all(after[clip.clip_id] == clip.split for clip in standing)

    small = [replace(clip, split="test") for clip in clips("a", 30)]
    grown = Counter(cut_in_time(small + clips("b", 200) + clips("c", 100), rules(test=90, validation=0)).values())
    assert grown["test"] == 90


def test_borders_that_stand_stay() -> None:
    first = clips("v", 20)
    chosen = cut_in_time(first, rules(test=0.25, validation=0.0, gap_s=10.0))
    # Every second clip had no verdict then, and comes now.
    standing = [
        TimedClip(c.clip_id, "v", "A", c.start_s, c.stop_s, chosen.get(c.clip_id) if n % 2 else None)
        for n, c in enumerate(first)
    ]
    after = cut_in_time(standing, rules(test=0.5, validation=0.2, gap_s=10.0))
    for clip in standing:
        if clip.split:
            assert after[clip.clip_id] == clip.split
    assert [after.get(f"v-{n:04d}") for n in (0, 2, 12, 14, 16, 18)] == [None, "train", "train", None, "test", "test"]
