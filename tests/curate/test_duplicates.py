"""Duplicates through the ledger: groups, the best kept, what stands stays, and nothing between two splits."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from v2a_data import schema
from v2a_data.curate.duplicates import BEST, ONE_SPLIT, group_clips
from v2a_data.curate.fingerprints import Prints
from v2a_data.curate.splits import EXCLUDED, split_clips
from v2a_data.errors import UsageError
from v2a_data.ledger import Ledger
from v2a_data.media.fingerprint import VERSION
from v2a_data.recipe import Recipe, build_recipe

rng = np.random.default_rng(3)


def recipe(**sections: Any) -> Recipe:
    return build_recipe({"name": "t", **sections}, "t")


RECIPE = recipe(splits={"test": 0.5, "validation": 0.0})


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with Ledger(None) as opened:
        yield opened


def prints() -> Prints:
    return Prints(rng.integers(1, 2**63, (31, 4), dtype=np.uint64), rng.integers(1, 2**63, (125, 1), dtype=np.uint64))


def nothing() -> Prints:
    return Prints.from_row(None, None)


def add(
    ledger: Ledger, name: str, *clips: Prints, lines: int = 144, sha256: str | None = None, channel: str | None = None,
    under: Recipe = RECIPE, label: str = "A", strength: float | None = None,
) -> str:  # fmt: skip
    """A fetched video with 10 s clips back to back; its clips' ids are `<video>_…`."""
    video_id = f"lo-{name:0>16}"
    picture = {"width": 16 * lines // 9, "height": lines}
    ledger.insert(
        schema.VIDEOS,
        [{"video_id": video_id, "source": "local", "labels": [label], "position": 0, "state": "fetched"}],
    )
    ledger.insert(
        schema.MEDIA,
        [{"video_id": video_id, "path": "x", "bytes": 1, "sha256": sha256 or video_id, "probe": {"picture": picture}}],
    )
    if channel:
        ledger.insert(schema.CHANNELS, [{"video_id": video_id, "channel": channel}])
    for n, found in enumerate(clips):
        span = {"video_id": video_id, "start_s": 10.0 * n, "stop_s": 10.0 * n + 10, "recipe_hash": under.hash}
        row = {**span, "clip_id": f"{video_id}_{10000 * n:09d}", "label": label, "verdict": "keep", "reasons": []}
        ledger.insert(schema.CLIPS, [row])
        ledger.insert(schema.FINGERPRINTS, [{**row, "version": VERSION, **found.to_row()}])
        ledger.insert(schema.STRETCHES, [{**span, "mark": "keep", "reasons": [], "strengths": [strength] * 5}])
    return video_id


def groups(ledger: Ledger) -> dict[str, str]:
    sql = "SELECT DISTINCT substr(clip_id, 1, 19), group_id FROM groups ORDER BY 1"
    return {row[0]: row[1] for row in ledger.rows(sql)}


def dropped(ledger: Ledger) -> dict[str, dict[str, Any]]:
    sql = "SELECT clip_id, reasons FROM clips WHERE verdict = 'drop' ORDER BY 1"
    return {row[0]: json.loads(row[1])[-1] for row in ledger.rows(sql)}


def clip(video_id: str, n: int = 0) -> str:
    return f"{video_id}_{10000 * n:09d}"


@pytest.mark.parametrize("by", ["picture", "sound"])
def test_the_one_with_more_lines_stays_and_the_other_names_it(by: str, ledger: Ledger) -> None:
    one = prints()
    other = Prints(one.picture, prints().sound) if by == "picture" else Prints(prints().picture, one.sound)
    low, tall, apart = (
        add(ledger, "1", one), add(ledger, "2", other, lines=360), add(ledger, "3", prints(), lines=720)
    )  # fmt: skip
    done = group_clips(ledger, RECIPE)
    assert (done.grouped, done.worse, done.between) == (3, 1, 0)
    assert groups(ledger) == {low: low, tall: low, apart: apart}
    assert dropped(ledger) == {clip(low): {"condition": BEST, "kept": clip(tall), "by": by}}
    assert group_clips(ledger, RECIPE).grouped == 0, "nothing is new"


def test_equal_lines_are_told_apart_by_strength_then_by_id(ledger: Ledger) -> None:
    one, two = prints(), prints()
    weak, strong = add(ledger, "1", one, strength=0.2), add(ledger, "2", one, strength=0.9)
    first, second = add(ledger, "3", two), add(ledger, "4", two)
    group_clips(ledger, RECIPE)
    assert {name: reason["kept"] for name, reason in dropped(ledger).items()} == {
        clip(weak): clip(strong), clip(second): clip(first)
    }  # fmt: skip


def test_no_clip_is_dropped_for_one_that_the_cap_of_its_channel_drops(ledger: Ledger) -> None:
    rules = recipe(clips={"max_per_channel": 1}, splits={"test": 0.0, "validation": 0.0})
    shown = [prints() for _ in range(3)]
    sharp = add(ledger, "1", *shown, lines=1080, channel="Youtube/one", under=rules)
    plain = add(ledger, "2", *shown, lines=360, under=rules)
    group_clips(ledger, rules)
    split_clips(ledger, rules)
    kept = [row[0] for row in ledger.rows("SELECT clip_id FROM clips WHERE verdict = 'keep' ORDER BY 1")]
    assert kept == [clip(sharp), clip(plain, 1), clip(plain, 2)]
    assert {reason["condition"] for reason in dropped(ledger).values()} == {BEST}

    # A slot of the channel is not spent on clips that lose.
    late = add(ledger, "3", shown[1], prints(), lines=720, channel="Youtube/two", under=rules)
    group_clips(ledger, rules)
    split_clips(ledger, rules)
    assert dropped(ledger)[clip(late)] == {"condition": BEST, "kept": clip(plain, 1), "by": "picture"}
    assert ledger.value("SELECT verdict FROM clips WHERE clip_id = ?", (clip(late, 1),)) == "keep"


def test_all_are_kept_where_the_recipe_says_so_and_share_a_split(ledger: Ledger) -> None:
    rules = recipe(duplicates={"keep": "all"}, splits={"test": 0.5, "validation": 0.0})
    same = [prints() for _ in range(6)]
    for n in range(12):
        add(ledger, str(n), same[n % 6], under=rules)
    group_clips(ledger, rules)
    assert not dropped(ledger)
    assert split_clips(ledger, rules) == {"test": 6, "train": 6}
    sql = "SELECT COUNT(DISTINCT split) FROM groups JOIN splits USING (clip_id) GROUP BY group_id"
    assert [row[0] for row in ledger.rows(sql)] == [1] * 6


def test_equal_bytes_are_the_same_where_their_times_meet(ledger: Ledger) -> None:
    one, other = add(ledger, "1", nothing(), nothing(), sha256="x"), add(ledger, "2", nothing(), sha256="x")
    group_clips(ledger, RECIPE)
    assert groups(ledger) == {one: one, other: one}
    assert dropped(ledger) == {clip(other): {"condition": BEST, "kept": clip(one), "by": "bytes"}}


def test_black_and_silent_clips_are_like_no_other(ledger: Ledger) -> None:
    videos = [add(ledger, str(n), nothing()) for n in range(4)]
    assert group_clips(ledger, RECIPE).worse == 0
    assert groups(ledger) == {video: video for video in videos}


def test_a_video_that_repeats_itself_keeps_its_clips(ledger: Ledger) -> None:
    again = prints()
    add(ledger, "1", again, again, again)
    assert group_clips(ledger, RECIPE).worse == 0
    assert not dropped(ledger)


def test_the_order_in_which_videos_come_changes_nothing() -> None:
    shown = [prints() for _ in range(4)]
    found = []
    for order in (range(8), reversed(range(8))):
        with Ledger(None) as ledger:
            for n in order:
                add(ledger, str(n), shown[n % 4], lines=144 + n)
            group_clips(ledger, RECIPE)
            found.append((groups(ledger), dropped(ledger)))
    assert found[0] == found[1]
    assert len(found[0][1]) == 4


def test_groups_that_stand_keep_id_and_clips_when_a_better_one_comes(ledger: Ledger) -> None:
    one = prints()
    old = add(ledger, "5", one)
    group_clips(ledger, RECIPE)
    split_clips(ledger, RECIPE)
    before = ledger.rows("SELECT * FROM splits")
    better = add(ledger, "1", one, prints(), lines=1080)
    group_clips(ledger, RECIPE)
    split_clips(ledger, RECIPE)
    assert groups(ledger) == {old: old, better: old}
    assert dropped(ledger) == {clip(better): {"condition": BEST, "kept": clip(old), "by": "picture"}}
    assert before[0]["split"] == ledger.value("SELECT split FROM splits WHERE clip_id = ?", (clip(better, 1),))
    assert [tuple(row) for row in before] == [
        tuple(row) for row in ledger.rows("SELECT * FROM splits WHERE clip_id = ?", (clip(old),))
    ]


def test_what_would_join_two_splits_is_dropped(ledger: Ledger) -> None:
    one, two = prints(), prints()
    a, b = add(ledger, "1", one), add(ledger, "2", two)
    group_clips(ledger, RECIPE)
    split_clips(ledger, RECIPE)
    ledger.execute("UPDATE splits SET split = CASE clip_id WHEN ? THEN 'train' ELSE 'test' END", (clip(a),))
    bridge = add(ledger, "3", one, two)
    done = group_clips(ledger, RECIPE)
    assert (done.worse, done.between) == (0, 2)
    assert dropped(ledger) == {clip(bridge, n): {"condition": ONE_SPLIT} for n in (0, 1)}
    assert split_clips(ledger, RECIPE) == {"train": 1, "test": 1}
    assert groups(ledger)[a] != groups(ledger)[b]


def test_channels_stay_in_one_split(ledger: Ledger) -> None:
    for n in range(30):
        add(ledger, str(n), prints(), channel=f"Youtube/{n % 10}")
    group_clips(ledger, RECIPE)
    sizes = split_clips(ledger, RECIPE)
    assert sizes == {"test": 15, "train": 15}
    sql = "SELECT COUNT(DISTINCT split) FROM splits JOIN clips USING (clip_id) JOIN channels USING (video_id) GROUP BY channel"
    assert {row[0] for row in ledger.rows(sql)} == {1}


def test_listed_videos_and_what_is_like_them_are_dropped(ledger: Ledger, tmp_path: Path) -> None:
    listed = tmp_path / "test.csv"
    listed.write_text("lo-0000000000000001,30,dog barking,test\nlo-0000000000000004,30,dog barking,train\n")
    rules = recipe(splits={"test": 0.0, "validation": 0.0, "exclude": [str(listed)]})
    one = prints()
    low, copy = add(ledger, "1", one, under=rules), add(ledger, "2", one, lines=360, under=rules)
    free, other = add(ledger, "3", prints(), under=rules), add(ledger, "4", prints(), under=rules)
    group_clips(ledger, rules)
    assert split_clips(ledger, rules) == {"train": 2}
    assert dropped(ledger)[clip(copy)] == {"condition": EXCLUDED, "video": low, "file": "test.csv"}
    assert dropped(ledger)[clip(low)]["condition"] == BEST
    assert {row[0] for row in ledger.rows("SELECT clip_id FROM splits")} == {clip(free), clip(other)}


def test_a_missing_list_stops_the_step(ledger: Ledger) -> None:
    rules = recipe(splits={"exclude": ["nowhere.csv"]})
    with pytest.raises(UsageError, match=r"nowhere\.csv does not exist"):
        split_clips(ledger, rules)
