"""The dataset card beside the shards: `README.md` with the front matter of the Hugging Face hub, and `croissant.json`.

Both say nothing of when and where: same shards, same bytes. Labels and captions are untrusted text: in YAML they
stand as JSON strings, in Markdown every character that could mean something is escaped.
"""

import html
import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from v2a_data import __version__, schema
from v2a_data.files import sha256_file, write_text
from v2a_data.ids import clean_text
from v2a_data.manifest import own_manifest
from v2a_data.models.choice import not_for_use
from v2a_data.models.registry import MODELS
from v2a_data.recipe import ClipsSection, Recipe
from v2a_data.scorers import SCORERS
from v2a_data.shards.format import CARD_FILE, CARD_FILES, CROISSANT_FILE, INDEX_FILE, LEAKY, SPLITS, STAMP
from v2a_data.sources import SOURCES
from v2a_data.workspace import Workspace

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_MOST_LABELS = 1000
_LICENCE_NAME = "videos-stay-with-their-owners"
_SPECIAL = re.compile(r"([\\`*_{}\[\]|~$@]|:(?=//)|(?<=www)\.)")
# Fields of the sample's JSON as the hub's viewer should type them; inferring from the first samples trips over nulls.
_DTYPES: dict[str, str] = {
    **dict.fromkeys(("start_s", "stop_s", "picture_error_s"), "float64"),
    **dict.fromkeys(
        ("width", "height", "frames", "rate_hz", "channels", "audio_samples", "sound_error_samples"), "int64"
    ),
    "not_for_use": "bool",
}
_LISTS = {"labels": "string", "models": "string", "seen": "float64", "heard": "float64"}


@dataclass(frozen=True)
class _Facts:
    """What is said of a dataset."""

    recipe: Recipe
    shards: list[dict[str, Any]]
    counts: Counter[tuple[str, str]]
    splits: dict[str, int]
    sources: list[str]
    seconds: float
    models: list[tuple[str, str]]
    fields: tuple[str, ...]
    index_sha256: str
    index_bytes: int

    @property
    def total(self) -> int:
        return sum(self.splits.values())

    @property
    def not_for_use(self) -> bool:
        return not_for_use(self.recipe)

    @property
    def rendered(self) -> bool:
        return self.sources == ["synthetic"]


def write_card(workspace: Workspace, recipe: Recipe) -> list[str]:
    """Write card and croissant of the shards that stand, unless they are the same bytes already.

    Without shards there is no card either: one that stands is removed. Returns the names of the files written.
    """
    facts = _facts(workspace, recipe)
    if facts is None:
        for name in CARD_FILES:
            (workspace.shards / name).unlink(missing_ok=True)
        return []
    written = []
    for name, text in ((CARD_FILE, card(facts)), (CROISSANT_FILE, croissant(facts))):
        path = workspace.shards / name
        if not path.is_file() or path.read_bytes() != text.encode():
            write_text(path, text)
            written.append(name)
    return written


def _facts(workspace: Workspace, recipe: Recipe) -> _Facts | None:
    from v2a_data.shards.format import SAMPLE_FIELDS

    ledger = workspace.ledger
    shards = [dict(row) for row in ledger.rows("SELECT shard, split, samples, bytes, sha256 FROM shards ORDER BY 1")]
    index = workspace.shards / INDEX_FILE
    if not shards or not index.is_file():
        return None
    sql = (
        "SELECT json_extract(index_row, '$.label') AS label, json_extract(index_row, '$.split') AS split, "
        "COUNT(*) AS n, SUM(json_extract(index_row, '$.duration_s')) AS seconds "
        "FROM samples WHERE state = 'written' GROUP BY 1, 2 ORDER BY 1, 2"
    )
    rows = ledger.rows(sql)
    sources = (
        "SELECT DISTINCT v.source FROM samples s JOIN clips c USING (clip_id) JOIN videos v USING (video_id) "
        "WHERE s.state = 'written' ORDER BY 1"
    )
    counts = Counter({(row["label"], row["split"]): row["n"] for row in rows})
    return _Facts(
        recipe,
        shards,
        counts,
        {split: sum(n for (_, where), n in counts.items() if where == split) for split in SPLITS},
        [row[0] for row in ledger.rows(sources)],
        sum(row["seconds"] for row in rows),
        _models(workspace, recipe),
        SAMPLE_FIELDS,
        sha256_file(index),
        index.stat().st_size,
    )


