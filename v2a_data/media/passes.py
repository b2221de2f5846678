"""Where decoding on costs less than seeking: spans of one file grouped into passes by its keyframes."""

from collections.abc import Sequence

import numpy as np

from v2a_data.media.decode import Media, demuxed

# Opening the file anew and seeking costs as much as decoding so many frames (measured: 3 to 6, 144 to 720 lines).
_SEEK_FRAMES = 6.0


def plan_passes(
    spans: Sequence[tuple[float, float]], keyframes_s: np.ndarray, fps: float, seek_frames: float = _SEEK_FRAMES
) -> list[range]:
    """Indices of `spans` (rising, not overlapping), grouped so that the fewest frames are decoded.

    Between two spans there are two ways: decode on to the next one, or seek to the last keyframe at or before it.
    Each gap is decided alone, since neither choice changes what the others cost.
    """
    passes, first = [], 0
    for index in range(1, len(spans)):
        here_s, next_s = spans[index - 1][1], spans[index][0]
        place = int(np.searchsorted(keyframes_s, next_s, side="right"))
        saved_s = keyframes_s[place - 1] - here_s if place else 0.0
        if saved_s * fps > seek_frames:
            passes.append(range(first, index))
            first = index
    return [*passes, range(first, len(spans))] if spans else []


def keyframes(media: Media) -> np.ndarray:
    """Times of the picture's keyframes, seconds, rising.

    From the container's index where that is whole (mov, mp4), else from all packets: the file is read to its end.
    """
    video = media.video
    if video is None or video.time_base is None:
        return np.zeros(0)
    if "mp4" in media.container.format.name:
        stamps = [entry.timestamp for entry in video.index_entries if entry.is_keyframe]
    else:
        stamps = [p.pts for p in demuxed(media.container, [video]) if p.is_keyframe and p.pts is not None]
    return np.sort(np.asarray(stamps, np.float64) * float(video.time_base) - media.origin_s)
