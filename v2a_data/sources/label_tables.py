"""Label names of the public sources, offline: read from `manifests/`, made from the public files.

The tables hold names, ids, counts and parent links only. To make them again from your own copies:

    python -m v2a_data.sources.label_tables \\
        vocabulary.csv ontology.json balanced_train_segments.csv stat.csv Annotations.txt OUT_FOLDER

`aliases.csv` is written by hand: which labels of the sources mean the same thing, where their names differ.
"""

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from v2a_data import resources
from v2a_data.sources.base import Label

YOUTUBE8M_FILE = "youtube8m_labels.csv"
AUDIOSET_FILE = "audioset_labels.csv"
VGGSOUND_FILE = "vggsound_labels.csv"
AVE_FILE = "ave_labels.csv"
ALIASES_FILE = "aliases.csv"
_SEPARATOR = "|"


@cache
def youtube8m_labels() -> tuple[Label, ...]:
    """YouTube-8M's 3,862 labels; `parents` are its verticals. 56 have no name."""
    return tuple(_read(resources.manifests() / YOUTUBE8M_FILE, "youtube8m"))


@cache
def audioset_labels() -> tuple[Label, ...]:
    """AudioSet's 632 ontology nodes; `parents` are ids of the nodes above, of which there can be several.

    Counts are rows of the balanced list under the node itself, not under those below it.
    """
    return tuple(_read(resources.manifests() / AUDIOSET_FILE, "audioset"))


@cache
def vggsound_labels() -> tuple[Label, ...]:
    """VGGSound's 309 classes, which are their own ids; `parents` is their group."""
    return tuple(_read(resources.manifests() / VGGSOUND_FILE, "vggsound"))


@cache
def ave_labels() -> tuple[Label, ...]:
    """AVE's 28 categories, which are their own ids; counts are rows of its list."""
    return tuple(_read(resources.manifests() / AVE_FILE, "ave"))


@cache
def vegas_labels() -> tuple[Label, ...]:
    """VEGAS' 10 categories; ids are the folders that hold them."""
    return tuple(Label("vegas", ids["vegas"][0], name) for name, ids in aliases().items() if ids["vegas"])


@cache
def aliases() -> dict[str, dict[str, tuple[str, ...]]]:
    """Name → source → ids of the labels that mean it there."""
    path = resources.manifests() / ALIASES_FILE
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    split = {row["name"]: {source: row[source].split(_SEPARATOR) for source in row if source != "name"} for row in rows}
    return {name: {key: tuple(i for i in ids if i) for key, ids in by.items()} for name, by in split.items()}


def alias_ids(label: str, source: str) -> tuple[str, ...]:
    """Ids of a source's labels that mean a name of the alias table, or a label of VEGAS; none: ()."""
    wanted = label.strip().casefold()
    for name, by in aliases().items():
        if wanted == name.casefold() or wanted in by["vegas"]:
            return by.get(source, ())
    return ()


def label_ids(label: str, labels: tuple[Label, ...]) -> tuple[str, ...]:
    """Ids of a label in one source: the id itself as it is written there, what the alias table says, or the label with
    this name or synonym; none: ()."""
    if any(item.id == label for item in labels):
        return (label,)
    found = find(labels, label)
    return alias_ids(label, labels[0].source) or ((found.id,) if found else ())


def all_labels() -> tuple[Label, ...]:
    """The labels of every source that has a table."""
    return youtube8m_labels() + audioset_labels() + vggsound_labels() + vegas_labels() + ave_labels()


def search_all(query: str | None) -> Iterator[Label]:
    """`search` over every source, and after it the labels that mean the same by the alias table."""
    found = list(search(all_labels(), query))
    yield from found
    wanted = (query or "").strip().casefold()
    if not wanted:
        return
    named = {(label.source, label.id) for label in found}
    for name, by in aliases().items():
        if wanted in name.casefold():
            means = {(source, i) for source, ids in by.items() for i in ids} - named
            yield from (label for label in all_labels() if (label.source, label.id) in means)
            named |= means


def search(labels: tuple[Label, ...], query: str | None) -> Iterator[Label]:
    """Labels whose name holds the query, or whose id is it; exact names first."""
    wanted = (query or "").strip().casefold()
    exact = [label for label in labels if wanted and wanted in (label.id.casefold(), *_synonyms(label))]
    yield from exact
    yield from (label for label in labels if wanted in label.name.casefold() and label not in exact)


def find(labels: tuple[Label, ...], name: str) -> Label | None:
    """The label with exactly this name, synonym or id, case ignored."""
    wanted = name.strip().casefold()
    return next((label for label in labels if wanted in (label.id.casefold(), *_synonyms(label))), None)