def _models(workspace: Workspace, recipe: Recipe) -> list[tuple[str, str]]:
    """`(scorer: model sha256, licence)` of what judged; a manifest's own words in a dataset that is rebuilt."""
    manifest = own_manifest(workspace)
    if manifest is None:
        models = [(name, SCORERS[name](config).model) for name, config in sorted(recipe.scorers.items())]
        names = [f"{name}: {m.name} {m.sha256 or 'unhashed'}" for name, m in models if m is not None]
    else:
        names = next(manifest.rows(("models",)))["models"]
    return [(text, _licence_of(text)) for text in names]


def _licence_of(text: str) -> str:
    scorer, _, rest = text.partition(": ")
    row = MODELS.get(rest.rpartition(" ")[0])
    if row is not None:
        return row.licence
    return SCORERS[scorer].licence if scorer in SCORERS else "see the model's card"


def _yaml(value: object) -> str:
    """A YAML scalar that means exactly this text: JSON strings are YAML, and cleaned text needs no other escapes."""
    return json.dumps(clean_text(value), ensure_ascii=False) if isinstance(value, str) else json.dumps(value)


def md(text: str, limit: int = 300) -> str:
    """Text in Markdown that stays text: no markup, no HTML, no table border."""
    return _SPECIAL.sub(r"\\\1", html.escape(clean_text(text, limit), quote=False)) or "–"


def _code(text: str) -> str:
    """Untrusted text in a code span."""
    return "`" + clean_text(text, 500).replace("`", "'") + "`"


def _licence(facts: _Facts) -> list[str]:
    if facts.rendered:
        return ["license: apache-2.0"]
    return ["license: other", f"license_name: {_LICENCE_NAME}", "license_link: README.md"]


def _front(facts: _Facts) -> list[str]:
    size = next((name for limit, name in _SIZES if facts.total < limit), "10M<n<100M")
    lines = ["---", f"pretty_name: {_yaml(facts.recipe.name)}", *_licence(facts)]
    lines += ["task_categories:", "- video-classification", "- audio-classification"]
    lines += ["tags:", "- video-to-audio", "- webdataset", "- audio", "- video", "- v2a-data"]
    lines += ["- synthetic"] if facts.rendered else []
    lines += ["- not-for-use"] if facts.not_for_use else []
    lines += ["- leaky"] if facts.recipe.leaky else []
    lines += ["size_categories:", f"- {size}", "configs:", "- config_name: default", "  data_files:"]
    for split in SPLITS:
        if facts.splits[split]:
            lines += [f"  - split: {split}", f"    path: {_yaml(f'{split}/*.tar')}"]
    lines += ["dataset_info:", "  features:"]
    for name in ("__key__", "__url__"):
        lines += [f"  - name: {name}", "    dtype: string"]
    lines += ["  - name: json", "    struct:"]
    for name in facts.fields:
        lines.append(f"    - name: {name}")
        lines.append(f"      list: {_LISTS[name]}" if name in _LISTS else f"      dtype: {_DTYPES.get(name, 'string')}")
    return [*lines, "  - name: mp4", "    dtype: video", "---", ""]


def card(facts: _Facts) -> str:
    """The text of `README.md`."""
    recipe = facts.recipe
    title = f"# {md(recipe.name)}"
    stamp = [f"> **{STAMP}**", ""] if facts.not_for_use else []
    stamp += [f"> **{LEAKY}**", ""] if facts.recipe.leaky else []
    parts = [
        *_front(facts),
        title,
        "",
        *stamp,
        *_about(facts),
        *_how(facts),
        *_counts(facts),
        *_formats(facts),
        *_limits(facts),
        *_rights(facts),
    ]
    return "\n".join(parts) + "\n"


