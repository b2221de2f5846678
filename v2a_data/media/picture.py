"""Frames to fixed sizes: upright, square pixels, one colour space, padded to the wanted shape."""

from dataclasses import dataclass

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

_SCALE = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
_BLACK_LUMA, _GREY_CHROMA = 16, 128
_HD_LINES = 720


@dataclass(frozen=True)
class Fit:
    """Where a frame lands: its scaled size before turning, and its place in the canvas after."""

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


def fit(frame: av.VideoFrame, sample_aspect: float, width: int, height: int) -> Fit:
    """The largest even-sized picture of the frame's shape that the canvas holds, centred on even pixels."""
    shown_width, shown_height, turns = upright_size(frame, sample_aspect)
    scale = min(width / shown_width, height / shown_height)
    inner_width = min(width, max(2, round(shown_width * scale / 2) * 2))
    inner_height = min(height, max(2, round(shown_height * scale / 2) * 2))
    left, top = (width - inner_width) // 4 * 2, (height - inner_height) // 4 * 2
    if turns % 2:
        return Fit(inner_height, inner_width, turns, left, top)
    return Fit(inner_width, inner_height, turns, left, top)


class Scaler:
    """Turns frames of one file into arrays. One swscale context per wanted form is kept."""

    def __init__(self, sample_aspect: float = 1.0) -> None:
        self.sample_aspect = sample_aspect if 0.05 < sample_aspect < 20 else 1.0
        self._reformatters: dict[tuple[int, int, str], VideoReformatter] = {}

    def canvas(self, frame: av.VideoFrame, width: int, height: int) -> np.ndarray:
        """YUV 4:2:0 planes `(height * 3 / 2, width)` uint8, BT.601 limited range, padded with black."""
        place = fit(frame, self.sample_aspect, width, height)
        small = self._scaled(frame, place.width, place.height, "yuv420p")
        planes = [plane_view(small, i) for i in range(3)]
        if place.turns:
            planes = [np.rot90(plane, place.turns) for plane in planes]
        canvas = np.empty((height * 3 // 2, width), dtype=np.uint8)
        luma, chroma_u, chroma_v = split_planes(canvas, width, height)
        for target, plane, shift, blank in (
            (luma, planes[0], 0, _BLACK_LUMA),
            (chroma_u, planes[1], 1, _GREY_CHROMA),
            (chroma_v, planes[2], 1, _GREY_CHROMA),
        ):
            top, left = place.top >> shift, place.left >> shift
            if plane.shape != target.shape:
                target.fill(blank)
            target[top : top + plane.shape[0], left : left + plane.shape[1]] = plane
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


def _colorspace(frame: av.VideoFrame) -> Colorspace:
    """The frame's own matrix, or the usual one for its size where it names none."""
    known = {1: Colorspace.ITU709, 5: Colorspace.ITU601, 6: Colorspace.ITU601}
    guess = Colorspace.ITU709 if min(frame.width, frame.height) >= _HD_LINES else Colorspace.ITU601
    return known.get(int(frame.colorspace), guess)


def plane_view(frame: av.VideoFrame, index: int) -> np.ndarray:
    """One plane of a frame as `(rows, columns)` uint8, not copied."""
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
