"""Splits: groups never cross, nothing is reassigned, counts and shares come out as asked."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voted import QUIET, TABLE, curated, make

from v2a_data.curate.splits import alarm, assign, group_number
from v2a_data.errors import UsageError
from v2a_data.recipe import SplitsSection, build_recipe
from v2a_data.shards.write import check_kept
from v2a_data.workspace import Workspace

GROUPS = st.dictionaries(
    st.integers(0, 10**6).map(lambda n: f"g{n}"), st.lists(st.sampled_from("AB"), min_size=1, max_size=4), max_size=60
)


@given(GROUPS, st.integers(0, 5), st.integers(0, 5))
def test_counts_are_reached_where_there_are_enough(groups: dict[str, list[str]], test: int, validation: int) -> None:
    chosen = assign(groups, {}, SplitsSection(test=test, validation=validation))
    assert chosen.keys() == groups.keys()
    have = Counter(label for group, split in chosen.items() if split == "test" for label in groups[group])
    total = Counter(label for labels in groups.values() for label in labels)
    for label, count in total.items():
        assert have[label] >= min(test, count)


@given(GROUPS, GROUPS)
def test_more_groups_change_nothing_that_stands(first: dict[str, list[str]], more: dict[str, list[str]]) -> None:
    rules = SplitsSection(test=3, validation=2)
    before = assign(first, {}, rules)
    after = assign({**more, **first}, before, rules)
    assert all(after[group] == split for group, split in before.items())


def test_shares_are_of_each_label_in_the_order_of_the_numbers() -> None:
    groups = {f"v{i}": ["A" if i % 10 else "B"] for i in range(1000)}
    chosen = assign(groups, {}, SplitsSection(seed=7, test=0.1, validation=0.2))
    for label, total in (("A", 900), ("B", 100)):
        ordered = sorted((g for g in groups if groups[g] == [label]), key=lambda g: group_number(7, g))
        splits = [chosen[group] for group in ordered]
        parts = [round(0.1 * total), round(0.2 * total)]
        wanted = ["test"] * parts[0] + ["validation"] * parts[1]
        assert splits == wanted + ["train"] * (total - len(wanted))


def test_a_share_counts_what_stands() -> None:
    groups = {f"v{i}": ["A"] for i in range(100)}
    before = assign({g: groups[g] for g in list(groups)[:40]}, {}, SplitsSection(test=0.1, validation=0.0))
    after = assign(groups, before, SplitsSection(test=0.1, validation=0.0))
    assert (Counter(before.values())["test"], Counter(after.values())["test"]) == (4, 10)


def test_another_seed_is_another_split() -> None:
    groups = {f"v{i}": ["A"] for i in range(200)}
    one, two = (assign(groups, {}, SplitsSection(seed=s, test=0.5, validation=0.0)) for s in (0, 1))
    assert one != two


def test_videos_that_were_cut_in_time_are_never_called_split_by_groups(tmp_path: Path) -> None:
    made = make(tmp_path / "w", videos=4, windows=30, separation=30)
    table = {**TABLE, "clips": {"length": "fixed", "seconds": 2}}
    shares = {"test": 0.2, "validation": 0}
    within = build_recipe({**table, "splits": {"by": "within_video", "gap_s": 2, **shares}}, "within")
    groups = build_recipe({**table, "splits": {"by": "group", **shares}}, "groups")
    with Workspace.open(made.root, "test") as workspace:
        first = curated(workspace, within)
        assert first["train"] and first["test"]
        with pytest.raises(UsageError, match="split within videos"):
            curated(workspace, groups)
        with pytest.raises(UsageError, match="split within videos"):
            check_kept(workspace, groups)
        check_kept(workspace, within)
        assert curated(workspace, within) == first


def test_labels_without_a_clip_to_train_on_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make(tmp_path / "w", videos=30, windows=2, separation=30)

    def said(**splits: object) -> str:
        recipe = build_recipe({**TABLE, "labels": ["Drum", "Cat"], "splits": splits}, "r")
        curated(workspace, recipe)
        alarm(workspace.ledger, recipe, QUIET)
        return capsys.readouterr().err

    with Workspace.open(made.root, "test") as workspace:
        sql = "UPDATE videos SET labels = '[\"Cat\"]' WHERE position >= 24"
        with workspace.ledger.transaction():
            workspace.ledger.execute(sql)
        warned = said(test=8, validation=0)
        assert "'Cat' has no clip to train on: all of its" in warned
        assert "splits.test = 8" in warned
        assert "Drum" not in warned

    other = make(tmp_path / "other", videos=30, windows=2, separation=30)
    with Workspace.open(other.root, "test") as workspace:
        assert said(test=1.0, validation=0.0) == ""
