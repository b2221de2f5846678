"""A training killed (SIGKILL) at random steps and taken up again, beside one that was never stopped.

Every resumed process is new and has nothing but checkpoint and shards. In *elastic* lives each one has another number
of ranks (1, 2, 3) and stream workers (0, 1, 4): the samples of every global batch, in order, are compared with those
of the unbroken run. In *steady* lives ranks stay (1 or 2) and workers change: what is there at the end is compared too,
byte for byte: weights, averages, the best of the validations, figures.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import inputs
import ranked
from resume_run import CONFIG

RUN = Path(__file__).with_name("resume_run.py")
WORLDS, WORKERS = (1, 2, 3), (0, 1, 4)
KILLS_PER_LIFE = 5
VIDEOS = 20
STEPS = CONFIG["vqvae"]["optimisation"]["steps"]
LAST = f"step-{STEPS:06d}"
_LOOK_S = 0.005
_LIMIT_S = 300.0

# What a batch holds, by (epoch, batch): the keys and first frames of its samples in order.
Batches = dict[tuple[int, int], list[tuple[str, int]]]


@dataclass
class Outcome:
    """`order` and `weights` name every difference; `kills` are those that met a running training."""

    kills: int = 0
    lives: int = 0
    batches: int = 0
    order: list[str] = field(default_factory=list)
    weights: list[str] = field(default_factory=list)


@dataclass
class Process:
    """The ranks of one process group and the notes that they leave."""

    running: list[subprocess.Popen[bytes]]
    notes: list[Path]

    def steps(self) -> int:
        """Batches that rank 0 has noted."""
        return self.notes[0].read_bytes().count(b"\n") if self.notes[0].exists() else 0

    def kill(self) -> None:
        for process in self.running:
            process.send_signal(signal.SIGKILL)

    def wait(self) -> list[int]:
        return [process.wait(timeout=_LIMIT_S) for process in self.running]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        found = run(Path(name), options.kills, options.seed)
    rows = [(found.kills, found.lives, found.batches, len(found.order), len(found.weights))]
    header = ("kills", "lives", "batches compared", "order mismatches", "weight mismatches")
    words = "\n".join([*found.order[:10], *found.weights[:10]]) or "no difference from the unbroken runs"
    keys = {"kills": found.kills, "order_mismatches": len(found.order), "weight_mismatches": len(found.weights)}
    inputs.show("resume", header, rows, words, options.json, **keys)
    return 1 if found.order or found.weights else 0


def run(folder: Path, kills: int, seed: int, per_life: int = KILLS_PER_LIFE) -> Outcome:
    """Lives, in turn elastic and steady with 1 and 2 ranks, until so many kills were met."""
    rng, out = random.Random(seed), Outcome()
    shards = inputs.shards(folder, VIDEOS)
    whole = {world: folder / f"whole-{world}" for world in (1, 2)}
    for world, place in whole.items():
        process = start(shards, place, 0, world, 0)
        assert process.wait() == [0] * world
        if world == 1:
            unbroken = joined(process)
    assert len(unbroken) == STEPS
    while out.kills < kills:
        steady = (None, 1, 2)[out.lives % 3]
        place = folder / f"life-{out.lives}"
        seen = life(shards, place, steady, min(per_life, kills - out.kills), rng, out)
        compare(unbroken, seen, f"life {out.lives}", out)
        if steady is not None:
            ours, theirs = ended(place), ended(whole[steady])
            differ = [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)]
            out.weights += [f"life {out.lives}: {name} with {steady} ranks" for name in differ]
        out.lives += 1
    return out


def life(shards: Path, place: Path, steady: int | None, kills: int, rng: random.Random, out: Outcome) -> list[Batches]:
    """One training from nothing to its end; what each of its process groups was given."""
    seen: list[Batches] = []
    left, group = kills, 0
    while True:
        world, workers = steady or rng.choice(WORLDS), rng.choice(WORKERS)
        process = start(shards, place, group, world, workers)
        group += 1
        # The first kills fall early, so that there are steps left for the others.
        if left and met(process, rng.randint(1, max(2, STEPS // (kills + 1)))):
            process.kill()
            process.wait()
            out.kills += 1
            left -= 1
            seen.append(joined(process))
            continue
        codes = process.wait()
        seen.append(joined(process))
        assert codes == [0] * world, codes
        return seen


def met(process: Process, step: int) -> bool:
    """Wait until it has taken so many steps; false where it ended before."""
    begun = time.monotonic()
    while process.steps() < step:
        if process.running[0].poll() is not None:
            return False
        assert time.monotonic() - begun < _LIMIT_S
        time.sleep(_LOOK_S)
    return process.running[0].poll() is None


def start(shards: Path, place: Path, group: int, world: int, workers: int) -> Process:
    """A process group as torchrun makes it."""
    notes = place / f"notes-{group}"
    notes.mkdir(parents=True)
    running = ranked.start(world, RUN, shards, place, notes, workers)
    return Process(running, [notes / f"{rank}.jsonl" for rank in range(world)])


def joined(process: Process) -> Batches:
    """The global batches of which every rank noted its part."""
    parts: list[Batches] = []
    for path in process.notes:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        rows = [json.loads(line) for line in lines if line.endswith("\n")]
        parts.append({(at[0], at[1]): [(key, start) for key, start in crops] for at, crops in rows})
    common = set(parts[0]).intersection(*parts[1:])
    return {at: [crop for part in parts for crop in part[at]] for at in sorted(common)}


def compare(unbroken: Batches, seen: list[Batches], name: str, out: Outcome) -> None:
    """Every batch holds what it held in the unbroken run; none is skipped on the way to the end."""
    for group, batches in enumerate(seen):
        out.batches += len(batches)
        out.order += [
            f"{name}, process {group}: batch {at}" for at, crops in batches.items() if unbroken.get(at) != crops
        ]
    missing = unbroken.keys() - set().union(*seen)
    out.order += [f"{name}: batch {at} never came" for at in sorted(missing)]


def ended(place: Path) -> dict[str, bytes]:
    """What a finished training leaves: its last weights and averages, its best, how it stands, its figures."""
    folder = place / "vqvae3d"
    paths = [*(folder / LAST).iterdir(), *folder.glob("best-*/*"), folder / "metrics.jsonl"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


if __name__ == "__main__":
    sys.exit(main())
