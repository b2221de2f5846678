"""Train `v2a-tiny-clip` on rendered frames and their captions; writes .safetensors (fp16) and .json.

    python train/tiny_training/clip.py [--data tiny-data] [--out v2a_data/models/tiny] [--seed 0] [--epochs 5]

`--data` is where the rendered frames are kept; they are made where there are none. One part of the loss asks
for all captions of what is shown among all captions; the other asks what the scorer asks: the share of a
label's prompts among prompts on and off.
The packaged weights' sha256 stands in `v2a_data/models/registry.py`; they were trained on world 3.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from tiny_training.data import SHOWN, SPARE, make, parser
from tiny_training.words import LABELS, NEVER, OFF, ON
from v2a_data.files import sha256_file
from v2a_data.scorers.clip_topic import TEMPLATES

NAME = "v2a-tiny-clip"
_MOST_SCALE = float(np.log(100))
_HELD_BACK = 200  # frames of the last scenes, to watch


def config(side: int) -> dict[str, Any]:
    """The architecture, as open_clip reads it."""
    return {
        "embed_dim": 64,
        "vision_cfg": {"image_size": side, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64},
        "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }


class Captions:
    """All phrases as tokens `(phrases, templates, length)`, and which of them say what."""

    def __init__(self, tokenizer: Any) -> None:
        groups = [*ON.values(), *(OFF[name] for name in SHOWN), NEVER]
        self.phrases = [phrase for group in groups for phrase in group]
        self.tokens = torch.stack([tokenizer([t.format(phrase) for t in TEMPLATES]) for phrase in self.phrases])
        # Row c is true for the phrases of concept c: the labels, then what is shown instead, then what never is.
        self.says = torch.zeros(len(groups), len(self.phrases), dtype=torch.bool)
        first = 0
        for c, group in enumerate(groups):
            self.says[c, first : first + len(group)] = True
            first += len(group)

    def embedded(self, model: Any) -> torch.Tensor:
        """Of each phrase the mean over templates, as the scorer makes it: `(phrases, embed)`."""
        rows = model.encode_text(self.tokens.flatten(0, 1), normalize=True)
        return F.normalize(rows.unflatten(0, self.tokens.shape[:2]).mean(dim=1), dim=-1)

    def drawn(self, model: Any) -> torch.Tensor:
        """Each phrase in one template at random, which is quicker: `(phrases, embed)`."""
        picks = torch.randint(self.tokens.shape[1], (len(self.phrases),))
        return model.encode_text(self.tokens[torch.arange(len(self.phrases)), picks], normalize=True)


def loss(logits: torch.Tensor, concept: torch.Tensor, subject: torch.Tensor, captions: Captions) -> torch.Tensor:
    """Of logits `(n, phrases)` for what is shown `(n,)` and which label the video claims `(n,)`."""
    right = captions.says[concept]
    every = -(logits.log_softmax(1) * right).sum(1) / right.sum(1)
    # A recipe: for a label, some of its prompts against some that are off topic.
    labels = len(LABELS)
    other = torch.randint(labels, concept.shape)
    asked = torch.where(torch.rand(concept.shape) < 0.6, subject, other)
    chosen = torch.rand(len(concept), len(captions.phrases)) < torch.rand(len(concept), 1) * 0.6 + 0.2
    on, off = captions.says[asked] & chosen, captions.says[labels:].any(0) & chosen
    usable = on.any(1) & (off.sum(1) >= 3)
    low = torch.full_like(logits, -1e4)
    margin = torch.where(on, logits, low).logsumexp(1) - torch.where(off, logits, low).logsumexp(1)
    asks = F.binary_cross_entropy_with_logits(margin, (asked == concept).float(), reduction="none")
    return every.mean() + (asks * usable).sum() / usable.sum().clamp(min=1)


def batch_of(frames: np.ndarray, picks: np.ndarray, rng: np.random.Generator | None, side: int) -> torch.Tensor:
    """Frames as `(n, 3, side, side)` 0..1; moved, mirrored and recoloured where `rng` is given."""
    raw = torch.from_numpy(frames[np.sort(picks)]).permute(0, 3, 1, 2).float() / 255
    high = raw.shape[2]
    if rng is None:
        square = raw[..., SPARE : SPARE + high]
    else:
        padded = F.pad(raw, (0, 0, SPARE, SPARE), mode="replicate")
        corners = rng.integers(0, 2 * SPARE + 1, (len(picks), 2))
        square = torch.stack([padded[i, :, y : y + high, x : x + high] for i, (y, x) in enumerate(corners.tolist())])
        flips = torch.from_numpy(rng.random(len(picks)) < 0.5)
        square[flips] = square[flips].flip(-1)
        light = torch.from_numpy(rng.uniform(0.75, 1.3, (len(picks), 3, 1, 1)).astype(np.float32))
        square = (square * light).clamp(0, 1)
    if side != high:
        square = F.interpolate(square, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return square


def _new(options: argparse.Namespace) -> tuple[Any, Captions]:
    """A random model as open_clip makes it from the architecture file, which is written, and the captions."""
    options.out.mkdir(parents=True, exist_ok=True)
    architecture = options.out / f"{NAME}.json"
    architecture.write_text(json.dumps(config(options.side), indent=1) + "\n", encoding="utf-8")
    open_clip.add_model_config(architecture)
    model = open_clip.create_model(NAME)
    captions = Captions(open_clip.get_tokenizer(NAME))
    # Words that no caption has mean nothing, and take no room once packed.
    used = torch.zeros(model.vocab_size, dtype=torch.bool)
    used[captions.tokens.unique()] = True
    with torch.no_grad():
        model.token_embedding.weight[~used] = 0
    return model, captions


def train(options: argparse.Namespace) -> None:
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng([options.seed, 1])
    frames, shown = np.load(options.data / "frames.npy", mmap_mode="r"), np.load(options.data / "shown.npy")
    concepts = torch.from_numpy(np.where(shown[:, 1] < 0, shown[:, 0], len(LABELS) + shown[:, 1]))
    subjects = torch.from_numpy(shown[:, 0])
    model, captions = _new(options)
    model.to(memory_format=torch.channels_last)
    mean, spread = (torch.tensor(v).view(1, 3, 1, 1) for v in (model.visual.image_mean, model.visual.image_std))
    decayed, plain = ([p for p in model.parameters() if (p.ndim >= 2) is large] for large in (True, False))
    groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=options.rate)
    learn, watch = np.arange(len(frames) - _HELD_BACK), np.arange(len(frames) - _HELD_BACK, len(frames))
    per_epoch = len(learn) // options.batch
    steps = per_epoch * options.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.rate, total_steps=steps, pct_start=0.1)
    begun, recent, order = time.monotonic(), [], learn
    for step in range(steps):
        if step % per_epoch == 0:
            order = rng.permutation(learn)
        picks = np.sort(order[step % per_epoch * options.batch :][: options.batch])
        pixels = (batch_of(frames, picks, rng, options.side) - mean) / spread
        with torch.autocast("cpu", dtype=torch.bfloat16):
            seen = model.encode_image(pixels.contiguous(memory_format=torch.channels_last))
        seen = F.normalize(seen.float(), dim=-1)
        logits = model.logit_scale.exp() * seen @ captions.drawn(model).T
        value = loss(logits, concepts[picks], subjects[picks], captions)
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=_MOST_SCALE)
        recent.append(value.item())
        if (step + 1) % 50 == 0 or step + 1 == steps:
            left_s = (time.monotonic() - begun) / (step + 1) * (steps - step - 1)
            print(f"{step + 1}/{steps} loss {np.mean(recent):.3f} {left_s:.0f} s left", flush=True)
            recent = []
        if (step + 1) % 500 == 0 or step + 1 == steps:
            _watch(model, captions, batch_of(frames, watch, None, options.side), concepts[watch], (mean, spread))
            _save(model, options.out / f"{NAME}.safetensors")
    print(f"trained in {time.monotonic() - begun:.0f} s")


def _watch(model: Any, captions: Captions, pixels: torch.Tensor, wanted: torch.Tensor, norm: tuple[Any, Any]) -> None:
    """Print how many of the frames that are held back get a caption of theirs."""
    model.eval()
    with torch.inference_mode():
        seen = model.encode_image((pixels - norm[0]) / norm[1], normalize=True)
        best = (seen @ captions.embedded(model).T).argmax(1)
        print(f"held back: top-1 {captions.says[wanted, best].float().mean():.3f}", flush=True)
    model.train()


def _save(model: Any, path: Path) -> None:
    """Weights in half precision; whole numbers stay as they are."""
    values = {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in model.state_dict().items()}
    save_file(values, path)
    count = sum(p.numel() for p in model.parameters())
    print(f"{path.name}: {count} parameters, {path.stat().st_size} bytes, sha256 {sha256_file(path)}", flush=True)


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--epochs", type=int, default=5)
    asked.add_argument("--side", type=int, default=64, help="pixels of the model's picture: 64 or 96")
    asked.add_argument("--batch", type=int, default=64)
    asked.add_argument("--rate", type=float, default=2e-3)
    options = asked.parse_args()
    options.data = make("frames", options.data, options.scenes, options.seed, options.workers)
    train(options)


if __name__ == "__main__":
    main()
