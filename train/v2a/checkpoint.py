"""Checkpoints: safetensors and JSON only, written beside the old one and then named.

checkpoints/<name>/step-000100/model.safetensors   parameters and buffers
                              optimizer.safetensors
                              state.json            step, cursor, configuration, hash of the shards
"""

import json
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from v2a_data.errors import FatalError, MissingToolError
from v2a_data.files import sync_folder

_KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A finished checkpoint on disk."""

    folder: Path
    state: dict[str, Any]

    @property
    def step(self) -> int:
        return int(self.state["step"])

    def model(self) -> dict[str, Tensor]:
        """Parameters and buffers. Raises `FatalError` for a damaged file."""
        return _load(self.folder / "model.safetensors")

    def optimizer(self) -> dict[str, Tensor]:
        """The optimizer's tensors."""
        return _load(self.folder / "optimizer.safetensors")


def save(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> Checkpoint:
    """Write a checkpoint of `state["step"]`; the two newest are kept."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".tmp-{uuid.uuid4().hex}"
    temporary.mkdir()
    try:
        tensors = {name: value.detach().contiguous().cpu() for name, value in module.state_dict().items()}
        save_file(tensors, temporary / "model.safetensors")
        save_file(flatten(optimizer), temporary / "optimizer.safetensors")
        (temporary / "state.json").write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
        sync_folder(temporary)
        final = folder / f"step-{state['step']:06d}"
        if final.exists():
            shutil.rmtree(final)
        temporary.rename(final)
        sync_folder(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in _steps(folder)[:-_KEPT]:
        shutil.rmtree(old)
    return Checkpoint(final, state)


def latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint, null without any. Leftovers of killed runs are removed."""
    if not folder.is_dir():
        return None
    for leftover in folder.glob(".tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    steps = _steps(folder)
    if not steps:
        return None
    try:
        state = json.loads((steps[-1] / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FatalError(f"{steps[-1]}: {error}", hint="remove this checkpoint; the one before is used then") from None
    return Checkpoint(steps[-1], state)


def require(folder: Path, command: str) -> Checkpoint:
    """The newest checkpoint. Raises `MissingToolError` naming the command that makes one."""
    found = latest(folder)
    if found is None:
        raise MissingToolError(f"{folder} holds no checkpoint", hint=f"run `{command}` first")
    return found


def flatten(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An Adam optimizer's state as named tensors."""
    out = {}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            out[f"{index}.{name}"] = torch.as_tensor(value).detach().cpu().contiguous()
    return out


def restore(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put `flatten`'s tensors back."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    whole = optimizer.state_dict()
    whole["state"] = state
    optimizer.load_state_dict(whole)


def _load(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise FatalError(
            f"{path} cannot be read: {error}", hint="remove this checkpoint; the one before is used then"
        ) from None


def _steps(folder: Path) -> list[Path]:
    found = (path for path in folder.glob("step-*") if (path / "state.json").is_file())
    # By number: from a million steps on the names are longer.
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))
