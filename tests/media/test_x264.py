"""The same pictures give the same bytes, whatever lay in memory before."""

import hashlib
import io
from fractions import Fraction

import av
import numpy as np
import pytest

from v2a_data.media.x264 import x264_params


def encoded(frames: np.ndarray, width: int, height: int) -> str:
    """Hash of the packets of planes `(n, height * 3 / 2, width)`."""
    found = hashlib.sha256()
    with av.open(io.BytesIO(), "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"preset": "veryfast", "crf": "24", "x264-params": x264_params(width, 75)}
        shown = []
        for index, planes in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            shown.append(frame)
        for frame in (*shown, None):
            for packet in stream.encode(frame):
                found.update(bytes(packet))
                out.mux(packet)
    return found.hexdigest()


@pytest.mark.parametrize(("width", "height"), [(64, 36), (96, 56), (128, 72)])
def test_two_hundred_encodes_are_one(width: int, height: int) -> None:
    rng = np.random.default_rng(0)
    texture = np.kron(rng.integers(0, 255, (height * 3 // 2 // 2, width // 2 + 30)), np.ones((2, 2))).astype(np.uint8)
    frames = np.stack([texture[: height * 3 // 2, i : i + width] for i in range(50)])
    hashes, junk = set(), []
    for _ in range(200):
        junk = [*junk[-20:], bytes(int(rng.integers(1, 400_000)))]
        hashes.add(encoded(frames, width, height))
    assert len(hashes) == 1
