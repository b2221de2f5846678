"""The trainer on the synthetic world's `small` view: what the models of seed paper 000 reach in minutes on a CPU.

The easier half of it: two labels of eleven (Airplane, Drum), no faults, 2 s out of scenes of 4 to 8 s. Per seed: a
world to train on, one of other seeds to test on, one of physical parameters that neither has (`ood`); the
commands a user types; the tables of `v2a evaluate`. The bar for the tied decoder is half-way from the nearest training
clip by motion to the real sound, in in-class swap-AUC and onset-F1. Everything is synthetic.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import inputs

TEST_SEED = 10_000
# Two labels, as in the demo: one that swells and one that strikes. What `v2a-data curate` is for is taken as done; of
# each scene 2 s are shown, wherever in it.
_CLEAN = ("--labels", "Airplane,Drum", "--faults", "none", "--seconds", "4-8")
METRICS = ("swap_auc_in_class", "onset_f1", "counterfactual")
HEADER = ("seed", "set", "row", *METRICS, "flags")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--videos", type=int, default=1500, help="to train on")
    parser.add_argument("--tests", type=int, default=200, help="to test on, of each world")
    parser.add_argument("--folder", type=Path, help="keeps what it makes there and goes on from it")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    rows, met, minutes = [], [], []
    with tempfile.TemporaryDirectory() as name:
        for seed in range(options.seeds):
            folder = (options.folder or Path(name)) / str(seed)
            tables, spent = one(folder, seed, options.videos, options.tests)
            minutes.append(spent)
            for kind, table in tables.items():
                rows += [(seed, kind, *_cells(row)) for row in table["rows"]]
                rows += [(seed, kind, row["name"], *_picture(row), "") for row in table["video"]["rows"]]
            met.append(bar(tables["test"]["rows"]))
    words = f"CPU minutes per seed: {minutes}\nbars met per seed: {met}"
    inputs.show("small_view", HEADER, rows, words, options.json, bars=met, minutes=minutes)
    return 0 if all(all(each.values()) for each in met) else 1


def one(folder: Path, seed: int, videos: int, tests: int) -> tuple[dict[str, dict[str, Any]], dict[str, float]]:
    """Train on one world and judge on two others; the answers of `v2a evaluate` by set, and CPU minutes by part."""
    root, clock, answers = folder / "w", [_cpu_s()], {}
    worlds = {"test": folder / "test-w", "ood": folder / "ood-w"}
    _dataset(folder / "train", root, videos, ("--seed", seed), ("splits.test=0", "splits.validation=20"))
    for kind, other in worlds.items():
        more = ("--seed", TEST_SEED + seed, *(("--ood",) if kind == "ood" else ()))
        _dataset(folder / kind, other, tests, more, (f"splits.test={tests}",))
    at = ("-w", root, "--set", 'train.config="small"', "--set", f"train.seed={seed}")
    clock.append(_cpu_s())
    _call("v2a", "train", *at)
    clock.append(_cpu_s())
    _call("v2a", "train", "decoder", *at, "--set", "train.form=literal", "--set", "train.decoder.options.hidden=64")
    clock.append(_cpu_s())
    for kind, other in worlds.items():
        answers[kind] = json.loads(_call("v2a", "evaluate", *at, "--shards", other / "shards", "--json"))
    clock.append(_cpu_s())
    parts = ("worlds and shards", "video encoder and tied decoder", "literal decoder", "judging")
    return answers, {part: round((b - a) / 60, 1) for part, (a, b) in zip(parts, pairwise(clock), strict=True)}


def _dataset(world: Path, root: Path, videos: int, how: tuple[object, ...], sets: tuple[str, ...]) -> None:
    """Every clip of a rendered world as shards; nothing is curated, the world has no faults here."""
    if (root / "shards" / "index.parquet").exists():
        return
    _call("v2a-data", "synth", world, "--videos", videos, "--view", "small", *_CLEAN, *how)
    form = ("shard.width=64", "shard.height=36", "clips.seconds=2", "fetch.sleep_s=[0, 0]", 'duplicates.keep="all"')
    words = [word for item in (*sets, *form) for word in ("--set", item)]
    at = ("--source", "synthetic", "--input", world, "--recipe", "keep_all", "--limit", "all", "-w", root)
    _call("v2a-data", "fetch", *at, *words)
    _call("v2a-data", "curate", "-w", root)
    _call("v2a-data", "shard", "-w", root)


def _call(program: str, *words: object) -> str:
    module = {"v2a": "v2a", "v2a-data": "v2a_data"}[program]
    quiet = [] if "--json" in words else ["-q"]
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, words), *quiet], stdout=subprocess.PIPE, check=True, env=os.environ
    )
    return done.stdout.decode()


def bar(rows: list[dict[str, Any]]) -> dict[str, bool]:
    """Whether the tied decoder is half-way from nearest by motion to the real sound, and above it for certain."""
    tied, nearest, real = (
        next(row for row in rows if row["name"].endswith(name)) for name in ("tied", "nearest by motion", "real")
    )
    found = {}
    for metric in METRICS[:2]:
        low, high = nearest[metric]["mean"], real[metric]["mean"]
        found[metric] = tied[metric]["mean"] >= low + (high - low) / 2
        found[f"{metric} above nearest"] = tied[metric]["low"] > low
    return found


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    figures = [row[metric] for metric in METRICS]
    cells = ["-" if f["mean"] is None else f"{f['mean']:.3f} [{f['low']:.3f}, {f['high']:.3f}]" for f in figures]
    return row["name"], *cells, ", ".join(row["flags"])


def _picture(row: dict[str, Any]) -> tuple[str, str, str]:
    """The video encoder's figures, in the columns of the others."""
    codes = f"perplexity {row['perplexity']:.0f}, codes {row['codes_used']}" if row["codes_used"] else "-"
    return f"PSNR {row['psnr_db']['mean']:.2f} dB", f"SSIM {row['ssim']['mean']:.3f}", codes


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
