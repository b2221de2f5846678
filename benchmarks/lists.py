"""How fast the sources' lists are read, and with how much memory; and how many rows lists of your own hold.

    python benchmarks/lists.py [--rows 2000000] [--lists DIR] [--json]

Writes an AudioSet list of so many segments in the published form (two labels each; one in 500 a helicopter) and lists
the videos of Helicopter without Speech and Music from it, as `fetch` does; and a shard of YouTube-8M. Rates are per
second of processor time. `--lists DIR` reads every list there whose form is known, and counts its rows. Exit code 1
where listing is slower than 150,000 rows/s, takes more than 600 MB or finds another number than was written.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import inputs

from v2a_data.errors import FatalError
from v2a_data.recipe import load_recipe
from v2a_data.sources.audioset import AudioSet
from v2a_data.sources.audioset_lists import read_segments, read_strong
from v2a_data.sources.ave import read_events
from v2a_data.sources.base import Listing
from v2a_data.sources.label_tables import read_vocabulary
from v2a_data.sources.vggsound import read_clips
from v2a_data.sources.youtube8m_records import read_videos

LEAST_ROWS_PER_S = 150_000
MOST_MB = 600
# Words in a file's name that say its form, the first one counts.
FORMS = {
    "train_strong": read_strong,
    "eval_strong": read_strong,
    "segments": read_segments,
    "audioset_eval": read_segments,
    "vggsound_test": read_clips,
    "vggsound_subset": read_clips,
    "vggsound.csv": read_clips,
    "Annotations": read_events,
    "vocabulary": read_vocabulary,
}
HEADER = ("what", "rows", "found", "rows/s", "MB/s", "peak MB")


def write_segments(path: Path, rows: int) -> int:
    """A list in the published form; returns how many of its segments are helicopters without speech."""
    with path.open("w") as file:
        file.write(f"# Segments csv\n# num_ytids={rows}, num_segs={rows}\n")
        file.write("# YTID, start_seconds, end_seconds, positive_labels\n")
        for i in range(rows):
            first = "/m/09ct_" if i % 500 == 0 else "/t/dd00088"
            second = "/m/09x0r" if i % 1000 == 0 else "/m/012xff"
            file.write(f'{i:011d}, {i % 300}.000, {i % 300 + 10}.000, "{first},{second}"\n')
    return sum(i % 1000 != 0 for i in range(0, rows, 500))


def timed(what: str, path: Path, rows: int, items: Iterator[object]) -> tuple[object, ...]:
    """A row of the table: all items taken, none kept."""
    begun = time.process_time()
    found = sum(1 for _ in items)
    seconds = time.process_time() - begun
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    rate, size = rows / seconds, path.stat().st_size / 1e6 / seconds
    return what, rows, found, round(rate), round(size, 1), round(peak_mb)


def listed(folder: Path) -> Iterator[object]:
    """Videos of the written list, by the recipe that a user would write."""
    source = {"lists": str(folder), "subsets": ["unbalanced"], "without": ["Speech", "Music"]}
    recipe = load_recipe("keep_all", {"source": source})
    return AudioSet().videos(("Helicopter",), Listing(recipe, folder / "cache"))


def own_lists(folder: Path) -> Iterator[tuple[object, ...]]:
    """Name, form and number of rows of each list, or the reason for which it is refused."""
    for path in sorted(folder.glob("*.*")):
        form = next((read for word, read in FORMS.items() if word in path.name), None)
        if form is None or path.suffix not in (".csv", ".tsv", ".txt"):
            continue
        try:
            yield path.name, form.__name__, sum(1 for _ in form(path)), ""
        except FatalError as error:
            yield path.name, form.__name__, None, error.message


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--lists", type=Path, help="a folder of lists to count")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "unbalanced_train_segments.csv"
        wanted = write_segments(path, options.rows)
        rows = [timed("AudioSet, Helicopter without Speech, Music", path, options.rows, listed(folder))]
        sys.path.insert(0, str(inputs.TESTS / "sources"))
        from records_made import video  # brings protobuf, whose memory is not the reader's

        shard = folder / "train00.tfrecord"
        shard.write_bytes(b"".join(video(f"{i:04d}", 46, i % 3000) for i in range(20)) * 50)
        rows.append(timed("YouTube-8M, video-level shard", shard, 1000, read_videos(shard)))
    good = rows[0][2] == wanted and float(str(rows[0][3])) >= LEAST_ROWS_PER_S and float(str(rows[0][5])) <= MOST_MB
    words = f"{wanted} helicopters were written; limits: {LEAST_ROWS_PER_S} rows/s, {MOST_MB} MB"
    counted = list(own_lists(options.lists)) if options.lists else []
    if counted:
        inputs.show("lists", ("file", "read by", "rows", "refused"), counted, "", as_json=False)
    inputs.show("lists", HEADER, rows, words, options.json, good=good, lists=counted)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
