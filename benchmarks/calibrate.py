"""Is calibration honest and useful? Simulated scores and truth, many draws of votes, the program's own code.

    python benchmarks/calibrate.py [--draws 200] [--votes 400] [--seed 0] [--json]

Every figure is of a simulation. A population of 4,000 videos of 2 to 15 windows has five hidden properties (seen 72 %,
heard 72 %, voice and music 12 %, still 6 %, alike within a video; about 37 % of windows are right) and a score
for each: normal noise, half of its deviation shared by a video, `separation` between the two kinds, squeezed into 0..1.
The recipe starts from 0.5 everywhere. Each draw asks about 400 windows (`votes --sample`), answers with the truth,
and puts one question (`calibrate --precision 0.95`). Separations: 4.5, scorers that rarely err (the limits on
refusals and recall are for these), and 4.0, 3.5 and 3.0, where they err more and 400 votes often support no promise.
No promise may be broken more often than stated at any of them. Each once with the recipe's thresholds and once with
the scores combined (`--combine logistic`).

- held_share: of the promises given, how many hold over the whole population (limit: the promised confidence)
- refused_share: questions that were refused, those with nothing to combine included (limit 0.1)
- recall_to_oracle: median over the promises of recall, as a share of the recall of the best thresholds that anyone
  could choose for this precision knowing the truth of every window (limit 0.8)
- broken_share: of all draws, promises that do not hold
- precision_in, recall_in, yield_in: of the promises, how many have the whole population's precision, recall and yield
  inside the 95 % intervals that were reported
"""

import argparse
from dataclasses import dataclass, replace
from typing import Any

import inputs
import numpy as np

from v2a_data.curate.calibrate import Judged, choose_and_test, combination, keeps, right_windows
from v2a_data.curate.combine import combined, combined_rules
from v2a_data.curate.rules import Rules, parse_rules
from v2a_data.recipe import RIGHT
from v2a_data.review.sample import draw, sizes

SHARES = {"seen": 0.72, "heard": 0.72, "voice": 0.12, "music": 0.12, "still": 0.06}
RULES = {"keep": "seen >= 0.5 and heard >= 0.5 and voice <= 0.5 and music <= 0.5 and still <= 0.5"}
SEPARATIONS = (4.5, 4.0, 3.5, 3.0)
LIMITS = {"refused_share": 0.1, "recall_to_oracle": 0.8}
VIDEOS = 4000
ALIKE = 0.6
CONFIDENCE = 0.95
PRECISION = 0.95


@dataclass(frozen=True)
class Population:
    """Windows of a simulated workspace; `video` holds numbers, all arrays `(n,)`."""

    video: np.ndarray
    columns: dict[str, np.ndarray]
    truth: dict[str, np.ndarray]
    right: np.ndarray


def population(seed: int, separation: float) -> Population:
    """Scores and truth of every window."""
    rng = np.random.default_rng([seed, 1])
    video = np.repeat(np.arange(VIDEOS), rng.integers(2, 16, VIDEOS))
    truth, columns = {}, {}
    for name, share in SHARES.items():
        hidden = np.sqrt(ALIKE) * rng.standard_normal(VIDEOS)[video]
        hidden += np.sqrt(1 - ALIKE) * rng.standard_normal(len(video))
        there = hidden < np.quantile(hidden, share)
        noise = 0.5 * rng.standard_normal(VIDEOS)[video] + np.sqrt(0.75) * rng.standard_normal(len(video))
        columns[name] = 1 / (1 + np.exp(-1.7 * (separation * (there - 0.5) + noise)))
        truth[name] = there.astype(float)
    return Population(video, columns, truth, right_windows(truth, ()))


def votes(world: Population, rules: Rules, count: int, seed: int) -> Judged:
    """One draw of windows with the truth as votes; ids differ from draw to draw, and so does the split."""
    numbers = np.random.default_rng([seed, 2]).uniform(1e-9, 1, len(world.video))
    picked, weights = draw(sizes(world.columns, rules), numbers, count)
    ids = np.asarray([f"sy-{seed}-{number}" for number in world.video[picked]])
    columns = {name: values[picked] for name, values in world.columns.items()}
    truth = {name: values[picked] for name, values in world.truth.items()}
    return Judged(ids, columns, truth, world.right[picked], weights)


