"""Every column of every table: type, unit, meaning. SQL and Arrow schemas are made from here."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa

# Of Parquet files, and of the ledger.
SCHEMA_VERSION = 1
LEDGER_VERSION = 3
WINDOW_S = 2.0

Kind = Literal["text", "int", "real", "json", "blob"]


@dataclass(frozen=True)
class Column:
    """One column. `references` names "table(column)"."""

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    null: bool = True
    references: str | None = None


@dataclass(frozen=True)
class Table:
    """One ledger table. `after_insert` is SQL that the database runs for each row that is added (`new`), `after_update`
    for each that changes (`old` and `new`), `after_delete` for each that goes (`old`)."""

    name: str
    meaning: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    indexes: tuple[tuple[str, ...], ...] = ()
    after_insert: str | None = None
    after_update: str | None = None
    after_delete: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def ddl(self) -> list[str]:
        """The SQL statements that create the table."""
        lines = [self._line(column) for column in self.columns]
        if not self.auto_key:
            lines.append(f"PRIMARY KEY ({', '.join(self.key)})")
        statements = [f"CREATE TABLE IF NOT EXISTS {self.name} (\n  " + ",\n  ".join(lines) + "\n) STRICT"]
        for columns in self.indexes:
            index = f"{self.name}_{'_'.join(columns)}"
            statements.append(f"CREATE INDEX IF NOT EXISTS {index} ON {self.name} ({', '.join(columns)})")
        if self.after_insert:
            trigger = f"CREATE TRIGGER IF NOT EXISTS {self.name}_added AFTER INSERT ON {self.name}"
            statements.append(f"{trigger} BEGIN {self.after_insert}; END")
        if self.after_update:
            trigger = f"CREATE TRIGGER IF NOT EXISTS {self.name}_changed AFTER UPDATE ON {self.name}"
            statements.append(f"{trigger} BEGIN {self.after_update}; END")
        if self.after_delete:
            trigger = f"CREATE TRIGGER IF NOT EXISTS {self.name}_gone AFTER DELETE ON {self.name}"
            statements.append(f"{trigger} BEGIN {self.after_delete}; END")
        return statements

    def add_columns(self, have: Collection[str]) -> list[str]:
        """The SQL statements that add the columns which a table does not have."""
        missing = [column for column in self.columns if column.name not in have]
        return [f"ALTER TABLE {self.name} ADD COLUMN {self._line(column)}" for column in missing]

    @property
    def auto_key(self) -> bool:
        return self.key == ("id",)

    def _line(self, column: Column) -> str:
        kind = {"text": "TEXT", "int": "INTEGER", "real": "REAL", "json": "TEXT", "blob": "BLOB"}[column.kind]
        line = f"{column.name} {kind}"
        if self.auto_key and column.name == "id":
            return line + " PRIMARY KEY AUTOINCREMENT"
        if not column.null:
            line += " NOT NULL"
        if column.references:
            line += f" REFERENCES {column.references}"
        return line


def _text(name: str, meaning: str, **more: object) -> Column:
    return Column(name, "text", meaning, **more)  # type: ignore[arg-type]


VIDEOS = Table(
    "videos",
    "One row per video or listed id; none ever vanishes but by `remove`.",
    ("video_id",),
    (
        _text("video_id", "yt-, lo-, sy- id; y8-<4 characters> while a YouTube-8M id has no YouTube id", null=False),
        _text("source", "source that named it first", null=False),
        _text("source_key", "the source's own key for it (YouTube-8M: 4 characters)"),
        _text("native_id", "id on the site it lives on, or path inside a local folder"),
        _text("url", "where it is fetched from"),
        Column("labels", "json", "labels it was listed under, sorted", null=False),
        Column("position", "int", "place in the source's list", null=False),
        Column("wanted_start_s", "real", "start of the source's own segment", "s"),
        Column("wanted_stop_s", "real", "end of the source's own segment", "s"),
        _text("state", "listed, fetched, later, gone, unusable, quarantined", null=False),
        _text("reason", "why it is in this state"),
        _text("title", "title that its site gives it, cleaned; null: not known"),
    ),
    indexes=(("state", "reason"), ("source", "position")),
)
ATTEMPTS = Table(
    "attempts",
    "Every attempt at a video, as it happened.",
    ("id",),
    (
        Column("id", "int", "number of the attempt", null=False),
        _text("video_id", "video", null=False),
        _text("stage", "list; fetch, where it failed extract, download, probe; score, cut", null=False),
        _text("class", "ok, or a failure class or reason", null=False),
        _text("message", "the tool's own words, control characters removed"),
        _text("tool_version", "yt-dlp or PyAV version"),
        _text("at", "when, UTC", null=False),
        _text("host", "machine", null=False),
        Column("seconds", "real", "duration", "s"),
        Column("tries", "int", "how many-th try to fetch it; null at other stages"),
    ),
    indexes=(("video_id",),),
)
STARTS = Table(
    "starts",
    "When downloads from a site started, per outgoing address: what pauses and the day's budget are reckoned from.",
    ("id",),
    (
        Column("id", "int", "number of the start", null=False),
        _text("address", "outgoing address; empty: the machine's own", null=False),
        _text("video_id", "video while it is under way; null when its end is recorded"),
        Column("at", "real", "start, since 1970, UTC", "s", null=False),
        Column("ended_at", "real", "end, since 1970, UTC", "s"),
    ),
    indexes=(("address", "at"), ("video_id",)),
)
MEDIA = Table(
    "media",
    "Media files in the workspace.",
    ("video_id",),
    (
        _text("video_id", "video", null=False, references="videos(video_id)"),
        _text("path", "file, relative to the workspace", null=False),
        Column("bytes", "int", "size", "byte", null=False),
        _text("sha256", "hash of the file", null=False),
        Column("probe", "json", "what it holds (media.probe.Probe)", null=False),
        _text("deleted", "why the file was deleted: `sharded`; null: it is here"),
    ),
    indexes=(("sha256",),),
)
PLANS = Table(
    "plans",
    "Work fixed in advance, so that a resumed run makes the same files.",
    ("plan", "n", "position"),
    (
        _text("plan", "hash of what is planned", null=False),
        _text("stage", "score or shard", null=False),
        _text("name", "scorer set or shard name", null=False),
        Column("n", "int", "part of the plan", null=False),
        Column("position", "int", "place inside the part", null=False),
        _text("item", "video_id or clip_id", null=False),
    ),
    indexes=(("stage", "name"), ("item",)),
)
PARTS = Table(
    "parts",
    "Score files that count: a file not listed here does not exist.",
    ("scorer", "version", "plan", "n"),
    (
        _text("scorer", "scorer", null=False),
        Column("version", "int", "its version", null=False),
        _text("config", "hash of its configuration and model", null=False),
        _text("plan", "plan it belongs to", null=False),
        Column("n", "int", "part of the plan", null=False),
        _text("path", "file, relative to the workspace", null=False),
        Column("rows", "int", "windows in it", null=False),
        _text("sha256", "hash of the file", null=False),
    ),
)
SCORED = Table(
    "scored",
    "Which part holds the scores of a video.",
    ("video_id", "scorer", "config"),
    (
        _text("video_id", "video", null=False, references="videos(video_id)"),
        _text("scorer", "scorer", null=False),
        _text("config", "hash of its configuration and model", null=False),
        _text("plan", "plan of the part", null=False),
        Column("n", "int", "number of the part", null=False),
        Column("windows", "int", "windows measured; 0 with a reason", null=False),
        _text("reason", "why nothing was measured"),
    ),
    indexes=(("scorer", "config", "plan", "n"),),
)
STRETCHES = Table(
    "stretches",
    "What the rules made of a video's windows: maximal rows of windows with one mark.",
    ("video_id", "recipe_hash", "start_s"),
    (
        _text("video_id", "video", null=False, references="videos(video_id)"),
        _text("recipe_hash", "recipe that decided", null=False),
        Column("start_s", "real", "start", "s", null=False),
        Column("stop_s", "real", "end, not included", "s", null=False),
        _text("mark", "keep, review or drop", null=False),
        Column("reasons", "json", "each condition that failed or was not measured, with its numbers", null=False),
        Column("strengths", "json", "min(seen, heard) per window; null where not measured", null=False),
    ),
)
# Each clip is counted once under '' and once under each of its reasons.
_TALLY = """
INSERT INTO tallies (recipe_hash, verdict, condition, clips, microseconds)
SELECT c.recipe_hash, c.verdict, json_extract(r.value, '$.condition'), 1,
  CAST(ROUND((c.stop_s - c.start_s) * 1e6) AS INTEGER)
