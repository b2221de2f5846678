"""What the benchmarks work on, rendered on the spot, and how they print."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from v2a_data.console import table

# Media that say what they are, and tiny models: made by the tests' own code.
TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "scorers")]


def shards(folder: Path, videos: int) -> Path:
    """Shards of 10 s, 256x144, made by the commands from a rendered world, all in the split `train`."""
    at = ["-w", str(folder / "w"), "-q"]
    whole = ["--set", "splits.validation=0", "--set", "splits.test=0", "--set", "fetch.sleep_s=[0, 0]"]
    for words in (
        [
            "synth",
            str(folder / "world"),
            "--videos",
            str(videos),
            "--lines",
            "144",
            "--seconds",
            "10.1-10.9",
            "-q",
            "--faults",
            "still:0.1,silence:0.1,voice:0.1",
        ],
        ["fetch", "--source", "synthetic", "--input", str(folder / "world"), "--recipe", "keep_all", *whole, *at],
        ["curate", *at],
        # Several, so that webdataset can share them out among its workers.
        ["shard", "--samples-per-shard", "4", *at],
    ):
        subprocess.run([sys.executable, "-m", "v2a_data", *words], check=True, stdout=subprocess.DEVNULL)
    return folder / "w" / "shards"


def world_mark() -> str:
    """Version of the synthetic world, and the hash over one small video of each label (seed 0)."""
    from v2a_data.engine import SerialEngine
    from v2a_data.synthetic.world import WORLD_LABELS, plan_world, render_world

    plans = plan_world(0, len(WORLD_LABELS), (), None, (4.0, 6.0), view="small")
    with tempfile.TemporaryDirectory() as folder:
        about = render_world(plans, Path(folder), SerialEngine(), lambda: None)
    return f"synthetic world {about['version']}, hash {about['hash']}"


def show(
    name: str, header: Sequence[str], rows: Sequence[Sequence[object]], words: str, as_json: bool, **more: object
) -> None:
    """A table and a line for people and, when asked for, one object as the last line."""
    print(f"{table(header, rows)}\n\n{words}")
    if as_json:
        print(json.dumps({"benchmark": name, "rows": [dict(zip(header, row, strict=True)) for row in rows], **more}))
