"""Fixtures of the trainer's tests: a coded shard, a workspace made by the commands, a trained one."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_limits
from typer.testing import CliRunner
from worlds import RECIPE

sys.path.insert(0, str(Path(__file__).parent))

from small import coded_shards
from v2a.cli import app as v2a

from v2a_data.cli import app as v2a_data
from v2a_data.shards.read import ShardSet

# Tiny training through the commands: seconds, not quality.
TINY_SETS = (
    "train.trackers=[]",
    "train.view.width=32",
    "train.view.height=20",
    "train.view.seconds=0.64",
    "train.vqvae.options.channels=[4, 8]",
    "train.vqvae.options.codes=32",
    "train.vqvae.optimisation.steps=6",
    "train.vqvae.optimisation.batch=4",
    "train.decoder.options.hidden=8",
    "train.decoder.options.iterations=2",
    "train.decoder.optimisation.steps=6",
    "train.decoder.optimisation.batch=4",
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny tensors and small matrices are faster in one thread, above all on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _same_draws() -> None:
    """The same random numbers in any order of tests."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def coded(tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """Five samples of 2 to 3.3 s in one shard."""
    return coded_shards(tmp_path_factory.mktemp("coded"))


@pytest.fixture(scope="session")
def built(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with shards, by the three commands of the README."""
    root = tmp_path_factory.mktemp("train") / "w"
    at = ["-w", str(root), "--workers", "0", "-q"]
    for words in (
        ["fetch", "--source", "synthetic", "--input", str(world), "--recipe", RECIPE, "--set", "splits.test=2", *at],
        ["curate", *at],
        ["shard", *at],
    ):
        done = CliRunner().invoke(v2a_data, words)
        assert done.exit_code == 0, done.stderr
    return root


@pytest.fixture(scope="session")
def sets() -> list[str]:
    """The options that make training tiny."""
    return [word for item in TINY_SETS for word in ("--set", item)]


@pytest.fixture(scope="session")
def trained(built: Path, sets: list[str]) -> Path:
    """The same workspace with a video encoder and both sound decoders."""
    at = ["-w", str(built), "--workers", "0", "-q", *sets]
    for words in (["train", *at], ["train", "decoder", *at, "--set", "train.form=literal"]):
        done = CliRunner().invoke(v2a, words)
        assert done.exit_code == 0, done.stderr
    return built