def _about(facts: _Facts) -> list[str]:
    grounded = (
        "each chosen for showing and sounding what its label names"
        if {"clip_topic", "audio_tags"} <= facts.recipe.scorers.keys()
        else "chosen by the rules below"
    )
    return [
        f"{facts.total} clips with their sound, {facts.seconds / 3600:.2f} h, {grounded}, for models that make sound "
        "for silent video. Picture and sound are cut on one clock"
        f"{'' if facts.recipe.leaky else '; the splits share no video'}.",
        "",
    ]


def _seconds(clips: ClipsSection) -> str:
    """Lengths of clips in words."""
    others = [f"{seconds:g} s for {md(label)}" for label, seconds in clips.label_seconds.items()]
    return ", ".join([f"{clips.seconds:g} s", *others])


def _how(facts: _Facts) -> list[str]:
    recipe = facts.recipe
    lines = [
        "## How it was made",
        "",
        f"With `v2a-data` {__version__}, recipe {_code(recipe.name)}, hash `{recipe.hash}`. Clips of "
        f"{'exactly' if recipe.clips.length == 'fixed' else 'at most'} {_seconds(recipe.clips)} were laid into "
        "stretches of 2 s windows that the rules keep.",
        "",
    ]
    if recipe.rules:
        lines += ["| rule | expression |", "|---|---|"]
        lines += [f"| {md(name)} | {md(text, 500)} |" for name, text in recipe.rules.items()]
    else:
        lines += ["No rules: every whole clip was kept."]
    lines.append("")
    if recipe.scorers:
        lines += ["| scorer | licence |", "|---|---|"]
        lines += [f"| {md(name)} | {md(SCORERS[name].licence)} |" for name in recipe.scorers]
        lines.append("")
    if facts.models:
        lines += ["| model | licence |", "|---|---|"]
        lines += [f"| {md(text)} | {md(licence)} |" for text, licence in facts.models]
        lines.append("")
    return lines


def _counts(facts: _Facts) -> list[str]:
    labels = sorted({label for label, _ in facts.counts})
    header = ["label", *SPLITS, "all"]
    lines = ["## Counts", "", f"| {' | '.join(header)} |", "|---|" + "---:|" * 4]
    for label in labels[:_MOST_LABELS]:
        numbers = [facts.counts[label, split] for split in SPLITS]
        lines.append(f"| {md(label)} | {' | '.join(map(str, [*numbers, sum(numbers)]))} |")
    if len(labels) > _MOST_LABELS:
        lines.append(f"| … and {len(labels) - _MOST_LABELS} more | | | | |")
    totals = [facts.splits[split] for split in SPLITS]
    lines += [f"| **all** | {' | '.join(map(str, [*totals, sum(totals)]))} |", ""]
    return lines


def _formats(facts: _Facts) -> list[str]:
    form, split = facts.recipe.shard, next(s for s in SPLITS if facts.splits[s])
    channels = "mono" if form.channels == 1 else f"{form.channels} channels"
    shard = next(s["shard"] for s in facts.shards if s["split"] == split)
    return [
        "## Format",
        "",
        f"WebDataset tars. A sample is `KEY.mp4` (H.264 {form.width}x{form.height} at {form.fps} fps, "
        f"FLAC {form.rate_hz} Hz {channels}, no encoder delay) and "
        "`KEY.json` (ids, times, label, scores per window, split, group). "
        f"`{INDEX_FILE}` has one row per sample: shard, byte offsets, sha256, counts.",
        "",
        "```python",
        "import webdataset",
        "",
        f'for sample in webdataset.WebDataset("{shard}", shardshuffle=False):',
        '    sample["mp4"], sample["json"]',
        "```",
        "",
        '`datasets.load_dataset("PATH OF THIS FOLDER")` reads it too.',
        "",
    ]


def _limits(facts: _Facts) -> list[str]:
    notes = [f"- {md(SOURCES[name].note, 500)}" for name in facts.sources]
    return [
        "## Known limits",
        "",
        "- Labels are as their source gives them; nobody listened to every clip.",
        "- Scores are guesses of models; a score that was not measured is null, never 0.",
        _duplicates(facts),
        *notes,
        "",
    ]


