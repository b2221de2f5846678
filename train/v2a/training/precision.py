"""In which numbers a training computes: fp32, bf16, or fp16 with loss scaling."""

from typing import Any, Literal

import torch

from v2a_data.errors import UsageError

Precision = Literal["auto", "bf16", "fp16", "fp32"]
_NATIVE_BF16 = (8, 0)  # Ampere; a T4 (7, 5) and a V100 (7, 0) emulate it, many times slower


class Numbers:
    """Autocast and loss scaling of one precision on one device. Weights and optimizer stay float32."""

    def __init__(self, precision: Precision, device: torch.device) -> None:
        self.device = device
        self.name = chosen(precision, device)
        self._kind = kind_of(precision, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.name == "fp16")

    def autocast(self) -> Any:
        """Context in which the forward pass runs."""
        return torch.autocast(self.device.type, dtype=self._kind, enabled=self._kind is not None)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of the loss scaling; empty without it."""
        return dict(self.scaler.state_dict())

    def load(self, state: dict[str, Any]) -> None:
        """Take up where a checkpoint was; a run in other numbers starts its own scaling."""
        if state and self.scaler.is_enabled():
            self.scaler.load_state_dict(state)


def kind_of(precision: Precision, device: torch.device) -> torch.dtype | None:
    """What autocast computes in; null for float32."""
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(chosen(precision, device))


def chosen(precision: Precision, device: torch.device) -> str:
    """`auto` on a device: bf16 where it is native, fp16 on older GPUs, fp32 without a GPU.

    Raises `UsageError` for bf16 on a GPU that only emulates it.
    """
    if device.type != "cuda":
        return "fp32" if precision == "auto" else precision
    native = torch.cuda.get_device_capability(device) >= _NATIVE_BF16
    if precision == "auto":
        return "bf16" if native else "fp16"
    if precision == "bf16" and not native:
        name = torch.cuda.get_device_name(device)
        raise UsageError(f"precision bf16: {name} has none of its own", hint="use precision = 'fp16' or 'auto'")
    return precision
