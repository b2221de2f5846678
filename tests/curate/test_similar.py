"""Same clips among many: found at any offset, never without something to go by, whatever the order."""

import numpy as np
import pytest

from v2a_data.curate.similar import PICTURE, SOUND, Hashes, Rules, Union, same

rng = np.random.default_rng(7)


def clip(steps: int, forms: int = 1) -> np.ndarray:
    return rng.integers(1, 2**63, (steps, forms), dtype=np.uint64)


def noisy(hashes: np.ndarray, share: float) -> np.ndarray:
    bits = np.packbits(rng.random((*hashes.shape, 64)) < share, axis=-1, bitorder="little").view("<u8")[..., 0]
    return np.where(hashes == 0, np.uint64(0), hashes ^ bits)


def pairs(clips: list[np.ndarray], rules: Rules, owners: list[int] | None = None) -> list[list[int]]:
    return same(Hashes.of(clips, owners or list(range(len(clips)))), rules).tolist()


@pytest.mark.parametrize(("rules", "steps"), [(PICTURE, 31), (SOUND, 125)])
def test_a_noisy_copy_with_another_start_is_found_and_nothing_else(rules: Rules, steps: int) -> None:
    clips = [clip(steps) for _ in range(300)]
    late = steps // 5
    clips.append(np.concatenate([noisy(clips[10][late:], 0.03), clip(late)]))
    assert pairs(clips, rules) == [[10, 300]]


def test_too_little_in_common_is_not_the_same() -> None:
    one, other = clip(31), clip(31)
    other[:9] = one[22:]
    assert pairs([one, other], PICTURE) == [], "9 of 31 steps"
    other[:14] = one[17:]
    assert pairs([one, other], PICTURE) == [[0, 1]], "14 of 31 steps"


def test_a_copy_that_is_cropped_is_found_by_the_form_of_its_original() -> None:
    original, other = clip(31, 4), clip(31, 4)
    copy = clip(31, 4)
    copy[:, 0] = noisy(original[:, 2], 0.03)
    assert pairs([original, other, copy], PICTURE) == [[0, 2]]


def test_clips_without_anything_to_go_by_are_like_no_other() -> None:
    black = np.zeros((31, 4), np.uint64)
    nearly = black.copy()
    nearly[:2] = 5  # fewer moments than it takes
    nothing = np.zeros((0, 4), np.uint64)
    assert pairs([black, black, nearly, nearly, nothing, nothing], PICTURE) == []
    assert pairs([], PICTURE) == []


def test_clips_of_one_video_are_never_compared() -> None:
    one = clip(31)
    assert pairs([one, one, clip(31)], PICTURE, owners=[4, 4, 5]) == []
    assert pairs([one, one, clip(31)], PICTURE, owners=[4, 6, 5]) == [[0, 1]]


def test_a_moment_that_very_many_share_tells_nothing() -> None:
    opening = clip(6)
    clips = [np.concatenate([opening, clip(25)]) for _ in range(150)]
    assert pairs(clips, PICTURE) == []


def test_order_and_threads_change_nothing() -> None:
    import faiss

    clips = [clip(31) for _ in range(100)]
    clips += [noisy(clips[n], 0.02) for n in range(20)]
    found = pairs(clips, PICTURE)
    assert [n for n, _ in found] == list(range(20))
    order = rng.permutation(len(clips))
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        shuffled = pairs([clips[n] for n in order], PICTURE)
    finally:
        faiss.omp_set_num_threads(threads)
    assert sorted(sorted((int(order[a]), int(order[b]))) for a, b in shuffled) == found


def test_a_set_is_called_by_its_smallest_name_in_any_order() -> None:
    links = [("d", "b"), ("e", "d"), ("c", "a"), ("a", "e")]
    for turn in range(len(links)):
        union = Union()
        for one, other in links[turn:] + links[:turn]:
            union.join(one, other)
        assert {union.find(name) for name in "abcde"} == {"a"}
        assert union.find("z") == "z"
