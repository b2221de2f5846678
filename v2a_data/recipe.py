"""Recipes: everything a dataset is made with, in TOML, read strictly.

A recipe is a tree of frozen dataclasses; an unknown key is an error that names the nearest known
one. `[train]` stays a table here: the trainer builds its own dataclasses from it with `build`.
"""

import dataclasses
import hashlib
import ipaddress
import json
import math
import re
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from string import Formatter
from typing import Any, Literal, TypeVar

from v2a_data import resources
from v2a_data.errors import UsageError, nearest
from v2a_data.ids import clean_text

T = TypeVar("T")
_LABEL_ID = re.compile(r"/[mgt]/[A-Za-z0-9_]{1,20}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Numbers outside of these are slips: [lowest, highest] by key.
_RANGES: dict[str, tuple[float, float]] = {
    "source.lookup_sleep_s": (0, 3600),
    "fetch.target_videos": (1, 1e9),
    "fetch.sleep_s": (0, 86_400),
    "fetch.max_duration_s": (1, 1e6),
    "fetch.max_bytes": (1, 1e12),
    "fetch.sleep_requests_s": (0, 3600),
    "fetch.per_day": (1, 1e9),
    "fetch.longest_wait_s": (0, 1e6),
    "fetch.keep_free_gb": (0, 1e6),
    "clips.seconds": (2, 600),
    "clips.min_seconds": (2, 600),
    "clips.max_per_video": (1, 1e6),
    "clips.max_per_channel": (1, 1e9),
    "clips.min_source_fps": (0, 1000),
    "splits.gap_s": (0, 86_400),
    "shard.width": (16, 4096),
    "shard.height": (16, 4096),
    "shard.fps": (1, 120),
    "shard.rate_hz": (4000, 192_000),
    "shard.crf": (0, 51),
    "shard.samples_per_shard": (1, 1e6),
}
# Keys that came after datasets were made: at their defaults they leave a recipe's hash as it was.
_LATER = {
    "clips": ("label_seconds", "max_per_channel"),
    "splits": ("by", "gap_s", "exclude"),
    "duplicates": ("keep",),
}
# Templates of `[source]`, each with what is put into it.
ADDRESSES: dict[str, frozenset[str]] = {
    "label_url": frozenset({"mid"}),
    "lookup_url": frozenset({"prefix", "id"}),
    "plan_url": frozenset({"version", "kind", "subset"}),
    "shard_url": frozenset({"version", "kind", "subset", "file"}),
    "audioset_url": frozenset({"list"}),
    "strong_url": frozenset({"list"}),
    "vggsound_url": frozenset(),
    "ave_url": frozenset(),
    "watch_url": frozenset({"id"}),
}
LOOPBACK = ("127.0.0.1", "localhost", "::1")
# The field that `[combine]` adds to those of the scorers.
RIGHT = "right"
Table = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SourceSection:
    """Where ids come from. The addresses are templates; tests and the demo point them at loopback.

    `input` is a folder of media, `lists` one of the source's own list files, which are then not downloaded. `subsets`
    are the lists to take (empty: the source's usual ones). Segments that AudioSet also lists under a label of
    `without`, or under one below it, are left out. `label_ids` holds the source's ids of labels that its table does
    not have, or has under another name. `lookup_sleep_s` is the pause before each lookup of an id.
    """

    name: str = "youtube8m"
    input: str | None = None
    lists: str | None = None
    subsets: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    route: Literal["lookup", "records"] = "lookup"
    file_names: Literal["own", "youtube"] = "own"
    label_ids: dict[str, str] = field(default_factory=dict)
    lookup_sleep_s: float = 0.1
    label_url: str = "https://storage.googleapis.com/data.yt8m.org/2/j/v/{mid}.js"
    lookup_url: str = "https://storage.googleapis.com/data.yt8m.org/2/j/i/{prefix}/{id}.js"
    plan_url: str = "http://data.yt8m.org/{version}/download_plans/{kind}_{subset}.json"
    shard_url: str = "http://us.data.yt8m.org/{version}/{kind}/{subset}/{file}"
    audioset_url: str = "https://storage.googleapis.com/us_audioset/youtube_corpus/v1/csv/{list}.csv"
    strong_url: str = "https://storage.googleapis.com/us_audioset/youtube_corpus/strong/{list}.tsv"
    vggsound_url: str = "https://www.robots.ox.ac.uk/~vgg/data/vggsound/vggsound.csv"
    ave_url: str = "https://raw.githubusercontent.com/YapengTian/AVE-ECCV18/master/data/Annotations.txt"
    watch_url: str = "https://www.youtube.com/watch?v={id}"


@dataclass(frozen=True, kw_only=True)
class FetchSection:
    """How media are fetched.

    `sleep_s` is the pause between two downloads, drawn from the range, `sleep_requests_s` that between the requests
    before a download; `per_day` is how many downloads may start within 24 hours. All three count per outgoing address:
    the machine's own, or `source_address`. When a site asks to wait, up to `longest_wait_s` is waited for, and for
    more than that the run stops. `licence = "cc"` takes only what its site calls Creative Commons. No download starts,
    and none goes on, with less than `keep_free_gb` of free disk: for so long as for a site is waited for space.
    Where `keep_media` is false, `shard` deletes the media of videos whose clips it has written.
    """

    target_videos: int = 200
    format_sort: str = "res:360,vcodec:h264,acodec:aac"
    sleep_s: tuple[float, float] = (10.0, 20.0)
    sleep_requests_s: float = 0.75
    per_day: int = 500
    longest_wait_s: float = 60.0
    source_address: str | None = None
    licence: Literal["any", "cc"] = "any"
    extractors: tuple[str, ...] = ("youtube",)
    hosts: tuple[str, ...] = ("youtube.com", "youtu.be", "googlevideo.com", "youtubei.googleapis.com")
    max_duration_s: float = 3600.0
    max_bytes: int = 4_000_000_000
    keep_free_gb: float = 1.0
    keep_media: bool = True

    @property
    def own_site(self) -> bool:
        """Whether everything is fetched from this machine itself, which needs no budget."""
        return all(host in LOOPBACK for host in self.hosts)


@dataclass(frozen=True, kw_only=True)
class ClipsSection:
    """How clips are laid into stretches. Null means no cap and no floor.

    `label_seconds` holds the length of clips of single labels; all others have `seconds`. Above the caps the clips
    with the highest mean of min(seen, heard) stay; the one per channel counts videos whose channel is known.
    """

    length: Literal["fixed", "natural"] = "fixed"
    seconds: float = 10.0
    label_seconds: dict[str, float] = field(default_factory=dict)
    min_seconds: float = 2.0
    max_per_video: int | None = None
    max_per_channel: int | None = None
    min_source_fps: float | None = None

    def seconds_of(self, label: str) -> float:
        """Length of a clip of this label, the greatest one where lengths are natural."""
        return self.label_seconds.get(label, self.seconds)


@dataclass(frozen=True, kw_only=True)
class SplitsSection:
    """A share of each label's clips (0.05) or, as a whole number, at least so many clips of each label.

    `by = "group"`: whole groups, videos and channels. `by = "within_video"`: each video is cut in time, train first,
    with clips closer than `gap_s` to the next part dropped; that leaks by nature, and is said so. `exclude` names
    files of ids (CSV, or manifests) whose videos are dropped.
    """

    seed: int = 0
    validation: float | int = 0.05
    test: float | int = 0.05
    by: Literal["group", "within_video"] = "group"
    gap_s: float = 10.0
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DuplicatesSection:
    """What becomes of near-duplicates: the best clip stays, or all do. Either way they share a split."""

    keep: Literal["best", "all"] = "best"


@dataclass(frozen=True, kw_only=True)
class ShardSection:
    """The form of a sample: size in px, frames per second as a fraction, sound rate in Hz.

    `fit` is what becomes of another shape: `pad` keeps all of the picture, `crop` fills the sample with its middle.
    """

    width: int = 256
    height: int = 144
    fit: Literal["pad", "crop"] = "pad"
    fps: Fraction = Fraction(25)
    rate_hz: int = 16000
    channels: int = 1
    crf: int = 23
    samples_per_shard: int = 1000


@dataclass(frozen=True, kw_only=True)
class CalibrationSection:
    """What votes said about the rules, written by `v2a-data calibrate`; triples are value, low, high.

    `decides` is the hash of the rules and scorers that it is about: with others it is dropped. `bound` is the
    precision that the votes support at the risk of the `question`, counted from 0, that was asked.
    """

    precision: float
    confidence: float
    bound: float
    question: int
    decides: str
    votes_sha256: str
    votes: int
    choosing: int
    testing: int
    kept: int
    drawn: bool
    measured_precision: tuple[float, float, float]
    measured_recall: tuple[float, float, float]
    measured_yield: tuple[float, float, float]
    allowed: tuple[str, ...] = ()
    models: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CombineSection:
    """The field `right`: a logistic combination of scores (`curate/combine.py`), fitted by `v2a-data calibrate`."""

    intercept: float
    weights: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole recipe. `scorers` holds one configuration dataclass per scorer, by name."""

    name: str
    labels: tuple[str, ...] = ()
    source: SourceSection = field(default_factory=SourceSection)
    fetch: FetchSection = field(default_factory=FetchSection)
    scorers: dict[str, Any] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    clips: ClipsSection = field(default_factory=ClipsSection)
    duplicates: DuplicatesSection = field(default_factory=DuplicatesSection)
    splits: SplitsSection = field(default_factory=SplitsSection)
    shard: ShardSection = field(default_factory=ShardSection)
    train: Table = field(default_factory=dict)
    combine: CombineSection | None = None
    calibration: CalibrationSection | None = None

    @property
    def decides(self) -> str:
        """16 hex digits over what evidence is about: rules, scorers and their combination."""
        combined = {"combine": self.combine} if self.combine else {}
        return digest(to_table({"rules": self.rules, "scorers": self.scorers, **combined}))

    @property
    def fields(self) -> list[str]:
        """What rules can name: what the scorers write, and `right` where scores are combined."""
        from v2a_data.scorers import SCORERS

        names = [item.name for name in self.scorers for item in SCORERS[name].writes]
        return [*names, RIGHT] if self.combine else names

    @property
    def leaky(self) -> bool:
        """Whether splits cut through videos."""
        return self.splits.by == "within_video"

    @property
    def hash(self) -> str:
        """16 hex digits over the parts that decide which clips exist and what is in them.

        Addresses, pacing, the size of shards and training are left out: they change nothing in a clip.
        """
        table = to_table(self)
        deciding = {key: table.get(key) for key in ("labels", "scorers", "rules", "clips", "splits", "shard")}
        deciding["shard"] = {key: value for key, value in deciding["shard"].items() if key != "samples_per_shard"}
        deciding["source"] = self.source.name
        deciding |= {"combine": table["combine"]} if self.combine else {}
        defaults = to_table(Recipe(name="defaults"))
        for section, keys in _LATER.items():
            changed = {
                key: table[section][key] for key in keys if table[section].get(key) != defaults[section].get(key)
            }
            kept = {key: value for key, value in table[section].items() if key not in keys} | changed
            deciding.pop(section, None)
            deciding |= {section: kept} if kept else {}
        return digest(deciding)

    def scorer_hash(self, name: str) -> str:
        """16 hex digits over one scorer's configuration: equal hashes mean equal scores."""
        return digest(to_table(self.scorers[name]))


def digest(value: Any) -> str:
    """16 hex digits of a JSON-like value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def to_table(value: Any) -> Any:
    """Dataclasses to plain TOML values; null fields are left out, fractions become "25/1"."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: to_table(item) for name, item in pairs if item is not None}
    if isinstance(value, Mapping):
        return {str(key): to_table(item) for key, item in value.items() if item is not None}
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, (list, tuple)):
        return [to_table(item) for item in value]
    return value


