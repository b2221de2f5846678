"""Time of one training step of `vqvae3d` beside the same model as it is usually written (`plain_vqvae.py`).

A step is planes to RGB, loss, gradients and Adam, from one state and on the same batches; the two take turns, and the
best of many counts, as other programs share the machine. On a CPU both are fp32. On a GPU the whole step of
configurations A (64/128 channels) and B (128/256) of models.md 5.1, batches of two clips of 10 s, 256x144, 25 frames
per second, bf16 by autocast: the useful arithmetic of the literal model over the rate of a bf16 matrix product in
the same run, the plain version in bf16 and in eager fp32, and the most memory held.
"""

import argparse
import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from plain_vqvae import PlainVqvae, plain_rgb
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from v2a.colour import rgb
from v2a.models.base import Batch, Loss
from v2a.models.vqvae3d import Vqvae3d

Config = Vqvae3d.Config
STRIDES = ((2, 2, 2), (2, 2, 2))
DEMO = Config(channels=(24, 32), time_kernel=1, codes=256, reconstruction_weight=20.0, ema_decay=0.95, revive_below=1.0)
A = Config(channels=(64, 128), strides=STRIDES, codes=1024)
B = Config(channels=(128, 256), strides=STRIDES, codes=1024)


@dataclass(frozen=True)
class Case:
    """A model and its batch: clips, frames, height, width."""

    name: str
    config: Config
    shape: tuple[int, int, int, int]


CPU = (
    Case("demo", DEMO, (8, 3, 36, 64)),
    Case("demo_ema", Config(**{**vars(DEMO), "update": "ema"}), (8, 3, 36, 64)),
    Case("a", A, (2, 16, 72, 128)),
)
CUDA = (Case("a", A, (2, 250, 144, 256)), Case("b", B, (2, 250, 144, 256)))


class Step:
    """One way to train: a model, its colours, its precision."""

    def __init__(self, model: nn.Module, colours: Callable[[Tensor, int, int], Tensor], bf16: bool) -> None:
        self.model, self.colours, self.bf16 = model.train(), colours, bf16
        parameters = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(parameters, lr=3e-4, weight_decay=0.0)

    def __call__(self, planes: Tensor, width: int, height: int) -> Loss:
        lower = torch.autocast(planes.device.type, torch.bfloat16) if self.bf16 else nullcontext()
        with lower:
            video = self.colours(planes, width, height)
            loss: Loss = self.model.loss(Batch(video, video))  # type: ignore[operator]
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.backward()
        self.optimizer.step()
        return loss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    values: dict[str, float] = {}
    for case in CPU if options.device == "cpu" else CUDA:
        found = on_cpu(case, options.repeats) if options.device == "cpu" else on_cuda(case, options.repeats)
        for name, value in found.items():
            print(f"{name:32} {value:.4g}")
        values |= found
    if options.json:
        print(json.dumps(values))


def pictures(case: Case, device: str, seed: int) -> Tensor:
    """Planes of smooth random pictures, `(B, T, height * 3 / 2, width)` uint8."""
    clips, frames, height, width = case.shape
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(clips, 1, frames, height * 3 // 16 + 1, width // 8, generator=generator)
    smooth = nn.functional.interpolate(coarse, (frames, height * 3 // 2, width), mode="trilinear")
    return (16 + 219 * smooth[:, 0]).to(torch.uint8).to(device)


def pair(case: Case, device: str, bf16: bool, seed: int = 0) -> tuple[Step, Step]:
    """The package's step and the plain one, from one state in which the codebook has started."""
    torch.manual_seed(seed)
    ours = Vqvae3d(case.config).to(device)
    _, _, height, width = case.shape
    with torch.no_grad():
        ours.encode(rgb(pictures(case, device, seed), width, height))
    plain = PlainVqvae.like(ours).to(device)
    return Step(ours, rgb, bf16), Step(plain, plain_rgb, bf16)


def best_s(steps: tuple[Step, ...], case: Case, device: str, repeats: int) -> list[float]:
    """Seconds of each step, the best of so many turns."""
    planes = pictures(case, device, 1)
    _, _, height, width = case.shape
    best = [float("inf")] * len(steps)
    # Of a core that others use too only the time given to this process counts.
    clock = time.perf_counter if device == "cuda" else time.process_time
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    for turn in range(repeats + 3):
        for i, step in enumerate(steps):
            wait()
            start = clock()
            step(planes, width, height)
            wait()
            best[i] = min(best[i], clock() - start) if turn >= 3 else best[i]
    return best


def on_cpu(case: Case, repeats: int) -> dict[str, float]:
    torch.set_num_threads(1)
    ours, plain = best_s(pair(case, "cpu", bf16=False), case, "cpu", repeats)
    name = "" if case.name == "demo" else f"_{case.name}"
    return {
        f"cpu_step_ms{name}": 1e3 * ours,
        f"cpu_plain_ms{name}": 1e3 * plain,
        f"cpu_ratio_to_plain{name}": plain / ours,
    }


def on_cuda(case: Case, repeats: int) -> dict[str, float]:
    name = case.name
    torch.cuda.reset_peak_memory_stats()
    ours, plain = pair(case, "cuda", bf16=True)
    [ours_s] = best_s((ours,), case, "cuda", repeats)
    memory = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    [plain_s] = best_s((plain,), case, "cuda", repeats)
    plain_memory = torch.cuda.max_memory_allocated()
    _, eager = pair(case, "cuda", bf16=False)
    [eager_s] = best_s((eager,), case, "cuda", max(3, repeats // 3))
    return {
        f"step_ms_{name}": 1e3 * ours_s,
        f"share_of_matmul_{name}": useful_flops(case) / ours_s / matmul_rate(),
        f"ratio_to_plain_bf16_{name}": plain_s / ours_s,
        f"ratio_to_eager_fp32_{name}": eager_s / ours_s,
        f"memory_gb_{name}": memory / 1e9,
        f"plain_memory_gb_{name}": plain_memory / 1e9,
    }


def useful_flops(case: Case) -> int:
    """Of the literal model's convolutions and their gradients; no tables of distances, nothing re-laid."""
    clips, frames, height, width = case.shape
    with torch.device("meta"):
        plain = PlainVqvae(case.config)
        video = torch.empty(clips, 3, frames + -frames % 4, height, width)
    with FlopCounterMode(display=False) as counter:
        plain.decoder(plain.encoder(video)).sum().backward()
    return int(counter.get_total_flops())


def matmul_rate(size: int = 8192) -> float:
    """bf16 operations per second of a large matrix product, here and now."""
    a, b = torch.randn(2, size, size, device="cuda", dtype=torch.bfloat16)
    best = float("inf")
    for _ in range(20):
        torch.cuda.synchronize()
        start = time.perf_counter()
        a @ b
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


if __name__ == "__main__":
    main()
