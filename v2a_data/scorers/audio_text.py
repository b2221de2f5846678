"""Whether the label is heard, asked in words: CLAP, for labels that AudioSet has no class for, per window.

As in `clip_topic`: text embeddings averaged over templates and normalised, a softmax over all on- and off-topic
prompts with the model's own scale; `heard_text` is the sum over the on-topic ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from v2a_data.errors import MissingToolError, UsageError
from v2a_data.files import sha256_file
from v2a_data.scorers.base import Field, ModelRef, Needs, Prompts, VideoTap, WindowScores

TEMPLATES = ("{}", "the sound of {}", "a recording of {}")
_BATCH = 8
_WEIGHTS = "model.safetensors"
_FILES = (_WEIGHTS, "config.json", "preprocessor_config.json", "tokenizer_config.json")


class AudioText:
    """Any CLAP model of transformers in a local folder, as the probability that a window's sound is on topic."""

    @dataclass(frozen=True)
    class Config:
        """`weights` is a folder as transformers saves it, with `model.safetensors`; nothing is downloaded and no
        code in it is run. `sha256` of the weights is checked where given. `labels` holds prompts of single labels,
        `on` and `off` those of all others.
        """

        weights: str
        sha256: str | None = None
        on: tuple[str, ...] = ()
        off: tuple[str, ...] = ()
        labels: dict[str, Prompts] = field(default_factory=dict)

    name: ClassVar[str] = "audio_text"
    version: ClassVar[int] = 1
    licence: ClassVar[str] = "Apache-2.0 (transformers); the weights' own licence applies to them"
    uses_model: ClassVar[bool] = True
    writes: ClassVar[tuple[Field, ...]] = (
        Field("heard_text", "0..1", "probability of the label's prompts among all prompts, by sound"),
    )

    def __init__(self, config: Config) -> None:
        self.config = config
        self._model: Any = None
        self._hears: Any = None
        self._reads: Any = None
        self._device = "cpu"
        self._texts: dict[str, Any] = {}

    @property
    def needs(self) -> Needs:
        return Needs(sound="source")

    @cached_property
    def model(self) -> ModelRef | None:
        path = self._folder / _WEIGHTS
        sha256 = self.config.sha256 or (sha256_file(path) if path.is_file() else None)
        return ModelRef(self._folder.name, sha256, "see the model's card")

    @property
    def _folder(self) -> Path:
        return Path(self.config.weights).expanduser()

    def open(self, device: str) -> None:
        import torch

        self._check()
        try:
            from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel
            from transformers.utils.logging import disable_progress_bar
        except ImportError:
            hint = "install v2a-data[clap]"
            raise MissingToolError("scorers.audio_text needs the package transformers", hint=hint) from None
        self._device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        disable_progress_bar()
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._model = ClapModel.from_pretrained(str(self._folder), use_safetensors=True, **local)
            self._hears = ClapFeatureExtractor.from_pretrained(str(self._folder), **local)
            self._reads = AutoTokenizer.from_pretrained(str(self._folder), **local)
        except (OSError, ValueError, KeyError) as error:
            words = f"{self._folder} is not a CLAP model: {error}"
            raise MissingToolError(words, hint="name a folder as transformers saves ClapModel") from None
        self._model = self._model.to(self._device).eval()

    def _check(self) -> None:
        missing = [name for name in _FILES if not (self._folder / name).is_file()]
        if missing:
            raise MissingToolError(
                f"scorers.audio_text.weights: {self._folder} has no {missing[0]}",
                hint="name a folder as transformers saves ClapModel and its processor, in safetensors",
            )
        if self.config.sha256 and sha256_file(self._folder / _WEIGHTS) != self.config.sha256:
            raise MissingToolError(f"{self._folder / _WEIGHTS} is not the model of the recipe: its sha256 differs")

    def score(self, taps: Sequence[VideoTap]) -> list[WindowScores]:
        import torch

        with torch.inference_mode():
            return [self._score(tap) for tap in taps]

    def _score(self, tap: VideoTap) -> WindowScores:
        texts, on = self._prompts(tap.label)
        windows = len(tap.window_start_s)
        heard = np.full(windows, np.nan, np.float32)
        sounds = {i: self._sound(tap, i) for i in range(windows)}
        measured = [i for i, sound in sounds.items() if len(sound)]
        for first in range(0, len(measured), _BATCH):
            some = measured[first : first + _BATCH]
            heard[some] = self._chances([sounds[i] for i in some], texts)[:, :on].sum(axis=1)
        return WindowScores({"heard_text": heard}, np.full(windows, np.nan))

    def _sound(self, tap: VideoTap, index: int) -> np.ndarray:
        """One window, mono at the model's rate."""
        from v2a_data.media.sound import mix_to, resample

        sound = tap.window_sound(index)
        if not sound.shape[1]:
            return np.zeros(0, np.float32)
        return np.asarray(resample(mix_to(1, sound), tap.rate_hz, self._hears.sampling_rate)[0], np.float32)

    def _chances(self, sounds: list[np.ndarray], texts: Any) -> np.ndarray:
        """Probability of every prompt, `(n, prompts)`."""
        inputs = self._hears(sounds, sampling_rate=self._hears.sampling_rate, return_tensors="pt").to(self._device)
        heard = _embedding(self._model.get_audio_features(**inputs))
        logits = self._model.logit_scale_a.exp() * (heard / heard.norm(dim=-1, keepdim=True)) @ texts.T
        return np.asarray(logits.float().softmax(dim=-1).cpu().numpy())

    def _prompts(self, label: str) -> tuple[Any, int]:
        """Embeddings of all prompts of a label, on-topic ones first, and how many those are."""
        prompts = self.config.labels.get(label) or Prompts(self.config.on, self.config.off)
        if not prompts.on or not prompts.off:
            raise UsageError(f"scorers.audio_text: no prompts for {label!r}", hint="give it `on` and `off`")
        if label not in self._texts:
            self._texts[label] = self._embed([*prompts.on, *prompts.off])
        return self._texts[label], len(prompts.on)

    def _embed(self, prompts: list[str]) -> Any:
        import torch

        rows = []
        for prompt in prompts:
            words = [template.format(prompt) for template in TEMPLATES]
            tokens = self._reads(words, padding=True, return_tensors="pt").to(self._device)
            found = _embedding(self._model.get_text_features(**tokens))
            mean = (found / found.norm(dim=-1, keepdim=True)).mean(dim=0)
            rows.append(mean / mean.norm())
        return torch.stack(rows)


def _embedding(found: Any) -> Any:
    """The projected embedding: newer versions of transformers wrap it."""
    return getattr(found, "pooler_output", found)
