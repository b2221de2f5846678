"""Train `v2a-tiny-tagger` on mixes of rendered sounds; writes .onnx (weights in fp16) and .json.

    python train/tiny_training/tagger.py [--data tiny-data] [--out v2a_data/models/tiny] [--seed 0] [--steps 1200]

`--data` is where the rendered sounds are kept; they are made where there are none. Each step
mixes new windows of 2 s: none, one or two labels in their rooms, speech over them, music under them. A sound
counts as there when the loudest 50 ms of it reach 8 dB below the rest, as absent 22 dB below; between, it is
not asked for. Never clipped.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from tiny_training.data import RATE_HZ, make, parser
from tiny_training.words import CLASSES, LABELS, MUSIC, SPEECH
from v2a_data.files import sha256_file

NAME = "v2a-tiny-tagger"
MIDS = [*(CLASSES[label] for label in LABELS), SPEECH, MUSIC]
_SIZE, _STEP, _MELS = 400, 160, 64
_FLOOR = 1e-9
_THERE_DB, _ABSENT_DB = -8.0, -22.0
_HELD_BACK = 200  # windows of the last scenes, to watch
_CHANNELS = ((1, 16, 2), (16, 32, 2), (32, 64, 2), (64, 96, 1), (96, 128, 2))
_ROWS = 4  # of 64 mel bands, after strides


def mel_filters() -> np.ndarray:
    """Triangles `(bins, mels)` evenly spaced on the mel scale from 30 Hz to half the rate."""
    ends = 2595 * np.log10(1 + np.asarray([30, RATE_HZ / 2]) / 700)
    points = 700 * (10 ** (np.linspace(ends[0], ends[1], _MELS + 2) / 2595) - 1)
    # Low bands are narrower than a bin: none may be empty.
    low, middle, high = points[:-2], points[1:-1], points[2:]
    bins = np.fft.rfftfreq(_SIZE, 1 / RATE_HZ)[:, None]
    wide = RATE_HZ / _SIZE
    rise = (bins - np.minimum(low, middle - wide)) / np.maximum(middle - low, wide)
    fall = (np.maximum(high, middle + wide) - bins) / np.maximum(high - middle, wide)
    return np.maximum(0, np.minimum(rise, fall)).astype(np.float32)


def window() -> np.ndarray:
    """Hann, scaled so that a full sine has power 1/4."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_SIZE) / _SIZE)
    return (hann / hann.sum()).astype(np.float32)


class Tagger(torch.nn.Module):
    """Log-mel bands → convolutions → loudest and mean over time → logits."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = torch.nn.ModuleList(
            torch.nn.Conv2d(a, b, 3, stride=s, padding=1, bias=False) for a, b, s in _CHANNELS
        )
        self.norms = torch.nn.ModuleList(torch.nn.BatchNorm2d(b) for _, b, _ in _CHANNELS)
        self.across = torch.nn.Linear(_CHANNELS[-1][1] * _ROWS, 128)
        self.out = torch.nn.Linear(256, len(MIDS))
        self.window, self.mels = torch.from_numpy(window()), torch.from_numpy(mel_filters())

    def bands(self, sound: torch.Tensor) -> torch.Tensor:
        """`(n, samples)` → log power `(n, frames, mels)`, about −3..2."""
        frames = sound.unfold(1, _SIZE, _STEP) * self.window
        power = torch.fft.rfft(frames).abs() ** 2
        return (power @ self.mels + _FLOOR).log10() * 0.5 + 2.5

    def forward(self, bands: torch.Tensor) -> torch.Tensor:
        x = bands.transpose(1, 2).unsqueeze(1)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = norm(convolution(x)).relu()
        rows = self.across(x.flatten(1, 2).transpose(1, 2)).relu()
        return self.out(torch.cat([rows.amax(1), rows.mean(1)], 1))


class Mixer:
    """Mixes of windows, and what is heard in them."""

    def __init__(self, folder: Path, part: slice, rng: np.random.Generator) -> None:
        names = ("subject", "around", "music", "speech")
        self.subject, self.around, self.music, self.speech = (
            np.load(folder / f"{name}.npy", mmap_mode="r")[part] for name in names
        )
        # Scenes take turns with the labels and have two windows each.
        count = len(self.subject)
        first = (part.start or 0) % (2 * len(LABELS))
        self.label = (first + np.arange(count)) // 2 % len(LABELS)
        self.rng = rng

    def batch(self, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Sounds `(size, samples)`, targets and weights `(size, classes)`."""
        rows = [self._one() for _ in range(size)]
        sounds, targets, weights = (np.stack(column).astype(np.float32) for column in zip(*rows, strict=True))
        return torch.from_numpy(sounds), torch.from_numpy(targets), torch.from_numpy(weights)

    def _one(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = self.rng
        first = int(rng.integers(len(self.subject)))
        ground = first if rng.random() < 0.7 else int(rng.integers(len(self.subject)))
        around = self.around[ground].astype(np.float32)
        # Another place is as loud beside the thing as its own.
        around *= _rms(self.around[first].astype(np.float32)) / max(_rms(around), 1e-6)
        parts: dict[int, np.ndarray] = {}
        if rng.random() < 0.86:
            parts[int(self.label[first])] = self.subject[first].astype(np.float32)
        level = max(_loudest(sum(parts.values(), around)), 1e-4)
        if rng.random() < 0.28:
            second = int(rng.integers(len(self.subject)))
            self._add(parts, int(self.label[second]), self.subject[second], level, (-8, 8))
        if rng.random() < 0.32:
            self._add(parts, len(LABELS), self.speech[rng.integers(len(self.speech))], level, (-9, 9))
        if rng.random() < 0.32:
            self._add(parts, len(LABELS) + 1, self.music[rng.integers(len(self.music))], level, (-12, 8))
        mix = sum(parts.values(), around)
        target, weight = np.zeros(len(MIDS)), np.ones(len(MIDS))
        for column, part in parts.items():
            ratio = _loudest(part) / max(_rms(mix - part), 1e-6)
            over_db = 20 * np.log10(max(ratio, 1e-6))
            target[column] = over_db > _THERE_DB
            weight[column] = over_db > _THERE_DB or over_db < _ABSENT_DB
        peak = 10 ** (rng.uniform(-26, -0.5) / 20)
        if rng.random() < 0.02:
            return np.zeros_like(mix), np.zeros(len(MIDS)), np.ones(len(MIDS))
        return mix * (peak / max(float(np.abs(mix).max()), 1e-6)), target, weight

    def _add(
        self, parts: dict[int, np.ndarray], column: int, sound: np.ndarray, level: float, decibel: tuple[int, int]
    ) -> None:
        loud = sound.astype(np.float32)
        if column in parts or _loudest(loud) < 1e-3:
            return
        gain = level * 10 ** (self.rng.uniform(*decibel) / 20) / _loudest(loud)
        parts[column] = gain * np.roll(loud, int(self.rng.integers(-4000, 4000)))


def _rms(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(sound**2)))


