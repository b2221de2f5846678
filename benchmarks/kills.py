"""SIGKILL over fetch, curate and shard, then the same command again: is everything as in an undisturbed run?"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from kill_harness import STAGES, WORKERS, Outcome, kill_run

from v2a_data.console import table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcome = kill_run(Path(folder), options.kills, options.seed, lambda text: print(text, file=sys.stderr))
    values = figures(outcome) | {"seed": options.seed, "seconds": round(time.monotonic() - started, 1)}
    print(table(("stage", "workers", "undisturbed s", "kills", "with unfinished files"), rows(outcome)))
    print(f"\n{len(outcome.kills)} kills in {outcome.lives} workspaces of {outcome.samples} samples each;")
    print(f"{len(outcome.troubles)} differences from the undisturbed run, lost or torn files, leftovers, processes")
    print("\n".join(outcome.troubles))
    if options.json:
        print(json.dumps(values))
    return 1 if outcome.troubles else 0


def rows(outcome: Outcome) -> list[tuple[str, int, float, int, int]]:
    """One line per stage and number of workers."""
    hits = Counter((kill.stage, kill.workers) for kill in outcome.kills)
    torn = Counter((kill.stage, kill.workers) for kill in outcome.kills if kill.scratch)
    return [
        (stage, workers, round(outcome.seconds[stage, workers], 1), hits[stage, workers], torn[stage, workers])
        for stage in STAGES
        for workers in WORKERS
    ]


def figures(outcome: Outcome) -> dict[str, object]:
    """The same as JSON."""
    names = ("stage", "workers", "undisturbed_s", "kills", "with_unfinished_files")
    return {
        "benchmark": "kills",
        "kills": len(outcome.kills),
        "lives": outcome.lives,
        "samples": outcome.samples,
        "troubles": outcome.troubles,
        "by_stage": [dict(zip(names, row, strict=True)) for row in rows(outcome)],
    }


if __name__ == "__main__":
    sys.exit(main())
