"""The manifest: one Parquet file from which a dataset is rebuilt. No media, no paths of a machine.

One row per sample, sorted by key (`schema.MANIFEST`). The recipe is TOML text in the file's key-value metadata,
without what belongs to a machine or to a network: folders, addresses, pacing. A manifest is published, so one
that is read is hostile until every value of it was checked.
"""

import json
import math
import re
import shutil
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from v2a_data import schema
from v2a_data.errors import FatalError, UsageError, nearest
from v2a_data.files import sha256_file, whole_file
from v2a_data.ids import check_video_id, clean_text, clip_id, is_youtube_id
from v2a_data.ledger import encode_json
from v2a_data.memory import at_most
from v2a_data.models.choice import not_for_use
from v2a_data.recipe import ADDRESSES, Recipe, SourceSection, build_recipe, to_table
from v2a_data.shards.format import LEAKY, SAMPLE_FIELDS, SPLITS, STAMP
from v2a_data.shards.read import Entry, open_shards
from v2a_data.sources import OF_FILES, SOURCES
from v2a_data.workspace import Workspace

FORMAT = "v2a-data manifest"
FORMAT_VERSION = 1
# The workspace's own copy, and where the ledger keeps its hash.
COPY, META = "manifest.parquet", "manifest"
# Hashes that the copy had before `remove` took rows out of it.
EARLIER = "manifest/earlier"
_ROW_GROUP = 10_000
_BATCH = 1_000
# What a file may ask for before it is read.
_MAX_FILE_BYTES = 4_000_000_000
_MAX_ROWS = 20_000_000
_MAX_GROUP_BYTES = 500_000_000
_MAX_RECIPE_BYTES = 200_000
_MAX_VALUE_BYTES = 20_000
_MAX_LABELS = 100
# Keys of a recipe that stay on the machine: whoever rebuilds has folders, and decides which hosts are asked how often.
_PRIVATE = {
    "source": ("input", "lists", "lookup_sleep_s", *ADDRESSES),
    "fetch": (
        *("target_videos", "sleep_s", "sleep_requests_s", "per_day", "longest_wait_s", "source_address"),
        *("extractors", "hosts", "keep_free_gb", "keep_media"),
    ),
}
_JSON_COLUMNS = tuple(c.name for c in schema.MANIFEST.columns if c.kind == "json")
_HEX64 = re.compile(r"[0-9a-f]{64}\Z")
_VERSION = re.compile(r"[0-9A-Za-z.+_-]{1,40}\Z")
Values = dict[str, Any]


@dataclass(frozen=True)
class Manifest:
    """A manifest whose values were checked. `sha256` is that of the file."""

    path: Path
    sha256: str
    recipe: Recipe
    count: int

    @property
    def not_for_use(self) -> bool:
        return not_for_use(self.recipe)

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[Values]:
        """The rows in the order of their keys, JSON columns decoded."""
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(self.path, page_checksum_verification=True).iter_batches(
            _BATCH, columns=list(columns) if columns else None
        ):
            yield from map(_decoded, batch.to_pylist())

    def lookup(self, keys: Sequence[str], columns: Sequence[str]) -> dict[str, Values]:
        """Some columns of the rows with these keys, by key.

        Only row groups whose statistics allow the keys are read. Raises `FatalError` where a key is not found.
        """
        import pyarrow.parquet as pq

        if not keys:
            return {}
        wanted = ["key", *(name for name in columns if name != "key")]
        chosen = [("key", ">=", min(keys)), ("key", "<=", max(keys)), ("key", "in", list(keys))]
        table = pq.read_table(self.path, columns=wanted, filters=chosen, page_checksum_verification=True)
        found = {row["key"]: _decoded(row) for row in table.to_pylist()}
        for key in keys:
            if key not in found:
                raise FatalError(f"{self.path} has no row {key}, or its statistics are wrong")
        return found

    def videos(self) -> Iterator[Values]:
        """One row per video, that of its first clip."""
        names = ("video_id", "source", "native_id", "labels", "media_sha256", "media_bytes")
        before = None
        for row in self.rows(names):
            if row["video_id"] != before:
                yield row
            before = row["video_id"]

    @property
    def offline(self) -> bool:
        """True where no video has to be asked for at a site."""
        return all(row["video_id"][:2] in ("lo", "sy") for row in self.videos())


