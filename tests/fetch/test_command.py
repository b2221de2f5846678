"""`v2a-data fetch` as it is typed: its options for pacing, licences, classes, sessions and room on the disk."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rebuilding import at, call
from worlds import RECIPE

from v2a_data.synthetic.server import serve_world

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fetch(world: Path, tmp_path: Path) -> Iterator[Typed]:
    """Calls the command on the served world, whose seven drums one is gone of."""
    with serve_world(world, gone=1) as where:
        paths = {
            "label_url": f"{where}/2/j/v/{{mid}}.js",
            "lookup_url": f"{where}/2/j/i/{{prefix}}/{{id}}.js",
            "watch_url": f"{where}/media/{{id}}.mp4",
        }
        sets = [word for key, value in paths.items() for word in ("--set", f"source.{key}={value}")]
        made = ("--recipe", RECIPE, "--label", "Drum", *sets)
        yield lambda *words: call("fetch", *made, *words, *at(tmp_path / "w"))


def test_a_number_of_downloads_per_run(fetch: Typed) -> None:
    code, out, _ = fetch("--max-downloads", 2)
    assert (code, "stopped at --max-downloads" in out) == (0, True)
    code, out, _ = fetch("--max-downloads", 1, "--json")
    found = json.loads(out)
    assert (found["fetched"], found["videos"]["fetched"]) == (1, 3)
    _, out, _ = fetch("--json")
    assert json.loads(out)["videos"] == {"fetched": 6, "gone": 1}


def test_what_is_not_creative_commons_is_left(fetch: Typed) -> None:
    code, out, _ = fetch("--license", "cc", "--json")
    assert (code, json.loads(out)["reasons"]) == (0, {"not_cc": 6})
    code, out, _ = fetch("--retry", "not_cc", "--force", "--json")
    assert (code, json.loads(out)["videos"]) == (0, {"fetched": 6, "gone": 1})


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--license", "gpl"), 2, "fetch.licence: 'gpl' is none of 'any', 'cc'"),
        (("--retry", "privat"), 2, "--retry privat: no failure class; did you mean 'private'"),
        (("--retry", "geo"), 4, "no download failed with geo; failures here: none"),
        (("--cookies", "none.txt"), 2, "none.txt: No such file"),
        (
            ("--set", "fetch.keep_free_gb=900000", "--set", "fetch.longest_wait_s=0"),
            7,
            "less than the 900000 GB to keep",
        ),
        (("--set", "fetch.source_address=here"), 2, "fetch.source_address: an address of this machine, got 'here'"),
        (("--set", "fetch.per_day=0"), 2, "fetch.per_day: from 1 to"),
    ],
)
def test_what_does_not_fit_says_so(words: tuple[str, ...], code: int, message: str, fetch: Typed) -> None:
    found, _, err = fetch(*words)
    assert (found, message in err) == (code, True), err
