"""Windows drawn for people to judge, and the sheet they are asked with.

Every window gets a size: 1 where the recipe keeps it now, less the further its worst score is below its threshold
(by rank), never under 0.04. The draw is sequential Poisson sampling (Ohlsson 1998): windows with the smallest
random number over size are taken, so that the chance of each is known, and a larger draw of the same seed holds the
smaller one. The sheet shows no score and no weight. A draw's chances hold for its votes once all its windows, or
nearly all, have one; until then those of the largest smaller draw that is answered are taken.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from v2a_data import schema
from v2a_data.curate.rules import Rules
from v2a_data.curate.score import scorer_specs
from v2a_data.curate.stretches import recipe_rules, window_columns
from v2a_data.curate.thresholds import thresholds
from v2a_data.errors import NothingError, UsageError
from v2a_data.ledger import Ledger
from v2a_data.recipe import Recipe
from v2a_data.review.grid import Grid
from v2a_data.review.votes import CONFOUNDERS, write_csv
from v2a_data.schema import WINDOW_S
from v2a_data.scores import read_scores
from v2a_data.workspace import Workspace

SHEET = (
    "link", "video_id", "window_index", "start_s", "stop_s", "label", "rater", "seen", "heard", "confounders", "note",
)  # fmt: skip
HOW = f"fill in rater, seen and heard (yes, no, unsure) and what disturbs: {' '.join(CONFOUNDERS)}"
_BATCH = 200
_LEAST = 0.04
_FALL = 4
_MOST_UNANSWERED = 0.05


@dataclass(frozen=True)
class Drawn:
    """What a draw did: its windows, those of them that nobody voted on yet, and all windows to draw from."""

    windows: int
    open: int
    population: int


@dataclass(frozen=True)
class AnsweredDraw:
    """The draw that votes are weighed by: its windows, each with how many it stands for. `newest` are those of the
    newest draw, and `unanswered` is how many of them have no vote."""

    weights: dict[tuple[str, int], float]
    newest: frozenset[tuple[str, int]]
    unanswered: int


def sizes(columns: Mapping[str, np.ndarray], rules: Rules) -> np.ndarray:
    """`(n,)` in 0.04..1: how much each window is worth to be asked about. Not measured counts as worst."""
    windows = len(next(iter(columns.values())))
    kept = rules.evaluate(columns, windows)["keep"].true
    rank = np.full(windows, 0.5)
    for item in thresholds(rules):
        score = columns[item.field] if item.up else -columns[item.field]
        limit = item.value if item.up else -item.value
        fails = ~(score >= limit)
        rank[fails] = np.minimum(rank[fails], 0.5 * _ranks(score[fails]))
    return np.where(kept, 1.0, np.maximum(_LEAST, (2 * rank) ** _FALL))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Share of values that are no larger, 0 for NaN."""
    known = np.sort(values[~np.isnan(values)])
    shares = np.searchsorted(known, values, side="right") / max(1, len(values))
    return np.where(np.isnan(values), 0.0, shares)


