"""The splits step: whole groups to train, validation and test; written once and extended.

A group's number is sha256(seed, group_id) in [0, 1). As shares, the numbers below `test` are test,
those below `test + validation` validation. As counts, the groups with the smallest numbers are taken
until each label has so many clips.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from v2a_data import schema
from v2a_data.ledger import Ledger
from v2a_data.recipe import SplitsSection

SPLITS = ("train", "validation", "test")


def group_number(seed: int, group_id: str) -> float:
    """The group's number in [0, 1)."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{group_id}".encode()).digest()[:8], "big") / 2**64


def split_clips(ledger: Ledger, recipe_hash: str, rules: SplitsSection) -> Counter[str]:
    """Give each kept clip without a split one; returns the sizes of all splits of this recipe."""
    sql = (
        "SELECT c.clip_id, c.label, g.group_id, s.split FROM clips c JOIN groups g USING (clip_id) "
        "LEFT JOIN splits s USING (clip_id) WHERE c.recipe_hash = ? AND c.verdict = 'keep' ORDER BY c.clip_id"
    )
    rows = ledger.rows(sql, (recipe_hash,))
    fixed = {
        row[0]: row[1]
        for row in ledger.rows("SELECT DISTINCT g.group_id, s.split FROM groups g JOIN splits s USING (clip_id)")
    }
    clips: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        clips[row["group_id"]].append(row["label"])
    chosen = assign(clips, fixed, rules)
    new = [{"clip_id": row["clip_id"], "split": chosen[row["group_id"]]} for row in rows if row["split"] is None]
    with ledger.transaction():
        ledger.insert(schema.SPLITS, new)
    return Counter(chosen[row["group_id"]] for row in rows)


def assign(clips: Mapping[str, Sequence[str]], fixed: Mapping[str, str], rules: SplitsSection) -> dict[str, str]:
    """Split per group. `clips` holds the labels of each group's clips, `fixed` the splits that stand."""
    out = {group: fixed[group] for group in clips if group in fixed}
    ordered = sorted((group for group in clips if group not in fixed), key=lambda g: (group_number(rules.seed, g), g))
    below = 0.0
    for split, wanted in (("test", rules.test), ("validation", rules.validation)):
        if isinstance(wanted, int):
            _fill(out, ordered, clips, split, wanted)
        else:
            below += wanted
            for group in ordered:
                if group_number(rules.seed, group) < below:
                    out.setdefault(group, split)
    for group in ordered:
        out.setdefault(group, "train")
    return out


def _fill(
    out: dict[str, str], ordered: Sequence[str], clips: Mapping[str, Sequence[str]], split: str, wanted: int
) -> None:
    """Take groups in order while one of their labels has fewer than `wanted` clips in the split."""
    have = Counter(label for group, where in out.items() if where == split for label in clips[group])
    for group in ordered:
        if group not in out and any(have[label] < wanted for label in clips[group]):
            out[group] = split
            have.update(clips[group])
