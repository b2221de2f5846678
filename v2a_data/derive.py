"""A recipe for any label: prompts from templates, negatives from sibling labels and generic kinds."""

from collections.abc import Sequence

from v2a_data.ids import slug
from v2a_data.recipe import Table
from v2a_data.sources.base import Label
from v2a_data.sources.label_tables import audioset_labels, find, label_ids, youtube8m_labels

# What videos of a label often show instead of it, whatever the label.
GENERIC = (
    "a person talking to the camera",
    "a slide with text",
    "a title card with a logo",
    "a video game",
    "a drawing or cartoon",
)
_TOY_WORDS = ("model", "toy", "radio-controlled", "paper", "lego", "miniature")
_SIBLINGS = 5


def derived_table(labels: Sequence[str], source: str, input_path: str | None) -> Table:
    """A recipe table for labels that no shipped recipe is about."""
    prompts = {label: {"on": on_prompts(label), "off": off_prompts(label)} for label in labels}
    classes = {label: audio_classes(label) for label in labels}
    section: Table = {"name": source}
    if input_path:
        section["input"] = input_path
    return {
        "name": slug("_".join(labels[:3])),
        "labels": list(labels),
        "source": section,
        "scorers": {
            "clip_topic": {"model": "ViT-B-32-256/datacomp_s34b_b86k", "labels": prompts},
            "audio_tags": {"model": "ced-tiny", "labels": {k: v for k, v in classes.items() if v}},
            "speech": {},
            "motion": {},
            "loudness": {},
        },
        "rules": {
            "grounded": "seen >= 0.6 and heard >= 0.4",
            "clear": "still <= 0.5 and slideshow <= 0.5 and black <= 0.5 and cuts <= 0",
            "clean": "voice <= 0.3 and music <= 0.4 and silence <= 0.2 and clipping <= 0.01 and antiphase <= 0.5",
            "keep": "grounded and clear and clean",
            "review": "grounded and not (clear and clean)",
        },
        "clips": {"max_per_video": 4, "min_source_fps": 12.0},
        "train": {"config": "vqvae_airplane"},
    }


def on_prompts(label: str) -> list[str]:
    """Prompts that stand for the label."""
    name = _with_article(label)
    return [name, f"{name} seen from close by", f"{name} in the distance"]


def off_prompts(label: str) -> list[str]:
    """Toy versions, sibling labels of the same verticals, and generic kinds of video."""
    toys = [_with_article(item.name) for item in _toys(label)]
    siblings = [_with_article(item.name) for item in _siblings(label)]
    return [*(toys or [f"a toy or model of {_with_article(label)}"]), *siblings, *GENERIC]


def audio_classes(label: str) -> list[str]:
    """AudioSet ids of the label: by the alias table, by its name, or by the id it shares with YouTube-8M."""
    for name in (label, label.removesuffix("s"), f"{label}s"):
        if ids := label_ids(name, audioset_labels()):
            return list(ids)
    other = find(youtube8m_labels(), label)
    shared = find(audioset_labels(), other.id) if other else None
    return [shared.id] if shared else []


def _words(name: str) -> set[str]:
    return set(name.casefold().replace("(", " ").replace(")", " ").split())


def _toys(label: str) -> list[Label]:
    """Labels that are this one made small: they share a word and hold a toy word."""
    words = _words(label)
    return [
        item
        for item in youtube8m_labels()
        if item.name.casefold() != label.casefold()
        and words & _words(item.name)
        and any(toy in item.name.casefold() for toy in _TOY_WORDS)
    ][:_SIBLINGS]


def _siblings(label: str) -> list[Label]:
    """The most frequent labels of the same verticals that share no word with this one.

    For a label that YouTube-8M does not have, those beside it in AudioSet's ontology.
    """
    own = find(youtube8m_labels(), label)
    if own is None:
        return _beside(label)
    words = _words(label)
    close = (
        item
        for item in youtube8m_labels()
        if item.name and set(item.parents) & set(own.parents) and not words & _words(item.name)
    )
    ranked = sorted(close, key=lambda item: (-len(set(item.parents) & set(own.parents)), -(item.count or 0)))
    return ranked[:_SIBLINGS]


def _beside(label: str) -> list[Label]:
    """Labels of AudioSet that have a parent in common with this one, and are not it."""
    own = set(audio_classes(label))
    parents = {parent for item in audioset_labels() if item.id in own for parent in item.parents}
    return [item for item in audioset_labels() if parents & set(item.parents) and item.id not in own][:_SIBLINGS]


def _with_article(label: str) -> str:
    name = label.strip()
    lower = name if name.isupper() else name[:1].lower() + name[1:]
    if lower.endswith("s") and not lower.endswith("ss"):
        return lower
    return f"{'an' if lower[:1] in 'aeiou' else 'a'} {lower}"
