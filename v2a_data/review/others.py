"""Votes out of tables of others: VGGSounder's labels, YouTube-8M's rated segments, the truth of a synthetic world."""

import csv
import io
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from v2a_data.errors import UsageError
from v2a_data.ids import is_youtube_id, youtube_video_id
from v2a_data.review.files import parquet_columns, parquet_rows, read_text
from v2a_data.review.grid import Grid
from v2a_data.review.votes import CONFOUNDERS, Vote
from v2a_data.sources.label_tables import label_ids, youtube8m_labels
from v2a_data.sources.youtube8m_records import read_ratings

VGGSOUNDER_COLUMNS = ("video_id", "label", "modality", "background_music", "static_image", "voice_over")
_FLAGS = {"background_music": "music", "static_image": "still", "voice_over": "voice"}
_MODALITIES = {"A": (False, True), "V": (True, False), "AV": (True, True)}
_CLIP = re.compile(r"(?P<native>.{11})_(?P<start>\d{6})\Z")
_CLIP_S = 10.0
_MOST = 0.5
_MOST_SHIFT_S = 0.1


@dataclass(frozen=True)
class Others:
    """Votes of a table, the rows it has, and how many of its clips or videos are not in the workspace."""

    votes: list[Vote]
    rows: int
    elsewhere: int


@dataclass(frozen=True)
class Heard:
    """What VGGSounder says of one clip: label → (seen, heard), and what disturbs in it."""

    labels: Mapping[str, tuple[bool, bool]]
    confounders: tuple[str, ...]


def read_vggsounder(path: Path) -> tuple[dict[str, Heard], int]:
    """Clip (`<YouTube id>_<start, 6 digits>`) → what people said of it, and the number of rows.

    Raises `UsageError` naming line, field and reason of the first bad row.
    """
    labels: dict[str, dict[str, tuple[bool, bool]]] = defaultdict(dict)
    flags: dict[str, set[str]] = defaultdict(set)
    count = 0
    for line, row in _csv_rows(path):
        clip, modality = row["video_id"], row["modality"]
        if not _CLIP.match(clip) or not is_youtube_id(clip[:11]):
            raise UsageError(f"{path}: line {line}, video_id: expected <YouTube id>_<6 digits>, got {clip[:40]!r}")
        if modality not in _MODALITIES:
            raise UsageError(f"{path}: line {line}, modality: expected A, V or AV, got {modality[:40]!r}")
        labels[clip][row["label"]] = _MODALITIES[modality]
        for name, confounder in _FLAGS.items():
            if row[name] not in ("True", "False"):
                raise UsageError(f"{path}: line {line}, {name}: expected True or False, got {row[name][:40]!r}")
            if row[name] == "True":
                flags[clip].add(confounder)
        count += 1
    return {clip: Heard(labels[clip], tuple(sorted(flags[clip]))) for clip in labels}, count


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    try:
        missing = [name for name in VGGSOUNDER_COLUMNS if name not in (reader.fieldnames or [])]
        if missing:
            raise UsageError(f"{path}: not a table of VGGSounder: no column {', '.join(missing)}")
        line = reader.line_num + 1
        for row in reader:
            if any(row[name] is None for name in VGGSOUNDER_COLUMNS):
                raise UsageError(f"{path}: line {line}: cells are missing")
            if None in row:
                raise UsageError(f"{path}: line {line}: more cells than columns")
            yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise UsageError(f"{path}: line {reader.line_num + 1}: {error}") from None


def vggsounder_votes(path: Path, grid: Grid) -> Others:
    """Votes on the windows of every clip whose video is here, about the label it is judged by.

    People judged clips of 10 s as a whole; each window gets what was said of its clip. A label of VGGSounder's
    vocabulary that the clip does not have is neither seen nor heard; a video with another label gets no vote.
    """
    clips, rows = read_vggsounder(path)
    known = {label.casefold() for clip in clips.values() for label in clip.labels}
    votes, elsewhere = [], 0
    for clip, said in clips.items():
        video_id, start_s = youtube_video_id(clip[:11]), float(clip[12:])
        here = video_id in grid and grid.label(video_id).casefold() in known
        windows = grid.inside(video_id, start_s, start_s + _CLIP_S) if here else range(0)
        if not windows:
            elsewhere += 1
            continue
        by_label = {label.casefold(): answer for label, answer in said.labels.items()}
        seen, heard = by_label.get(grid.label(video_id).casefold(), (False, False))
        for index in windows:
            label = grid.label(video_id)
            votes.append(Vote(video_id, index, "vggsounder", seen, heard, said.confounders, label, blind=True))
    return Others(votes, rows, elsewhere)


