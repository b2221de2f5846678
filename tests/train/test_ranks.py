"""Several processes are one: the same weights as one process on the same global batches."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import ranked
import torch
from safetensors.torch import load_file
from small import context, tiny
from v2a.train import train_decoder, train_vqvae
from v2a.training.ranks import Ranks

from v2a_data.console import Console
from v2a_data.errors import UsageError
from v2a_data.shards.read import ShardSet

HERE = Path(__file__).parent
OVER = {"optimisation": {"steps": 3, "save_every": 4, "validate_every": 0}}
PROGRAM = f"""
import sys
sys.path[:0] = {[str(HERE), str(HERE.parent)]!r}
from pathlib import Path
import torch
from small import context, opened, tiny
from v2a.training import ranks
from v2a.train import train_decoder, train_vqvae
from v2a_data.console import Console
torch.set_num_threads(1)
place = ranks.join()
over = {OVER!r}
config = tiny(vqvae=over, decoder=over)
here = context(opened(Path(sys.argv[1])), Path(sys.argv[2]), Console("test", quiet=True), config, ranks=place)
train_vqvae(here)
train_decoder(here)
ranks.leave()
"""


@pytest.mark.slow
def test_two_processes_train_what_one_does(coded: ShardSet, tmp_path: Path, console: Console) -> None:
    config = tiny(vqvae=OVER, decoder=OVER)
    one, two = tmp_path / "one", tmp_path / "two"
    for run in (train_vqvae, train_decoder):
        run(context(coded, one, console, config))
    assert [p.wait(timeout=240) for p in ranked.start(2, "-c", PROGRAM, coded.folder, two)] == [0, 0]
    for name in ("vqvae3d", "audio_fc-tied"):
        # Adam makes a full step of the noise of a gradient near zero, so gradients are compared: their averages.
        a, b = (load_file(folder / name / "step-000003" / "optimizer.safetensors") for folder in (one, two))
        for key in a:
            allowed = 1e-3 * float(a[key].abs().max())
            assert float((a[key] - b[key]).abs().max()) <= allowed, f"{name}: {key}"
        a, b = (load_file(folder / name / "step-000003" / "model.safetensors") for folder in (one, two))
        for key in ("quantizer.book", "quantizer.counts", "quantizer.usage.used", "level", "spread"):
            if key in a:
                torch.testing.assert_close(a[key], b[key], atol=1e-4, rtol=1e-4)
        for row, other in zip(*(rows(folder / name) for folder in (one, two)), strict=True):
            assert row == pytest.approx(other, rel=1e-3)


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_batch_that_cannot_be_shared_is_refused(coded: ShardSet, tmp_path: Path, console: Console) -> None:
    with pytest.raises(UsageError, match="4 is no multiple of the 3 processes"):
        train_vqvae(context(coded, tmp_path, console, tiny(vqvae=OVER), ranks=Ranks(0, 3)))
    with pytest.raises(UsageError, match="in 4 parts by 2 processes"):
        over = {"optimisation": {**OVER["optimisation"], "accumulate": 4}}
        train_vqvae(context(coded, tmp_path, console, tiny(vqvae=over), ranks=Ranks(0, 2)))


@pytest.mark.slow
def test_torchrun_starts_the_command(built: Path, sets: list[str], tmp_path: Path) -> None:
    """The documented way; one record, one set of figures, the checkpoints of one run."""
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "v2a", "train", "vqvae"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    root = tmp_path / "w"
    shutil.copytree(built, root)
    shutil.rmtree(root / "checkpoints", ignore_errors=True)
    before = len(list((root / "runs").glob("*-train.json")))
    done = subprocess.run(
        [sys.executable, *words, "-w", str(root), "--workers", "0", "--json", *sets],
        env=env, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (answer,) = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [(row["model"], row["steps"]) for row in answer["trained"]] == [("vqvae3d", 6)]
    assert len(list((root / "runs").glob("*-train.json"))) == before + 1
    rows = (root / "checkpoints" / "vqvae3d" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == sorted({json.loads(row)["step"] for row in rows})
