"""The tiny workspace of the tests of shards, with one of its videos named in every place that there is."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from small_shards import QUIET, build, copy

from v2a_data import schema
from v2a_data.engine import SerialEngine
from v2a_data.review.grid import Grid
from v2a_data.review.votes import Vote, store_votes
from v2a_data.shards.given import read_texts
from v2a_data.shards.write import shard
from v2a_data.workspace import Workspace

GONE, STAYS = "sy-0-4", "sy-0-5"


def build_named(folder: Path, built: Path | None = None) -> Path:
    """A workspace that names GONE in every table and in every kind of file. Not to be written to."""
    root = copy(built or build(folder / "built"), folder / "w")
    captions = root.parent / "captions.csv"
    captions.write_text(f"video_id,text\n{GONE},a drum\n{STAYS},another drum\n")
    with Workspace.open(root, "test") as workspace:
        ledger, recipe = workspace.ledger, workspace.recipe()
        # A group of two videos that is called by the one that goes.
        ledger.execute("UPDATE groups SET group_id = ? WHERE clip_id LIKE ?", (GONE, f"{STAYS}%"))
        split = ledger.value("SELECT split FROM splits WHERE clip_id LIKE ?", (f"{GONE}%",))
        ledger.execute("UPDATE splits SET split = ? WHERE clip_id LIKE ?", (split, f"{STAYS}%"))
        shard(workspace, recipe, SerialEngine(), QUIET, samples_per_shard=2, texts=read_texts(captions), force=True)
        with ledger.transaction():
            ledger.attempt(STAYS, "cut", "odd", f"like {GONE}_000000000, and yt-{GONE}")
            reason = json.dumps([{"condition": "best of its duplicates", "kept": f"{GONE}_000000000"}])
            ledger.execute("UPDATE clips SET reasons = ? WHERE video_id = ?", (reason, STAYS))
            ledger.insert(schema.CHANNELS, [{"video_id": GONE, "channel": "Youtube/UCgone"}])
            ledger.insert(
                schema.PLANS, [{"plan": "p", "stage": "score", "name": "n", "n": 0, "position": 0, "item": GONE}]
            )
            asked = {"video_id": GONE, "window_index": 0, "label": "Drum", "seed": 0, "weight": 1.0}
            ledger.insert(schema.ASKED, [asked])
        store_votes(ledger, [Vote(GONE, 0, "me", True, True), Vote(STAYS, 0, "me", True, False)])
        assert Grid(ledger, recipe).has(GONE, 0)
    name_in_files(root)
    return root


def name_in_files(root: Path) -> None:
    """What lists, reports, logs, caches and stopped commands may leave."""
    files = {
        "cache/audioset/list.csv": f"# a list\n{STAYS}, 0, 10\n{GONE}, 0, 10\n",
        "cache/x/odd.bin": f"\0{GONE}\0",
        "reports/rebuild.csv": f"clip_id,video_id\n{GONE}_000000000,{GONE}\n{STAYS}_000000000,{STAYS}\n",
        "reports/page.html": f"<p>{GONE}</p>",
        f"reports/evaluate/{GONE}_000000000.wav": "RIFF",
        "runs/old.json": json.dumps({"argv": ["v2a-data", "explain", f"{GONE}_000000000"]}),
        "runs/old.log": f'{{"message": "https://example.org/{GONE}?x"}}\n',
        "checkpoints/v/codes-1/done.json": json.dumps({"keys": [f"{GONE}_000000000"]}),
        "checkpoints/v/codes-1/sound.npy": "sound",
        "checkpoints/v/last.json": "{}",
        f"media/aa/.tmp-{GONE}": "half",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    unlisted = root / "scores" / "motion-v9" / "part-x-00000.parquet"
    unlisted.parent.mkdir(parents=True)
    pq.write_table(pa.table({"video_id": [GONE]}), unlisted)


def naming(root: Path, *words: str) -> list[str]:
    """Every file whose name or bytes hold one of the words; nothing is left out."""
    found = []
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        body = path.read_bytes() if path.is_file() else b""
        if any(word in name or word.encode() in body for word in words):
            found.append(name)
    return found
