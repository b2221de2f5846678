"""Frames to fixed sizes: upright, square pixels, one colour space, padded or cropped to the wanted shape."""

from dataclasses import dataclass
from typing import Literal

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

_SCALE = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_BLACK_LUMA, _GREY_CHROMA = 16, 128
_HD_LINES = 720

FitRule = Literal["pad", "crop"]


@dataclass(frozen=True)
class Fit:
    """Where a frame lands: its scaled size before turning, and its place in the picture after.

    `left` and `top` are below 0 where the frame is cropped.
    """

    width: int
    height: int
    turns: int
    left: int
    top: int


def upright_size(frame: av.VideoFrame, sample_aspect: float) -> tuple[float, float, int]:
    """Width and height in square pixels after rotation, and the quarter turns (counter-clockwise)."""
    turns = round(frame.rotation / 90) % 4
    width, height = frame.width * sample_aspect, float(frame.height)
    return (height, width, turns) if turns % 2 else (width, height, turns)


def fit(frame: av.VideoFrame, sample_aspect: float, width: int, height: int, rule: FitRule = "pad") -> Fit:
    """The frame's shape in even sizes, centred on even pixels.

    `pad`: the largest that the wanted size holds; `crop`: the smallest that covers it.
    """
    shown_width, shown_height, turns = upright_size(frame, sample_aspect)
    scales = width / shown_width, height / shown_height
    scale = min(scales) if rule == "pad" else max(scales)
    inner_width, inner_height = (max(2, round(size * scale / 2) * 2) for size in (shown_width, shown_height))
    bound = min if rule == "pad" else max
    inner_width, inner_height = bound(width, inner_width), bound(height, inner_height)
    left, top = (width - inner_width) // 4 * 2, (height - inner_height) // 4 * 2
    if turns % 2:
        return Fit(inner_height, inner_width, turns, left, top)
    return Fit(inner_width, inner_height, turns, left, top)


class Scaler:
    """Turns frames of one file into other forms. One swscale context per wanted form is kept."""

    def __init__(self, sample_aspect: float = 1.0) -> None:
        self.sample_aspect = sample_aspect if 0.05 < sample_aspect < 20 else 1.0
        self._reformatters: dict[tuple[int, int, str], VideoReformatter] = {}

    def fitted(self, frame: av.VideoFrame, width: int, height: int, rule: FitRule = "pad") -> av.VideoFrame:
        """The frame as yuv420p of exactly this size, BT.601 limited range, padded with black or cropped."""
        place = fit(frame, self.sample_aspect, width, height, rule)
        small = self._scaled(frame, place.width, place.height, "yuv420p")
        if (place.width, place.height, place.turns) == (width, height, 0):
            return small
        whole = av.VideoFrame(width, height, "yuv420p")
        for index, blank in enumerate((_BLACK_LUMA, _GREY_CHROMA, _GREY_CHROMA)):
            shift = 1 if index else 0
            target, plane = plane_view(whole, index), np.rot90(plane_view(small, index), place.turns)
            _lay(target, plane, place.left >> shift, place.top >> shift, blank)
        return whole

    def canvas(self, frame: av.VideoFrame, width: int, height: int, rule: FitRule = "pad") -> np.ndarray:
        """The planes of `fitted` as one array `(height * 3 / 2, width)` uint8."""
        whole = self.fitted(frame, width, height, rule)
        canvas = np.empty((height * 3 // 2, width), dtype=np.uint8)
        for index, target in enumerate(split_planes(canvas, width, height)):
            target[:] = plane_view(whole, index)
        return canvas

    def rgb(self, frame: av.VideoFrame, shorter_side: int) -> np.ndarray:
        """`(h, w, 3)` uint8 with the shorter side as asked, upright."""
        width, height, turns = upright_size(frame, self.sample_aspect)
        scale = shorter_side / min(width, height)
        shown = (min(4 * shorter_side, round(width * scale)), min(4 * shorter_side, round(height * scale)))
        if turns % 2:
            shown = shown[::-1]
        small = self._scaled(frame, max(1, shown[0]), max(1, shown[1]), "rgb24")
        array = small.to_ndarray()
        return np.rot90(array, turns) if turns else array

    def luma(self, frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
        """`(height, width)` uint8 luma of limited range, stretched to the size asked; the source's own matrix."""
        turns = round(frame.rotation / 90) % 4
        reformatter = self._reformatters.setdefault((width, height, "gray"), VideoReformatter())
        # Called full on both sides, the luma plane is scaled as it is; chroma would cost as much again.
        small = reformatter.reformat(
            frame,
            width=height if turns % 2 else width,
            height=width if turns % 2 else height,
            format="gray",
            interpolation=_SCALE,
            src_colorspace=Colorspace.ITU601,
            dst_colorspace=Colorspace.ITU601,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )
        plane = plane_view(small, 0)
        if (
            frame.color_range == ColorRange.JPEG
            or frame.format.is_rgb
            or frame.format.name.startswith(("yuvj", "gray"))
        ):
            plane = ((plane.astype(np.uint16) * 219 + 127) // 255 + 16).astype(np.uint8)
        return np.rot90(plane, turns) if turns else plane

    def _scaled(self, frame: av.VideoFrame, width: int, height: int, form: str) -> av.VideoFrame:
        reformatter = self._reformatters.setdefault((width, height, form), VideoReformatter())
        return reformatter.reformat(
            frame,
            width=width,
            height=height,
            format=form,
            interpolation=_SCALE,
            src_colorspace=_colorspace(frame),
            dst_colorspace=Colorspace.ITU601,
            dst_color_range=ColorRange.MPEG if form == "yuv420p" else ColorRange.JPEG,
            threads=1,
        )


def _lay(target: np.ndarray, plane: np.ndarray, left: int, top: int, blank: int) -> None:
    """Put `plane` into `target` at `(left, top)`; what hangs over is cut off, what stays free is `blank`."""
    if plane.shape[0] < target.shape[0] or plane.shape[1] < target.shape[1]:
        target.fill(blank)
    inner = plane[max(0, -top) :, max(0, -left) :]
    top, left = max(0, top), max(0, left)
    inner = inner[: target.shape[0] - top, : target.shape[1] - left]
    target[top : top + inner.shape[0], left : left + inner.shape[1]] = inner


def _colorspace(frame: av.VideoFrame) -> Colorspace:
    """The frame's own matrix, or the usual one for its size where it names none."""
    known = {1: Colorspace.ITU709, 5: Colorspace.ITU601, 6: Colorspace.ITU601}
    guess = Colorspace.ITU709 if min(frame.width, frame.height) >= _HD_LINES else Colorspace.ITU601
    return known.get(int(frame.colorspace), guess)


def plane_view(frame: av.VideoFrame, index: int) -> np.ndarray:
    """One plane of a frame as `(rows, columns)` uint8: a view, so what is written here is in the frame."""
    plane = frame.planes[index]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]


def split_planes(canvas: np.ndarray, width: int, height: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Views of Y `(h, w)`, U and V `(h/2, w/2)` in one I420 array `(h * 3 / 2, w)`."""
    flat = canvas.reshape(-1)
    luma_size, chroma_size = width * height, width * height // 4
    luma = flat[:luma_size].reshape(height, width)
    chroma_u = flat[luma_size : luma_size + chroma_size].reshape(height // 2, width // 2)
    chroma_v = flat[luma_size + chroma_size :].reshape(height // 2, width // 2)
    return luma, chroma_u, chroma_v
