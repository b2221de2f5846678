"""A sample's keyframes are its own: one each second, whatever the source's were."""

from fractions import Fraction
from pathlib import Path

import av
import pytest

from v2a_data.media.cut import cut
from v2a_data.media.spec import CutSpec


@pytest.mark.parametrize(
    "options",
    [
        {"name": "gop7.mp4", "gop": 7},
        {"name": "intra.mkv", "video_codec": "mjpeg", "pix_fmt": "yuvj420p"},
        {"name": "scaled.mp4", "gop": 7, "width": 512, "height": 288},
        {"name": "padded.mp4", "gop": 7, "width": 144, "height": 256},
    ],
)
def test_there_is_one_keyframe_a_second(options: dict, media, tmp_path: Path) -> None:
    path = media(options.pop("name"), **options)
    (result,) = cut(str(path), [(0.52, 4.52)], CutSpec(256, 144, Fraction(25), 16000, 1, 23), str(tmp_path))
    assert result.reason is None
    with av.open(result.path) as container:
        packets = [packet for packet in container.demux(video=0) if packet.pts is not None]
        keys = sorted(round(float(packet.pts * packet.time_base) * 25) for packet in packets if packet.is_keyframe)
    assert keys == [0, 25, 50, 75]