def _duplicates(facts: _Facts) -> str:
    if facts.recipe.leaky:
        return f"- Splits cut through videos, with {facts.recipe.splits.gap_s:g} s left out between their parts."
    return (
        "- Near-duplicates are found by id, equal files, picture and sound, and share a split; what was changed "
        "beyond coding, size, a crop of a tenth or a trim may have slipped through."
    )


def _rights(facts: _Facts) -> list[str]:
    sources = [
        f"- labels and ids from {_code(name)}: {md(SOURCES[name].licence)}. {md(SOURCES[name].citation, 500)}"
        for name in facts.sources
    ]
    owners = (
        "- The videos were rendered; nobody else owns them."
        if facts.rendered
        else "- The videos and their sound stay with their owners. This dataset gives no right to them: look at yours "
        "before you use it or pass it on."
    )
    return [
        "## Licence",
        "",
        *sources,
        owners,
        "",
        "## Removal",
        "",
        "Whoever owns or appears in a video asks where this dataset was found (on the hub: its Community tab), naming "
        "the key of a sample or the id of the video (`video_id`, `native_id` in the JSON). The publisher then makes "
        "the dataset again without it; all other samples stay as they are:",
        "",
        "```",
        "v2a-data export manifest.parquet --without VIDEO_ID",
        "v2a-data fetch --manifest manifest.parquet -w rebuilt",
        "v2a-data curate -w rebuilt",
        "v2a-data shard -w rebuilt",
        "```",
        "",
        "The same commands, without `--without`, rebuild the whole dataset from its manifest; videos that are gone "
        "since are left out and listed. A dataset of files needs `--input FOLDER` at `fetch`.",
    ]


_KINDS = {"text": "sc:Text", "int": "sc:Integer", "real": "sc:Float", "json": "sc:Text"}


def croissant(facts: _Facts) -> str:
    """The text of `croissant.json` (Croissant 1.1): every file with its hash, the index as a record set."""
    licences = [SOURCES[name].licence for name in facts.sources]
    stamp = f"{STAMP}. " if facts.not_for_use else ""
    stamp += f"{LEAKY}. " if facts.recipe.leaky else ""
    tars = [_file(s["shard"], s["shard"], "application/x-tar", s["sha256"], s["bytes"]) for s in facts.shards]
    contained = [{"@id": s["shard"]} for s in facts.shards]
    members = [
        {
            "@type": "cr:FileSet",
            "@id": name,
            "name": name,
            "description": words,
            "containedIn": contained,
            "encodingFormat": kind,
            "includes": f"*.{name}",
        }
        for name, kind, words in (
            ("mp4", "video/mp4", "Picture and sound of the samples."),
            ("json", "application/json", "Ids, times, labels and scores of the samples."),
        )
    ]
    index = _file("index", INDEX_FILE, "application/x-parquet", facts.index_sha256, facts.index_bytes)
    body = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": facts.recipe.name,
        "description": f"{stamp}{facts.total} clips with their sound, for models that make sound for silent video.",
        "license": "https://spdx.org/licenses/Apache-2.0" if facts.rendered else _LICENCE_NAME,
        "usageInfo": "; ".join(licences),
        "citeAs": "; ".join(SOURCES[name].citation for name in facts.sources),
        "version": "1.0.0",
        "keywords": ["video-to-audio", "webdataset", *(["not-for-use"] if facts.not_for_use else [])],
        "isLiveDataset": False,
        "distribution": [index, *tars, *members],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "samples",
                "name": "samples",
                "description": "One row per sample: where it is, its hash, counts, label, split and group.",
                "key": {"@id": "samples/key"},
                "field": [_field(column) for column in schema.INDEX.columns],
            }
        ],
    }
    return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def _file(name: str, place: str, kind: str, sha256: str, size: int) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": place,
        "contentSize": f"{size} B",
        "encodingFormat": kind,
        "sha256": sha256,
    }


def _field(column: schema.Column) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"samples/{column.name}",
        "name": column.name,
        "description": f"{column.meaning} ({column.unit})" if column.unit else column.meaning,
        "dataType": _KINDS[column.kind],
        "source": {"fileObject": {"@id": "index"}, "extract": {"column": column.name}},
    }


_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "excludes": "cr:excludes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
    "unArchive": "cr:unArchive",
    "value": "cr:value",
}