def build(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """A dataclass from a table, strictly.

    Raises `UsageError` naming `where` for an unknown key (with the nearest known one), a missing
    key, or a value of another type.
    """
    if not isinstance(table, Mapping):
        raise UsageError(f"{where}: expected a table, got {table!r}")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            raise UsageError(f"{where}: unknown key {key!r}; {nearest(key, list(fields))}")
    missing = [
        name
        for name, f in fields.items()
        if name not in table and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise UsageError(f"{where}: missing {', '.join(missing)}")
    return cls(**{key: _convert(hints[key], value, f"{where}.{key}") for key, value in table.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(args, value, where)
    if origin is Literal:
        if value not in args:
            raise UsageError(f"{where}: {value!r} is none of {', '.join(map(repr, args))}")
        return value
    if origin is tuple:
        return _convert_tuple(args, value, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise UsageError(f"{where}: expected a table, got {value!r}")
        return {str(key): _convert(args[1], item, f"{where}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, where)
    return _convert_scalar(hint, value, where)


def _convert_union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in args:
        return None
    errors = []
    # An exact type wins, so that 5 stays a count where `float | int` is allowed.
    for arg in sorted((a for a in args if a is not type(None)), key=lambda a: type(value) is not a):
        try:
            return _convert(arg, value, where)
        except UsageError as error:
            errors.append(error)
    raise errors[0]


def _convert_tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise UsageError(f"{where}: expected a list, got {value!r}")
    if len(args) == 2 and args[1] is Ellipsis:
        return tuple(_convert(args[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if len(args) != len(value):
        raise UsageError(f"{where}: expected {len(args)} values, got {len(value)}")
    return tuple(_convert(arg, item, f"{where}[{i}]") for i, (arg, item) in enumerate(zip(args, value, strict=True)))


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Fraction:
        try:
            number = Fraction(value)
        except (ValueError, TypeError, ZeroDivisionError, OverflowError):
            raise UsageError(f'{where}: expected a fraction such as "25/1", got {value!r}') from None
        if number <= 0:
            raise UsageError(f"{where}: must be above 0, got {value!r}")
        return number
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise UsageError(
                f"{where}: expected a number below 1.8e308, got one of {value.bit_length()} bits"
            ) from None
    if isinstance(value, hint) and not (hint in (int, float) and isinstance(value, bool)):
        return value
    raise UsageError(f"{where}: expected {hint.__name__}, got {value!r}")


def build_recipe(table: Mapping[str, Any], where: str) -> Recipe:
    """A recipe from a parsed TOML table; scorers and rules are checked against each other."""
    from v2a_data.curate.rules import parse_rules
    from v2a_data.scorers import SCORERS

    plain = {key: value for key, value in table.items() if key != "scorers"}
    recipe = build(Recipe, plain, where)
    scorers: dict[str, Any] = {}
    for name, options in sorted(dict(table.get("scorers", {})).items()):
        scorers[name] = build(SCORERS[name].Config, options, f"{where}.scorers.{name}")
    recipe = dataclasses.replace(recipe, scorers=scorers)
    parse_rules(recipe.rules, recipe.fields, where=f"{where}.rules")
    _check(recipe, where)
    if recipe.calibration is not None and recipe.calibration.decides != recipe.decides:
        return dataclasses.replace(recipe, calibration=None)
    return recipe


def _check(recipe: Recipe, where: str) -> None:
    clips, shard = recipe.clips, recipe.shard
    if not _NAME.fullmatch(recipe.name):
        raise UsageError(f"{where}.name: letters, digits, _ and - only, up to 64, got {recipe.name!r}")
    if any(not label or clean_text(label) != label for label in recipe.labels):
        raise UsageError(f"{where}.labels: a label is printable text, got {list(recipe.labels)!r}")
    _check_ranges(recipe, where)
    _check_combination(recipe, where)
    _check_addresses(recipe.source, where)
    if any(not text or clean_text(text) != text for text in (*recipe.source.subsets, *recipe.source.without)):
        raise UsageError(f"{where}.source: subsets and without hold printable text")
    for seconds in (clips.seconds, *clips.label_seconds.values()):
        if not 2 <= seconds <= _RANGES["clips.seconds"][1] or seconds % 2:
            raise UsageError(f"{where}.clips.seconds: a clip is whole windows of 2 s, got {seconds:g}")
    for label in clips.label_seconds:
        if recipe.labels and label not in recipe.labels:
            raise UsageError(f"{where}.clips.label_seconds: {nearest(label, list(recipe.labels))}, got {label!r}")
    if (shard.rate_hz / shard.fps).denominator != 1:
        raise UsageError(f"{where}.shard: rate_hz / fps must be whole, got {shard.rate_hz} / {shard.fps}")
    if shard.width % 2 or shard.height % 2:
        raise UsageError(f"{where}.shard: width and height must be even, got {shard.width}x{shard.height}")
    if shard.channels not in (1, 2):
        raise UsageError(f"{where}.shard.channels: 1 or 2, got {shard.channels}")


def _check_combination(recipe: Recipe, where: str) -> None:
    if recipe.combine is None:
        return
    known = [name for name in recipe.fields if name != RIGHT]
    for name in recipe.combine.weights:
        if name not in known:
            raise UsageError(f"{where}.combine.weights: no scorer writes {name!r}; {nearest(name, known)}")
    for name, weight in (("intercept", recipe.combine.intercept), *recipe.combine.weights.items()):
        if not math.isfinite(weight):
            raise UsageError(f"{where}.combine.{name}: a finite number, got {weight}")
    if not recipe.combine.weights:
        raise UsageError(f"{where}.combine.weights: combines nothing")


def _check_ranges(recipe: Recipe, where: str) -> None:
    for key, (low, high) in _RANGES.items():
        section, _, name = key.partition(".")
        value = getattr(getattr(recipe, section), name)
        for number in value if isinstance(value, tuple) else (value,):
            if number is not None and not low <= number <= high:
                raise UsageError(f"{where}.{key}: from {low:g} to {high:g}, got {float(number):g}")
    if recipe.fetch.sleep_s[0] > recipe.fetch.sleep_s[1]:
        raise UsageError(f"{where}.fetch.sleep_s: [shortest, longest], got {list(recipe.fetch.sleep_s)}")
    if recipe.fetch.source_address is not None:
        try:
            ipaddress.ip_address(recipe.fetch.source_address)
        except ValueError:
            raise UsageError(
                f"{where}.fetch.source_address: an address of this machine, got {recipe.fetch.source_address!r}"
            ) from None
    for name in ("validation", "test"):
        share = getattr(recipe.splits, name)
        if share < 0 or (isinstance(share, float) and share > 1):
            raise UsageError(f"{where}.splits.{name}: a share from 0 to 1, or a whole number of clips, got {share}")


def _check_addresses(source: SourceSection, where: str) -> None:
    for label, number in source.label_ids.items():
        if not _LABEL_ID.fullmatch(number):
            raise UsageError(f"{where}.source.label_ids.{label}: an id such as /m/0cmf2, got {number!r}")
    for name, fields in ADDRESSES.items():
        try:
            parts = [part[1:] for part in Formatter().parse(getattr(source, name)) if part[1] is not None]
            # A width would be a way to fill the memory.
            found = {field if not (form or conversion) else "" for field, form, conversion in parts}
        except ValueError:
            found = {""}
        if not found <= fields:
            wanted = " and ".join("{" + field + "}" for field in sorted(fields))
            words = f"with {wanted} and no other braces" if fields else "without braces"
            raise UsageError(f"{where}.source.{name}: an address {words}")


def parse_sets(sets: Sequence[str]) -> Table:
    """`["splits.test=0.1"]` → `{"splits": {"test": 0.1}}`. Values are TOML; anything else is text."""
    table: Table = {}
    for item in sets:
        key, separator, text = item.partition("=")
        if not separator or not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_ -]+)*", key):
            raise UsageError(f"--set {item!r}: expected key=value, for example splits.test=0.1")
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text
        merge(table, _nest(key.split("."), value))
    return table


def _nest(path: list[str], value: Any) -> Table:
    return {path[0]: _nest(path[1:], value) if len(path) > 1 else value}


def merge(base: Table, over: Mapping[str, Any]) -> Table:
    """Lay `over` onto `base`, table by table; `base` is changed and returned."""
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            merge(base[key], value)
        else:
            base[key] = value
    return base


def find_recipe(name_or_file: str) -> Path:
    """The file of a recipe given by path or by the name of a shipped one."""
    path = Path(name_or_file)
    if path.suffix == ".toml" or "/" in name_or_file:
        if not path.is_file():
            raise UsageError(f"recipe file {name_or_file} does not exist")
        return path
    shipped = resources.pipelines() / f"{name_or_file}.toml"
    if not shipped.is_file():
        known = [p.stem for p in resources.pipelines().glob("*.toml")]
        raise UsageError(f"no recipe named {name_or_file!r}; {nearest(name_or_file, known)}")
    return shipped


def read_table(path: Path) -> Table:
    """A TOML file as a table. Raises `UsageError` with the place of a syntax error."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None


def load_recipe(name_or_file: str, over: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe by name or file, with overriding values laid on top."""
    path = find_recipe(name_or_file)
    return build_recipe(merge(read_table(path), over or {}), path.name)


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as TOML text; reading it back gives an equal recipe."""
    import tomli_w

    return tomli_w.dumps(to_table(recipe))


def diff(old: Recipe, new: Recipe) -> list[str]:
    """Lines `key: old → new` for every value that differs, addresses and pacing included."""
    before, after = dict(_flat(to_table(old))), dict(_flat(to_table(new)))
    keys = sorted(before.keys() | after.keys())
    return [f"{key}: {before.get(key)!r} → {after.get(key)!r}" for key in keys if before.get(key) != after.get(key)]


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
