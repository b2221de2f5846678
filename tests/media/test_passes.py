"""Passes over a file: the cheapest of all ways to read its spans, by the keyframe index."""

from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest

from v2a_data.media.cut import cut
from v2a_data.media.decode import Media
from v2a_data.media.limits import open_media
from v2a_data.media.passes import keyframes, plan_passes
from v2a_data.media.spec import CutSpec

SPEC = CutSpec(64, 36, Fraction(25), 16000, 1, 30)


def cost(groups: list[range], spans: list[tuple[float, float]], keys: np.ndarray, fps: float, seek: float) -> float:
    """Frames decoded by a way of reading, a seek counted as so many frames."""
    total = 0.0
    for group in groups:
        before = keys[keys <= spans[group[0]][0]]
        start = before[-1] if len(before) else 0.0
        total += (spans[group[-1]][1] - start) * fps + seek
    return total


@pytest.mark.parametrize("seed", range(20))
def test_no_other_grouping_is_cheaper(seed: int) -> None:
    rng = np.random.default_rng(seed)
    edges = np.sort(rng.uniform(0, 120, 14))
    spans = [(float(a), float(b)) for a, b in edges.reshape(-1, 2)]
    keys = np.concatenate([[0.0], np.sort(rng.uniform(0, 120, int(rng.integers(2, 60))))])
    planned = plan_passes(spans, keys, 25.0, 6.0)
    assert [i for group in planned for i in group] == list(range(len(spans)))
    every = []
    for splits in product((False, True), repeat=len(spans) - 1):
        borders = [0, *(i + 1 for i, split in enumerate(splits) if split), len(spans)]
        every.append([range(a, b) for a, b in pairwise(borders)])
    cheapest = min(cost(way, spans, keys, 25.0, 6.0) for way in every)
    assert cost(planned, spans, keys, 25.0, 6.0) == pytest.approx(cheapest)


def test_dense_spans_are_one_pass_and_sparse_ones_are_sought() -> None:
    keys = np.arange(0.0, 600.0, 5.0)
    dense = [(10.0 * i, 10.0 * i + 10.0) for i in range(20)]
    assert plan_passes(dense, keys, 25.0) == [range(20)]
    sparse = [(100.0 * i, 100.0 * i + 10.0) for i in range(5)]
    assert plan_passes(sparse, keys, 25.0) == [range(i, i + 1) for i in range(5)]
    # Without a keyframe between them a seek would decode the same frames twice.
    assert plan_passes(sparse, np.asarray([0.0]), 25.0) == [range(5)]
    assert plan_passes([], keys, 25.0) == []


@pytest.mark.parametrize("name", ["b.mp4", "b.mkv"])
def test_keyframes_are_those_of_the_packets(name: str, media) -> None:
    path = media(name, fps=Fraction(30), gop=150)
    opened = Media(open_media(path))
    with opened.container:
        found = keyframes(opened)
    # The index of mp4 counts in decoding order, a few frames before the time of presentation.
    assert np.allclose(found, [0.0, 5.0, 10.0], atol=3 / 30)


def test_a_span_is_the_same_bytes_whatever_is_decoded_before_it(media, tmp_path: Path) -> None:
    # White noise at few bits: AAC fills bands with noise of its own, whose state depends on all it decoded before.
    hiss = np.random.default_rng(1).standard_normal(11 * 44100).astype(np.float32) * 0.1
    path = str(media("hiss.mp4", gop=50, sound=hiss, audio_bits=48_000))
    spans = [(0.5, 2.5), (2.5, 4.5), (6.52, 8.52), (8.6, 10.6)]
    (tmp_path / "all").mkdir()
    together = cut(path, spans, SPEC, str(tmp_path / "all"))
    assert [result.reason for result in together] == [None] * 4
    for span, result in zip(spans, together, strict=True):
        folder = tmp_path / f"alone-{span[0]}"
        folder.mkdir()
        (alone,) = cut(path, [span], SPEC, str(folder))
        assert Path(alone.path).read_bytes() == Path(result.path).read_bytes()
        assert alone.picture_error_s == result.picture_error_s
