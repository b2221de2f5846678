"""Recipes are read strictly, hash what decides, and survive a round trip."""

import dataclasses
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2a_data import recipe as recipes
from v2a_data import resources
from v2a_data.errors import UsageError

SHIPPED = sorted(path.stem for path in resources.pipelines().glob("*.toml"))


def test_shipped_recipes_are_the_named_ones_and_load() -> None:
    assert {"demo", "keep_all", "airplane"} <= set(SHIPPED)
    for name in SHIPPED:
        assert recipes.load_recipe(name).name == name


@pytest.mark.parametrize("name", SHIPPED)
def test_round_trip(name: str) -> None:
    recipe = recipes.load_recipe(name)
    again = recipes.build_recipe(tomllib.loads(recipes.dump_recipe(recipe)), "again")
    assert again == recipe
    assert again.hash == recipe.hash


def test_airplane_is_what_seed_paper_000_asks_for() -> None:
    recipe = recipes.load_recipe("airplane")
    assert recipe.labels == ("Airplane",)
    assert (recipe.clips.length, recipe.clips.seconds) == ("fixed", 10.0)
    assert (recipe.shard.width, recipe.shard.height) == (256, 144)
    assert recipe.fetch.target_videos == 200
    off = " ".join(recipe.scorers["clip_topic"].off)
    for kind in ("paper airplane", "model airplane", "radio-controlled", "news", "talking"):
        assert kind in off


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"name": "x", "clip": {}}, "unknown key 'clip'; did you mean 'clips'?"),
        ({"name": "x", "clips": {"lenght": "fixed"}}, "x.clips: unknown key 'lenght'; did you mean 'length'?"),
        ({"name": "x", "clips": {"length": "long"}}, "'long' is none of 'fixed', 'natural'"),
        ({"name": "x", "clips": {"seconds": 5}}, "whole windows of 2 s, got 5"),
        ({"name": "x", "clips": {"seconds": "ten"}}, "expected float, got 'ten'"),
        ({"name": "x", "clips": {"seconds": 10**400}}, "x.clips.seconds: expected a number below 1.8e308"),
        ({"name": "x", "shard": {"fps": "0/1"}}, "must be above 0"),
        ({"name": "x", "shard": {"fps": "thirty"}}, 'expected a fraction such as "25/1"'),
        ({"name": "x", "shard": {"fps": float("inf")}}, 'expected a fraction such as "25/1"'),
        ({"name": "x", "shard": {"fps": "30000/1001"}}, "rate_hz / fps must be whole"),
        ({"name": "x", "shard": {"width": 255}}, "width and height must be even"),
        ({"name": "x", "scorers": {"motoin": {}}}, "unknown scorer 'motoin'; did you mean 'motion'?"),
        ({"name": "x", "scorers": {"speech": {"level": 1}}}, "x.scorers.speech: unknown key 'level'"),
        ({"name": "x", "rules": {"keep": "voice <= 0.3"}}, "no scorer of this recipe writes 'voice'"),
        ({"name": "x", "fetch": {"target_videos": True}}, "expected int, got True"),
        ({"name": "x", "fetch": {"sleep_s": [1]}}, "expected 2 values, got 1"),
        ({}, "missing name"),
    ],
)
def test_every_mistake_has_its_words(table: dict, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipes.build_recipe(table, "x")
    assert words in str(caught.value)


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'airplane'"):
        recipes.find_recipe("airplan")


def test_sets_are_toml_values_or_text() -> None:
    table = recipes.parse_sets(["splits.test=0.1", "source.input=/a b/c", "fetch.sleep_s=[1, 2]", "clips.seconds=4"])
    assert table == {
        "splits": {"test": 0.1},
        "source": {"input": "/a b/c"},
        "fetch": {"sleep_s": [1, 2]},
        "clips": {"seconds": 4},
    }
    with pytest.raises(UsageError, match="expected key=value"):
        recipes.parse_sets(["splits.test"])


def test_keys_that_came_later_leave_the_hash_of_old_recipes() -> None:
    """As it was before `[duplicates]` and `splits.by` were there: datasets made then can still be rebuilt."""
    plain = {"name": "t", "splits": {"test": 3}}
    assert recipes.build_recipe(plain, "t").hash == "cb609164b0043c62"
    later = [{"duplicates": {"keep": "all"}}, {"splits": {"by": "within_video"}}, {"splits": {"exclude": ["a.csv"]}}]
    hashes = {recipes.build_recipe(recipes.merge({**plain, "splits": {"test": 3}}, over), "t").hash for over in later}
    assert len(hashes | {"cb609164b0043c62"}) == 4


def test_hash_holds_what_decides_and_nothing_else() -> None:
    base = recipes.load_recipe("demo")
    same = [
        {"fetch": {"target_videos": 3}},
        {"source": {"label_url": "http://127.0.0.1:1/{mid}"}},
        {"train": {"config": "other"}},
        {"shard": {"samples_per_shard": 7}},
    ]
    other = [
        {"clips": {"seconds": 4}},
        {"splits": {"seed": 1}},
        {"rules": {"keep": "grounded"}},
        {"shard": {"crf": 30}},
    ]
    assert {recipes.load_recipe("demo", over).hash for over in same} == {base.hash}
    assert len({recipes.load_recipe("demo", over).hash for over in other} | {base.hash}) == 1 + len(other)


def test_diff_names_each_changed_value() -> None:
    old = recipes.load_recipe("demo")
    new = recipes.load_recipe("demo", {"clips": {"seconds": 4}})
    assert recipes.diff(old, new) == ["clips.seconds: 10.0 → 4.0"]
    assert recipes.diff(old, old) == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_no_table_ends_in_another_error(value: object) -> None:
    for table in ({"name": "x", "clips": value}, {"name": value}, {"name": "x", "shard": {"fps": value}}):
        try:
            built = recipes.build_recipe(table, "x")
        except UsageError:
            continue
        assert dataclasses.is_dataclass(built)


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"name": "../../evil"}, "name: letters, digits"),
        ({"name": ""}, "name: letters, digits"),
        ({"labels": ["a\x1b[31mb"]}, "printable"),
        ({"labels": [""]}, "printable"),
        ({"shard": {"samples_per_shard": 0}}, "shard.samples_per_shard: from 1 to"),
        ({"shard": {"width": 0}}, "shard.width: from 16"),
        ({"shard": {"crf": 99}}, "shard.crf: from 0 to 51, got 99"),
        ({"shard": {"rate_hz": 0}}, "shard.rate_hz: from 4000"),
        ({"splits": {"test": 5.0}}, "splits.test: a share from 0 to 1"),
        ({"splits": {"validation": -3}}, "splits.validation: a share"),
        ({"fetch": {"sleep_s": [-5, -1]}}, "fetch.sleep_s: from 0"),
        ({"fetch": {"sleep_s": [20, 10]}}, "fetch.sleep_s: \\[shortest, longest\\]"),
        ({"fetch": {"target_videos": -4}}, "fetch.target_videos: from 1"),
        ({"clips": {"max_per_video": -1}}, "clips.max_per_video: from 1"),
        ({"source": {"label_url": "http://x/{foo}"}}, "source.label_url: an address with {mid}"),
        ({"source": {"ave_url": "http://x/{foo}"}}, "source.ave_url: an address without braces"),
        (
            {"source": {"shard_url": "http://x/{file!r:{file}}{0}"}},
            "source.shard_url: an address with {file} and {kind}",
        ),
        ({"source": {"label_url": "http://x/{mid:>9999999999}"}}, "source.label_url: an address with {mid}"),
        ({"source": {"label_url": "http://x/{mid!r}"}}, "source.label_url: an address with {mid}"),
        ({"source": {"lookup_sleep_s": -1}}, "source.lookup_sleep_s: from 0 to 3600, got -1"),
        ({"source": {"without": ["a\x1b[2J"]}}, "source: subsets and without hold printable text"),
        ({"source": {"file_names": "yt"}}, "source.file_names: 'yt' is none of 'own', 'youtube'"),
        ({"source": {"lookup_url": "http://x/{id.__class__.__mro__}"}}, "source.lookup_url"),
    ],
)
def test_values_out_of_range_are_slips(over: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        recipes.load_recipe("keep_all", over)
