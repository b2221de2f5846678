"""The model card beside the checkpoints: what was trained, on what, how far, and what it must not be used for."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from v2a.models.base import count_parameters
from v2a.training.loop import Trained
from v2a_data.errors import FatalError
from v2a_data.files import write_text
from v2a_data.shards.card import md
from v2a_data.shards.format import STAMP
from v2a_data.shards.read import ShardSet

FILE = "README.md"
_LOOKED_AT = 20


def write_card(folder: Path, model: Any, trained: Trained, about: Mapping[str, Any], shards: ShardSet) -> None:
    """Write `README.md` with the front matter that model hubs read. Stamped where tiny models chose the clips."""
    entries = shards.split("train")
    stamped = _stamped(shards)
    labels = Counter(entry.label for entry in entries)
    seconds = sum(entry.duration_s for entry in entries)
    lines = [
        "---",
        "library_name: v2a",
        "tags: [video-to-audio, silent-video, vq-vae]",
        "---",
        "",
        f"# {trained.name}",
        *(["", f"**{STAMP}**"] if stamped else []),
        "",
        f"{type(model).__name__} of v2a {version('v2a-data')}, after {model.source}. "
        f"{count_parameters(model):,} parameters, {trained.steps} steps. Code: {model.licence}; the weights are "
        "bound by the licences of what they were trained on.",
        "",
        "## Trained on",
        f"{len(entries)} clips, {seconds / 3600:.2f} h, {_hashes(about['shards'])}: "
        + ", ".join(f"{md(label)} {count}" for label, count in sorted(labels.items())),
        "",
        "## Figures",
        "| | training, last steps | validation, best |",
        "|---|---|---|",
        *_rows(trained),
        "",
        *([f"Complaint: {trained.complaint}", ""] if trained.complaint else []),
        "Beside baselines: `v2a evaluate`. Generating: `v2a generate VIDEO -o OUT.mp4`.",
        "",
        "## Settings",
        "```json",
        _json(about),
        "```",
        "",
    ]
    write_text(folder / FILE, "\n".join(lines))


def _stamped(shards: ShardSet) -> bool:
    """Whether tiny models judged any of some clips; damaged ones say nothing."""
    entries = shards.split("train")
    for entry in entries[:: max(1, len(entries) // _LOOKED_AT)]:
        with suppress(FatalError, OSError):
            if shards.values(entry).get("not_for_use"):
                return True
    return False


def _hashes(shards: str | Sequence[Sequence[str | float]]) -> str:
    if isinstance(shards, str):
        return f"hash `{shards}`"
    return ", ".join(f"set `{mark}` with weight {weight:g}" for mark, weight in shards)


def _rows(trained: Trained) -> list[str]:
    names = [*trained.parts, *(name for name in trained.best if name not in trained.parts)]

    def cell(figures: Mapping[str, float], name: str) -> str:
        return f"{figures[name]:.4g}" if name in figures else "-"

    return [f"| {name} | {cell(trained.parts, name)} | {cell(trained.best, name)} |" for name in names]


def _json(about: Mapping[str, Any]) -> str:
    return json.dumps(about, indent=1, ensure_ascii=True).replace("```", "` ` `")