def _loudest(sound: np.ndarray) -> float:
    """RMS of the loudest 50 ms."""
    return float(np.sqrt(np.mean(sound.reshape(-1, RATE_HZ // 20) ** 2, axis=1).max()))


def average_precision(scores: np.ndarray, wanted: np.ndarray) -> float:
    """Mean of the precision at each wanted item, best scores first."""
    hits = wanted[np.argsort(-scores, kind="stable")].astype(float)
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits > 0].mean()) if hits.any() else float("nan")


def train(options: argparse.Namespace) -> None:
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    mixer = Mixer(options.data, slice(0, -_HELD_BACK), np.random.default_rng([options.seed, 1]))
    whole = len(mixer.subject) + _HELD_BACK
    watch = Mixer(options.data, slice(whole - _HELD_BACK, whole), np.random.default_rng([options.seed, 2])).batch(600)
    model = Tagger()
    optimiser = torch.optim.AdamW(model.parameters(), lr=options.rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.rate, total_steps=options.steps, pct_start=0.1)
    begun, recent = time.monotonic(), []
    for step in range(options.steps):
        sounds, targets, weights = mixer.batch(options.batch)
        with torch.no_grad():
            bands = _recoloured(model.bands(sounds))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(bands).float()
        value = (F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * weights).mean()
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()
        recent.append(value.item())
        if (step + 1) % 100 == 0 or step + 1 == options.steps:
            left_s = (time.monotonic() - begun) / (step + 1) * (options.steps - step - 1)
            print(f"{step + 1}/{options.steps} loss {np.mean(recent):.4f} {left_s:.0f} s left", flush=True)
            recent = []
        if (step + 1) % 300 == 0 or step + 1 == options.steps:
            model.eval()
            with torch.inference_mode():
                found = model(model.bands(watch[0])).numpy()
            model.train()
            rows = [
                average_precision(found[asked, c], watch[1].numpy()[asked, c])
                for c in range(len(MIDS))
                for asked in [watch[2].numpy()[:, c] > 0]
            ]
            print(f"held back: mAP {np.nanmean(rows):.3f}  " + " ".join(f"{row:.2f}" for row in rows), flush=True)
            save(model.eval(), options.out)
            model.train()
    print(f"trained in {time.monotonic() - begun:.0f} s")


def _recoloured(bands: torch.Tensor) -> torch.Tensor:
    """Bands raised or lowered by a smooth curve, up to about 8 dB, as other microphones would."""
    curve = F.interpolate(torch.randn(len(bands), 1, 6), bands.shape[2], mode="linear", align_corners=True)
    return (bands + 0.15 * curve).clamp(min=float(np.log10(_FLOOR)) * 0.5 + 2.5)


def save(model: Tagger, folder: Path) -> None:
    """Write the ONNX graph by hand, batch norm folded in, and the list of classes beside it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    stored: list[Any] = []

    def half(name: str, values: Any) -> str:
        stored.append(numpy_helper.from_array(np.asarray(values).astype(np.float16), f"{name}_16"))
        nodes.append(helper.make_node("Cast", [f"{name}_16"], [name], to=TensorProto.FLOAT))
        return name

    def constant(name: str, values: Any) -> str:
        stored.append(numpy_helper.from_array(values, name))
        return name

    def node(kind: str, inputs: list[str], output: str, **more: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **more))
        return output

    turns = 2 * np.pi * np.outer(np.arange(_SIZE // 2 + 1), np.arange(_SIZE)) / _SIZE
    # Cosines are stored as they are: windowed and scaled they would be too small for half precision.
    hann = window() / window().max()
    scale = float(window().max()) ** 2
    x = node("Unsqueeze", ["sound", constant("one", np.asarray([1], np.int64))], "x")
    powers = []
    for name, wave in (("cosine", np.cos(turns)), ("sine", np.sin(turns))):
        part = node("Conv", [x, half(name, (wave * hann)[:, None])], f"{name}_part", strides=[_STEP])
        powers.append(node("Mul", [part, part], f"{name}_power"))
    power = node("Transpose", [node("Add", powers, "power")], "frames", perm=[0, 2, 1])
    mel = node("MatMul", [power, half("mels", mel_filters())], "mel")
    mel = node("Mul", [mel, constant("scale", np.asarray(scale, np.float32))], "mel_scaled")
    mel = node("Add", [mel, constant("floor", np.asarray(_FLOOR, np.float32))], "mel_safe")
    bands = node("Log", [mel], "log")
    bands = node("Mul", [bands, constant("gain", np.asarray(0.5 / np.log(10), np.float32))], "log_scaled")
    bands = node("Add", [bands, constant("raise", np.asarray(2.5, np.float32))], "bands")
    x = node("Unsqueeze", [node("Transpose", [bands], "turned", perm=[0, 2, 1]), "one"], "picture")
    values = {key: value.detach().numpy() for key, value in model.state_dict().items()}
    for n, (_, _, stride) in enumerate(_CHANNELS):
        gain = values[f"norms.{n}.weight"] / np.sqrt(values[f"norms.{n}.running_var"] + model.norms[n].eps)
        weight = half(f"w{n}", values[f"convolutions.{n}.weight"] * gain[:, None, None, None])
        bias = half(f"b{n}", values[f"norms.{n}.bias"] - values[f"norms.{n}.running_mean"] * gain)
        x = node("Conv", [x, weight, bias], f"conv{n}", strides=[stride] * 2, pads=[1] * 4)
        x = node("Relu", [x], f"relu{n}")
    rows = constant("rows", np.asarray([0, _CHANNELS[-1][1] * _ROWS, -1], np.int64))
    x = node("Transpose", [node("Reshape", [x, rows], "flat")], "steps", perm=[0, 2, 1])
    x = node("MatMul", [x, half("across", values["across.weight"].T)], "crossed")
    x = node("Relu", [node("Add", [x, half("across_bias", values["across.bias"])], "crossed_b")], "heard")
    loudest = node("ReduceMax", [x, "one"], "loudest", keepdims=0)
    mean = node("ReduceMean", [x, "one"], "mean", keepdims=0)
    x = node("MatMul", [node("Concat", [loudest, mean], "both", axis=1), half("out", values["out.weight"].T)], "last")
    node("Sigmoid", [node("Add", [x, half("out_bias", values["out.bias"])], "logits")], "tags")
    graph = helper.make_graph(
        nodes,
        NAME,
        [helper.make_tensor_value_info("sound", TensorProto.FLOAT, ["batch", "samples"])],
        [helper.make_tensor_value_info("tags", TensorProto.FLOAT, ["batch", len(MIDS)])],
        stored,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(made)
    path = folder / f"{NAME}.onnx"
    onnx.save(made, path)
    about = {"classes": MIDS, "names": [*LABELS, "Speech", "Background music"], "licence": "Apache-2.0"}
    path.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    count = sum(int(np.prod(item.dims)) for item in stored)
    print(f"{path.name}: {count} numbers, {path.stat().st_size} bytes, sha256 {sha256_file(path)}", flush=True)


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--steps", type=int, default=1200)
    asked.add_argument("--batch", type=int, default=48)
    asked.add_argument("--rate", type=float, default=3e-3)
    options = asked.parse_args()
    options.data = make("sounds", options.data, options.scenes, options.seed, options.workers)
    train(options)


if __name__ == "__main__":
    main()
