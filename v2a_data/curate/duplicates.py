"""The duplicates step: videos that hold the same clips are one group; the best of clips that are the same is kept.

Videos are the same by the bytes of their files, or by the picture or the sound of a clip (`curate.similar`). What is
the same as what follows from the clips alone, not from workers or the order in which videos came. Groups whose clips
have splits stand: they keep their ids, and their kept clips stay. A new video that would join groups of two splits is
dropped. Clips of one video are one group by its id, and never duplicates of each other: a scene that hardly changes
is not the same clip again. A clip that the cap per channel leaves room for is better than one that it does not, so that
no clip is dropped for one that is not there in the end.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from v2a_data import schema
from v2a_data.curate.channels import above_cap
from v2a_data.curate.clips import drop, strength
from v2a_data.curate.similar import PICTURE, SOUND, Hashes, Union, same
from v2a_data.ledger import Ledger
from v2a_data.media.fingerprint import CROPS, VERSION
from v2a_data.recipe import Recipe

BEST = "best of its duplicates"
ONE_SPLIT = "like videos of one split alone"
# Clips of equal files are the same where they share this much of the shorter one.
_SHARE = 0.5


@dataclass(frozen=True)
class _Clip:
    """A kept clip, or one that lost against a duplicate before."""

    clip_id: str
    video_id: str
    start_s: float
    stop_s: float
    verdict: str
    stands: int


@dataclass
class Grouped:
    """What the step did: clips that got a group, and those dropped for a better one or between two splits."""

    grouped: int = 0
    worse: int = 0
    between: int = 0


@dataclass
class _Alike:
    """Pairs of clips that are the same: by what, per pair of their ids; and joined videos."""

    by: dict[tuple[str, str], str] = field(default_factory=dict)
    of: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    videos: Union = field(default_factory=Union)

    def add(self, one: str, other: str, by: str) -> None:
        key = (min(one, other), max(one, other))
        self.by.setdefault(key, by)
        self.of[one].add(other)
        self.of[other].add(one)


def group_clips(ledger: Ledger, recipe: Recipe) -> Grouped:
    """Group the kept clips and drop duplicates as the recipe says. Nothing is done where no clip is new."""
    sql = (
        "SELECT 1 FROM clips WHERE recipe_hash = ? AND verdict = 'keep' AND clip_id NOT IN (SELECT clip_id FROM groups)"
    )
    if not ledger.value(f"{sql} LIMIT 1", (recipe.hash,)):
        return Grouped()
    clips = _clips(ledger, recipe.hash)
    alike = _alike(ledger, clips)
    groups, between = _groups(ledger, clips, alike.videos, leaky=recipe.splits.by == "within_video")
    left = [clip for clip in clips if clip.video_id not in between and clip.verdict == "keep"]
    losers = _losers(ledger, recipe, left, alike) if recipe.duplicates.keep == "best" else {}
    drops = {clip.clip_id: {"condition": ONE_SPLIT} for clip in clips if clip.video_id in between}
    drops |= losers
    with ledger.transaction():
        rows = [{"clip_id": clip.clip_id, "group_id": groups[clip.video_id]} for clip in clips if not clip.stands]
        ledger.insert(schema.GROUPS, rows, existing="replace")
        for clip_id, reason in sorted(drops.items()):
            drop(ledger, recipe.hash, clip_id, reason)
    return Grouped(len(rows), len(losers), len(drops) - len(losers))


def _clips(ledger: Ledger, recipe_hash: str) -> list[_Clip]:
    sql = (
        "SELECT c.clip_id, c.video_id, c.start_s, c.stop_s, c.verdict, s.split IS NOT NULL AS stands "
        "FROM clips c LEFT JOIN splits s USING (clip_id) LEFT JOIN groups g USING (clip_id) WHERE c.recipe_hash = ? "
        "AND (c.verdict = 'keep' OR g.group_id IS NOT NULL) ORDER BY 1"
    )
    return [_Clip(**row) for row in ledger.each(sql, (recipe_hash,))]


def _alike(ledger: Ledger, clips: list[_Clip]) -> _Alike:
    """What is the same among all clips that were ever fingerprinted, and among all files."""
    alike = _Alike()
    by_video: dict[str, list[_Clip]] = defaultdict(list)
    for clip in clips:
        by_video[clip.video_id].append(clip)
    for twins in _twins(ledger):
        for one, other in combinations(twins, 2):
            alike.videos.join(one, other)
            for a, b in ((a, b) for a in by_video[one] for b in by_video[other] if _overlap(a, b)):
                alike.add(a.clip_id, b.clip_id, "bytes")
    for by, rules, column in (("picture", PICTURE, "picture"), ("sound", SOUND, "sound")):
        names, videos, hashes = load_hashes(ledger, column)
        for a, b in same(hashes, rules).tolist():
            alike.videos.join(videos[a], videos[b])
            alike.add(names[a], names[b], by)
    return alike


def _twins(ledger: Ledger) -> Iterator[list[str]]:
    """Videos whose files have the same bytes."""
    sql = "SELECT json_group_array(video_id) FROM media GROUP BY sha256 HAVING COUNT(*) > 1 ORDER BY 1"
    for (ids,) in ledger.rows(sql):
        yield sorted(json.loads(ids))


def _overlap(one: _Clip, other: _Clip) -> bool:
    shared_s = min(one.stop_s, other.stop_s) - max(one.start_s, other.start_s)
    return shared_s >= _SHARE * min(one.stop_s - one.start_s, other.stop_s - other.start_s)


def load_hashes(ledger: Ledger, column: str) -> tuple[list[str], list[str], Hashes]:
    """Clip ids, their videos, and their hashes of picture or sound."""
    # The column's name comes from this module.
    sql = f"SELECT clip_id, video_id, {column} FROM fingerprints WHERE version = ? AND {column} IS NOT NULL ORDER BY 1, stop_s"  # noqa: E501, S608
    forms = {"picture": len(CROPS), "sound": 1}[column]
    names, videos, ends, everything = [], [], [0], bytearray()
    for clip_id, video_id, blob in ledger.each(sql, (VERSION,)):
        names.append(clip_id)
        videos.append(video_id)
        everything += blob
        ends.append(len(everything) // (8 * forms))
    numbers = {video_id: number for number, video_id in enumerate(sorted(set(videos)))}
    rows = np.frombuffer(everything, "<u8").reshape(-1, forms)
    return names, videos, Hashes(rows, np.asarray(ends), np.asarray([numbers[video_id] for video_id in videos]))


def _groups(ledger: Ledger, clips: list[_Clip], videos: Union, *, leaky: bool) -> tuple[dict[str, str], set[str]]:
    """The group of each video, and the new videos that join groups of two splits. `leaky`: splits do not matter."""
    sql = "SELECT DISTINCT c.video_id, g.group_id, s.split FROM groups g JOIN splits s USING (clip_id) JOIN clips c USING (clip_id)"  # noqa: E501
    standing: dict[str, str] = {}
    reached: dict[str, set[str]] = defaultdict(set)
    splits: dict[str, set[str]] = defaultdict(set)
    for video_id, group_id, split in ledger.each(sql):
        standing[video_id] = group_id
        reached[videos.find(video_id)].add(group_id)
        splits[videos.find(video_id)].add(split)
    groups: dict[str, str] = {}
    between: set[str] = set()
    for video_id in sorted({clip.video_id for clip in clips}):
        top = videos.find(video_id)
        groups[video_id] = standing.get(video_id) or min(reached[top], default=top)
        if video_id not in standing and len(splits[top]) > 1 and not leaky:
            between.add(video_id)
    return groups, between


def _losers(ledger: Ledger, recipe: Recipe, clips: list[_Clip], alike: _Alike) -> dict[str, dict[str, Any]]:
    """Clips that are the same as a better one that stays, each with its reason."""
    among = {clip.clip_id: clip for clip in clips}
    in_question = [clip for clip in clips if any(other in among for other in alike.of.get(clip.clip_id, ()))]
    # Whoever is below the cap among all clips is below it among those that are left.
    above = set(above_cap(ledger, recipe))
    merits = {clip.clip_id: _merit(ledger, recipe.hash, clip, above=clip.clip_id in above) for clip in in_question}
    kept: set[str] = set()
    losers: dict[str, dict[str, Any]] = {}
    for clip in sorted(in_question, key=lambda clip: merits[clip.clip_id]):
        better = sorted((o for o in alike.of[clip.clip_id] if o in kept), key=lambda o: merits[o])
        if not better or clip.stands:
            kept.add(clip.clip_id)
            continue
        pair = (min(clip.clip_id, better[0]), max(clip.clip_id, better[0]))
        losers[clip.clip_id] = {"condition": BEST, "kept": better[0], "by": alike.by[pair]}
    return losers


def _merit(ledger: Ledger, recipe_hash: str, clip: _Clip, *, above: bool) -> tuple[bool, bool, int, float, str]:
    """What clips are ordered by, best first: standing ones, those not above the cap of their channel, lines of the
    source, mean strength, id."""
    lines = "SELECT MIN(json_extract(probe, '$.picture.width'), json_extract(probe, '$.picture.height')) FROM media "
    tall = int(ledger.value(f"{lines} WHERE video_id = ?", (clip.video_id,)) or 0)
    return (
        not clip.stands,
        above,
        -tall,
        -strength(ledger, recipe_hash, clip.video_id, clip.start_s, clip.stop_s),
        clip.clip_id,
    )
