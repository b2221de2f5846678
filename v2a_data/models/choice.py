"""Which models a recipe names, and what it means when those are the tiny ones of the package."""

import dataclasses
import json
from typing import Any
from urllib.parse import urlsplit

from v2a_data.errors import UsageError
from v2a_data.models import store
from v2a_data.models.registry import MODELS, TINY, find_row
from v2a_data.recipe import Recipe

# The tiny CLIP is surer of the best of three frames than of one (benchmarks/tiny_models.py).
_TINY_FRAMES = 3
_TINY_OF = {"clip_topic": "v2a-tiny-clip", "audio_tags": "v2a-tiny-tagger"}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def model_names(recipe: Recipe) -> list[str]:
    """The models of a recipe that the store answers for, in the order of its scorers; local files are none."""
    names = []
    for scorer, config in sorted(recipe.scorers.items()):
        name = getattr(config, "model", None)
        local = getattr(config, "weights", None) or str(name).endswith(".onnx")
        if scorer in _TINY_OF and name and not local and (name in MODELS or (scorer == "clip_topic" and "/" in name)):
            names.append(str(name))
    return names


def require(recipe: Recipe) -> None:
    """Check every model before work begins. Raises `MissingToolError` with the command that gets it."""
    for name in model_names(recipe):
        if find_row(name) is not None:
            store.find(name)


def names_tiny(recipe: Recipe) -> list[str]:
    """The tiny models that a recipe names."""
    return [name for name in model_names(recipe) if name in TINY]


def not_for_use(recipe: Recipe | None) -> bool:
    """True for a dataset that tiny models judged: everything made of it says so."""
    return recipe is not None and bool(names_tiny(recipe))


def is_rendered(recipe: Recipe) -> bool:
    """True where the videos are a synthetic world's: from its folder, or served on loopback."""
    source = recipe.source
    if source.name == "synthetic":
        return True
    addresses = (source.label_url, source.lookup_url, source.watch_url)
    return source.name == "youtube8m" and all(urlsplit(url).hostname in _LOOPBACK for url in addresses)


def with_models(recipe: Recipe, models: str | None) -> Recipe:
    """The recipe with what `--models` asks for.

    Raises `UsageError` for another word than "tiny", and for tiny models on a real source without it.
    """
    if models is None:
        tiny = names_tiny(recipe)
        if tiny and not is_rendered(recipe):
            raise UsageError(
                f"the recipe names {' and '.join(tiny)}, which only know the synthetic world, "
                f"and its source {recipe.source.name} is real",
                hint="name real models (see `v2a-data models list`), or say --models tiny: the dataset is then "
                "stamped not for use",
            )
        return recipe
    if models != "tiny":
        raise UsageError(f"--models {models!r}: expected 'tiny'")
    scorers = {name: _tiny_config(name, config) for name, config in recipe.scorers.items()}
    return dataclasses.replace(recipe, scorers=scorers, calibration=None)


def _tiny_config(scorer: str, config: Any) -> Any:
    """A scorer's configuration with the tiny model in place of its own."""
    if scorer not in _TINY_OF:
        return config
    found = store.find(_TINY_OF[scorer])
    changes: dict[str, Any] = {"model": found.row.name, "sha256": None}
    architecture = found.beside(".json")
    if scorer == "clip_topic" and architecture is not None:
        size = json.loads(architecture.read_text(encoding="utf-8"))["vision_cfg"]["image_size"]
        changes |= {"weights": None, "architecture_file": None, "image_px": size, "frames_per_window": _TINY_FRAMES}
    else:
        changes |= {"family": None}
    return dataclasses.replace(config, **changes)
