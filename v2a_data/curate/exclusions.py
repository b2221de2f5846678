"""Lists of videos that a dataset must not hold: other datasets' test ids.

A list is a manifest of this program, of which the rows that are not train count, or a CSV file with a column of ids:

- a column named `video_id`, `youtube_id`, `ytid`, `id` or `native_id`, in any case, or else the first column;
- lines that start with `#` are comments; AudioSet's `# YTID, start_seconds, …` names the columns;
- ids are the 11 characters of YouTube, or video ids of this program (`yt-…`, `lo-…`, `sy-…`);
- rows that a column `split` calls `train` are passed over, as are rows of VGGSound's file (id, second, label, split,
  without names) whose fourth column says so.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from v2a_data.errors import UsageError
from v2a_data.ids import check_video_id, clean_text, is_youtube_id, youtube_video_id

_ID_COLUMNS = ("video_id", "youtube_id", "ytid", "id", "native_id")
_MAX_BYTES = 1_000_000_000


def read_exclusions(files: Sequence[str]) -> dict[str, str]:
    """Video ids with the name of the file that lists them. Raises `UsageError` for a file without ids."""
    listed: dict[str, str] = {}
    for name in files:
        path = Path(name)
        if not path.is_file():
            raise UsageError(f"splits.exclude: {name} does not exist", hint="paths are relative to where you are")
        ids = set(_manifest_ids(path) if path.suffix == ".parquet" else _csv_ids(path))
        if not ids:
            raise UsageError(f"splits.exclude: {name} holds no ids", hint="expected a manifest or a CSV with ids")
        for video_id in ids:
            listed.setdefault(video_id, path.name)
    return listed


def _manifest_ids(path: Path) -> Iterator[str]:
    from v2a_data.manifest import open_manifest

    for row in open_manifest(path).rows(("video_id", "split")):
        if row["split"] != "train":
            yield row["video_id"]


def _csv_ids(path: Path) -> Iterator[str]:
    if path.stat().st_size > _MAX_BYTES:
        raise UsageError(f"splits.exclude: {path} has more than {_MAX_BYTES} bytes")
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            yield from _ids(csv.reader(file, skipinitialspace=True))
        except (csv.Error, UnicodeDecodeError) as error:
            raise UsageError(f"splits.exclude: {path} is no CSV file: {clean_text(str(error), 100)}") from None


def _ids(rows: Iterator[list[str]]) -> Iterator[str]:
    at, split_at = 0, 3
    for row in rows:
        names = [cell.strip().lstrip("# ").lower() for cell in row]
        named = next((names.index(name) for name in _ID_COLUMNS if name in names), None)
        if named is not None:
            at, split_at = named, names.index("split") if "split" in names else len(row)
        elif row and not row[0].startswith("#") and at < len(row):
            is_train = split_at < len(row) and row[split_at].strip() == "train"
            video_id = _video_id(row[at].strip())
            if video_id is not None and not is_train:
                yield video_id


def _video_id(text: str) -> str | None:
    if is_youtube_id(text):
        return youtube_video_id(text)
    try:
        return check_video_id(text)
    except ValueError:
        return None
