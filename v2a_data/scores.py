"""Score tables: Parquet parts per scorer and version. A part counts when the ledger lists it."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from v2a_data.files import sha256_file, whole_file
from v2a_data.ledger import Ledger
from v2a_data.scorers.base import Field, WindowScores


@dataclass(frozen=True)
class WrittenPart:
    """A part file that a worker finished: where it is and what the ledger has to know of it."""

    scorer: str
    version: int
    config: str
    plan: str
    n: int
    path: str
    rows: int
    sha256: str
    windows: dict[str, int]


def part_path(root: Path, scorer: str, version: int, plan: str, n: int) -> Path:
    """`scores/<scorer>-v<version>/part-<plan>-<n>.parquet`."""
    return root / "scores" / f"{scorer}-v{version}" / f"part-{plan}-{n:05d}.parquet"


def write_part(
    root: Path,
    scorer: str,
    version: int,
    config: str,
    plan: str,
    n: int,
    fields: Sequence[Field],
    scores: dict[str, tuple[np.ndarray, WindowScores]],
) -> WrittenPart:
    """Write the scores of some videos: `video_id → (window starts, scores)`. Whole or not there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    starts = np.concatenate([np.asarray(start, np.float64) for start, _ in scores.values()])
    ids = [video_id for video_id, (start, _) in scores.items() for _ in start]
    index = np.concatenate([np.arange(len(start), dtype=np.int32) for start, _ in scores.values()])
    columns: dict[str, Any] = {"video_id": pa.array(ids, pa.string()), "window_index": index, "start_s": starts}
    for field in fields:
        values = np.concatenate([np.asarray(found.fields[field.name], np.float32) for _, found in scores.values()])
        columns[field.name] = pa.array(values, mask=np.isnan(values))
    evidence = np.concatenate([np.asarray(found.evidence_s, np.float64) for _, found in scores.values()])
    columns["evidence_s"] = pa.array(evidence, mask=np.isnan(evidence))
    about = {"scorer": scorer, "version": version, "config": config, "units": {f.name: f.unit for f in fields}}
    table = pa.table(columns).replace_schema_metadata({"v2a_data": json.dumps(about, sort_keys=True)})
    path = part_path(root, scorer, version, plan, n)
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, write_page_checksum=True)
    windows = {video_id: len(start) for video_id, (start, _) in scores.items()}
    relative = path.relative_to(root).as_posix()
    return WrittenPart(scorer, version, config, plan, n, relative, len(ids), sha256_file(path), windows)


def read_scores(
    ledger: Ledger, root: Path, scorers: dict[str, str], video_ids: Sequence[str]
) -> dict[str, dict[str, np.ndarray]]:
    """Scores of some videos: `video_id → field → (n,) float64`, NaN where null.

    `scorers` maps names to configuration hashes. Fields of a scorer that has no part for a video
    are absent.
    """
    import pyarrow.parquet as pq

    marks = ",".join("?" for _ in video_ids)
    found: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for scorer, config in scorers.items():
        sql = (
            "SELECT DISTINCT p.path FROM scored s JOIN parts p ON p.scorer = s.scorer AND p.config = s.config "  # noqa: S608
            "AND p.plan = s.plan AND p.n = s.n "
            f"WHERE s.scorer = ? AND s.config = ? AND s.video_id IN ({marks}) ORDER BY 1"
        )
        for row in ledger.rows(sql, (scorer, config, *video_ids)):
            table = pq.read_table(
                root / row["path"], filters=[("video_id", "in", list(video_ids))], page_checksum_verification=True
            )
            frame = table.to_pandas()
            for video_id, part in frame.groupby("video_id", sort=False):
                ordered = part.sort_values("window_index")
                for name in ordered.columns:
                    if name not in ("video_id", "window_index"):
                        key = f"{scorer}.evidence_s" if name == "evidence_s" else name
                        found[str(video_id)][key] = ordered[name].to_numpy(np.float64, na_value=np.nan)
    return dict(found)
