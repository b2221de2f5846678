"""The splits step: whole groups to train, validation and test; written once and extended.

Groups of one channel, where it is known, go together. They are taken in the order of sha256(seed, group_id) until
each label has its share, or its number, of clips in test and then in validation; the rest is train. Videos of the
files in `splits.exclude` are dropped first, with all that is like them, and what is above `clips.max_per_channel`.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from v2a_data import schema
from v2a_data.console import Console
from v2a_data.curate.channels import cap_channels
from v2a_data.curate.clips import drop
from v2a_data.curate.exclusions import read_exclusions
from v2a_data.curate.similar import Union
from v2a_data.curate.within_video import GAP, TimedClip, cut_in_time
from v2a_data.errors import UsageError
from v2a_data.ledger import Ledger
from v2a_data.recipe import Recipe, SplitsSection

SPLITS = ("train", "validation", "test")
EXCLUDED = "not in splits.exclude"
# Sorts after every video id, so that a channel is called by its smallest group.
_CHANNEL = "~"


def group_number(seed: int, group_id: str) -> float:
    """The group's number in [0, 1)."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{group_id}".encode()).digest()[:8], "big") / 2**64


def split_clips(ledger: Ledger, recipe: Recipe) -> Counter[str]:
    """Give each kept clip without a split one; returns the sizes of all splits of this recipe.

    Raises `UsageError` for an exclusion list that cannot be read, and where splits by groups would have to keep a
    group that was split within videos before.
    """
    _exclude(ledger, recipe)
    cap_channels(ledger, recipe)
    if recipe.splits.by == "within_video":
        _split_in_time(ledger, recipe)
    else:
        _split_groups(ledger, recipe)
    sql = (
        "SELECT s.split, COUNT(*) FROM clips c JOIN splits s USING (clip_id) "
        "WHERE c.recipe_hash = ? AND c.verdict = 'keep' GROUP BY 1"
    )
    return Counter({row[0]: row[1] for row in ledger.rows(sql, (recipe.hash,))})


def alarm(ledger: Ledger, recipe: Recipe, console: Console) -> None:
    """Say which labels have kept clips and none to train on, where the recipe leaves any for that."""
    parts = recipe.splits.validation, recipe.splits.test
    if sum(part for part in parts if isinstance(part, float)) >= 1:
        return
    sql = (
        "SELECT c.label, COUNT(*) FROM clips c JOIN splits s USING (clip_id) WHERE c.recipe_hash = ? "
        "AND c.verdict = 'keep' GROUP BY 1 HAVING SUM(s.split = 'train') = 0 ORDER BY 1"
    )
    for label, count in ledger.each(sql, (recipe.hash,)):
        console.warn(
            f"{label!r} has no clip to train on: all of its {count} went to test and validation "
            f"(splits.test = {parts[1]}, splits.validation = {parts[0]})"
        )


def _exclude(ledger: Ledger, recipe: Recipe) -> None:
    """Drop kept clips of listed videos and of their groups."""
    listed = read_exclusions(recipe.splits.exclude)
    if not listed:
        return
    sql = (
        "SELECT c.clip_id, c.video_id, c.verdict, COALESCE(g.group_id, c.clip_id) AS unit FROM clips c "
        "LEFT JOIN groups g USING (clip_id) WHERE c.recipe_hash = ? ORDER BY 1"
    )
    rows = ledger.rows(sql, (recipe.hash,))
    units: dict[str, str] = {}
    for row in rows:
        if row["video_id"] in listed:
            units.setdefault(row["unit"], row["video_id"])
    with ledger.transaction():
        for row in rows:
            if row["verdict"] == "keep" and row["unit"] in units:
                video_id = units[row["unit"]]
                reason = {"condition": EXCLUDED, "video": video_id, "file": listed[video_id]}
                drop(ledger, recipe.hash, row["clip_id"], reason)


def _split_groups(ledger: Ledger, recipe: Recipe) -> None:
    sql = (
        "SELECT c.clip_id, c.label, g.group_id, s.split FROM clips c JOIN groups g USING (clip_id) "
        "LEFT JOIN splits s USING (clip_id) WHERE c.recipe_hash = ? AND c.verdict = 'keep' ORDER BY c.clip_id"
    )
    check_groups(ledger, recipe)
    rows = ledger.rows(sql, (recipe.hash,))
    standing = _standing(ledger)
    units = _units(ledger)
    fixed = {units.find(group): split for group, split in sorted(standing.items(), reverse=True)}
    clips: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        clips[units.find(row["group_id"])].append(row["label"])
    chosen = assign(clips, fixed, recipe.splits)
    new = [
        {"clip_id": row["clip_id"], "split": standing.get(row["group_id"], chosen[units.find(row["group_id"])])}
        for row in rows
        if row["split"] is None
    ]
    with ledger.transaction():
        ledger.insert(schema.SPLITS, new)


