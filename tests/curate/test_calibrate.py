"""Intervals against scipy, thresholds in rules, the draw's chances, and promises that are kept or not given."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from voted import LABEL, RECIPE, TABLE, make

from v2a_data.curate import intervals
from v2a_data.curate.calibrate import Judged, _loosest, choose_and_test, choosing, keeps, right_windows, risk_of
from v2a_data.curate.promise import ask
from v2a_data.curate.rules import parse_rules
from v2a_data.curate.thresholds import Threshold, fit_curve, rewritten, thresholds
from v2a_data.errors import NothingError
from v2a_data.recipe import build_recipe, dump_recipe, load_recipe, to_table
from v2a_data.review.sample import draw, sizes
from v2a_data.review.votes import store_votes
from v2a_data.workspace import Workspace

FIELDS = ("seen", "heard", "voice", "music", "loudness_lufs")


@given(st.floats(0.001, 0.999), st.floats(0.3, 400), st.floats(0.3, 400))
def test_the_beta_function_is_scipys(x: float, a: float, b: float) -> None:
    assert intervals.beta_cdf(x, a, b) == pytest.approx(stats.beta.cdf(x, a, b), abs=1e-9)


@given(st.integers(1, 400), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.99]))
def test_clopper_pearson_is_scipys(total: int, share: float, confidence: float) -> None:
    right = round(total * share)
    exact = stats.binomtest(right, total).proportion_ci(confidence, method="exact")
    assert intervals.clopper_pearson(right, total, confidence) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_how_many_errors_a_promise_bears() -> None:
    # The rule of 59, and the next ones in every table of acceptance sampling (95 / 95): 93, 124, 153.
    found = [intervals.allowed_errors(n, 0.95, 0.05) for n in (58, 59, 92, 93, 123, 124, 152, 153)]
    assert found == [-1, 0, 0, 1, 1, 2, 2, 3]


@given(st.integers(0, 6), st.integers(10, 200), st.floats(0.5, 100), st.floats(0.5, 20))
def test_the_chance_to_pass_is_scipys_beta_binomial(errors: int, total: int, right: float, wrong: float) -> None:
    exact = stats.betabinom.cdf(errors, total, wrong, right)
    assert intervals.at_most(errors, total, right, wrong) == pytest.approx(exact, abs=1e-7)


def test_effective_size_counts_videos_and_uneven_weights() -> None:
    one, videos = np.ones(12), np.repeat(["a", "b", "c"], 4)
    assert intervals.effective_size(one, np.arange(12)) == pytest.approx(12)
    assert intervals.effective_size(one, videos) == pytest.approx(3)
    assert intervals.effective_size(np.array([3.0, 1.0]), np.array(["a", "b"])) == pytest.approx(16 / 10)
    assert intervals.effective_size(np.array([]), np.array([])) == 0


def test_thresholds_are_the_plain_comparisons_of_keep() -> None:
    rules = parse_rules(
        {
            "grounded": "seen >= 0.6 and 0.4 <= heard",
            "clean": "voice <= 0.3 and (music < 0.5 or seen > 0.9) and loudness_lufs >= -50 and voice <= seen",
            "other": "music <= 0.1",
            "keep": "grounded and clean",
        },
        FIELDS,
        where="rules",
    )
    found = {(item.field, item.up, item.value, item.aspect) for item in thresholds(rules)}
    assert found == {("seen", True, 0.6, "seen"), ("heard", True, 0.4, "heard"), ("voice", False, 0.3, "voice")}


def test_new_numbers_go_where_the_old_ones_stood() -> None:
    texts = {
        "grounded": "seen >= 0.6 and 0.4 <= heard",
        "clean": "voice<=0.3",
        "keep": "grounded and clean and (seen > 0.9 or music < 0.5)",
        "review": "grounded and not clean",
    }
    rules = parse_rules(texts, FIELDS, where="rules")
    values = {item: {"seen": 0.71, "heard": 0.25}[item.field] for item in thresholds(rules) if item.up}
    assert rewritten(rules, texts, values) == {**texts, "grounded": "seen >= 0.71 and 0.25 <= heard"}


def test_a_curve_finds_the_border_and_knows_when_votes_do_not_tell() -> None:
    scores = np.concatenate([np.linspace(0, 0.45, 40), np.linspace(0.55, 1, 40)])
    fine = scores > 0.5
    curve = fit_curve(scores, fine, up=True)
    assert curve is not None
    assert 0.45 < curve.at(0.0) < 0.55 < curve.at(2.0) <= curve.at(99.0) == 1.0
    assert fit_curve(scores, fine, up=False) is None
    assert fit_curve(scores, scores > 0.98, up=True) is None
    assert fit_curve(np.ones(80), fine, up=True) is None


def test_right_is_seen_heard_and_undisturbed_for_sure() -> None:
    nan = math.nan
    aspects = {
        "seen": np.array([1, 1, 1, 0, nan, 1]),
        "heard": np.array([1, 1, 1, 1, 1, nan]),
        "voice": np.array([0, 1, 0, 0, 0, 0]),
        "still": np.array([0, 0, nan, 0, 0, 0]),
    }
    assert right_windows(aspects, ()).tolist() == [True, False, False, False, False, False]
    assert right_windows(aspects, ("voice",)).tolist() == [True, True, False, False, False, False]


@given(st.integers(1, 60), st.integers(0, 1000))
def test_a_larger_draw_holds_the_smaller_one_and_weights_count_the_windows(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, numbers = rng.uniform(0.04, 1, 80), rng.uniform(0.001, 1, 80)
    first, weights = draw(size, numbers, count)
    more, _ = draw(size, numbers, count + 15)
    assert set(first) <= set(more)
    assert len(first) == count
    assert (weights >= 1 - 1e-9).all()


def test_the_draw_keeps_its_stated_chances() -> None:
    rng = np.random.default_rng(0)
    size = rng.uniform(0.04, 1, 300)
    hits, totals = np.zeros(300), []
    for _ in range(2000):
        picked, weights = draw(size, rng.uniform(1e-9, 1, 300), 60)
        hits[picked] += 1
        totals.append(weights.sum())
    chance = size * 60 / size.sum()
    assert np.abs(hits / 2000 - chance).max() < 0.06
    assert np.mean(totals) == pytest.approx(300, rel=0.02)


def test_windows_near_and_above_the_thresholds_are_asked_about_first() -> None:
    rules = parse_rules({"keep": "seen >= 0.5 and voice <= 0.5"}, FIELDS, where="rules")
    columns = {"seen": np.array([0.9, 0.49, 0.2, 0.9, math.nan]), "voice": np.array([0.1, 0.1, 0.1, 0.9, 0.1])}
    found = sizes(columns, rules)
    assert found[0] == 1.0
    assert found[1] > found[2] == found[4] == 0.04


def test_all_questions_together_cost_the_risk() -> None:
    assert math.fsum(risk_of(n, 0.95) for n in range(60)) == pytest.approx(0.05)
    assert 0.29 < np.mean([choosing(f"sy-0-{n}") for n in range(20_000)]) < 0.31


def _judged(videos: int, separation: float, seed: int) -> Judged:
    rng = np.random.default_rng(seed)
    truth = {name: (rng.random(videos) < share).astype(float) for name, share in (("seen", 0.7), ("heard", 0.7))}
    columns = {n: separation * (t - 0.5) + rng.standard_normal(videos) for n, t in truth.items()}
    ids = np.asarray([f"sy-{seed}-{n}" for n in range(videos)])
    return Judged(ids, columns, truth, right_windows(truth, ()), np.ones(videos))


def test_scores_that_tell_nothing_get_no_promise() -> None:
    rules = parse_rules({"keep": "seen >= 0 and heard >= 0"}, FIELDS, where="rules")
    broken = sum(choose_and_test(_judged(400, 0.0, n), rules, 0.9, 0.95).promised for n in range(20))
    assert broken == 0


def test_promises_hold_on_windows_never_seen() -> None:
    rules = parse_rules({"keep": "seen >= -9 and heard >= -9"}, FIELDS, where="rules")
    world = _judged(50_000, 3.5, 999)
    held = given_ = 0
    for n in range(200):
        outcome = choose_and_test(_judged(400, 3.5, n), rules, 0.9, 0.95)
        if outcome.promised:
            given_ += 1
            held += bool(world.right[keeps(world.columns, rules, outcome.values)].mean() >= 0.9)
    assert given_ >= 190
    assert held >= 0.95 * given_


def test_the_walk_to_looser_thresholds_ends_at_the_first_that_fails() -> None:
    rules = parse_rules({"keep": "seen >= 0"}, FIELDS, where="rules")
    (seen,) = thresholds(rules)
    # By falling score: 100 right, 40 wrong, 5,000 right. At 0.5 too many are wrong; at 0.1 few enough would be again.
    right = np.repeat([True, False, True], [100, 40, 5000])
    scores = np.repeat([0.9, 0.6, 0.2], [100, 40, 5000])
    ids = np.asarray([f"sy-0-{n}" for n in range(len(right))])
    judged = Judged(ids, {"seen": scores}, {"seen": right.astype(float)}, right, np.ones(len(right)))
    strict, near, middle, loose = ({seen: value} for value in (0.8, 0.7, 0.5, 0.1))

    def taken(*order: dict[Threshold, float]) -> tuple[dict[Threshold, float], int]:
        values, kept = _loosest(judged, rules, order, 0.95, 0.05)
        return values, int(kept.sum())

    assert taken(loose) == (loose, 5140)
    assert taken(strict, near, middle, loose) == (near, 100)
    assert taken(middle, loose) == (middle, 140)


def test_a_workspace_gets_its_promise_with_the_evidence_inside(tmp_path: Path) -> None:
    made = make(tmp_path / "w", videos=400)
    with Workspace.open(made.root, "test") as workspace:
        store_votes(workspace.ledger, made.votes())
        first = ask(workspace, RECIPE, 0.9, 0.95)
        again = ask(workspace, RECIPE, 0.9, 0.95)
        other = ask(workspace, RECIPE, 0.8, 0.95)
        asked = workspace.ledger.value("SELECT COUNT(*) FROM tested")
    assert (first.question, again.question, other.question, asked) == (0, 0, 1, 2)
    assert first.outcome == again.outcome
    assert first.recipe == again.recipe
    outcome = first.outcome
    assert outcome.promised
    assert outcome.more_votes == 0
    assert outcome.choosing + outcome.testing == 1600
    assert outcome.precision.of <= 400
    assert first.clips is not None
    kept = np.all([made.scores[t.field] >= v if t.up else made.scores[t.field] <= v for t, v in outcome.values.items()], axis=0)  # fmt: skip
    right = made.truth["seen"] & made.truth["heard"] & ~made.truth["voice"]
    test = np.asarray([not choosing(video) for video, _ in made.keys])
    assert outcome.kept == (kept & test).sum()
    assert outcome.precision.value == pytest.approx(right[kept & test].mean())
    assert outcome.recall.value == pytest.approx(kept[right & test].mean())
    assert outcome.yields.value == pytest.approx(kept[test].mean())

    path = tmp_path / "calibrated.toml"
    path.write_text(dump_recipe(first.recipe))
    read = load_recipe(str(path))
    assert read == first.recipe
    assert read.calibration is not None
    assert (read.calibration.votes, read.calibration.precision) == (1600, 0.9)
    assert {"clip_topic", "audio_tags"} <= set(read.calibration.models)
    assert all(len(sha256) == 64 for sha256 in read.calibration.models.values())
    changed = to_table(read) | {"rules": {**read.rules, "keep": "grounded"}}
    assert build_recipe(changed, "changed").calibration is None


def test_whole_clips_are_as_long_as_their_label_says(tmp_path: Path) -> None:
    made = make(tmp_path / "w", videos=200, windows=5)
    by_label = build_recipe({**TABLE, "clips": {"seconds": 10, "label_seconds": {LABEL: 2}}}, "by_label")
    short = build_recipe({**TABLE, "clips": {"seconds": 2}}, "short")
    with Workspace.open(made.root, "test") as workspace:
        store_votes(workspace.ledger, made.votes())
        promises = [ask(workspace, recipe, 0.8, 0.9) for recipe in (by_label, short)]
    assert promises[0].clips is not None
    assert promises[0].clips == promises[1].clips
    assert promises[0].clips.of > 30


def test_too_few_votes_are_refused_with_the_number_that_is_missing(tmp_path: Path) -> None:
    made = make(tmp_path / "w", videos=60, windows=2)
    with Workspace.open(made.root, "test") as workspace:
        with pytest.raises(NothingError, match="0 scored windows"):
            ask(workspace, RECIPE, 0.95, 0.95)
        store_votes(workspace.ledger, made.votes())
        promise = ask(workspace, RECIPE, 0.95, 0.95)
    assert not promise.outcome.promised
    assert promise.outcome.bound < 0.95
    assert promise.outcome.more_votes is None or promise.outcome.more_votes > 50


def test_divided_raters_make_no_window_right_and_speech_is_the_recipes_choice(tmp_path: Path) -> None:
    made = make(tmp_path / "w", videos=200)
    no = [replace(vote, rater="b", seen=not vote.seen) for vote in made.votes()]
    free = build_recipe({**TABLE, "rules": {"keep": "seen >= 0.5 and heard >= 0.5"}}, "free")
    with Workspace.open(made.root, "test") as workspace:
        store_votes(workspace.ledger, made.votes())
        strict = ask(workspace, RECIPE, 0.9, 0.95).evidence.judged.right
        loose = ask(workspace, free, 0.9, 0.95).evidence.judged.right
        store_votes(workspace.ledger, no)
        divided = ask(workspace, RECIPE, 0.9, 0.95).evidence.judged.right
    assert strict.sum() == (made.truth["seen"] & made.truth["heard"] & ~made.truth["voice"]).sum()
    assert loose.sum() == (made.truth["seen"] & made.truth["heard"]).sum()
    assert divided.sum() == 0