@dataclass(frozen=True)
class Exported:
    """What `export` wrote."""

    rows: int
    left_out: int
    sha256: str
    not_for_use: bool


def export(workspace: Workspace, path: Path, without: Sequence[str] = ()) -> Exported:
    """Write the manifest of the workspace's shards; videos and clips in `without` are left out.

    Same shards, same bytes (of one pyarrow version). Raises `UsageError` where there are no shards of the
    workspace's recipe, for an id that is not among them, and where the recipe names a model by a path.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    recipe = workspace.recipe()
    if recipe is None:
        raise UsageError(f"{workspace.root} has no recipe yet", hint="run fetch, curate and shard first")
    entries = sorted(open_shards(workspace.shards).entries, key=lambda entry: entry.key)
    kept = _without(entries, without)
    metadata = {"format": FORMAT, "format_version": str(FORMAT_VERSION), "recipe": _recipe_text(recipe)}
    if not_for_use(recipe):
        metadata["not_for_use"] = STAMP
    if recipe.leaky:
        metadata["leaky"] = LEAKY
    wanted = schema.arrow_schema(schema.MANIFEST.columns, metadata)
    rows = _rows(workspace, recipe, kept)
    with whole_file(path) as temporary:
        with pq.ParquetWriter(temporary, wanted, compression="zstd", write_page_checksum=True) as writer:
            while block := list(islice(rows, _ROW_GROUP)):
                writer.write_table(pa.Table.from_pylist(block, schema=wanted))
        sha256 = sha256_file(temporary)
    return Exported(len(kept), len(entries) - len(kept), sha256, not_for_use(recipe))


def _without(entries: Sequence[Entry], without: Sequence[str]) -> list[Entry]:
    left = set(without)
    videos = {entry.key.rpartition("_")[0] for entry in entries}
    known = videos | {entry.key for entry in entries}
    for name in without:
        if name not in known:
            raise UsageError(f"--without {name!r}: no such video or clip here; {nearest(name, sorted(known))}")
    kept = [entry for entry in entries if not {entry.key, entry.key.rpartition("_")[0]} & left]
    if not kept:
        raise UsageError("nothing is left to export", hint="run `v2a-data shard`, or leave out less")
    return kept


def _rows(workspace: Workspace, recipe: Recipe, entries: Sequence[Entry]) -> Iterator[Values]:
    shards, ledger = open_shards(workspace.shards), workspace.ledger
    builds = {name: ledger.meta(f"build/{name}") or "unknown" for name in sorted({entry.shard for entry in entries})}
    check = _Checks(recipe)
    for entry in entries:
        values = shards.values(entry)
        media = ledger.rows("SELECT sha256, bytes FROM media WHERE video_id = ?", (values["video_id"],))
        if values["recipe_hash"] != recipe.hash or not media:
            raise UsageError(
                f"{entry.key} is a sample of recipe {values['recipe_hash']}, the workspace holds {recipe.hash}",
                hint="run `v2a-data shard` first",
            )
        row = {name: values[name] for name in SAMPLE_FIELDS} | {
            "url": _address(values["video_id"]),
            "not_for_use": int(values["not_for_use"]),
            "sha256": entry.sha256,
            "shard": entry.shard,
            "media_sha256": media[0]["sha256"],
            "media_bytes": media[0]["bytes"],
            "build": builds[entry.shard],
        }
        trouble = check(row)
        if trouble:
            raise FatalError(f"{entry.shard}: {entry.key}: {trouble[0]} {trouble[1]}", hint="the shard is damaged")
        yield {name: encode_json(row[name]) if name in _JSON_COLUMNS else row[name] for name in schema.MANIFEST.names}


def _address(video_id: str) -> str | None:
    return SourceSection().watch_url.format(id=video_id[3:]) if video_id.startswith("yt-") else None


def _recipe_text(recipe: Recipe) -> str:
    """The recipe as it may be published. Raises `UsageError` where a deciding part names a place of this machine."""
    import tomli_w

    table = to_table(recipe)
    for section, keys in _PRIVATE.items():
        for key in keys:
            table[section].pop(key, None)
    if _is_path(table["train"].get("config")):
        del table["train"]["config"]
    named = next(_model_paths(table), None)
    if named is not None:
        raise UsageError(
            f"the recipe names a place of this machine: {named}",
            hint="name the model as `v2a-data models list` does; a manifest holds no paths but relative ones",
        )
    return tomli_w.dumps(table)


def _model_paths(table: Mapping[str, Any]) -> Iterator[str]:
    """Keys of scorers and splits that lead outside the folder in which a command is run."""
    for value in table.get("splits", {}).get("exclude", ()):
        if _is_outside(value):
            yield "splits.exclude"
    for scorer, options in table.get("scorers", {}).items():
        for key in ("model", "weights", "architecture_file", "list") if isinstance(options, Mapping) else ():
            if _is_outside(str(options.get(key) or "")):
                yield f"scorers.{scorer}.{key}"


def _is_outside(value: str) -> bool:
    path = PurePosixPath(value)
    return path.is_absolute() or value.startswith("~") or ".." in path.parts


def _is_path(value: object) -> bool:
    return isinstance(value, str) and ("/" in value or value.endswith(".toml"))


def open_manifest(path: Path) -> Manifest:
    """A manifest from anywhere, every value checked.

    Raises `UsageError` naming the row and column of what does not fit.
    """
    import pyarrow.parquet as pq

    if not path.is_file():
        raise UsageError(f"--manifest {path}: no such file")
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise UsageError(f"{path}: {path.stat().st_size} bytes, at most {_MAX_FILE_BYTES}")
    with _reading(path):
        _check_columns(path, pq.read_schema(path))
        file = pq.ParquetFile(path, page_checksum_verification=True)
        count = file.metadata.num_rows
        groups = (file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        if count > _MAX_ROWS or any(size > _MAX_GROUP_BYTES for size in groups):
            raise UsageError(f"{path}: larger than any manifest of this program")
        recipe = _read_recipe(path, file.schema_arrow.metadata or {})
    if not count:
        raise UsageError(f"{path}: a manifest without rows")
    _check_rows(path, recipe)
    return Manifest(path, sha256_file(path), recipe, count)


class _reading:  # noqa: N801 - reads as a statement
    """Whatever Arrow makes of a damaged file becomes a `UsageError`."""

    def __init__(self, path: Path, column: str | None = None) -> None:
        self.path, self.column = path, column

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        import pyarrow as pa

        if isinstance(error, (pa.ArrowException, OSError, ValueError, KeyError, OverflowError, MemoryError)):
            place = f", column {self.column!r}" if self.column else ""
            words = clean_text(str(error), 200) or type(error).__name__
            raise UsageError(
                f"{self.path}{place}: damaged, or no Parquet file: {words}",
                hint="a manifest comes from `v2a-data export`",
            ) from None


def _check_columns(path: Path, found: Any) -> None:
    metadata = found.metadata or {}
    if metadata.get(b"format") != FORMAT.encode():
        raise UsageError(f"{path} is a table, but no manifest", hint="a manifest comes from `v2a-data export`")
    version = metadata.get(b"format_version", b"").decode("utf-8", "replace")
    if version != str(FORMAT_VERSION):
        raise UsageError(f"{path}: manifest version {clean_text(version, 20)!r}, this program reads {FORMAT_VERSION}")
    wanted = schema.arrow_schema(schema.MANIFEST.columns)
    for name in found.names:
        if name not in wanted.names:
            raise UsageError(f"{path}: unknown column {clean_text(name, 60)!r}; {nearest(name[:60], wanted.names)}")
    if len(found.names) != len(set(found.names)):
        raise UsageError(f"{path}: a column is there twice")
    for field in wanted:
        if field.name not in found.names:
            raise UsageError(f"{path}: no column {field.name!r}")
        if found.field(field.name).type != field.type:
            raise UsageError(
                f"{path}: column {field.name!r} holds {found.field(field.name).type}, expected {field.type}"
            )


def _read_recipe(path: Path, metadata: Mapping[bytes, bytes]) -> Recipe:
    text = metadata.get(b"recipe", b"")
    where = f"the recipe in {path}"
    if not text or len(text) > _MAX_RECIPE_BYTES:
        raise UsageError(f"{where}: {len(text)} bytes of text, expected 1 to {_MAX_RECIPE_BYTES}")
    try:
        table = tomllib.loads(text.decode("utf-8"))
        recipe = build_recipe(table, where)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{where}: not valid TOML: {clean_text(str(error), 200)}") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise UsageError(f"{where}: {clean_text(str(error), 200)}") from None
    private = [f"{s}.{key}" for s, keys in _PRIVATE.items() for key in keys if key in table.get(s, {})]
    private += _model_paths(table)
    private += ["train.config"] if _is_path(recipe.train.get("config")) else []
    if private:
        raise UsageError(f"{where} names {private[0]}, which a manifest never holds")
    stamped = metadata.get(b"not_for_use") is not None
    if stamped != not_for_use(recipe):
        raise UsageError(f"{where} and the stamp 'not for use' do not agree")
    if (metadata.get(b"leaky") is not None) != recipe.leaky:
        raise UsageError(f"{where} and the mark 'leaky' do not agree")
    return recipe


def _check_rows(path: Path, recipe: Recipe) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    texts = [c.name for c in schema.MANIFEST.columns if c.kind in ("text", "json")]
    # Texts stay in dictionary form until their lengths are known: a small file can stand for very long ones.
    file = pq.ParquetFile(path, read_dictionary=texts, page_checksum_verification=True)
    check, number = _Checks(recipe), 0
    batches = iter(file.iter_batches(_BATCH, use_threads=False))
    while True:
        with _reading(path), at_most():
            batch = next(batches, None)
        if batch is None:
            # The head of a page has no checksum: damaged, it can hide all that follows.
            if number != file.metadata.num_rows:
                raise UsageError(f"{path}: damaged: {number} of its {file.metadata.num_rows} rows can be read")
            return
        columns: dict[str, list[Any]] = {}
        for name in schema.MANIFEST.names:
            with _reading(path, name):
                column = batch.column(name)
                if pa.types.is_dictionary(column.type):
                    longest = pc.max(pc.binary_length(column.dictionary)).as_py() or 0
                    if longest > _MAX_VALUE_BYTES:
                        raise ValueError(f"a value of {longest} bytes, at most {_MAX_VALUE_BYTES}")
                columns[name] = column.to_pylist()
        for i in range(batch.num_rows):
            row = {name: values[i] for name, values in columns.items()}
            trouble = _decode(row) or check(row)
            if trouble is not None:
                name, words = trouble
                shown = clean_text(repr(row.get(name)), 100)
                raise UsageError(f"{path}: row {number}, column {name!r}: {words}, got {shown}")
            number += 1


def _decode(row: Values) -> tuple[str, str] | None:
    """Decode the JSON columns in place; the column and what is wrong with it, or null."""
    for name in _JSON_COLUMNS:
        try:
            row[name] = json.loads(row[name], parse_constant=_no_constant)
        except (TypeError, ValueError, RecursionError):
            return name, "expected JSON"
    return None


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _decoded(row: Values) -> Values:
    return {name: json.loads(value) if name in _JSON_COLUMNS else value for name, value in row.items()}


def _text(limit: int, *, empty: bool = False) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and clean_text(value, limit) == value and (empty or value != "")


def _matches(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and pattern.match(value) is not None


def _texts(most: int, limit: int) -> Callable[[Any], bool]:
    one = _text(limit)
    return lambda value: isinstance(value, list) and len(value) <= most and all(map(one, value))


def _from_to(low: float, high: float) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, (int, float)) and math.isfinite(value) and low <= value <= high


# What a value must be, whatever the other ones are.
_ALONE: dict[str, tuple[Callable[[Any], bool], str]] = {
    "source": (lambda value: value in SOURCES and value != "manifest", "expected a source of this program"),
    "label": (_text(2000, empty=True), "expected clean text"),
    "labels": (_texts(_MAX_LABELS, 2000), f"expected a list of at most {_MAX_LABELS} clean texts"),
    "text": (_text(2000), "expected clean text of at most 2000 characters"),
    "start_s": (_from_to(0, 999_999), "expected seconds"),
    "stop_s": (_from_to(0, 1_000_999), "expected seconds"),
    "split": (lambda value: value in SPLITS, f"expected one of {', '.join(SPLITS)}"),
    "picture_error_s": (_from_to(0, 10), "expected seconds"),
    "sound_error_samples": (lambda value: value is None or abs(value) <= 1_000_000, "expected a number of samples"),
    "models": (_texts(50, 400), "expected a list of clean texts"),
    "licence": (_text(400), "expected clean text"),
    "v2a_data": (_matches(_VERSION), "expected a version"),
    "sha256": (_matches(_HEX64), "expected 64 hex digits"),
    "media_sha256": (_matches(_HEX64), "expected 64 hex digits"),
    "media_bytes": (_from_to(1, 1e12), "expected a number of bytes"),
    "build": (_text(400), "expected clean text"),
}
_SAME_IN_A_VIDEO = ("source", "native_id", "labels", "media_sha256", "media_bytes", "label")


class _Checks:
    """Calls with a row give the column that does not fit and why, or null. Rows come in the order of the file."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.before: Values | None = None
        self.splits: dict[str, str] = {}
        self.shards: dict[str, str] = {}
        form = recipe.shard
        self.fixed: Values = {
            "width": form.width,
            "height": form.height,
            "fps": f"{form.fps.numerator}/{form.fps.denominator}",
            "rate_hz": form.rate_hz,
            "channels": form.channels,
            "verdict": "keep",
            "recipe": recipe.name,
            "recipe_hash": recipe.hash,
            "not_for_use": int(not_for_use(recipe)),
        }
        self.shard_names = {
            split: re.compile(rf"{split}/{re.escape(recipe.name)}-{split}-\d{{6}}\.tar\Z") for split in SPLITS
        }

    def __call__(self, row: Values) -> tuple[str, str] | None:
        for name, (fits, words) in _ALONE.items():
            if not fits(row[name]):
                return name, words
        for name, value in self.fixed.items():
            if row[name] != value:
                return name, f"expected {value!r}, as the recipe says"
        return self._video(row) or self._clip(row) or self._neighbours(row)

    def _video(self, row: Values) -> tuple[str, str] | None:
        video_id, native = row["video_id"], row["native_id"]
        if not _is_video_id(video_id) or video_id.startswith("y8-"):
            return "video_id", "expected a video id"
        kind, rest = video_id[:2], video_id[3:]
        homes = {"lo": OF_FILES, "sy": ("synthetic",)}.get(kind) or set(SOURCES) - {"local", "synthetic"}
        if row["source"] not in homes:
            return "source", f"does not have videos such as {video_id}"
        if native is not None and not _text(1000)(native):
            return "native_id", "expected clean text"
        if kind == "yt" and (native != rest or not is_youtube_id(native)):
            return "native_id", f"expected {rest!r}"
        if kind != "yt" and native is not None and _leads_outside(native):
            return "native_id", "expected a name below a folder"
        if row["url"] not in (None, _address(video_id)):
            return "url", f"expected {_address(video_id)!r}"
        if kind == "lo" and row["media_sha256"][:16] != rest:
            return "media_sha256", f"expected that of {video_id}"
        if row["labels"] != sorted(set(row["labels"])):
            return "labels", "expected each once, sorted"
        if row["label"] not in (row["labels"] or [""]):
            return "label", "expected one of the labels"
        if not _is_video_id(row["group_id"]):
            return "group_id", "expected a video id"
        return None

    def _clip(self, row: Values) -> tuple[str, str] | None:
        start_s, stop_s, clips, form = row["start_s"], row["stop_s"], self.recipe.clips, self.recipe.shard
        if row["key"] != clip_id(row["video_id"], start_s):
            return "key", f"expected {clip_id(row['video_id'], start_s)!r}"
        windows = round((stop_s - start_s) / schema.WINDOW_S)
        seconds = windows * schema.WINDOW_S
        most = clips.seconds_of(row["label"])
        low = most if clips.length == "fixed" else clips.min_seconds
        if abs(stop_s - start_s - seconds) > 1e-6 or not low <= seconds <= most:
            return "stop_s", f"expected whole windows, from {low:g} to {most:g} s after start_s"
        frames = round((stop_s - start_s) * form.fps)
        for name, count in (("frames", frames), ("audio_samples", round(frames * form.rate_hz / form.fps))):
            if row[name] != count:
                return name, f"expected {count}"
        for name in ("seen", "heard"):
            scores = row[name]
            if not isinstance(scores, list) or len(scores) != windows or not all(map(_is_score, scores)):
                return name, f"expected {windows} scores from 0 to 1 or null"
        if not isinstance(row["shard"], str) or not self.shard_names[row["split"]].match(row["shard"]):
            return "shard", f"expected {row['split']}/{self.recipe.name}-{row['split']}-NNNNNN.tar"
        return None

    def _neighbours(self, row: Values) -> tuple[str, str] | None:
        """What must agree between rows: order, spans of a video, groups and splits."""
        before, self.before = self.before, row
        if before is not None and row["key"] <= before["key"]:
            return "key", "expected keys in rising order, each once"
        if before is not None and row["video_id"] == before["video_id"]:
            if row["start_s"] < before["stop_s"] - 1e-6:
                return "start_s", "overlaps the clip before"
            for name in _SAME_IN_A_VIDEO:
                if row[name] != before[name]:
                    return name, f"differs between clips of {row['video_id']}"
        if not self.recipe.leaky and self.splits.setdefault(row["group_id"], row["split"]) != row["split"]:
            return "split", f"group {row['group_id']} is in two splits"
        return None


