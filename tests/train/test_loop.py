"""Training that is stopped, killed and taken up equals training that was not."""

import json
import math
import multiprocessing
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from small import TINY, At, DiedError, context, die, files_of, interrupt, tiny
from v2a.built import decoder_name
from v2a.config import Optimisation
from v2a.train import train_decoder, train_vqvae
from v2a.training import checkpoint
from v2a.training.schedule import learning_rate

from v2a_data.console import Console
from v2a_data.errors import InterruptedRunError, UsageError
from v2a_data.shards.read import ShardSet

STEPS = TINY["vqvae"]["optimisation"]["steps"]
FILES = ("step-000014/model.safetensors", "step-000014/optimizer.safetensors", "step-000014/state.json")
KINDS = ("vqvae", "tied", "literal")


def train(kind: str, shards: ShardSet, folder: Path, console: Console, *, force: bool = False, **over: object):  # type: ignore[no-untyped-def]
    config = tiny(**({"form": kind} if kind != "vqvae" else {}), **over)
    run = train_vqvae if kind == "vqvae" else train_decoder
    return run(context(shards, folder, console, config, force=force))


def place(kind: str, folder: Path) -> Path:
    return folder / ("vqvae3d" if kind == "vqvae" else decoder_name(tiny(form=kind)))


@pytest.fixture(scope="module")
def whole(coded: ShardSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of all three trainings, never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    for kind in KINDS:
        train(kind, coded, folder, Console("test", quiet=True))
    return folder


def prepare(kind: str, whole: Path, folder: Path) -> None:
    """What a training needs to have before it."""
    if kind != "vqvae":
        folder.mkdir(exist_ok=True)
        (folder / "vqvae3d").symlink_to(whole / "vqvae3d")


def assert_equal(kind: str, one: Path, other: Path) -> None:
    a, b = place(kind, one), place(kind, other)
    assert files_of(a, FILES) == files_of(b, FILES)
    assert (a / "metrics.jsonl").read_text() == (b / "metrics.jsonl").read_text()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("act", "error", "at"),
    [
        (interrupt, InterruptedRunError, 1),
        (interrupt, InterruptedRunError, 12),
        (die, DiedError, 3),
        (die, DiedError, 12),
    ],
)
def test_taken_up_again_it_ends_the_same(
    coded: ShardSet,
    whole: Path,
    tmp_path: Path,
    console: Console,
    kind: str,
    act: Callable[[], None],
    error: type[Exception],
    at: int,
) -> None:
    prepare(kind, whole, tmp_path)
    with pytest.raises(error) as caught:
        train(kind, coded, tmp_path, At("train", at, act))
    found = checkpoint.latest(place(kind, tmp_path))
    if act is interrupt:
        assert f"stopped at step {at}" in str(caught.value)
        assert found is not None and found.step == at
    else:
        assert (found.step if found else 0) == at // 5 * 5
    done = train(kind, coded, tmp_path, console)
    assert done.steps == STEPS
    assert_equal(kind, whole, tmp_path)


def test_stopped_at_every_step_it_ends_the_same(coded: ShardSet, whole: Path, tmp_path: Path, console: Console) -> None:
    for step in range(1, STEPS):
        with pytest.raises(InterruptedRunError):
            train("vqvae", coded, tmp_path, At("train", step, interrupt))
    train("vqvae", coded, tmp_path, console)
    assert_equal("vqvae", whole, tmp_path)


