"""Words in a title that often go with videos of something else: how to, papercraft, news, gameplay.

A hint that costs nothing and proves nothing: a title is the uploader's word for the whole video.
"""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from v2a_data.scorers.base import Field, Needs, VideoTap, WindowScores, WithoutModel

WORDS = (
    *("how to", "tutorial", "diy", "do it yourself", "instructions", "papercraft", "paper craft", "origami", "lego"),
    *("gameplay", "let's play", "walkthrough", "playthrough", "video game", "simulator", "minecraft", "roblox", "gta"),
    *("news", "interview", "documentary", "lecture", "podcast", "vlog", "review", "unboxing", "reaction"),
    *("trailer", "slideshow", "lyrics", "lyric video", "karaoke", "drawing", "cartoon", "animation", "toy", "toys"),
)
_WORD = re.compile(r"\w+(?:'\w+)?")


class TitleWords(WithoutModel):
    """1 where a title holds one of the phrases as whole words, whatever their case; phrases that share a word with the
    label do not count against it."""

    @dataclass(frozen=True)
    class Config:
        """`words` are phrases to look for."""

        words: tuple[str, ...] = WORDS

    name: ClassVar[str] = "title_words"
    version: ClassVar[int] = 1
    writes: ClassVar[tuple[Field, ...]] = (
        Field("title_hint", "0..1", "1 where the title speaks of something else, 0 where not, null without a title"),
    )

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._phrases = [_words(phrase) for phrase in config.words]

    @property
    def needs(self) -> Needs:
        return Needs()

    def _score(self, tap: VideoTap) -> WindowScores:
        hint = np.nan if tap.title is None else float(self.hints(tap.title, tap.label))
        windows = len(tap.window_start_s)
        return WindowScores({"title_hint": np.full(windows, hint, np.float32)}, np.full(windows, np.nan))

    def hints(self, title: str, label: str) -> bool:
        """Whether a title holds one of the phrases, none of whose words is in the label."""
        words, own = _words(title), set(_words(label))
        spoken = f" {' '.join(words)} "
        return any(phrase and own.isdisjoint(phrase) and f" {' '.join(phrase)} " in spoken for phrase in self._phrases)


def _words(text: str) -> list[str]:
    """Words in lower case; typographic apostrophes are plain ones."""
    return _WORD.findall(text.replace("\u2019", "'").casefold())