def oracle_recall(world: Population, precision: float) -> float:
    """The best recall of any thresholds with this precision, by coordinate ascent over prices of an error."""
    scores = {name: values if name in ("seen", "heard") else -values for name, values in world.columns.items()}
    best = 0.0
    for price in np.geomspace(0.5, 60, 30):
        gain = np.where(world.right, 1.0, -price)
        limits = dict.fromkeys(scores, -np.inf)
        for _ in range(6):
            for name, values in scores.items():
                others = np.all([scores[o] >= limits[o] for o in scores if o != name], axis=0)
                order = np.argsort(-values[others])
                limits[name] = values[others][order][np.argmax(np.cumsum(gain[others][order]))]
        kept = np.all([scores[name] >= limits[name] for name in scores], axis=0)
        if kept.any() and world.right[kept].mean() >= precision:
            best = max(best, float(kept[world.right].mean()))
    return best


def combine_scores(
    judged: Judged, world: Population, rules: Rules
) -> tuple[Judged, dict[str, np.ndarray], Rules] | None:
    """Votes, all windows and rules with the field `right`, as `calibrate --combine logistic` fits it; null where it
    refuses to combine."""
    section = combination(judged, rules)
    if section is None:
        return None
    columns = {**judged.columns, RIGHT: combined(section, judged.columns)}
    everything = {**world.columns, RIGHT: combined(section, world.columns)}
    return (
        replace(judged, columns=columns),
        everything,
        parse_rules(combined_rules(RULES), (*SHARES, RIGHT), where="rules"),
    )


def measure(separation: float, draws: int, count: int, seed: int, *, combine: bool) -> dict[str, Any]:
    """The figures of one separation, with thresholds alone or with the scores combined."""
    world, plain = population(seed, separation), parse_rules(RULES, SHARES, where="rules")
    held, recalls, kept_votes, inside = [], [], [], []
    for n in range(draws):
        judged, columns, rules = votes(world, plain, count, seed * 100_000 + n), world.columns, plain
        if combine:
            found = combine_scores(judged, world, plain)
            if found is None:
                continue
            judged, columns, rules = found
        outcome = choose_and_test(judged, rules, PRECISION, CONFIDENCE)
        kept_votes.append(outcome.kept)
        if outcome.promised:
            kept = keeps(columns, rules, outcome.values)
            truth = (float(world.right[kept].mean()), float(kept[world.right].mean()), float(kept.mean()))
            held.append(truth[0] >= PRECISION)
            recalls.append(truth[1])
            said = (outcome.precision, outcome.recall, outcome.yields)
            inside.append([share.low <= value <= share.high for share, value in zip(said, truth, strict=True)])
    best = oracle_recall(world, PRECISION)
    covered = np.round(np.mean(inside, axis=0), 3).tolist() if inside else [float("nan")] * 3
    return {
        "separation": separation,
        "scores": "combined" if combine else "thresholds",
        "base": round(float(world.right.mean()), 3),
        "draws": draws,
        "held_share": round(float(np.mean(held)), 4) if held else float("nan"),
        "broken_share": round((len(held) - sum(held)) / draws, 4),
        "refused_share": round(1 - len(held) / draws, 4),
        "oracle_recall": round(best, 3),
        "recall_to_oracle": round(float(np.median(recalls)) / best, 3) if recalls and best else 0.0,
        "votes_kept_in_test": float(np.median(kept_votes)),
        **dict(zip(("precision_in", "recall_in", "yield_in"), covered, strict=True)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--votes", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [
        measure(separation, options.draws, options.votes, options.seed, combine=combine)
        for separation in SEPARATIONS
        for combine in (False, True)
    ]
    first = rows[0]
    good = (
        first["held_share"] >= CONFIDENCE
        and all(row["broken_share"] <= 1 - CONFIDENCE for row in rows)
        and first["refused_share"] <= LIMITS["refused_share"]
        and first["recall_to_oracle"] >= LIMITS["recall_to_oracle"]
    )
    words = f"simulated; {options.votes} votes per draw; precision >= {PRECISION} at {CONFIDENCE:.0%}: "
    keys = {name: first[name] for name in ("held_share", "refused_share", "recall_to_oracle")}
    header = list(first)
    cells = [[row[name] for name in header] for row in rows]
    inputs.show("calibrate", header, cells, words + ("ok" if good else "MISSED"), options.json, **keys)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