def _is_video_id(value: Any) -> bool:
    try:
        return bool(check_video_id(value))
    except (ValueError, TypeError):
        return False


def _is_score(value: Any) -> bool:
    return value is None or (
        isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1  # NaN is no JSON
    )


def _leads_outside(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts


def keep_copy(workspace: Workspace, manifest: Manifest) -> None:
    """Make the manifest the workspace's own: what its curate and shard go by from now on."""
    target = workspace.root / COPY
    with whole_file(target) as temporary:
        shutil.copyfile(manifest.path, temporary)
        if sha256_file(temporary) != manifest.sha256:
            raise FatalError(f"{manifest.path} changed while it was read", hint="run the command again")
    with workspace.ledger.transaction():
        workspace.ledger.set_meta(META, manifest.sha256)


def own_manifest(workspace: Workspace) -> Manifest | None:
    """The manifest that the workspace is rebuilt from, null in one that is not.

    Raises `FatalError` where the copy is not the file that was checked.
    """
    wanted = workspace.ledger.meta(META)
    if wanted is None:
        return None
    import pyarrow.parquet as pq

    path = workspace.root / COPY
    if not path.is_file() or sha256_file(path) != wanted:
        raise FatalError(f"{path} is missing or damaged", hint="run `v2a-data fetch --manifest FILE` again")
    metadata = pq.read_metadata(path)
    return Manifest(path, wanted, _read_recipe(path, metadata.metadata or {}), metadata.num_rows)


def read_manifest(path: Path) -> Any:
    """A manifest file as a pandas frame, every value checked, JSON columns decoded."""
    import pandas as pd

    frame = pd.DataFrame(list(open_manifest(path).rows()), columns=list(schema.MANIFEST.names))
    return frame.assign(not_for_use=frame.not_for_use.astype(bool))
