"""Checkpoints: safetensors and JSON only, written beside the old one and then named.

checkpoints/<name>/step-000100/model.safetensors     parameters and buffers
                              optimizer.safetensors
                              average.safetensors   averaged weights, where they are kept
                              state.json            step, cursor, configuration, hash of the shards
                  /best-000100/…                    the step that was best on the validation split
"""

import json
import re
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from v2a_data.errors import DiskError, FatalError, MissingToolError
from v2a_data.files import sha256_file, sync_file, sync_folder
from v2a_data.recipe import digest

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

    def average(self) -> dict[str, Tensor]:
        """The averaged weights; empty where none are kept."""
        path = self.folder / "average.safetensors"
        return _load(path) if path.is_file() else {}

    def fingerprint(self) -> str:
        """SHA-256 over its weights: what was made with them belongs to no others."""
        names = ("model.safetensors", "average.safetensors")
        return digest([sha256_file(self.folder / name) for name in names if (self.folder / name).is_file()])

    def weights(self) -> dict[str, Tensor]:
        """What to generate with: parameters and buffers, averaged ones in their place."""
        return self.model() | self.average()


def save(
    folder: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: dict[str, Any],
    average: dict[str, Tensor] | None = None,
) -> Checkpoint:
    """Write a checkpoint of `state["step"]`; the two newest are kept."""
    files = {"model.safetensors": module.state_dict(), "optimizer.safetensors": flatten(optimizer)}
    if average:
        files["average.safetensors"] = average
    found = _write(folder, f"step-{state['step']:06d}", files, state)
    for old in _named(folder, "step")[:-_KEPT]:
        shutil.rmtree(old)
    return found


def save_best(folder: Path, module: nn.Module, state: dict[str, Any]) -> Checkpoint:
    """Keep the module as the best so far; it has the weights that were validated.

    The best before stays until `keep_best`, which the checkpoint of this step must precede: a run that is killed in
    between goes on from an earlier step, for which that one is still the best.
    """
    return _write(folder, f"best-{state['step']:06d}", {"model.safetensors": module.state_dict()}, state)


def keep_best(folder: Path, step: int) -> None:
    """Remove every best one but that of `step`."""
    for old in _named(folder, "best"):
        if _step(old) != step:
            shutil.rmtree(old)


def _write(folder: Path, name: str, files: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> Checkpoint:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".tmp-{uuid.uuid4().hex}"
    temporary.mkdir()
    try:
        for file, tensors in files.items():
            save_file({key: value.detach().contiguous().cpu() for key, value in tensors.items()}, temporary / file)
        (temporary / "state.json").write_text(json.dumps(state, indent=1) + "\n", encoding="utf-8")
        for path in temporary.iterdir():
            sync_file(path)
        sync_folder(temporary)
        final = folder / name
        if final.exists():
            shutil.rmtree(final)
        temporary.rename(final)
        sync_folder(folder)
    except SafetensorError as error:  # what it makes of a full disk is no OSError
        raise DiskError(f"{folder / name} cannot be written: {error}", hint="free some space") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Checkpoint(final, state)


def tidy(folder: Path) -> None:
    """Remove leftovers of killed runs, and all best ones but that which the newest checkpoint knows of."""
    for leftover in folder.glob(".tmp-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    found = latest(folder)
    standing = found.state.get("standing") if found is not None else None
    keep_best(folder, standing.get("step", 0) if isinstance(standing, dict) else 0)


def latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint, null without any."""
    return _newest(folder, "step")


def best(folder: Path) -> Checkpoint | None:
    """The one that was best on the validation split, null where nothing was validated."""
    return _newest(folder, "best")


def _newest(folder: Path, kind: str) -> Checkpoint | None:
    found = _named(folder, kind)
    if not found:
        return None
    try:
        state = json.loads((found[-1] / "state.json").read_text(encoding="utf-8"))
        if not isinstance(state, dict) or state.get("step") != _step(found[-1]):
            raise ValueError("its state.json is not that of this step")
    except (OSError, ValueError) as error:
        raise FatalError(f"{found[-1]}: {error}", hint="remove this checkpoint; the one before is used then") from None
    return Checkpoint(found[-1], state)


def require(folder: Path, command: str) -> Checkpoint:
    """The best checkpoint, or the newest where none was validated.

    Raises `MissingToolError` naming the command that makes one.
    """
    found = best(folder) or latest(folder)
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
    """Put `flatten`'s tensors back, laid out as the parameters are.

    The fused optimizer walks through memory: averages of another layout than their weights it would mix up, silently.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        like = parameters[int(index)]
        laid = torch.empty_like(like, dtype=value.dtype).copy_(value) if value.shape == like.shape else value
        state.setdefault(int(index), {})[key] = laid
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


def _named(folder: Path, kind: str) -> list[Path]:
    """Finished checkpoints of a kind by step: from a million steps on the names are longer."""
    found = (path for path in folder.glob(f"{kind}-*") if re.fullmatch(rf"{kind}-\d+", path.name))
    return sorted((path for path in found if (path / "state.json").is_file()), key=_step)


def _step(path: Path) -> int:
    return int(path.name.rpartition("-")[2])
