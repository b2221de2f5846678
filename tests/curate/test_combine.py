"""The logistic combination: its value and weights against outside references, in rules, in recipes, in a promise."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from voted import RECIPE, TABLE, make

from v2a_data.curate.calibrate import Judged, combination, right_windows
from v2a_data.curate.combine import combined, combined_rules, fit_combination
from v2a_data.curate.promise import ask
from v2a_data.curate.rules import parse_rules
from v2a_data.curate.stretches import recipe_rules, window_columns, window_marks
from v2a_data.errors import UsageError
from v2a_data.recipe import CombineSection, Recipe, build_recipe, dump_recipe, load_recipe, to_table
from v2a_data.review.votes import store_votes
from v2a_data.workspace import Workspace

COMBINE = {"intercept": -3.0, "weights": {"seen": 4.0, "heard": 2.5, "voice": -1.0}}


def recipe(**over: object) -> Recipe:
    return build_recipe({**TABLE, "combine": COMBINE, "rules": {"keep": "right >= 0.6"}, **over}, "r")


def test_the_field_is_the_logistic_of_the_weighted_scores_and_null_with_one_of_them() -> None:
    rng = np.random.default_rng(0)
    columns = {name: rng.random(50) for name in ("seen", "heard", "voice")}
    wanted = expit(-3.0 + 4.0 * columns["seen"] + 2.5 * columns["heard"] - columns["voice"])
    assert combined(CombineSection(**COMBINE), columns) == pytest.approx(wanted, abs=1e-12)
    scores = {"seen": np.array([0.9, 0.9, 0.1]), "heard": np.array([0.9, np.nan, 0.1]), "voice": np.zeros(3)}
    found = window_columns(recipe(), scores, 3)
    assert np.isnan(found["right"]).tolist() == [False, True, False]
    assert window_marks(recipe_rules(recipe()), found, 3) == ["keep", "review", "drop"]


def test_the_weights_are_those_of_ridge_regression() -> None:
    rng = np.random.default_rng(1)
    columns = {"seen": rng.random(200), "heard": 5 * rng.random(200) - 40, "voice": np.full(200, 0.5)}
    right = rng.random(200) < expit(6 * (columns["seen"] - 0.5) + columns["heard"] + 37.5)
    found = fit_combination(columns, right, ("seen", "heard", "voice"))
    assert found is not None
    assert list(found.weights) == ["seen", "heard"], "what never varies tells nothing"
    scores = np.stack([columns["seen"], columns["heard"]], axis=1)
    mean, spread = scores.mean(axis=0), scores.std(axis=0)
    outside = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit((scores - mean) / spread, right)
    weights = outside.coef_[0] / spread
    assert list(found.weights.values()) == pytest.approx(weights, rel=1e-4)
    assert found.intercept == pytest.approx(outside.intercept_[0] - weights @ mean, rel=1e-4)
    assert fit_combination(columns, right, ("seen",)) is None
    assert fit_combination(columns, np.ones(200, bool), ("seen", "heard")) is None


def test_only_scores_on_which_votes_tell_something_are_combined() -> None:
    rng = np.random.default_rng(2)
    videos = np.asarray([f"sy-0-{n}" for n in range(400)])
    columns = {name: rng.random(400) for name in ("seen", "heard", "voice")}
    aspects = {"seen": columns["seen"] > 0.5, "heard": columns["heard"] > 0.5, "voice": np.zeros(400)}
    aspects = {name: values.astype(float) for name, values in aspects.items()}
    rules = parse_rules({"keep": "seen >= 0.5 and heard >= 0.5 and voice <= 0.5"}, columns, where="r")
    judged = Judged(videos, columns, aspects, right_windows(aspects, ()), np.ones(400))
    found = combination(judged, rules)
    assert found is not None
    assert list(found.weights) == ["seen", "heard"], "nobody ever named a voice"
    aspects["heard"][:] = 1
    assert combination(judged, rules) is None


def test_the_recipes_own_conditions_stay() -> None:
    rules = {"grounded": "seen >= 0.6 or heard >= 0.9", "keep": "grounded or voice <= 0.3"}
    new = combined_rules(rules)
    assert new == {**rules, "keep": "(grounded or voice <= 0.3) and right >= 0.5"}
    made = build_recipe({**TABLE, "combine": COMBINE, "rules": new}, "r")
    assert [item.text for item in recipe_rules(made).conjuncts] == ["grounded or voice <= 0.3", "right >= 0.5"]


def test_a_recipe_with_a_combination_is_another_one_and_comes_back_equal(tmp_path: Path) -> None:
    one, other = recipe(), recipe(combine={**COMBINE, "intercept": -2.0})
    assert len({one.hash, other.hash}) == len({one.decides, other.decides}) == 2
    path = tmp_path / "r.toml"
    path.write_text(dump_recipe(one))
    assert load_recipe(str(path)) == one
    assert "combine" not in to_table(RECIPE)


@pytest.mark.parametrize(
    ("combine", "words"),
    [
        ({"intercept": 0.0, "weights": {"sen": 1.0}}, "no scorer writes 'sen'; did you mean 'seen'"),
        ({"intercept": 0.0, "weights": {"right": 1.0}}, "no scorer writes 'right'"),
        ({"intercept": 0.0, "weights": {"seen": 1.0, "intercept": 1.0}}, "no scorer writes 'intercept'"),
        ({"intercept": 0.0, "weights": {"seen": float("inf")}}, "combine.seen: a finite number"),
        ({"intercept": 0.0, "weights": {}}, "combines nothing"),
        ({"intercept": 0.0, "weight": {}}, "unknown key 'weight'; did you mean 'weights'"),
    ],
)
def test_a_combination_that_cannot_be_is_refused(combine: dict, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        recipe(combine=combine)


def test_without_it_the_field_does_not_exist() -> None:
    with pytest.raises(UsageError, match="right"):
        build_recipe({**TABLE, "rules": {"keep": "right >= 0.6"}}, "r")


def test_votes_combine_scores_and_the_promise_is_about_that(tmp_path: Path) -> None:
    made = make(tmp_path / "w", separation=5.0)
    with Workspace.open(made.root, "test") as workspace:
        store_votes(workspace.ledger, made.votes())
        plain = ask(workspace, RECIPE, 0.9, 0.9)
        promise = ask(workspace, RECIPE, 0.9, 0.9, combine=True)
        assert promise.recipe.combine is not None
        weights = promise.recipe.combine.weights
        assert {name: weight > 0 for name, weight in weights.items()} == {"seen": True, "heard": True, "voice": False}
        assert promise.recipe.rules["grounded"] == RECIPE.rules["grounded"]
        assert promise.recipe.rules["keep"].startswith("(grounded and voice <= 0.5) and right >= ")
        assert [item.field for item in promise.outcome.values] == ["right"]
        assert promise.outcome.promised
        assert promise.recipe.calibration is not None
        assert promise.recipe.calibration.decides == promise.recipe.decides
        assert promise.recipe.calibration.allowed == ("music",), "voice is combined, so it counts"
        # Nobody is asked twice for free: the second question is another one.
        assert (plain.question, promise.question) == (0, 1)
        again = build_recipe(to_table(promise.recipe), "r")
        assert again == promise.recipe
        moved = ask(workspace, again, 0.9, 0.9)
        assert moved.recipe.combine == promise.recipe.combine
        with pytest.raises(UsageError, match="combines its scores already"):
            ask(workspace, again, 0.9, 0.9, combine=True)
    columns = {name: made.scores[name] for name in weights}
    right = made.truth["seen"] & made.truth["heard"] & ~made.truth["voice"]
    full = {**{name: np.full(len(right), np.nan) for name in recipe().fields}, **columns}
    kept = recipe_rules(again).evaluate({**full, "right": combined(again.combine, columns)}, len(right))["keep"].true
    assert right[kept].mean() >= 0.9
    assert replace(again, combine=None).decides != again.decides
