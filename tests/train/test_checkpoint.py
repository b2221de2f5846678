"""Checkpoints: whole or not there, nothing unpickled, the newest two kept."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from v2a.training import checkpoint

from v2a_data.errors import FatalError, MissingToolError


def module() -> nn.Module:
    made = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    made.register_buffer("flag", torch.tensor(True))
    return made


def stepped(made: nn.Module, steps: int = 3) -> torch.optim.Optimizer:
    optimizer = torch.optim.AdamW(made.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        made(torch.randn(5, 3)).square().sum().backward()
        optimizer.step()
    return optimizer


def save(folder: Path, step: int) -> checkpoint.Checkpoint:
    made = module()
    return checkpoint.save(folder, made, stepped(made), {"step": step})


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    made = module()
    optimizer = stepped(made)
    state = {"step": 7, "about": {"a": [1, 2.5, "ü"]}, "recent": [{"loss": 0.1 + 0.2}]}
    checkpoint.save(tmp_path, made, optimizer, state)
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert (found.step, found.state) == (7, state)
    again = module()
    again.load_state_dict(found.model())
    assert all(torch.equal(a, b) for a, b in zip(made.state_dict().values(), again.state_dict().values(), strict=True))
    fresh = torch.optim.AdamW(again.parameters(), lr=0.1)
    checkpoint.restore(fresh, found.optimizer())
    old, new = optimizer.state_dict(), fresh.state_dict()
    assert old["param_groups"] == new["param_groups"]
    assert old["state"].keys() == new["state"].keys() != set()
    for index, values in old["state"].items():
        assert values.keys() == new["state"][index].keys()
        assert all(torch.equal(value, new["state"][index][name]) for name, value in values.items())
    # And they go on alike.
    step = torch.randn(5, 3)
    for one, optimizer_of_one in ((made, optimizer), (again, fresh)):
        optimizer_of_one.zero_grad()
        one(step).square().sum().backward()
        optimizer_of_one.step()
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), again.parameters(), strict=True))


def test_the_two_newest_are_kept(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        save(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000010", "step-000015"]
    assert checkpoint.latest(tmp_path).step == 15  # type: ignore[union-attr]


def test_newest_goes_by_number(tmp_path: Path) -> None:
    for step in (999_998, 999_999, 1_000_000):
        save(tmp_path, step)
    assert checkpoint.latest(tmp_path).step == 1_000_000  # type: ignore[union-attr]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-1000000", "step-999999"]


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    save(tmp_path, 5)
    second = save(tmp_path, 5)
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert torch.equal(found.model()["0.weight"], second.model()["0.weight"])
    assert len(list(tmp_path.iterdir())) == 1


def test_leftovers_of_killed_runs_go(tmp_path: Path) -> None:
    save(tmp_path, 5)
    leftover = tmp_path / ".tmp-0123"
    leftover.mkdir()
    (leftover / "model.safetensors").write_bytes(b"half")
    checkpoint.tidy(tmp_path)
    assert checkpoint.latest(tmp_path).step == 5  # type: ignore[union-attr]
    assert not leftover.exists()


def test_a_save_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    save(tmp_path, 5)
    made = module()
    with pytest.raises(TypeError):
        checkpoint.save(tmp_path, made, stepped(made), {"step": 10, "bad": object()})
    assert [path.name for path in tmp_path.iterdir()] == ["step-000005"]


def test_no_checkpoint_is_none_and_require_names_the_command(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "none") is None
    (tmp_path / "step-000005").mkdir()  # no state.json: never finished
    assert checkpoint.latest(tmp_path) is None
    with pytest.raises(MissingToolError) as caught:
        checkpoint.require(tmp_path, "v2a train vqvae")
    assert caught.value.hint == "run `v2a train vqvae` first"


@pytest.mark.parametrize("name", ["model", "optimizer"])
@pytest.mark.parametrize("keep", [0, 5, 0.5, -1])
def test_a_truncated_file_says_what_to_do(tmp_path: Path, name: str, keep: float) -> None:
    made = save(tmp_path, 5)
    path = made.folder / f"{name}.safetensors"
    body = path.read_bytes()
    path.write_bytes(body[: int(len(body) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(FatalError, match=rf"{name}\.safetensors cannot be read") as caught:
        getattr(made, name)()
    assert caught.value.hint == "remove this checkpoint; the one before is used then"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe"])
def test_a_spoiled_state_says_what_to_do(tmp_path: Path, body: bytes) -> None:
    (save(tmp_path, 5).folder / "state.json").write_bytes(body)
    with pytest.raises(FatalError, match="step-000005") as caught:
        checkpoint.latest(tmp_path)
    assert "remove this checkpoint" in str(caught.value.hint)


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_pickle_in_disguise_stays_bytes(tmp_path: Path, kind: str) -> None:
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self) -> tuple:
            return (Path(canary).touch, ())

    made = save(tmp_path / "c", 5)
    path = made.folder / "model.safetensors"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Evil()))
    else:
        torch.save(Evil(), path)
    with pytest.raises(FatalError, match="cannot be read"):
        made.model()
    assert not canary.exists()
    # The canary works: this is what a careless loader does.
    if kind == "pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path.rename(tmp_path / "model.pt"), weights_only=False)
    assert canary.exists()


def test_only_safetensors_and_json_are_written(tmp_path: Path) -> None:
    folder = save(tmp_path, 5).folder
    assert sorted(path.name for path in folder.iterdir()) == [
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
    ]
    assert json.loads((folder / "state.json").read_text())["step"] == 5


def test_averages_come_back_in_the_layout_of_their_weights(tmp_path: Path) -> None:
    """A fused optimizer that went on with another layout would update the wrong weights, without a word."""
    torch.manual_seed(0)
    start = nn.Conv3d(3, 4, 3).to(memory_format=torch.channels_last_3d)
    batches = torch.randn(6, 2, 3, 5, 5, 5)

    def train(made: nn.Module, optimizer: torch.optim.Optimizer, some: torch.Tensor) -> None:
        for batch in some:
            optimizer.zero_grad()
            made(batch).square().mean().backward()
            optimizer.step()

    made = [nn.Conv3d(3, 4, 3).to(memory_format=torch.channels_last_3d) for _ in range(2)]
    for one in made:
        one.load_state_dict(start.state_dict())
    optimizers = [torch.optim.AdamW(one.parameters(), lr=0.1, fused=True) for one in made]
    train(made[0], optimizers[0], batches)
    train(made[1], optimizers[1], batches[:3])
    checkpoint.save(tmp_path, made[1], optimizers[1], {"step": 3})
    found = checkpoint.latest(tmp_path)
    assert found is not None
    fresh = torch.optim.AdamW(made[1].parameters(), lr=0.1, fused=True)
    checkpoint.restore(fresh, found.optimizer())
    train(made[1], fresh, batches[3:])
    assert torch.equal(made[0].weight, made[1].weight)


def test_what_only_looks_like_a_checkpoint_is_none(tmp_path: Path) -> None:
    save(tmp_path, 5)
    for name in ("step-000100.bak", "step-", "best-x"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state.json").write_text("{}")
    checkpoint.tidy(tmp_path)
    assert checkpoint.latest(tmp_path).step == 5  # type: ignore[union-attr]
    assert checkpoint.best(tmp_path) is None


@pytest.mark.parametrize("body", ["[]", '{"step": 6}', "{", "null"])
def test_a_state_of_something_else_is_refused_by_name(tmp_path: Path, body: str) -> None:
    save(tmp_path, 5)
    (tmp_path / "step-000005" / "state.json").write_text(body)
    with pytest.raises(FatalError, match="step-000005"):
        checkpoint.latest(tmp_path)


def test_a_disk_that_fills_while_weights_are_written_is_said(tmp_path: Path) -> None:
    """In a process of its own, whose files may not grow: what safetensors raises then is no OSError."""
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "import torch\n"
        "from torch import nn\n"
        "from v2a.training import checkpoint\n"
        "from v2a_data.errors import DiskError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "made = nn.Linear(1000, 100)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try:\n"
        f"    checkpoint.save(Path({str(tmp_path)!r}), made, torch.optim.AdamW(made.parameters()), {{'step': 1}})\n"
        "except DiskError:\n"
        "    sys.exit(7)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 7
    assert list(tmp_path.iterdir()) == []


def test_other_weights_have_another_fingerprint(tmp_path: Path) -> None:
    first, second = save(tmp_path / "a", 5), save(tmp_path / "b", 5)
    assert first.fingerprint() == first.fingerprint() != second.fingerprint()