def draw(size: np.ndarray, numbers: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices `(k,)` of `count` windows, or all, and how many windows each of them stands for.

    `numbers` are uniform in 0..1 and belong to the windows, whatever the count.
    """
    chance = _chances(size, count)
    picked = np.argsort(numbers / size, kind="stable")[:count]
    return picked, 1 / chance[picked]


def _chances(size: np.ndarray, count: int) -> np.ndarray:
    """Chances in proportion to size that sum to `count`, none above 1."""
    if count >= len(size):
        return np.ones(len(size))
    sure = np.zeros(len(size), bool)
    while True:
        chance = np.where(sure, 1.0, size * (count - sure.sum()) / size[~sure].sum())
        if not (chance[~sure] > 1).any():
            return chance
        sure |= chance > 1


def sample(workspace: Workspace, recipe: Recipe, count: int, seed: int, sheet: Path) -> Drawn:
    """Draw windows, note them in the ledger, write the sheet with those that nobody voted on yet.

    Raises `NothingError` where no window has scores, `UsageError` where an earlier draw had another seed.
    """
    ledger = workspace.ledger
    before = ledger.value("SELECT seed FROM asked LIMIT 1")
    if before is not None and before != seed:
        raise UsageError(
            f"an earlier draw had the seed {before}", hint=f"--seed {before} with a larger number goes on with it"
        )
    rules, grid = recipe_rules(recipe), Grid(ledger, recipe)
    if not rules.nodes:
        raise UsageError(f"recipe {recipe.name} has no rules: nothing to calibrate")
    keys, columns = scored_windows(workspace, recipe)
    if not keys:
        raise NothingError(f"{workspace.root} has no scored windows", hint="run `v2a-data curate` first")
    numbers = np.asarray([_number(seed, video, index) for video, index in keys])
    picked, weights = draw(sizes(columns, rules), numbers, count)
    rows = [
        {"video_id": keys[i][0], "window_index": keys[i][1], "label": grid.label(keys[i][0]), "seed": seed, "weight": w}
        for i, w in zip(picked.tolist(), weights.tolist(), strict=True)
    ]
    _remember(ledger, rows)
    voted = {(row[0], row[1]) for row in ledger.rows("SELECT video_id, window_index FROM votes")}
    asked = sorted((row["video_id"], row["window_index"]) for row in rows)
    still = [key for key in asked if key not in voted]
    write_csv(sheet, SHEET, _sheet_rows(workspace, grid, still))
    with ledger.transaction():
        ledger.execute("DELETE FROM asked")
        ledger.insert(schema.ASKED, rows)
    return Drawn(len(rows), len(still), len(keys))


def _remember(ledger: Ledger, rows: Sequence[dict[str, Any]]) -> None:
    """Note in the rows of a new draw what their windows weighed in each smaller draw that it holds whole."""
    here = {(row["video_id"], row["window_index"]) for row in rows}
    before = [draw for draw in _draws(ledger) if len(draw) < len(rows) and here.issuperset(draw)]
    for row in rows:
        key = row["video_id"], row["window_index"]
        row["earlier"] = [[len(draw), draw[key]] for draw in before if key in draw]


def _draws(ledger: Ledger) -> list[dict[tuple[str, int], float]]:
    """Weights of the windows of each draw that is known, the newest and largest first."""
    newest: dict[tuple[str, int], float] = {}
    earlier: dict[int, dict[tuple[str, int], float]] = defaultdict(dict)
    for row in map(dict, ledger.each("SELECT * FROM asked")):
        key = row["video_id"], row["window_index"]
        newest[key] = row["weight"]
        # Missing in a ledger of an earlier version that is only read, null in one that was brought up to date.
        for count, weight in json.loads(row.get("earlier") or "[]"):
            earlier[count][key] = weight
    return [newest, *(earlier[count] for count in sorted(earlier, reverse=True))]


def answered_draw(ledger: Ledger, answered: Collection[tuple[str, int]]) -> AnsweredDraw | None:
    """The largest draw of whose windows at most 5 % are not `answered`; null where none of its windows is.

    Raises `UsageError` where every draw is less answered: who answers first is no chance, and weights would be wrong.
    """
    newest, *smaller = _draws(ledger)
    unanswered = sum(key not in answered for key in newest)
    if unanswered == len(newest):
        return None
    for draw in (newest, *smaller):
        if sum(key not in answered for key in draw) <= _MOST_UNANSWERED * len(draw):
            return AnsweredDraw(draw, frozenset(newest), unanswered)
    seed = ledger.value("SELECT seed FROM asked LIMIT 1")
    raise UsageError(
        f"{unanswered} of the {len(newest)} windows that were drawn have no vote: the others cannot be weighed",
        hint=f"v2a-data votes --sample {len(newest)} --seed {seed} --out sheet.csv writes those that are left",
    )


def _number(seed: int, video_id: str, index: int) -> float:
    """The window's own random number, above 0 and below 1."""
    return (int.from_bytes(sha256(f"{seed}/{video_id}/{index}".encode()).digest()[:6]) + 0.5) / 2**48


def scored_windows(
    workspace: Workspace, recipe: Recipe, videos: Iterable[str] | None = None
) -> tuple[list[tuple[str, int]], dict[str, np.ndarray]]:
    """`(video_id, window_index)` of every window that was scored, and the recipe's fields over them."""
    specs = {spec.name: spec.hash for spec in scorer_specs(recipe)}
    if videos is None:
        sql = (
            "SELECT DISTINCT s.video_id FROM scored s JOIN videos v USING (video_id) "
            "WHERE v.state = 'fetched' ORDER BY 1"
        )
        videos = [row[0] for row in workspace.ledger.rows(sql)]
    ids = list(videos)
    keys: list[tuple[str, int]] = []
    parts: list[dict[str, np.ndarray]] = []
    for first in range(0, len(ids), _BATCH):
        scores = read_scores(workspace.ledger, workspace.root, specs, ids[first : first + _BATCH])
        for video_id, found in sorted(scores.items()):
            windows = len(found["start_s"])
            keys += [(video_id, index) for index in range(windows)]
            parts.append(window_columns(recipe, found, windows))
    names = list(parts[0]) if parts else []
    return keys, {name: np.concatenate([part[name] for part in parts]) for name in names}


def _sheet_rows(workspace: Workspace, grid: Grid, keys: Iterable[tuple[str, int]]) -> Iterator[dict[str, str]]:
    sql = "SELECT video_id, path FROM media WHERE deleted IS NULL"
    paths = {row[0]: workspace.root / row[1] for row in workspace.ledger.rows(sql)}
    for video_id, index in keys:
        start_s = grid.start_s(video_id, index)
        times = f"{start_s:g},{start_s + WINDOW_S:g}"
        yield {
            "link": f"{paths[video_id].absolute().as_uri()}#t={times}" if video_id in paths else "",
            "video_id": video_id,
            "window_index": str(index),
            "start_s": f"{start_s:g}",
            "stop_s": f"{start_s + WINDOW_S:g}",
            "label": grid.label(video_id),
        }
