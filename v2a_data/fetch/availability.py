"""What could still be had of what was listed, as far as it was tried: by source, label, class and day.

A video counts once, by its last attempt. `live` is what was there, even where its file was of no use; `later` what is
to be tried again; `untried` what nobody asked for yet.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from v2a_data.ledger import Ledger
from v2a_data.manifest import Manifest
from v2a_data.removal.refused import Refused

OUTCOMES = ("live", "gone", "later", "untried")
# Of a manifest's videos; `unknown` is not in this workspace, `removed` was taken out of it.
OF_MANIFEST = (*OUTCOMES, "unknown", "removed")
_LAST = """
WITH last AS (
  SELECT video_id, class, substr(at, 1, 10) AS day, MAX(id) FROM attempts
  WHERE stage NOT IN ('score', 'cut') AND class != 'duplicate_file' GROUP BY video_id
), known AS (
  SELECT v.video_id, v.source, v.labels, COALESCE(last.class, '') AS class, last.day AS day,
    CASE WHEN v.state IN ('fetched', 'unusable', 'quarantined') THEN 'live'
    WHEN v.state IN ('gone', 'later') THEN v.state WHEN last.class IS NULL THEN 'untried' ELSE 'later' END AS outcome
  FROM videos v LEFT JOIN last USING (video_id)
)"""
_BY_LABEL = """
SELECT source, l.value AS label, outcome, class AS failure, day, COUNT(*) AS videos
FROM known JOIN json_each(known.labels) l GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5"""


@dataclass(frozen=True)
class Row:
    """So many videos of one source and label whose last attempt, on one day (UTC), ended with one class.

    A video with two labels counts under both.
    """

    source: str
    label: str
    outcome: str
    failure: str
    day: str | None
    videos: int


@dataclass(frozen=True)
class ManifestRow:
    """So many videos of a manifest, with the clips that they hold."""

    outcome: str
    failure: str
    day: str | None
    videos: int
    clips: int


def availability(ledger: Ledger) -> list[Row]:
    """Every video of the workspace, counted."""
    return [Row(**row) for row in ledger.each(_LAST + _BY_LABEL)]


def of_manifest(ledger: Ledger, manifest: Manifest) -> list[ManifestRow]:
    """Every video of a manifest, counted by what this workspace knows of it."""
    removed, sql = Refused(ledger), _LAST + " SELECT video_id, outcome, class, day FROM known"  # noqa: S608
    clips = Counter(row["video_id"] for row in manifest.rows(("video_id",)))
    found: dict[tuple[str, str, str | None], list[int]] = defaultdict(lambda: [0, 0])

    def count(key: tuple[str, str, str | None], of_video: int) -> None:
        found[key][0] += 1
        found[key][1] += of_video

    for row in ledger.each(sql):
        if row["video_id"] in clips:
            count((row["outcome"], row["class"], row["day"]), clips.pop(row["video_id"]))
    for video_id, of_video in clips.items():
        count(("removed" if removed.has(video_id) else "unknown", "", None), of_video)
    order = sorted(found.items(), key=lambda item: (OF_MANIFEST.index(item[0][0]), item[0][1], item[0][2] or ""))
    return [ManifestRow(*key, *counts) for key, counts in order]


def by_label(rows: list[Row]) -> Iterator[tuple[str, str, int, int, int, int, int]]:
    """Per source and label: tried, live, gone, later, untried."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in rows:
        counts[row.source, row.label][row.outcome] += row.videos
    for (source, label), n in counts.items():
        tried = n.total() - n["untried"]
        yield source, label, tried, n["live"], n["gone"], n["later"], n["untried"]


def by_class(rows: list[Row]) -> list[tuple[str, str, str, int]]:
    """Per class, outcome and day: videos under all their labels; the last day first."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        if row.outcome != "untried":
            counts[row.day or "", row.failure, row.outcome] += row.videos
    return [(*key, count) for key, count in sorted(counts.items(), reverse=True)]


def to_json(rows: list[Row] | list[ManifestRow]) -> list[dict[str, object]]:
    """Rows as `--json` has them; `class` is the failure class, or ok."""
    found = []
    for row in rows:
        values = asdict(row)
        found.append({"class" if name == "failure" else name: value for name, value in values.items()})
    return found
