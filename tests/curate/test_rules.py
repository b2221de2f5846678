"""Rules: Kleene's logic over nulls, a whitelist of expressions, reasons by condition."""

import contextlib
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2a_data.curate.rules import parse_rules
from v2a_data.errors import UsageError

FIELDS = ("seen", "heard", "voice")
NAN = float("nan")


def evaluate(rules: dict[str, str], **columns: list[float]) -> dict[str, list[bool | None]]:
    arrays = {name: np.asarray(columns.get(name, [NAN]), float) for name in FIELDS}
    size = max(len(values) for values in arrays.values())
    arrays = {name: np.resize(values, size) for name, values in arrays.items()}
    found = parse_rules(rules, FIELDS, where="rules").evaluate(arrays, size)
    return {n: [None if u else bool(t) for t, u in zip(x.true, x.unknown, strict=True)] for n, x in found.items()}


def test_comparisons_and_names_of_rules() -> None:
    rules = {"clean": "voice <= 0.3", "keep": "seen >= 0.6 and clean", "review": "not clean"}
    out = evaluate(rules, seen=[0.6, 0.7, 0.5], voice=[0.3, 0.4, 0.0])
    assert out == {"clean": [True, False, True], "keep": [True, False, False], "review": [False, True, False]}


def test_chained_comparison() -> None:
    assert evaluate({"keep": "0.2 < seen <= 0.5"}, seen=[0.2, 0.3, 0.5, 0.6])["keep"] == [False, True, True, False]


KLEENE = {True: 1.0, False: 0.0, None: NAN}


@pytest.mark.parametrize(("a", "b"), list(itertools.product(KLEENE, KLEENE)))
def test_three_valued_logic(a: bool | None, b: bool | None) -> None:
    out = evaluate(
        {"a": "seen > 0.5", "b": "heard > 0.5", "keep": "a and b", "either": "a or b", "no": "not a"},
        seen=[KLEENE[a]],
        heard=[KLEENE[b]],
    )
    both = False if (a is False or b is False) else None if (a is None or b is None) else True
    either = True if (a is True or b is True) else None if (a is None or b is None) else False
    assert out["keep"] == [both]
    assert out["either"] == [either]
    assert out["no"] == [None if a is None else not a]


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ({"keep": "seen"}, "'seen' is a score: compare it with a number"),
        ({"keep": "sean >= 1"}, "no scorer of this recipe writes 'sean'; did you mean 'seen'?"),
        ({"keep": "celan"}, "unknown rule 'celan'"),
        ({"keep": "seen >="}, "is not an expression"),
        ({"keep": "__import__('os').system('true')"}, "is not allowed"),
        ({"keep": "seen.real >= 1"}, "neither a score nor a number"),
        ({"keep": "(lambda: 1)() > 0"}, "neither a score nor a number"),
        ({"keep": "seen >= 1 if heard > 0 else voice > 1"}, "is not allowed"),
        ({"keep": "seen in (1, 2)"}, "is not allowed"),
        ({"keep": "True"}, "is not allowed"),
        ({"keep": "seen >= True"}, "neither a score nor a number"),
        ({"a": "b", "b": "a", "keep": "a"}, "in a loop"),
        ({"good": "seen > 0"}, "one rule must be called 'keep'"),
        ({"seen": "heard > 0", "keep": "seen"}, "must not have the name of a score"),
        ({"keep": "seen >= 0x" + "f" * 1900}, "rules.keep: a number is too large"),
        ({"keep": "seen >= " + "-" * 1500 + "1"}, "rules.keep: nested more than 100 deep"),
        ({"keep": "not " * 450 + "seen >= 0"}, "rules.keep: nested more than 100 deep"),
        ({"keep": "seen > 0 " + "and seen > 0 " * 400}, "longer than 2000"),
    ],
)
def test_what_is_refused(rules: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_rules(rules, FIELDS, where="rules")
    assert words in str(caught.value)


def test_deeply_doubled_rules_stay_fast() -> None:
    rules = {"r0": "seen > 0"} | {f"r{i}": f"r{i - 1} and r{i - 1}" for i in range(1, 60)} | {"keep": "r59"}
    parsed = parse_rules(rules, FIELDS, where="rules")
    assert [c.text for c in parsed.conjuncts] == ["seen > 0"]
    assert parsed.evaluate({n: np.ones(3) for n in FIELDS}, 3)["keep"].true.all()


def test_conditions_of_keep_are_its_conjuncts() -> None:
    rules = {"clean": "voice <= 0.3 and not heard > 5", "keep": "(seen >= 0.6 or heard > 1) and clean"}
    parsed = parse_rules(rules, FIELDS, where="rules")
    assert [c.text for c in parsed.conjuncts] == ["seen >= 0.6 or heard > 1", "voice <= 0.3", "not heard > 5"]
    assert parsed.conjuncts[0].names == ("heard", "seen")


@given(st.text(max_size=60))
def test_no_text_ends_in_another_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        parse_rules({"keep": text}, FIELDS, where="rules")
