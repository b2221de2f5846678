"""Rules: expressions over window scores, three-valued (true, false, not measured).

A rule reads scores and never measures. Expressions are parsed with `ast` against a whitelist:
comparisons of score names with numbers, `and`, `or`, `not`, parentheses, names of other rules.
A comparison with a null score is unknown; `and`, `or`, `not` follow Kleene's logic.
"""

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np

from v2a_data.errors import UsageError, nearest

_MAX_EXPRESSION = 2000
# Whatever walks an expression later, by recursion, has room for so many levels.
_MAX_DEPTH = 100
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}


@dataclass(frozen=True)
class Truth:
    """Three-valued outcome per window: `true` where it holds, `known` where it was decidable."""

    true: np.ndarray
    known: np.ndarray

    @property
    def false(self) -> np.ndarray:
        return self.known & ~self.true

    @property
    def unknown(self) -> np.ndarray:
        return ~self.known


@dataclass(frozen=True)
class Conjunct:
    """One condition that `keep` needs, in words, with the score names that it reads."""

    text: str
    node: ast.expr
    names: tuple[str, ...]


@dataclass(frozen=True)
class Rules:
    """Parsed rules of a recipe, each after the rules that it names. Empty rules mark every window."""

    nodes: dict[str, ast.expr]

    def evaluate(self, columns: Mapping[str, np.ndarray], windows: int) -> dict[str, Truth]:
        """Every rule over `windows` windows; `columns` are float arrays, NaN where not measured."""
        done: dict[str, Truth] = {}
        for name, node in self.nodes.items():
            done[name] = _truth(node, columns, windows, done)
        return done

    def conditions(self, columns: Mapping[str, np.ndarray], windows: int) -> list[tuple[Conjunct, Truth]]:
        """Each condition that `keep` needs, over the windows."""
        done = self.evaluate(columns, windows)
        return [(item, _truth(item.node, columns, windows, done)) for item in self.conjuncts]

    @cached_property
    def conjuncts(self) -> tuple[Conjunct, ...]:
        """The conditions of `keep` that must all hold, rule names expanded, each once."""
        if not self.nodes:
            return ()
        found: dict[str, Conjunct] = {}
        todo, seen = [self.nodes["keep"]], set()
        while todo:
            node = todo.pop()
            if isinstance(node, ast.Name):
                if node.id not in seen:
                    seen.add(node.id)
                    todo.append(self.nodes[node.id])
            elif isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
                todo.extend(reversed(node.values))
            else:
                text = ast.unparse(node)
                found.setdefault(text, Conjunct(text, node, self._fields(node)))
        return tuple(found.values())

    def _fields(self, node: ast.expr) -> tuple[str, ...]:
        fields: set[str] = set()
        todo, seen = [node], set()
        while todo:
            for item in ast.walk(todo.pop()):
                if isinstance(item, ast.Name) and item.id in self.nodes:
                    if item.id not in seen:
                        seen.add(item.id)
                        todo.append(self.nodes[item.id])
                elif isinstance(item, ast.Name):
                    fields.add(item.id)
        return tuple(sorted(fields))


def _truth(node: ast.expr, columns: Mapping[str, np.ndarray], windows: int, done: Mapping[str, Truth]) -> Truth:
    if isinstance(node, ast.BoolOp):
        parts = [_truth(value, columns, windows, done) for value in node.values]
        return _all(parts) if isinstance(node.op, ast.And) else _not(_all([_not(part) for part in parts]))
    if isinstance(node, ast.UnaryOp):
        return _not(_truth(node.operand, columns, windows, done))
    if isinstance(node, ast.Name):
        return done[node.id]
    assert isinstance(node, ast.Compare)
    values = [_values(item, columns, windows) for item in (node.left, *node.comparators)]
    known = ~np.any(np.isnan(values), axis=0)
    holds = np.ones(windows, dtype=bool)
    with np.errstate(invalid="ignore"):
        for operator, left, right in zip(node.ops, values, values[1:], strict=False):
            holds &= _COMPARE[type(operator)](left, right)
    return Truth(holds & known, known)


