"""Files of one's own scored from end to end: what becomes of each, and which scores could be measured.

    python benchmarks/real_media.py MEDIA_FOLDER [--json]

The recipe `vegas` over a folder, twice, with the installed commands: with the tiny models (`--models tiny`, which
stamps the dataset "not for use"), and with models of the real ones' shapes and random weights (`score.py`), through
the code that loads real ones. Verdicts mean nothing in either: what is shown is that every file ends in a state with
a reason, and every window of every video in a number or a null. Exit code 1 where a file has neither, or a
field was measured nowhere.
"""

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import inputs
import numpy as np
from score import CLASSES, CLIP, ced_shaped, clip_shaped

from v2a_data.console import table
from v2a_data.curate.score import scorer_specs
from v2a_data.models.choice import not_for_use
from v2a_data.scores import read_scores
from v2a_data.sources.label_tables import audioset_labels
from v2a_data.workspace import Workspace

HEADER = ("models", "files", "fetched", "scored", "windows", "not for use", "lost")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ways = {"tiny": ["--models", "tiny"], "real shapes, random": shapes(folder)}
        found = {words: judged(options.folder, folder / str(n), ways[words]) for n, words in enumerate(ways)}
    rows = [row for row, _ in found.values()]
    for words, (_, measured) in found.items():
        print(f"\nshare of windows measured, {words}:")
        print(table(("field", "share"), [(field, f"{share:.3f}") for field, share in measured.items()]))
    missed = sum(int(str(row[-1])) for row in rows) + sum(
        not share for _, some in found.values() for share in some.values()
    )
    figures = {"lost": sum(int(str(row[-1])) for row in rows), "windows": rows[0][3]}
    inputs.show(
        "real_media",
        HEADER,
        [(words, *row) for words, row in zip(found, rows, strict=True)],
        "",
        options.json,
        **figures,
    )
    return int(missed > 0)


def shapes(folder: Path) -> list[str]:
    """Options that put random weights of the real shapes in the place of the recipe's models."""
    weights, tagger = clip_shaped(folder), ced_shaped(folder / "ced")
    # The classes' real ids, in any order: the weights are random.
    ids = [label.id for label in audioset_labels()][:CLASSES]
    lines = ["index,mid,display_name", *(f"{i},{mid},x" for i, mid in enumerate(ids))]
    (tagger.parent / "class_labels_indices.csv").write_text("\n".join(lines) + "\n")
    sets = {
        "scorers.clip_topic.model": CLIP,
        "scorers.clip_topic.weights": weights,
        "scorers.audio_tags.model": tagger,
        "scorers.audio_tags.family": "ced",
    }
    return [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]


def judged(media: Path, workspace: Path, models: list[str]) -> tuple[tuple[object, ...], dict[str, float]]:
    """A row of figures, and per field the share of windows that were measured."""
    source = ("--source", "local", "--input", str(media), "--label", "Dog", "--recipe", "vegas")
    at = ("-w", str(workspace), "--workers", "0")
    _call("fetch", *source, "--limit", "all", "--set", "fetch.sleep_s=[0, 0]", *at)
    _call("curate", *models, "--force", *at)
    with Workspace.read(workspace) as opened:
        recipe = opened.recipe()
        assert recipe is not None
        videos = opened.ledger.rows("SELECT video_id, source_key, state, reason FROM videos")
        twins = opened.ledger.value("SELECT COUNT(*) FROM attempts WHERE class = 'duplicate_file'")
        specs = {spec.name: spec.hash for spec in scorer_specs(recipe)}
        ids = [row["video_id"] for row in videos if row["state"] == "fetched"]
        scores = read_scores(opened.ledger, opened.root, specs, ids)
        stamped = not_for_use(recipe)
    reasons = Counter(f"{row['state']}: {row['reason']}" for row in videos if row["state"] != "fetched")
    print(table(("not fetched or not scored", "files"), reasons.most_common()))
    columns: dict[str, list[np.ndarray]] = {}
    for fields in scores.values():
        for name, values in fields.items():
            if not name.endswith("evidence_s"):
                columns.setdefault(name, []).append(values)
    files = sum(path.is_file() and not path.name.startswith(".") for path in media.rglob("*"))
    unexplained = sum(row["state"] != "fetched" and not row["reason"] for row in videos)
    unscored = sum(video_id not in scores for video_id in ids) - _too_short(workspace, ids)
    lost = files - len(videos) - twins + unexplained + unscored
    windows = sum(len(values) for values in columns["start_s"])
    share = {name: float(np.mean(~np.isnan(np.concatenate(some)))) for name, some in columns.items()}
    return (files, len(ids), len(scores), windows, "yes" if stamped else "no", lost), share


def _too_short(workspace: Path, ids: list[str]) -> int:
    """Videos that hold no whole window, which is their reason."""
    with Workspace.read(workspace) as opened:
        sql = "SELECT COUNT(DISTINCT video_id) FROM stretches WHERE reasons LIKE '%one whole window%'"
        return int(opened.ledger.value(sql))


def _call(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "v2a_data", *words, "-q"], check=False, stdout=subprocess.DEVNULL)
    if done.returncode not in (0, 3):  # 3: some files are no media, or broken
        raise SystemExit(f"v2a-data {words[0]} ended with {done.returncode}")


if __name__ == "__main__":
    sys.exit(main())