def rating_votes(path: Path, grid: Grid) -> Others:
    """Votes on the topic from a shard of YouTube-8M's `3/frame/validate`, or from a folder of them.

    People judged segments of 5 s as a whole, not picture and sound apart; every window that lies in one gets what
    was said of it. Raises `UsageError` where there is no shard, `FatalError` for a damaged one.
    """
    shards = sorted(path.glob("*.tfrecord")) if path.is_dir() else [path]
    if not shards or not shards[0].is_file():
        raise UsageError(f"{path}: no such shard, nor a folder of .tfrecord files")
    here = grid.keys("youtube8m")
    numbers = {label.id: number for number, label in enumerate(youtube8m_labels())}
    meant = {
        name: {numbers[mid] for mid in label_ids(name, youtube8m_labels())} for name in map(grid.label, here.values())
    }
    votes: dict[tuple[str, int], Vote] = {}
    count, elsewhere = 0, set[str]()
    for rating in (rating for shard in shards for rating in read_ratings(shard)):
        count += 1
        video_id = here.get(rating.key)
        if video_id is None or rating.label not in meant[grid.label(video_id)]:
            elsewhere.add(rating.key)
            continue
        for index in grid.inside(video_id, rating.start_s, rating.stop_s):
            said, label = rating.score == 1.0, grid.label(video_id)
            votes[video_id, index] = Vote(video_id, index, "youtube8m", None, None, label=label, blind=True, topic=said)
    return Others(list(votes.values()), count, len(elsewhere))


def truth_votes(path: Path, grid: Grid) -> Others:
    """Votes from `truth/windows.parquet` of a world, fetched from its folder or from its server.

    A fault that fills more than half of a window disturbs; so does sound that is off by more than 0.1 s. Raises
    `UsageError` naming file, row and reason for what is no such table.
    """
    from v2a_data.synthetic.truth import CONFOUNDERS as FAULTS

    beside = path.parent / "videos.parquet"
    for file in (path, beside):
        if not file.is_file():
            raise UsageError(f"{file} does not exist", hint="give truth/windows.parquet of a world")
    here: dict[str, str] = {}
    videos = 0
    for _, row in _truth_rows(beside, {"video_id": str, "native_id": str, "label": str}):
        videos += 1
        for video_id in (row["video_id"], f"yt-{row['native_id']}"):
            if video_id in grid and grid.label(video_id) == row["label"]:
                here[row["video_id"]] = video_id
    columns = {"video_id": str, "start_s": float, "seen": int, "heard": int, "shift_s": float}
    votes, windows = [], 0
    for _, row in _truth_rows(path, {**columns, **dict.fromkeys(FAULTS, float)}):
        windows += 1
        video_id = here.get(row["video_id"], "")
        index = grid.index(video_id, row["start_s"]) if video_id else None
        if index is not None:
            found = [name for name in FAULTS if row[name] > _MOST]
            if abs(row["shift_s"]) > _MOST_SHIFT_S:
                found.append("shift")
            assert set(found) <= set(CONFOUNDERS)
            label = grid.label(video_id)
            answers = bool(row["seen"]), bool(row["heard"])
            votes.append(Vote(video_id, index, "truth", *answers, tuple(sorted(found)), label, blind=True))
    votes.sort(key=lambda vote: (vote.video_id, vote.window_index))
    return Others(votes, windows, videos - len(here))


def _truth_rows(path: Path, columns: Mapping[str, type]) -> Iterator[tuple[int, dict[str, Any]]]:
    """`(row, values)` of some columns of a truth table, rows counted from 1, each of its type."""
    missing = [name for name in columns if name not in parquet_columns(path)]
    if missing:
        raise UsageError(f"{path}: not a truth table of a world: no column {', '.join(missing)}")
    for number, row in enumerate(parquet_rows(path, list(columns)), 1):
        for name, kind in columns.items():
            value = row[name]
            fits = isinstance(value, (int, float) if kind is float else kind)
            if not fits or (kind is float and not math.isfinite(value)):
                raise UsageError(f"{path}: row {number}, {name}: expected {kind.__name__}, got {str(value)[:40]!r}")
        yield number, row