def _all(parts: list[Truth]) -> Truth:
    true = np.logical_and.reduce([part.true for part in parts])
    false = np.logical_or.reduce([part.false for part in parts])
    return Truth(true, true | false)


def _not(part: Truth) -> Truth:
    return Truth(part.false, part.known)


def _values(node: ast.expr, columns: Mapping[str, np.ndarray], windows: int) -> np.ndarray:
    if isinstance(node, ast.Name):
        return np.asarray(columns[node.id], dtype=np.float64)
    return np.full(windows, _number(node))


def _number(node: ast.expr) -> float:
    if isinstance(node, ast.UnaryOp):
        return -_number(node.operand)
    assert isinstance(node, ast.Constant)
    return float(node.value)  # type: ignore[arg-type]


def parse_rules(rules: Mapping[str, str], fields: Iterable[str], *, where: str) -> Rules:
    """Parse the rules of a recipe whose scorers write `fields`.

    Raises `UsageError` naming the rule for bad syntax, an unknown name (with the nearest known
    one), a loop, a rule named like a score, or rules without one called `keep`.
    """
    known_fields = set(fields)
    nodes: dict[str, ast.expr] = {}
    for name, text in rules.items():
        if name in known_fields:
            raise UsageError(f"{where}.{name}: a rule must not have the name of a score")
        if len(text) > _MAX_EXPRESSION:
            raise UsageError(f"{where}.{name}: longer than {_MAX_EXPRESSION} characters")
        try:
            nodes[name] = ast.parse(text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise UsageError(f"{where}.{name}: {text!r} is not an expression: {error}") from None
    for name, node in nodes.items():
        if _depth(node) > _MAX_DEPTH:
            raise UsageError(f"{where}.{name}: nested more than {_MAX_DEPTH} deep")
        _check(node, known_fields, nodes, f"{where}.{name}")
    ordered = _ordered(nodes, where)
    if nodes and "keep" not in nodes:
        raise UsageError(f"{where}: one rule must be called 'keep'")
    return Rules({name: nodes[name] for name in ordered})


def _depth(node: ast.AST) -> int:
    """How many levels an expression has."""
    level, depth = [node], 0
    while level:
        level = [child for item in level for child in ast.iter_child_nodes(item)]
        depth += 1
    return depth


def _check(node: ast.expr, fields: set[str], rules: Mapping[str, ast.expr], where: str) -> None:
    if isinstance(node, ast.BoolOp):
        for value in node.values:
            _check(value, fields, rules, where)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        _check(node.operand, fields, rules, where)
    elif isinstance(node, ast.Name):
        if node.id in fields:
            raise UsageError(f"{where}: {node.id!r} is a score: compare it with a number")
        if node.id not in rules:
            raise UsageError(f"{where}: unknown rule {node.id!r}; {nearest(node.id, list(rules))}")
    elif isinstance(node, ast.Compare) and all(type(op) in _COMPARE for op in node.ops):
        for value in (node.left, *node.comparators):
            _check_value(value, fields, where)
    else:
        raise UsageError(f"{where}: {ast.unparse(node)!r} is not allowed; use comparisons, and, or, not, rule names")


def _check_value(node: ast.expr, fields: set[str], where: str) -> None:
    if isinstance(node, ast.Name):
        if node.id not in fields:
            raise UsageError(f"{where}: no scorer of this recipe writes {node.id!r}; {nearest(node.id, list(fields))}")
        return
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    if not (isinstance(node, ast.Constant) and type(node.value) in (int, float)):
        raise UsageError(f"{where}: {ast.unparse(node)!r} is neither a score nor a number")
    try:
        _number(node)
    except OverflowError:
        raise UsageError(f"{where}: a number is too large") from None


def _ordered(nodes: Mapping[str, ast.expr], where: str) -> list[str]:
    needs = {
        name: {item.id for item in ast.walk(node) if isinstance(item, ast.Name) and item.id in nodes}
        for name, node in nodes.items()
    }
    try:
        return list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        raise UsageError(f"{where}: rules refer to each other in a loop: {' → '.join(error.args[1])}") from None