FROM clips c, json_each(json_insert(c.reasons, '$[#]', json_object('condition', ''))) r WHERE {which}
ON CONFLICT DO UPDATE SET clips = clips + 1, microseconds = microseconds + excluded.microseconds"""
_UNTALLY = """
INSERT INTO tallies (recipe_hash, verdict, condition, clips, microseconds)
SELECT old.recipe_hash, old.verdict, json_extract(r.value, '$.condition'), -1,
  -CAST(ROUND((old.stop_s - old.start_s) * 1e6) AS INTEGER)
FROM json_each(json_insert(old.reasons, '$[#]', json_object('condition', ''))) r WHERE true
ON CONFLICT DO UPDATE SET clips = clips - 1, microseconds = microseconds + excluded.microseconds;
DELETE FROM tallies WHERE clips = 0"""
TALLY_ALL_CLIPS = _TALLY.format(which="true")
CLIPS = Table(
    "clips",
    "Spans of videos with a verdict. A dropped run of windows is one row.",
    ("clip_id", "recipe_hash"),
    (
        _text("clip_id", "<video_id>_<start_ms, 9 digits>", null=False),
        _text("recipe_hash", "recipe that decided", null=False),
        _text("video_id", "video", null=False, references="videos(video_id)"),
        Column("start_s", "real", "start", "s", null=False),
        Column("stop_s", "real", "end, not included", "s", null=False),
        _text("label", "first label of the video", null=False),
        _text("verdict", "keep, drop or review", null=False),
        Column("reasons", "json", "each condition that failed or was not measured, with its numbers", null=False),
    ),
    indexes=(("recipe_hash", "verdict"), ("video_id",)),
    after_insert=_TALLY.format(which="c.rowid = new.rowid"),
    after_update=f"{_UNTALLY}; {_TALLY.format(which='c.rowid = new.rowid')}",
    after_delete=_UNTALLY,
)
TALLIES = Table(
    "tallies",
    "Clips counted by verdict and reason, kept by the database as clips are added or change their verdict.",
    ("recipe_hash", "verdict", "condition"),
    (
        _text("recipe_hash", "recipe that decided", null=False),
        _text("verdict", "keep, drop or review", null=False),
        _text("condition", "of the reasons; empty for all clips of the verdict", null=False),
        Column("clips", "int", "clips", null=False),
        Column("microseconds", "int", "their length; whole numbers, so that the order of adding does not matter", "us"),
    ),
)
GROUPS = Table(
    "groups",
    "Near-duplicates: clips of one group are never in two splits.",
    ("clip_id",),
    (
        _text("clip_id", "clip", null=False),
        _text("group_id", "smallest video_id of the group when it was first split", null=False),
    ),
    indexes=(("group_id",),),
)
FINGERPRINTS = Table(
    "fingerprints",
    "What kept clips are recognised by (media.fingerprint): 64 bits per moment, little-endian; 0: nothing to go by.",
    ("clip_id", "stop_s", "version"),
    (
        _text("clip_id", "clip", null=False),
        Column("stop_s", "real", "its end, not included", "s", null=False),
        Column("version", "int", "version of the method", null=False),
        _text("video_id", "video", null=False, references="videos(video_id)"),
        Column("picture", "blob", "hashes per 0.32 s, 4 crops each; null: nothing to go by"),
        Column("sound", "blob", "hashes per 0.08 s; null: nothing to go by"),
        _text("reason", "why it could not be decoded"),
    ),
    indexes=(("video_id",),),
)
CHANNELS = Table(
    "channels",
    "The channel a video was uploaded to, where its site says it.",
    ("video_id",),
    (
        _text("video_id", "video", null=False, references="videos(video_id)"),
        _text("channel", "id of the channel, after the site's name", null=False),
    ),
)
SPLITS = Table(
    "splits",
    "Written once and extended; nothing is reassigned.",
    ("clip_id",),
    (_text("clip_id", "clip", null=False), _text("split", "train, validation or test", null=False)),
)
VOTES = Table(
    "votes",
    "What people said about windows.",
    ("id",),
    (
        Column("id", "int", "number of the vote", null=False),
        _text("video_id", "video", null=False),
        Column("window_index", "int", "window", null=False),
        _text("rater", "who", null=False),
        Column("seen", "int", "1 yes, 0 no, null unsure"),
        Column("heard", "int", "1 yes, 0 no, null unsure"),
        Column("confounders", "json", "what disturbs", null=False),
        _text("at", "when, UTC", null=False),
        Column("blind", "int", "1 if scores were hidden", null=False),
        _text("label", "the thing that was asked about"),
        _text("note", "the rater's own words"),
        Column("topic", "int", "1 the label is there, 0 not, picture and sound not told apart; null: not asked"),
    ),
    indexes=(("video_id", "window_index"),),
)
ASKED = Table(
    "asked",
    "Windows that `votes --sample` drew.",
    ("video_id", "window_index"),
    (
        _text("video_id", "video", null=False),
        Column("window_index", "int", "window", null=False),
        _text("label", "the thing that is asked about", null=False),
        Column("seed", "int", "seed of the draw", null=False),
        Column("weight", "real", "windows that it stands for: one over the chance to be drawn", null=False),
        Column("earlier", "json", "the same in smaller draws before: [[windows drawn, weight], …]"),
    ),
)
TESTED = Table(
    "tested",
    "Questions that `calibrate` put to the votes kept for testing, in their order.",
    ("question",),
    (
        Column("question", "int", "0, 1, …", null=False),
        _text("asked", "hash of votes, recipe, precision and confidence", null=False),
        Column("outcome", "json", "what the test said", null=False),
    ),
)
SAMPLES = Table(
    "samples",
    "Kept clips that went to `shard`: written into a shard, or refused with the reason.",
    ("clip_id",),
    (
        _text("clip_id", "clip", null=False),
        _text("recipe_hash", "recipe", null=False),
        _text("state", "written or refused", null=False),
        _text("reason", "why it was refused"),
        _text("message", "detail of the refusal"),
        _text("shard", "file, relative to shards/; of an irreparable sample, where it was"),
        Column("frames", "int", "frames"),
        Column("audio_samples", "int", "audio samples"),
        Column("picture_error_s", "real", "largest distance of a shown frame from its grid time", "s"),
        Column("sound_error_samples", "int", "lag against the source's sound; null: nothing to correlate"),
        Column("index_row", "json", "row of index.parquet"),
    ),
    indexes=(("shard",), ("state", "reason"), ("recipe_hash",)),
)
SHARDS = Table(
    "shards",
    "Finished shard files.",
    ("shard",),
    (
        _text("shard", "file, relative to shards/", null=False),
        _text("split", "split", null=False),
        _text("recipe_hash", "recipe", null=False),
        Column("samples", "int", "samples in it", null=False),
        Column("bytes", "int", "size", "byte", null=False),
        _text("sha256", "hash of the file", null=False),
    ),
)
REMOVED = Table(
    "removed",
    "What `remove` took out and is refused since: nothing but salted hashes.",
    ("hash",),
    (
        _text("hash", "of a video id or a channel, after the workspace's own salt", null=False),
        _text("at", "when, UTC", null=False),
    ),
)
TABLES = (
    *(VIDEOS, ATTEMPTS, STARTS, MEDIA, CHANNELS, PLANS, PARTS, SCORED, STRETCHES),
    *(TALLIES, CLIPS, FINGERPRINTS, GROUPS, SPLITS, VOTES, ASKED, TESTED, SAMPLES, SHARDS, REMOVED),
)

# Left out when two runs are compared: they say when and where, not what.
VOLATILE_TABLES = ("attempts", "starts")

INDEX = Table(
    "index",
    "shards/index.parquet: where every sample is.",
    ("key",),
    (
        _text("key", "clip_id", null=False),
        _text("shard", "file, relative to shards/", null=False),
        Column("mp4_offset", "int", "first byte of the mp4 in the tar", "byte", null=False),
        Column("mp4_bytes", "int", "size of the mp4", "byte", null=False),
        Column("json_offset", "int", "first byte of the JSON in the tar", "byte", null=False),
        Column("json_bytes", "int", "size of the JSON", "byte", null=False),
        _text("sha256", "hash of the mp4 followed by the JSON", null=False),
        Column("frames", "int", "frames", null=False),
        Column("audio_samples", "int", "audio samples", null=False),
        Column("duration_s", "real", "length", "s", null=False),
        _text("label", "label", null=False),
        _text("split", "train, validation or test", null=False),
        _text("group_id", "duplicate group", null=False),
        Column("picture_error_s", "real", "largest distance of a shown frame from its grid time", "s"),
        Column("sound_error_samples", "int", "lag against the source's sound; null: nothing to correlate"),
    ),
)
MANIFEST = Table(
    "manifest",
    "The file of `v2a-data export`: one row per sample, sorted by key; what a dataset is rebuilt from.",
    ("key",),
    (
        _text("key", "clip_id", null=False),
        _text("source", "source that named the video", null=False),
        _text("video_id", "yt-, lo-, sy- id", null=False),
        _text("native_id", "id on the site it lives on, or name of the file below the source's folder"),
        _text("url", "public address, made from the id; null for files"),
        _text("label", "label that the clip was judged by", null=False),
        Column("labels", "json", "labels the video was listed under, sorted", null=False),
        _text("text", "caption", null=False),
        Column("start_s", "real", "start in the video", "s", null=False),
        Column("stop_s", "real", "end in the video, not included", "s", null=False),
        _text("split", "train, validation or test", null=False),
        _text("group_id", "duplicate group", null=False),
        Column("width", "int", "picture width", "px", null=False),
        Column("height", "int", "picture height", "px", null=False),
        _text("fps", "frames per second, a fraction", null=False),
        Column("frames", "int", "frames", null=False),
        Column("rate_hz", "int", "rate of the sound", "Hz", null=False),
        Column("channels", "int", "channels of the sound", null=False),
        Column("audio_samples", "int", "audio samples", null=False),
        Column("picture_error_s", "real", "largest distance of a shown frame from its grid time", "s", null=False),
        Column("sound_error_samples", "int", "lag against the source's sound; null: nothing to correlate"),
        Column("seen", "json", "score per 2 s window; null where not measured", "0..1", null=False),
        Column("heard", "json", "score per 2 s window; null where not measured", "0..1", null=False),
        _text("verdict", "keep", null=False),
        _text("recipe", "name of the recipe", null=False),
        _text("recipe_hash", "hash of the recipe's deciding parts", null=False),
        Column("models", "json", "scorer, model and sha256 of each model that judged", null=False),
        Column("not_for_use", "int", "1 where tiny models judged", null=False),
        _text("licence", "licence of the label; the video stays with its owner", null=False),
        _text("v2a_data", "version of the program that made the sample", null=False),
        _text("sha256", "hash of the sample's mp4 followed by its JSON", null=False),
        _text("shard", "file that holds it, relative to shards/", null=False),
        _text("media_sha256", "hash of the video's file", null=False),
        Column("media_bytes", "int", "size of the video's file", "byte", null=False),
        _text("build", "versions of PyAV and FFmpeg that coded the sample", null=False),
    ),
)


def arrow_schema(columns: Sequence[Column], metadata: dict[str, str] | None = None) -> "pa.Schema":
    """The Arrow schema of some columns, units and meanings in the field metadata."""
    import pyarrow as pa

    kinds = {"text": pa.string(), "int": pa.int64(), "real": pa.float64(), "json": pa.string(), "blob": pa.binary()}
    fields = [
        pa.field(c.name, kinds[c.kind], nullable=c.null, metadata={"meaning": c.meaning, "unit": c.unit})
        for c in columns
    ]
    return pa.schema(fields, metadata={"schema_version": str(SCHEMA_VERSION), **(metadata or {})})