@pytest.mark.parametrize(("act", "error"), [(interrupt, InterruptedRunError), (die, DiedError)])
def test_with_a_worker_it_ends_as_cleanly(
    coded: ShardSet, whole: Path, tmp_path: Path, console: Console, act: Callable[[], None], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        train_vqvae(context(coded, tmp_path, At("train", 7, act), tiny(), workers=1))
    assert caught.value.__context__ is None  # closing the ring raised nothing of its own
    assert multiprocessing.active_children() == []
    train_vqvae(context(coded, tmp_path, console, tiny(), workers=1))
    assert_equal("vqvae", whole, tmp_path)


@pytest.mark.slow
def test_killed_without_warning_it_ends_the_same(
    coded: ShardSet, whole: Path, tmp_path: Path, console: Console
) -> None:
    """SIGKILL from outside, to another process with a stream worker; that ends too and frees its memory."""
    program = tmp_path / "program.py"
    program.write_text(
        "if __name__ == '__main__':\n"
        "    import json, multiprocessing, sys, time, torch\n"
        f"    sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parent.parent)]!r}\n"
        "    from pathlib import Path\n"
        "    from small import At, context, opened, tiny\n"
        "    from v2a.train import train_vqvae\n"
        "    torch.set_num_threads(1)\n"
        f"    shards, here = opened(Path({str(coded.folder)!r})), Path({str(tmp_path)!r})\n"
        "    def wait():\n"
        "        workers = [child.pid for child in multiprocessing.active_children()]\n"
        "        maps = {line.split()[-1] for line in open('/proc/self/maps') if '/dev/shm/psm_' in line}\n"
        "        (here / 'part').write_text(json.dumps([workers, sorted(maps)]))\n"
        "        (here / 'part').rename(here / 'ready')\n"
        "        time.sleep(60)\n"
        "    train_vqvae(context(shards, here, At('train', 8, wait), tiny(), workers=1))\n"
    )
    running = subprocess.Popen([sys.executable, str(program)])
    while not (tmp_path / "ready").exists():
        assert running.poll() is None
        time.sleep(0.02)
    (worker,), memories = json.loads((tmp_path / "ready").read_text())
    assert Path(f"/proc/{worker}").exists() and len(memories) == 2
    running.kill()
    assert running.wait() == -signal.SIGKILL
    assert checkpoint.latest(tmp_path / "vqvae3d").step == 5  # type: ignore[union-attr]
    train("vqvae", coded, tmp_path, console)
    assert_equal("vqvae", whole, tmp_path)
    left = [Path(f"/proc/{worker}"), *map(Path, memories)]
    for _ in range(300):
        if not any(path.exists() for path in left):
            break
        time.sleep(0.1)
    assert [path for path in left if path.exists()] == []


def test_a_finished_training_is_left_as_it_is(coded: ShardSet, whole: Path, console: Console) -> None:
    before = files_of(place("tied", whole), (*FILES, "metrics.jsonl"))
    first = train("tied", coded, whole, console)
    assert files_of(place("tied", whole), (*FILES, "metrics.jsonl")) == before
    assert first.parts.keys() == {"loss", "log_magnitude_mse"}
    rows = [json.loads(line) for line in before["metrics.jsonl"].decode().splitlines()]
    assert [row["step"] for row in rows] == [10, 14]
    assert {key: round(value, 6) for key, value in first.parts.items()} == {
        key: value for key, value in rows[-1].items() if key != "step"
    }


def test_another_seed_is_another_model(coded: ShardSet, whole: Path, tmp_path: Path, console: Console) -> None:
    train("vqvae", coded, tmp_path, console, seed=1)
    name = "step-000014/model.safetensors"
    assert (tmp_path / "vqvae3d" / name).read_bytes() != (whole / "vqvae3d" / name).read_bytes()


@pytest.mark.parametrize("kind", ["vqvae", "tied"])
def test_a_changed_configuration_is_a_diff_and_force_starts_again(
    coded: ShardSet, whole: Path, tmp_path: Path, console: Console, kind: str
) -> None:
    prepare(kind, whole, tmp_path)
    stage = "vqvae" if kind == "vqvae" else "decoder"
    train(kind, coded, tmp_path, console, **{stage: {"optimisation": {"steps": 2}}})
    before = (place(kind, tmp_path) / "step-000002/model.safetensors").read_bytes()
    with pytest.raises(UsageError) as caught:
        train(kind, coded, tmp_path, console, seed=5, **{stage: {"optimisation": {"steps": 2}}})
    assert "seed: 0 → 5" in caught.value.message
    assert len(caught.value.message.splitlines()) == 2  # nothing else differs
    assert "--force" in str(caught.value.hint)
    assert (place(kind, tmp_path) / "step-000002/model.safetensors").read_bytes() == before
    train(kind, coded, tmp_path, console, force=True)
    assert_equal(kind, whole, tmp_path)


def test_other_samples_are_another_training(coded: ShardSet, tmp_path: Path, console: Console) -> None:
    train("vqvae", coded, tmp_path, console, vqvae={"optimisation": {"steps": 1}})
    fewer = ShardSet(coded.folder, coded.entries[:-1])
    with pytest.raises(UsageError, match="shards: "):
        train("vqvae", fewer, tmp_path, console, vqvae={"optimisation": {"steps": 1}})


def test_a_decoder_of_another_encoder_is_another_training(coded: ShardSet, tmp_path: Path, console: Console) -> None:
    one = {"optimisation": {"steps": 1}}
    train("vqvae", coded, tmp_path, console, vqvae=one)
    train("tied", coded, tmp_path, console, decoder=one)
    train("vqvae", coded, tmp_path, console, vqvae=one, seed=3, force=True)
    with pytest.raises(UsageError, match="vqvae: "):
        train("tied", coded, tmp_path, console, decoder=one)


def test_the_learning_rate_warms_up_and_falls_to_a_tenth() -> None:
    settings = Optimisation(steps=1000, lr=0.5, warmup_steps=10)
    rates = [learning_rate(settings, step) for step in range(1001)]
    assert rates[0] == pytest.approx(0.05)
    assert rates[4] == pytest.approx(0.25, rel=1e-3)
    assert max(rates) == pytest.approx(0.5, rel=1e-3)
    assert rates[500] == pytest.approx(0.5 * 0.55)
    assert rates[1000] == pytest.approx(0.05)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert all(math.isfinite(learning_rate(Optimisation(steps=0, warmup_steps=0), step)) for step in (0, 1))
