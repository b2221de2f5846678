"""Planes to RGB as swscale does it."""

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import Interpolation, VideoReformatter
from hypothesis import given, settings
from hypothesis import strategies as st
from v2a.colour import rgb


def planes(luma: int, u: int, v: int, width: int = 16, height: int = 12) -> np.ndarray:
    """One constant picture, I420 as a shard's decoder gives it."""
    flat = np.empty(width * height * 3 // 2, np.uint8)
    size = width * height
    flat[:size], flat[size : size * 5 // 4], flat[size * 5 // 4 :] = luma, u, v
    return flat.reshape(height * 3 // 2, width)


def ours(canvas: np.ndarray, width: int = 16, height: int = 12) -> np.ndarray:
    return rgb(torch.from_numpy(canvas[None, None]), width, height)[0, :, 0].movedim(0, -1).numpy()


def swscale(canvas: np.ndarray) -> np.ndarray:
    """The same by swscale, exactly rounded: its default is fast and up to 3 of 255 off."""
    exact = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
    frame = av.VideoFrame.from_ndarray(canvas, format="yuv420p")
    return VideoReformatter().reformat(frame, format="rgb24", interpolation=exact).to_ndarray()


@settings(max_examples=60, deadline=None)
@given(st.integers(16, 235), st.integers(16, 240), st.integers(16, 240))
def test_it_is_swscales_conversion(luma: int, u: int, v: int) -> None:
    canvas = planes(luma, u, v)
    assert np.abs(ours(canvas) * 255 - swscale(canvas)).max() <= 1


def test_rows_and_columns_stay_where_they_are() -> None:
    rng = np.random.default_rng(0)
    width, height = 32, 18
    canvas = np.full((height * 3 // 2, width), 128, np.uint8)
    canvas[:height] = rng.integers(16, 236, (height, width))
    assert np.abs(ours(canvas, width, height) * 255 - swscale(canvas)).max() <= 1


def test_chroma_is_that_of_its_own_block() -> None:
    canvas = planes(128, 128, 128)
    flat = canvas.reshape(-1)
    flat[16 * 12 + 8 * 2 + 3] = 240  # U of block row 2, column 3
    picture = ours(canvas)
    blue = picture[..., 2] > 0.6
    assert np.argwhere(blue).tolist() == [[4, 6], [4, 7], [5, 6], [5, 7]]


def test_black_is_0_and_white_is_1() -> None:
    assert float(np.abs(ours(planes(16, 128, 128))).max()) == 0.0
    np.testing.assert_allclose(ours(planes(235, 128, 128)), 1.0, atol=1e-5)
    for luma in (0, 255):
        picture = ours(planes(luma, 255, 0))
        assert picture.min() >= 0 and picture.max() <= 1


def test_batch_and_time_are_kept_apart() -> None:
    lumas = [[30, 60, 90], [120, 150, 180]]
    stack = torch.from_numpy(np.stack([[planes(luma, 128, 128) for luma in row] for row in lumas]))
    out = rgb(stack, 16, 12)
    assert out.shape == (2, 3, 3, 12, 16)
    expected = (torch.tensor(lumas) - 16) * 1.164383 / 255
    torch.testing.assert_close(out.mean(dim=(1, 3, 4)), expected)


@pytest.mark.parametrize("size", [(18, 12), (16, 10), (8, 24 * 2)])
def test_planes_of_another_size_are_no_picture(size: tuple[int, int]) -> None:
    with pytest.raises((AssertionError, RuntimeError)):
        ours(planes(16, 128, 128), *size)
