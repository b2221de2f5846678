"""Whether the label is seen: CLIP, on-topic prompts against off-topic ones, per window.

Text embeddings are averaged over templates and normalised; a softmax over all prompts with the
model's own scale; `seen` is the sum over the on-topic prompts (CONTRACTS, "Code").
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from v2a_data.errors import MissingToolError, UsageError
from v2a_data.files import sha256_file
from v2a_data.models import store
from v2a_data.models.registry import MODELS, find_row
from v2a_data.scorers.base import Field, ModelRef, Needs, Prompts, VideoTap, WindowScores

TEMPLATES = ("{}", "a photo of {}", "a video frame of {}")
_BATCH = 32


class ClipTopic:
    """Any open_clip model, pulled or from local weights, as the probability that a frame is on topic."""

    @dataclass(frozen=True)
    class Config:
        """`model` is one of `v2a-data models list` or any "ARCHITECTURE/TAG" of open_clip, once pulled; or
        "ARCHITECTURE" with `weights`.

        `weights` is a local .safetensors file, `architecture_file` a JSON for an architecture that
        open_clip does not know. `sha256` of the weights is checked where given. `image_px` is the
        model's picture size. `labels` holds prompts of single labels, `on` and `off` those of all others. Off
        topic for a label of `labels` are its own `off` and the common `off`; with `siblings` also what stands for
        the other labels, which then must not hold one another as Vehicle holds Car.
        """

        model: str
        sha256: str | None = None
        weights: str | None = None
        architecture_file: str | None = None
        image_px: int = 256
        frames_per_window: int = 1
        on: tuple[str, ...] = ()
        off: tuple[str, ...] = ()
        labels: dict[str, Prompts] = field(default_factory=dict)
        siblings: bool = False

    name: ClassVar[str] = "clip_topic"
    version: ClassVar[int] = 3
    licence: ClassVar[str] = "MIT (open_clip); the weights' own licence applies to them"
    uses_model: ClassVar[bool] = True
    writes: ClassVar[tuple[Field, ...]] = (
        Field("seen", "0..1", "probability of the label's prompts among all prompts, of the best frame"),
    )

    def __init__(self, config: Config) -> None:
        self.config = config
        self._model: Any = None
        self._tokenizer: Any = None
        self._device = "cpu"
        self._texts: dict[str, Any] = {}

    @property
    def needs(self) -> Needs:
        return Needs(frames_per_window=self.config.frames_per_window, frame_px=self.config.image_px)

    @property
    def model(self) -> ModelRef | None:
        name, sha256 = self.config.model, self.config.sha256
        if self.config.weights is None:
            row = MODELS.get(name)
            return ModelRef(name, sha256 or store.recorded_sha256(name), row.licence if row else "see the model's card")
        if sha256 is None and Path(self.config.weights).is_file():
            sha256 = sha256_file(Path(self.config.weights))
        return ModelRef(name, sha256, "see the model's card")

    def open(self, device: str) -> None:
        import open_clip
        import torch

        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        architecture, _, tag = self.config.model.partition("/")
        if self.config.architecture_file:
            open_clip.add_model_config(Path(self.config.architecture_file))
        weights = self._local() if self.config.weights is not None else self._from_store()
        if architecture not in open_clip.list_models():
            raise UsageError(f"scorers.clip_topic.model: open_clip knows no architecture {architecture!r}")
        # Weights from a file: the mean and spread that pictures were trained with come from the tag.
        self._model = open_clip.create_model(
            architecture,
            pretrained=str(weights),
            device=device,
            force_preprocess_cfg=open_clip.get_pretrained_cfg(architecture, tag) if tag else None,
        ).eval()
        size = self._model.visual.image_size
        height = size[0] if isinstance(size, (tuple, list)) else size
        if height != self.config.image_px:
            raise UsageError(
                f"scorers.clip_topic.image_px: {architecture} takes {height}, the recipe says {self.config.image_px}"
            )
        self._tokenizer = open_clip.get_tokenizer(architecture)
        self._device = device

    def _local(self) -> Path:
        """The recipe's own file."""
        path = Path(str(self.config.weights)).expanduser()
        if path.suffix != ".safetensors":
            raise UsageError(f"scorers.clip_topic.weights: {path} is not a .safetensors file")
        if not path.is_file():
            hint = "name a local .safetensors file in scorers.clip_topic.weights, or curate with --recipe keep_all"
            raise MissingToolError(f"model weights {path} do not exist", hint=hint)
        if self.config.sha256 and sha256_file(path) != self.config.sha256:
            raise MissingToolError(f"{path} is not the model of the recipe: its sha256 differs")
        return path

    def _from_store(self) -> Path:
        """A pulled or packaged model; where it brings an architecture, open_clip learns it."""
        import open_clip

        name = self.config.model
        row = find_row(name)
        if row is None and "/" not in name:
            raise UsageError("scorers.clip_topic: name a tag (ARCHITECTURE/TAG) or weights")
        if row is None:
            architecture, _, tag = name.partition("/")
            raise UsageError(f"scorers.clip_topic.model: {architecture} has no weights {tag!r}")
        if row.scorer != self.name:
            raise UsageError(f"scorers.clip_topic.model: {name} cannot be used here. {row.note}")
        found = store.find(name)
        if self.config.sha256 not in (None, found.sha256):
            raise MissingToolError(f"{found.weights} is not the model of the recipe: its sha256 differs")
        own = found.beside(".json")
        if own is not None:
            open_clip.add_model_config(own)
        return found.weights

    def score(self, taps: Sequence[VideoTap]) -> list[WindowScores]:
        import torch

        with torch.inference_mode():
            return [self._score(tap) for tap in taps]

    def _score(self, tap: VideoTap) -> WindowScores:
        assert tap.frames is not None and tap.frame_s is not None
        texts, on = self._prompts(tap.label)
        pictures = tap.frames.reshape(-1, *tap.frames.shape[2:])
        parts = [
            self._chances(pictures[i : i + _BATCH], texts)[:, :on].sum(axis=1) for i in range(0, len(pictures), _BATCH)
        ]
        chance = np.concatenate(parts).reshape(tap.frames.shape[:2])
        chance[np.isnan(tap.frame_s)] = np.nan  # a window without a frame has black ones
        best = chance.argmax(axis=1)
        rows = np.arange(len(chance))
        return WindowScores({"seen": chance[rows, best].astype(np.float32)}, tap.frame_s[rows, best].astype(np.float64))

    def _chances(self, pictures: np.ndarray, texts: Any) -> np.ndarray:
        """Probability of every prompt, `(n, prompts)`."""
        import torch

        pixels = torch.from_numpy(np.ascontiguousarray(_centre(pictures))).to(self._device)
        pixels = pixels.permute(0, 3, 1, 2).float() / 255.0
        mean = torch.tensor(self._model.visual.image_mean or (0.5,) * 3, device=self._device).view(1, 3, 1, 1)
        spread = torch.tensor(self._model.visual.image_std or (0.5,) * 3, device=self._device).view(1, 3, 1, 1)
        seen = self._model.encode_image((pixels - mean) / spread, normalize=True)
        logits = self._model.logit_scale.exp() * seen @ texts.T
        return np.asarray(logits.float().softmax(dim=-1).cpu().numpy())

    def _prompts(self, label: str) -> tuple[Any, int]:
        """Embeddings of all prompts of a label, on-topic ones first, and how many those are."""
        prompts = self._prompts_of(label)
        if not prompts.on or not prompts.off:
            raise UsageError(
                f"scorers.clip_topic: no prompts for {label!r}",
                hint="`v2a-data recipe new LABEL` writes prompts for a label",
            )
        if label not in self._texts:
            self._texts[label] = self._embed([*prompts.on, *prompts.off])
        return self._texts[label], len(prompts.on)

    def _prompts_of(self, label: str) -> Prompts:
        known = self.config.labels
        if label not in known:
            return Prompts(self.config.on, self.config.off)
        own = known[label]
        others = [other for name, other in known.items() if name != label] if self.config.siblings else []
        off = dict.fromkeys([*own.off, *self.config.off, *(prompt for other in others for prompt in other.on)])
        return Prompts(own.on, tuple(prompt for prompt in off if prompt not in own.on))

    def _embed(self, prompts: list[str]) -> Any:
        import torch

        rows = []
        for prompt in prompts:
            tokens = self._tokenizer([template.format(prompt) for template in TEMPLATES]).to(self._device)
            mean = self._model.encode_text(tokens, normalize=True).mean(dim=0)
            rows.append(mean / mean.norm())
        return torch.stack(rows)


def _centre(pictures: np.ndarray) -> np.ndarray:
    """The middle square of `(n, h, w, 3)`."""
    height, width = pictures.shape[1:3]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pictures[:, top : top + side, left : left + side]
