"""SIGKILLs into `fetch` over HTTP from a server that misbehaves for 30 % of the requests: is anything half, twice,
lost, or called by a wrong name, and is Retry-After obeyed?"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from faults_harness import SHARES, Findings, faults_run

from v2a_data.console import table

ZERO = ("partial_marked_done", "refetched", "without_row", "wrong_class", "asked_too_early", "unfinished")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        found = faults_run(Path(folder), options.kills, options.requests, options.seed, _say)
    seconds = round(time.monotonic() - started, 1)
    print(table(("misdeed", "times"), sorted(found.misdeeds.items())))
    print()
    print(table(("attempt ended as", "times"), sorted(found.classes.items())))
    print(f"\n{found.requests} requests, {found.misdeeds.total()} of them answered badly ({SHARES}),")
    print(f"{found.kills} kills in {found.lives} workspaces, {seconds:.0f} s\n")
    print(table(("has to be 0", "found"), [(name, getattr(found, name)) for name in ZERO]))
    print("\n".join(found.words))
    good = not any(getattr(found, name) for name in ZERO)
    if options.json:
        print(json.dumps({"benchmark": "fetch_faults", "seed": options.seed, "seconds": seconds, **figures(found)}))
    return 0 if good else 1


def figures(found: Findings) -> dict[str, object]:
    """The findings as JSON."""
    names = ("requests", "kills", "lives", *ZERO)
    return {
        **{name: getattr(found, name) for name in names},
        "misdeeds": dict(found.misdeeds),
        "classes": dict(found.classes),
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