def descendants(mid: str) -> tuple[str, ...]:
    """An AudioSet id and all ids below it in the ontology, sorted."""
    children: dict[str, list[str]] = {}
    for label in audioset_labels():
        for parent in label.parents:
            children.setdefault(parent, []).append(label.id)
    found, todo = {mid}, [mid]
    while todo:
        for child in children.get(todo.pop(), []):
            if child not in found:
                found.add(child)
                todo.append(child)
    return tuple(sorted(found))


def ancestors(mid: str) -> tuple[str, ...]:
    """An AudioSet id and all ids above it in the ontology, sorted."""
    parents = {label.id: label.parents for label in audioset_labels()}
    found, todo = {mid}, [mid]
    while todo:
        for parent in parents.get(todo.pop(), ()):
            if parent not in found:
                found.add(parent)
                todo.append(parent)
    return tuple(sorted(found))


def _synonyms(label: Label) -> tuple[str, ...]:
    """The whole name; also its parts where a source writes "Fixed-wing aircraft, airplane"."""
    name = label.name.casefold()
    parts = name.split(",") if label.source in ("audioset", "vggsound", "ave") else []
    return (name, *(part.strip() for part in parts)) if name else ()


def _read(path: Path, source: str) -> Iterator[Label]:
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            parents = tuple(p for p in row["parents"].split(_SEPARATOR) if p)
            count = int(row["count"]) if row["count"] else None
            yield Label(source, row["id"], row["name"], count, parents)


def _write(path: Path, notice: str, rows: list[tuple[str, str, str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# {notice}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "name", "count", "parents"])
        writer.writerows(rows)


def read_vocabulary(vocabulary: Path) -> Iterator[tuple[str, str, str, str]]:
    """Id, name, count and verticals of each label of YouTube-8M's `vocabulary.csv`, in its order."""
    with vocabulary.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            verticals = _SEPARATOR.join(v for v in (row["Vertical1"], row["Vertical2"], row["Vertical3"]) if v)
            yield row["KnowledgeGraphId"], row["Name"], row["TrainVideoCount"], verticals


def make_youtube8m(vocabulary: Path, out: Path) -> int:
    """`vocabulary.csv` of YouTube-8M (2018) → `youtube8m_labels.csv`; returns the number of labels."""
    rows = list(read_vocabulary(vocabulary))
    _write(out / YOUTUBE8M_FILE, "YouTube-8M label names, training counts, verticals. Google, CC BY 4.0.", rows)
    return len(rows)


def make_audioset(ontology: Path, balanced: Path, out: Path) -> int:
    """`ontology.json` and the balanced list of AudioSet → `audioset_labels.csv`; returns the number of nodes."""
    from v2a_data.sources.audioset_lists import read_segments

    counts = Counter(mid for row in read_segments(balanced) for mid in row.mids.split(","))
    nodes = json.loads(ontology.read_text(encoding="utf-8"))
    parents: dict[str, list[str]] = {}
    for node in nodes:
        for child in node["child_ids"]:
            parents.setdefault(child, []).append(node["id"])
    rows = [
        (n["id"], n["name"], str(counts[n["id"]] or ""), _SEPARATOR.join(sorted(parents.get(n["id"], []))))
        for n in nodes
    ]
    notice = "AudioSet ontology: names and parent links; counts of rows of its balanced list. Google, CC BY-SA 4.0."
    _write(out / AUDIOSET_FILE, notice, rows)
    return len(rows)


def make_vggsound(stat: Path, out: Path) -> int:
    """`stat.csv` of VGGSound → `vggsound_labels.csv`; returns the number of classes."""
    with stat.open(newline="", encoding="utf-8") as file:
        rows = [(name, name, count, group) for name, count, group in csv.reader(file)]
    _write(out / VGGSOUND_FILE, "VGGSound: class names, counts, groups. University of Oxford, CC BY 4.0.", rows)
    return len(rows)


def make_ave(annotations: Path, out: Path) -> int:
    """`Annotations.txt` of AVE → `ave_labels.csv`; returns the number of categories."""
    counts = Counter(line.split("&")[0] for line in annotations.read_text(encoding="utf-8").splitlines())
    rows = [(name, name, str(count), "") for name, count in sorted(counts.items())]
    _write(out / AVE_FILE, "AVE: category names and counts of rows; the names are AudioSet's, CC BY 4.0.", rows)
    return len(rows)


def main(arguments: list[str]) -> None:
    """`vocabulary.csv ontology.json balanced_train_segments.csv stat.csv Annotations.txt OUT_FOLDER`."""
    vocabulary, ontology, balanced, stat, annotations, out = (Path(argument) for argument in arguments)
    numbers = [make_youtube8m(vocabulary, out), make_audioset(ontology, balanced, out)]
    numbers += [make_vggsound(stat, out), make_ave(annotations, out)]
    sys.stderr.write(f"{' + '.join(map(str, numbers))} labels\n")


if __name__ == "__main__":
    main(sys.argv[1:])
