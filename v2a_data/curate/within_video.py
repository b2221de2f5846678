"""Splits within videos: one long video cut in time, train first, then validation, then test, with gaps between.

Train and test show the same things in the same light: figures on such a test say nothing of other videos. Manifest
and card of a dataset split this way say so.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from v2a_data.recipe import SplitsSection

GAP = "outside the gaps between splits"
_ORDER = ("train", "validation", "test")


@dataclass(frozen=True)
class TimedClip:
    """A kept clip, with the split that stands or null."""

    clip_id: str
    video_id: str
    label: str
    start_s: float
    stop_s: float
    split: str | None = None


def cut_in_time(clips: Sequence[TimedClip], rules: SplitsSection) -> dict[str, str]:
    """Split by clip id; clips in a gap are absent. A video that has splits keeps their borders.

    Shares are of each video's clips. A number is of each label's: what videos with splits lack of it is shared out over
    the others by their clips.
    """
    by_label: dict[str, dict[str, list[TimedClip]]] = defaultdict(lambda: defaultdict(list))
    for clip in sorted(clips, key=lambda clip: (clip.video_id, clip.start_s)):
        by_label[clip.label][clip.video_id].append(clip)
    chosen: dict[str, str] = {}
    for videos in by_label.values():
        new = [ordered for ordered in videos.values() if not any(clip.split for clip in ordered)]
        for ordered in videos.values():
            chosen |= _inside_borders(ordered)
        have = Counter(chosen.get(clip.clip_id) for ordered in videos.values() for clip in ordered)
        total = sum(map(len, new))
        wanted = _lacking(rules.validation, have["validation"]), _lacking(rules.test, have["test"])
        before = 0
        for ordered in new:
            after = before + len(ordered)
            counts = [_part(number, before, after, total) for number in wanted]
            chosen |= _cut(ordered, counts[0], counts[1], rules.gap_s)
            before = after
    return chosen


def _lacking(wanted: float | int, have: int) -> float | int:
    """What is left of a number; a share stays one."""
    return wanted if isinstance(wanted, float) else max(0, wanted - have)


def _part(wanted: float | int, before: int, after: int, total: int) -> int:
    """How many of clips `before` to `after` of a label's `total` a split gets; over all videos it adds up."""
    if isinstance(wanted, float):
        return round(wanted * (after - before))
    wanted = min(wanted, total)
    return round(wanted * after / total) - round(wanted * before / total)


def _cut(ordered: list[TimedClip], validation: int, test: int, gap_s: float) -> dict[str, str]:
    """Cut from the end, so that test has its number; what is too close to the next part falls into the gap."""
    chosen: dict[str, str] = {}
    left = list(ordered)
    latest_s = float("inf")
    for split, count in (("test", test), ("validation", validation), ("train", len(ordered))):
        while left and left[-1].stop_s > latest_s:
            left.pop()
        part = left[max(0, len(left) - count) :] if count else []
        chosen |= {clip.clip_id: split for clip in part}
        del left[len(left) - len(part) :]
        if part:
            latest_s = part[0].start_s - gap_s
    return chosen


def _inside_borders(ordered: list[TimedClip]) -> dict[str, str]:
    """New clips go where they lie inside the time of a split that stands."""
    chosen = {clip.clip_id: clip.split for clip in ordered if clip.split}
    for split in _ORDER:
        part = [clip for clip in ordered if clip.split == split]
        for clip in ordered:
            if part and not clip.split and part[0].start_s <= clip.start_s and clip.stop_s <= part[-1].stop_s:
                chosen[clip.clip_id] = split
    return {clip_id: split for clip_id, split in chosen.items() if split}
