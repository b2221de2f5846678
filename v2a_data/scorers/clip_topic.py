"""Whether the label is seen: CLIP, on-topic prompts against off-topic ones, per window.

Text embeddings are averaged over templates and normalised; a softmax over all prompts with the
model's own scale; `seen` is the sum over the on-topic prompts. The pictures of all videos go through
the model together, in full batches.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from v2a_data.errors import MissingToolError, UsageError
from v2a_data.files import sha256_file
from v2a_data.models import store
from v2a_data.models.registry import MODELS, find_row
from v2a_data.scorers.base import Field, ModelRef, Needs, Prompts, VideoTap, WindowScores, batches

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
        the other labels, which then must not hold one another as Vehicle holds Car. A prompt takes the place of
        "{}" in each of the `templates`.

        With `tiles` above 0 frames are taken twice as large and so many squares of them, of a quarter of the middle
        square's area each, are judged beside that one; `seen` is the best square's. It finds an airplane that is
        small in the sky, at 1 + `tiles` times the work. It also asks more often: the highest of many chances is
        higher where nothing is there, so thresholds have to be found anew for every number of tiles.
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
        templates: tuple[str, ...] = TEMPLATES
        tiles: int = 0

    name: ClassVar[str] = "clip_topic"
    version: ClassVar[int] = 4
    licence: ClassVar[str] = "MIT (open_clip); the weights' own licence applies to them"
    uses_model: ClassVar[bool] = True
    writes: ClassVar[tuple[Field, ...]] = (
        Field("seen", "0..1", "probability of the label's prompts among all prompts, of the best frame and square"),
    )

    def __init__(self, config: Config) -> None:
        self.config = config
        self._model: Any = None
        self._tokenizer: Any = None
        self._device = "cpu"
        self._texts: dict[str, Any] = {}

    @property
    def needs(self) -> Needs:
        px = self.config.image_px * (2 if self.config.tiles else 1)
        return Needs(frames_per_window=self.config.frames_per_window, frame_px=px)

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

        self._check()
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

    def _check(self) -> None:
        if self.config.tiles < 0:
            raise UsageError(f"scorers.clip_topic.tiles: 0 or more, got {self.config.tiles}")
        if not self.config.templates or any("{}" not in template for template in self.config.templates):
            raise UsageError('scorers.clip_topic.templates: each one holds "{}", where the prompt goes')

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
            chances = self._chances(taps)
        return [self._best(tap, chance) for tap, chance in zip(taps, chances, strict=True)]

    def _chances(self, taps: Sequence[VideoTap]) -> list[np.ndarray]:
        """Probability of being on topic of every square of each video, `(windows * frames * squares,)`."""
        found: list[list[np.ndarray]] = [[np.zeros(0, np.float32)] for _ in taps]
        for batch in batches(self._squares(taps), _BATCH):
            seen = self._embed_pictures([square for _, square in batch])
            owners = np.asarray([owner for owner, _ in batch])
            for owner in np.unique(owners):
                rows = np.flatnonzero(owners == owner)
                found[owner].append(self._on_topic(seen[rows[0] : rows[-1] + 1], taps[owner].label))
        return [np.concatenate(parts) for parts in found]

    def _squares(self, taps: Sequence[VideoTap]) -> Iterator[tuple[int, np.ndarray]]:
        """What the model looks at, `(px, px, 3)` with the number of its video; files are read as they are needed."""
        for number, tap in enumerate(taps):
            assert tap.frames is not None
            for picture in tap.frames.reshape(-1, *tap.frames.shape[2:]):
                yield from ((number, square) for square in squares(picture, self.config.image_px, self.config.tiles))

    def _on_topic(self, seen: Any, label: str) -> np.ndarray:
        """Probability of the label's prompts, `(n,)`, of embeddings `(n, width)`."""
        texts, on = self._prompts(label)
        logits = self._model.logit_scale.exp() * seen @ texts.T
        return np.asarray(logits.float().softmax(dim=-1)[:, :on].sum(dim=-1).cpu().numpy())

    def _best(self, tap: VideoTap, chance: np.ndarray) -> WindowScores:
        assert tap.frame_s is not None
        chance = chance.reshape(*tap.frame_s.shape, 1 + self.config.tiles).max(axis=2)
        chance[np.isnan(tap.frame_s)] = np.nan  # a window without a frame has black ones
        rows, best = np.arange(len(chance)), chance.argmax(axis=1)
        return WindowScores({"seen": chance[rows, best].astype(np.float32)}, tap.frame_s[rows, best].astype(np.float64))

    def _embed_pictures(self, batch: Sequence[np.ndarray]) -> Any:
        """Normalised embeddings of squares, `(n, width)`."""
        import torch

        pixels = torch.from_numpy(np.stack(batch)).to(self._device).permute(0, 3, 1, 2).float() / 255.0
        mean = torch.tensor(self._model.visual.image_mean or (0.5,) * 3, device=self._device).view(1, 3, 1, 1)
        spread = torch.tensor(self._model.visual.image_std or (0.5,) * 3, device=self._device).view(1, 3, 1, 1)
        return self._model.encode_image((pixels - mean) / spread, normalize=True)

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
            words = [template.replace("{}", prompt) for template in self.config.templates]
            tokens = self._tokenizer(words).to(self._device)
            mean = self._model.encode_text(tokens, normalize=True).mean(dim=0)
            rows.append(mean / mean.norm())
        return torch.stack(rows)


def squares(picture: np.ndarray, px: int, tiles: int) -> Iterator[np.ndarray]:
    """The middle square of `(h, w, 3)` at `px`, then `tiles` squares in two rows along the longer side.

    Without tiles the shorter side is `px`, with tiles twice that.
    """
    side = min(picture.shape[:2])
    middle = _square(picture, (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2, side)
    if not tiles:
        yield middle
        return
    yield middle.reshape(px, 2, px, 2, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    for across, along in _places(max(picture.shape[:2]) - px, px, tiles):
        top, left = (across, along) if picture.shape[0] == side else (along, across)
        yield _square(picture, top, left, px)


def _places(room: int, px: int, tiles: int) -> Iterator[tuple[int, int]]:
    """Top left corners, across and along the picture: two rows, each spread evenly over `room`."""
    for row, count in enumerate((tiles - tiles // 2, tiles // 2)):
        for number in range(count):
            yield row * px, round(room * (number / (count - 1) if count > 1 else 0.5))


def _square(picture: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    return picture[top : top + side, left : left + side]
