"""status --availability: every video once per label, by its last attempt; and what of a manifest can still be had."""

import json
from pathlib import Path

from rebuilding import at, call, run

from v2a_data import schema
from v2a_data.workspace import Workspace

# video, labels, state, attempts as (stage, class, day); the last one counts.
VIDEOS = [
    ("yt-aaaaaaaaaaa", ["Dog"], "fetched", [("download", "http_403", "2026-01-01"), ("fetch", "ok", "2026-01-02")]),
    ("yt-bbbbbbbbbbb", ["Cat", "Dog"], "gone", [("extract", "private", "2026-01-02")]),
    ("yt-ccccccccccc", ["Dog"], "later", [("extract", "bare", "2026-01-02"), ("extract", "bare", "2026-01-03")]),
    ("yt-ddddddddddd", ["Dog"], "unusable", [("fetch", "ok", "2026-01-03"), ("score", "crashed", "2026-01-09")]),
    ("yt-eeeeeeeeeee", ["Dog"], "listed", []),
    ("yt-fffffffffff", ["Dog"], "listed", [("fetch", "interrupted", "2026-01-04")]),
    ("y8-abcd", ["Dog"], "gone", [("list", "lookup_gone", "2026-01-01")]),
]


def workspace_of(folder: Path) -> Path:
    with Workspace.open(folder, "test") as workspace, workspace.ledger.transaction():
        for position, (video_id, labels, state, attempts) in enumerate(VIDEOS):
            source = "youtube8m" if video_id.startswith("y8") else "ids"
            row = {"video_id": video_id, "source": source, "labels": labels, "position": position, "state": state}
            workspace.ledger.insert(schema.VIDEOS, [row])
            for stage, failure, day in attempts:
                about = {"video_id": video_id, "stage": stage, "class": failure, "at": f"{day}T10:00:00Z", "host": "h"}
                workspace.ledger.insert(schema.ATTEMPTS, [about])
    return folder


def test_every_video_counts_once_per_label(tmp_path: Path) -> None:
    root = workspace_of(tmp_path / "w")
    rows = json.loads(run("status", "--availability", "--json", *at(root)))["availability"]
    found = {(r["source"], r["label"], r["outcome"], r["class"], r["day"]): r["videos"] for r in rows}
    assert found == {
        ("ids", "Cat", "gone", "private", "2026-01-02"): 1,
        ("ids", "Dog", "gone", "private", "2026-01-02"): 1,
        ("ids", "Dog", "later", "bare", "2026-01-03"): 1,
        ("ids", "Dog", "later", "interrupted", "2026-01-04"): 1,
        ("ids", "Dog", "live", "ok", "2026-01-02"): 1,
        ("ids", "Dog", "live", "ok", "2026-01-03"): 1,
        ("ids", "Dog", "untried", "", None): 1,
        ("youtube8m", "Dog", "gone", "lookup_gone", "2026-01-01"): 1,
    }


def test_the_tables_add_up(tmp_path: Path) -> None:
    out = run("status", "--availability", *at(workspace_of(tmp_path / "w"))).splitlines()
    assert out[0].split() == ["source", "label", "tried", "live", "gone", "later", "untried"]
    assert [line.split() for line in out[1:4]] == [
        ["ids", "Cat", "1", "0", "1", "0", "0"],
        ["ids", "Dog", "5", "2", "1", "2", "1"],
        ["youtube8m", "Dog", "1", "0", "1", "0", "0"],
    ]
    assert "2026-01-02  private      gone        2" in out


def test_what_of_a_manifest_can_still_be_had(made: Path, tmp_path: Path, world: Path) -> None:
    manifest, root = made.parent / "m.parquet", tmp_path / "elsewhere"
    whole = json.loads(run("status", "--manifest", manifest, "--json", *at(made)))["manifest"]
    assert [row["outcome"] for row in whole] == ["live"]
    with Workspace.read(made) as workspace:
        clips = workspace.ledger.value("SELECT SUM(samples) FROM shards")
        videos = workspace.ledger.rows("SELECT DISTINCT substr(clip_id, 1, length(clip_id) - 10) FROM samples")
    assert (whole[0]["videos"], whole[0]["clips"]) == (len(videos), clips)
    ids = sorted(row[0] for row in videos)
    with Workspace.open(root, "test") as workspace, workspace.ledger.transaction():
        for state, failure, video_id in (("gone", "missing_file", ids[0]), ("later", "not_in_input", ids[1])):
            row = {"video_id": video_id, "source": "synthetic", "labels": ["Dog"], "position": 0, "state": state}
            workspace.ledger.insert(schema.VIDEOS, [row])
            workspace.ledger.attempt(video_id, "fetch", failure, at="2026-01-01T00:00:00Z")
    run("remove", "--ids", ids[2], "-w", root)
    rows = json.loads(run("status", "--availability", "--manifest", manifest, "--json", *at(root)))["manifest"]
    assert [(row["outcome"], row["class"], row["day"], row["videos"]) for row in rows] == [
        ("gone", "missing_file", "2026-01-01", 1),
        ("later", "not_in_input", "2026-01-01", 1),
        ("unknown", "", None, len(ids) - 3),
        ("removed", "", None, 1),
    ]
    assert sum(row["clips"] for row in rows) == clips
    assert "as far as this workspace tried" in run("status", "--manifest", manifest, *at(root))


def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path) -> None:
    root = workspace_of(tmp_path / "w")
    (tmp_path / "m.parquet").write_bytes(b"no")
    assert call("status", "--manifest", tmp_path / "m.parquet", *at(root))[0] == 2