def check_groups(ledger: Ledger, recipe: Recipe) -> None:
    """Raise `UsageError` where splits are by groups and a group of kept clips has several: those within videos stand,
    and the dataset would leak without saying so."""
    if recipe.leaky:
        return
    sql = (
        "SELECT t.group_id FROM (SELECT g.group_id FROM groups g JOIN splits s USING (clip_id) GROUP BY 1 "
        "HAVING COUNT(DISTINCT s.split) > 1) t WHERE EXISTS (SELECT 1 FROM groups k JOIN clips c USING (clip_id) "
        "WHERE k.group_id = t.group_id AND c.recipe_hash = ? AND c.verdict = 'keep') ORDER BY 1"
    )
    torn = [row[0] for row in ledger.each(sql, (recipe.hash,))]
    if torn:
        raise UsageError(
            f"{len(torn)} groups were split within videos, {torn[0]} for one: with splits by groups they would leak",
            hint="go on with splits.by = 'within_video' (curate --force), or use a new workspace (-w)",
        )


def _standing(ledger: Ledger) -> dict[str, str]:
    """The split of each group that has one; what was split within videos, and is not kept any more, counts for none."""
    sql = (
        "SELECT g.group_id, MIN(s.split) FROM groups g JOIN splits s USING (clip_id) GROUP BY 1 "
        "HAVING COUNT(DISTINCT s.split) = 1"
    )
    return {row[0]: row[1] for row in ledger.each(sql)}


def _units(ledger: Ledger) -> Union:
    """Groups joined by the channels of their videos."""
    units = Union()
    sql = (
        "SELECT DISTINCT g.group_id, h.channel FROM groups g JOIN clips c USING (clip_id) "
        "JOIN channels h USING (video_id)"
    )
    for group_id, channel in ledger.each(sql):
        units.join(group_id, _CHANNEL + channel)
    return units


def assign(clips: Mapping[str, Sequence[str]], fixed: Mapping[str, str], rules: SplitsSection) -> dict[str, str]:
    """Split per group. `clips` holds the labels of each group's clips, `fixed` the splits that stand."""
    out = {group: fixed[group] for group in clips if group in fixed}
    ordered = sorted((group for group in clips if group not in fixed), key=lambda g: (group_number(rules.seed, g), g))
    total = Counter(label for labels in clips.values() for label in labels)
    for split, wanted in (("test", rules.test), ("validation", rules.validation)):
        have = Counter(label for group, where in out.items() if where == split for label in clips[group])
        for group in ordered:
            if group not in out and _is_wanted(Counter(clips[group]), have, total, wanted):
                out[group] = split
                have.update(clips[group])
    for group in ordered:
        out.setdefault(group, "train")
    return out


def _is_wanted(group: Counter[str], have: Counter[str], total: Counter[str], wanted: float | int) -> bool:
    """Whether a group brings one of its labels closer to its number, or its share, of clips.

    A number is reached at least; a share as closely as whole groups allow.
    """
    if isinstance(wanted, int):
        return any(have[label] < wanted for label in group)
    return any(have[label] + count / 2 < wanted * total[label] for label, count in group.items())


def _split_in_time(ledger: Ledger, recipe: Recipe) -> None:
    """Cut each video in time; what lies in a gap is dropped."""
    sql = (
        "SELECT c.clip_id, c.video_id, c.label, c.start_s, c.stop_s, s.split FROM clips c "
        "LEFT JOIN splits s USING (clip_id) WHERE c.recipe_hash = ? AND c.verdict = 'keep' ORDER BY 1"
    )
    clips = [TimedClip(*row) for row in ledger.rows(sql, (recipe.hash,))]
    chosen = cut_in_time(clips, recipe.splits)
    new = [clip for clip in clips if clip.split is None]
    rows = [{"clip_id": clip.clip_id, "split": chosen[clip.clip_id]} for clip in new if clip.clip_id in chosen]
    with ledger.transaction():
        ledger.insert(schema.SPLITS, rows)
        for clip in new:
            if clip.clip_id not in chosen:
                reason = {"condition": GAP, "gap_s": recipe.splits.gap_s}
                drop(ledger, recipe.hash, clip.clip_id, reason)
