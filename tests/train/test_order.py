"""The order of an epoch: all of it from (seed, epoch); sequential in shards; exact shares."""

from collections import Counter
from itertools import groupby, pairwise

import pytest
from v2a.reading.order import OPEN_SHARDS, Cutting, Group, Plan, epoch_plan, groups_of

from v2a_data.errors import UsageError

SHARDS, EACH = 12, 40
WHOLE = Cutting(10)


def one_set(shards: int = SHARDS) -> list[Group]:
    names = [f"{i:02d}.tar" for i in range(shards) for _ in range(EACH)]
    return groups_of([0] * len(names), names, ["x"] * len(names), [1.0], balance=False)


def samples(plan: Plan) -> list[int]:
    return [pick.sample for pick in plan.picks]


def plan_of(groups: list[Group], epoch: int = 0, seed: int = 5, cutting: Cutting = WHOLE, length: int = 10) -> Plan:
    count = 1 + max(max(group.samples) for group in groups)
    return epoch_plan(groups, [length] * count, cutting, seed, epoch)


def test_every_sample_comes_once_per_epoch_and_epochs_and_seeds_differ() -> None:
    plans = [plan_of(one_set(), epoch, seed) for seed in (5, 6) for epoch in (0, 1)]
    for plan in plans:
        assert sorted(samples(plan)) == list(range(SHARDS * EACH))
        assert sorted(plan.crops) == [(i, 0) for i in range(SHARDS * EACH)]
    assert len({tuple(samples(plan)) for plan in plans}) == 4
    assert plan_of(one_set(), 1) == plan_of(one_set(), 1)


def test_few_shards_are_open_at_a_time_and_runs_of_them_are_read_in_sequence() -> None:
    order = samples(plan_of(one_set()))
    first, last = {}, {}
    for at, sample in enumerate(order):
        first.setdefault(sample // EACH, at)
        last[sample // EACH] = at
    for at in range(len(order)):
        assert sum(first[shard] <= at <= last[shard] for shard in first) <= OPEN_SHARDS
    steps = [b - a for a, b in pairwise(order)]
    assert steps.count(1) >= 0.6 * len(steps)


def test_neighbours_of_one_shard_are_not_always_together() -> None:
    """A set of one shard is mixed too: where its runs begin is drawn."""
    orders = [samples(plan_of(one_set(1), epoch)) for epoch in range(30)]
    together = sum(order.index(8) + 1 == order.index(9) for order in orders)
    assert 5 < together < 30
    assert len({tuple(order[:16]) for order in orders}) == 30


def test_crops_are_shuffled_in_their_block_and_stay_in_it() -> None:
    plan = plan_of(one_set(), cutting=Cutting(2))
    assert sorted(plan.crops) == [(i, j) for i in range(SHARDS * EACH) for j in range(5)]
    for first in range(0, len(plan.crops), 80):
        block = plan.crops[first : first + 80]
        assert {pick for pick, _ in block} == set(range(first // 5, first // 5 + 16))
        assert block != sorted(block)


def test_weights_of_sets_are_exact_in_every_epoch_and_spread_over_it() -> None:
    sets = [0] * 90 + [1] * 10
    groups = groups_of(sets, ["s.tar"] * 100, ["x"] * 100, [1.0, 3.0], balance=False)
    for epoch in range(3):
        order = samples(plan_of(groups, epoch))
        assert Counter(sets[sample] for sample in order) == {0: 25, 1: 75}
        for first in range(0, 100, 20):
            assert abs(sum(sets[sample] for sample in order[first : first + 20]) - 15) <= 1
        times = Counter(sample for sample in order if sets[sample] == 1)
        assert set(times.values()) == {7, 8}
        assert max(Counter(sample for sample in order if sets[sample] == 0).values()) == 1
    seen = {sample for epoch in range(20) for sample in samples(plan_of(groups, epoch)) if sets[sample] == 0}
    assert len(seen) == 90


def test_balance_gives_labels_equal_parts_of_their_set() -> None:
    sets = [0] * 60 + [1] * 60
    labels = ["a"] * 50 + ["b"] * 10 + ["a"] * 20 + ["b"] * 20 + ["c"] * 20
    groups = groups_of(sets, ["s.tar"] * 120, labels, [1.0, 1.0], balance=True)
    order = samples(plan_of(groups))
    wanted = {(0, "a"): 30, (0, "b"): 30, (1, "a"): 20, (1, "b"): 20, (1, "c"): 20}
    assert Counter((sets[sample], labels[sample]) for sample in order) == wanted
    longest = max(len(list(run)) for _, run in groupby(labels[sample] for sample in order))
    assert longest <= 4


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf"), 1e308])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(UsageError, match="weights of shard sets must be from 1e-06 to 1e"):
        groups_of([0, 1], ["s", "s"], ["x", "x"], [1.0, weight], balance=False)


def test_what_would_never_be_drawn_is_named() -> None:
    with pytest.raises(UsageError, match="shard set 2, with weight 1 of 1001, gives no sample to an epoch of 2"):
        groups_of([0, 1], ["s", "s"], ["x", "x"], [1000.0, 1.0], balance=False)
    with pytest.raises(UsageError, match=r"shard set 1, .* gives no sample of the label 'x'"):
        groups_of([0, 0, 1, 1], ["s"] * 4, ["x", "y", "x", "x"], [1.0, 8.0], balance=True)


def test_one_crop_anywhere_and_short_samples() -> None:
    one = Cutting(4, "one")
    starts = Counter(plan.picks[0].starts for plan in (plan_of(one_set(1), e, cutting=one) for e in range(200)))
    assert set(starts) == {(i,) for i in range(7)}
    assert plan_of(one_set(1), cutting=Cutting(11)).crops == ()
    tiled = plan_of(one_set(1), cutting=Cutting(11, tile=True))
    assert {pick.starts for pick in tiled.picks} == {(0,)}
    assert len(tiled.crops) == EACH
