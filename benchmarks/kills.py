"""SIGKILL at random moments, then the same command again: is everything as in an undisturbed run?"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from kill_harness import STAGES, WORKERS, Outcome, kill_run
from kill_shards import LONE_STAGES, PHASES, LoneOutcome, lone_run

from v2a_data.console import table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument(
        "--stage", choices=("all", *LONE_STAGES), default="all", help="all: fetch, curate and shard one after the other"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        run = _all if options.stage == "all" else _alone
        values = run(Path(folder), options.stage, options.kills, options.seed)
    values |= {"seed": options.seed, "seconds": round(time.monotonic() - started, 1)}
    if options.json:
        print(json.dumps({"benchmark": "kills", "stage": options.stage, **values}))
    return 1 if values["troubles"] else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _all(folder: Path, _: str, kills: int, seed: int) -> dict[str, object]:
    outcome = kill_run(folder, kills, seed, _say)
    print(table(("stage", "workers", "undisturbed s", "kills", "with unfinished files"), rows(outcome)))
    print(f"\n{len(outcome.kills)} kills in {outcome.lives} workspaces of {outcome.samples} samples each;")
    print(f"{len(outcome.troubles)} differences from the undisturbed run, lost or torn files, leftovers, processes")
    print("\n".join(outcome.troubles))
    return figures(outcome)


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
        "kills": len(outcome.kills),
        "lives": outcome.lives,
        "samples": outcome.samples,
        "troubles": outcome.troubles,
        "by_stage": [dict(zip(names, row, strict=True)) for row in rows(outcome)],
    }


def _alone(folder: Path, stage: str, kills: int, seed: int) -> dict[str, object]:
    outcome = lone_run(folder, stage, kills, seed, _say)
    found = Counter(outcome.phases)
    print(table((f"{stage} killed while", "kills"), [(name, found[name]) for name in PHASES]))
    print(
        f"\n{outcome.kills} kills of `{stage}` ({outcome.seconds:.1f} s undisturbed) in {outcome.lives} lives of "
        f"{outcome.samples} samples, {outcome.deep} of them decoded in the end: {outcome.lost} lost, "
        f"{outcome.duplicate} duplicate, {outcome.different} different, {outcome.torn} torn, {outcome.leftovers} left"
    )
    print("\n".join(outcome.troubles))
    return lone_figures(outcome)


def lone_figures(outcome: LoneOutcome) -> dict[str, object]:
    """The same as JSON."""
    names = ("kills", "lives", "deep", "samples", "lost", "duplicate", "different", "torn", "leftovers", "troubles")
    phases = Counter(outcome.phases)
    return {name: getattr(outcome, name) for name in names} | {"phases": {name: phases[name] for name in PHASES}}


if __name__ == "__main__":
    sys.exit(main())
