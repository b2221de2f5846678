"""The numbers in a recipe's rules: found, moved together along one path, written back.

A threshold can be learnt where `keep` needs a plain comparison of one score with one number, and people voted
on what that score measures: `seen`, `heard`, or a confounder of the score's name. For each of them a logistic
curve (Platt 1999, with his smoothed targets) says how likely a window with that score is fine. One level moves
all thresholds: at level z each stands where its own curve gives logit z. Equal levels are where the loss of
right windows per wrong one is about the same at every threshold.
"""

import ast
import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from v2a_data.curate.rules import Rules
from v2a_data.recipe import RIGHT

LEVELS = np.linspace(-2, 6, 65)
_FEWEST = 3
_DIGITS = 6


@dataclass(frozen=True)
class Threshold:
    """One comparison `field >= value` (`up`) or `field <= value`, and what people vote on about it."""

    field: str
    up: bool
    value: float
    aspect: str


@dataclass(frozen=True)
class Curve:
    """P(fine | score) = 1 / (1 + exp(-(offset + slope · score))), from scores between `low` and `high`."""

    offset: float
    slope: float
    low: float
    high: float

    def at(self, level: float) -> float:
        """The score at which the curve's logit is `level`, inside the scores that were seen."""
        value = float(np.clip((level - self.offset) / self.slope, self.low, self.high))
        return float(f"{value:.{_DIGITS}g}")


def thresholds(rules: Rules) -> tuple[Threshold, ...]:
    """The thresholds of `keep` that votes can move, in the order of its conditions."""
    found = {}
    for conjunct in rules.conjuncts:
        parts = compared(conjunct.node)
        if parts is not None:
            field, up, constant = parts
            aspect = _aspect(field, up)
            if aspect is not None:
                found[field, up] = Threshold(field, up, float(ast.literal_eval(constant)), aspect)
    return tuple(found.values())


def _aspect(field: str, up: bool) -> str | None:
    if up:
        return {"seen": "seen", "heard": "heard", "heard_text": "heard", RIGHT: RIGHT}.get(field)
    return None if field in ("seen", "heard", "heard_text", RIGHT) else field


def compared(node: ast.AST) -> tuple[str, bool, ast.expr] | None:
    """Field, direction and number of a plain comparison; null for any other node."""
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        return None
    left, right, up = node.left, node.comparators[0], isinstance(node.ops[0], ast.Gt | ast.GtE)
    if not isinstance(node.ops[0], ast.Gt | ast.GtE | ast.Lt | ast.LtE):
        return None
    if isinstance(right, ast.Name) and not isinstance(left, ast.Name):
        left, right, up = right, left, not up
    if isinstance(left, ast.Name) and not isinstance(right, ast.Name):
        return left.id, up, right
    return None


def moved(rules: Rules, values: Mapping[Threshold, float]) -> Rules:
    """The rules with other numbers in the conditions of `keep`; rules that share a condition share its number."""
    by_key = {(item.field, item.up): value for item, value in values.items() if value != item.value}
    keep = {ast.unparse(conjunct.node) for conjunct in rules.conjuncts}
    nodes = copy.deepcopy(rules.nodes)
    for node in nodes.values():
        for item in ast.walk(node):
            parts = compared(item)
            if parts is not None and parts[:2] in by_key and ast.unparse(item) in keep:
                _set_number(item, by_key[parts[:2]])
    return Rules(nodes)


def rewritten(rules: Rules, written: Mapping[str, str], values: Mapping[Threshold, float]) -> dict[str, str]:
    """The rules' texts with the new numbers; a rule without one of them stays as it was written."""
    new = moved(rules, values)
    texts = {name: (ast.unparse(rules.nodes[name]), ast.unparse(new.nodes[name])) for name in written}
    return {name: text if texts[name][0] == texts[name][1] else texts[name][1] for name, text in written.items()}


def _set_number(node: ast.AST, value: float) -> None:
    assert isinstance(node, ast.Compare)
    constant = ast.parse(repr(value), mode="eval").body
    if isinstance(node.left, ast.Name):
        node.comparators[0] = constant
    else:
        node.left = constant


def fit_curve(scores: np.ndarray, fine: np.ndarray, up: bool) -> Curve | None:
    """The curve of one threshold from votes (`fine` boolean, scores without NaN). Null where votes do not tell:
    fewer than 3 of a kind, or scores that order them the wrong way."""
    count, spread = int(fine.sum()), float(np.std(scores)) if len(scores) else 0.0
    if min(count, len(fine) - count) < _FEWEST or spread == 0:
        return None
    mean = float(np.mean(scores))
    x = np.stack([np.ones(len(scores)), (scores - mean) / spread], axis=1)
    target = np.where(fine, (count + 1) / (count + 2), 1 / (len(fine) - count + 2))
    beta = newton(x, target, np.full(2, 1e-6))
    slope = float(beta[1]) / spread
    if (slope > 0) != up or slope == 0:
        return None
    return Curve(float(beta[0]) - slope * mean, slope, float(scores.min()), float(scores.max()))


def newton(x: np.ndarray, target: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    """Coefficients of a logistic regression of `target (n,)` in 0..1 on `x (n, k)`, each pulled to 0 by its `ridge`."""
    beta = np.zeros(x.shape[1])
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(x @ beta, -30, 30)))
        weight = np.maximum(p * (1 - p), 1e-6)
        slope = x.T @ (target - p) - ridge * beta
        step = np.linalg.solve((x * weight[:, None]).T @ x + np.diag(ridge + 1e-9), slope)
        beta = beta + np.clip(step, -5, 5)
        if np.abs(step).max() < 1e-9:
            break
    return beta
