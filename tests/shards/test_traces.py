"""Ids inside of texts and bytes: found whatever stands around them, and no others."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from v2a_data.removal.traces import Traces

ID = "-0DdlOuIFUI"
TRACES = Traces([ID, f"yt-{ID}", "sy-0-1", "lo-0123456789abcdef", "@a channel", "Straße"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"yt-{ID}_000010000", "(removed)_000010000"),
        (f"https://youtu.be/{ID}?t=1&v={ID}", "https://youtu.be/(removed)?t=1&v=(removed)"),
        (f"x{ID}x", "x(removed)x"),
        ("sy-0-1 sy-0-10 sy-0-1_000000000", "(removed) sy-0-10 (removed)_000000000"),
        ("lo-0123456789abcdef.mp4", "(removed).mp4"),
        ("by @a channel, Straße", "by (removed), (removed)"),
        ("0DdlOuIFUI, sy-0-2", "0DdlOuIFUI, sy-0-2"),
        ("", ""),
    ],
)
def test_names_are_taken_out(text: str, expected: str) -> None:
    assert TRACES.out_of(text) == expected
    assert TRACES.inside(text) is TRACES.in_bytes(text.encode()) is (text != expected)


@settings(max_examples=200, deadline=None)
@given(st.text("-0DdlOuIFU sy1\u00e9", max_size=60), st.booleans(), st.integers(0, 60))
def test_few_and_many_names_find_the_same(text: str, put_in: bool, at: int) -> None:
    text = text[:at] + ID + text[at:] if put_in else text
    few, many = Traces([ID]), Traces([ID, *(f"zzzzzz{i:05d}" for i in range(200))])
    expected = ID in text
    for traces in (few, many):
        assert traces.inside(text) is expected
        assert traces.in_bytes(text.encode()) is expected
        assert ID not in traces.out_of(text)


def test_nothing_to_look_for_is_nowhere() -> None:
    assert not Traces([]).inside("anything")
    assert not Traces([]).in_bytes(b"anything")
    assert Traces([]).out_of("anything") == "anything"
