"""How much of VGGSound's test set is seen, heard and clean, by the labels that people gave it in VGGSounder.

    python benchmarks/vggsounder.py VGGSOUNDER.csv VGGSOUND_TEST.csv [--label airplane] [--json]

VGGSOUNDER.csv is VGGSounder's table with background music (github.com/Bizilizi/VGGSounder, Apache-2.0),
VGGSOUND_TEST.csv VGGSound's list of test clips and their classes (github.com/hche11/VGGSound, CC BY 4.0).
Counted are the clips that are in both. Seen and heard: the clip's own class is marked AV. Clean: and no music, still
picture or voice-over is marked. Intervals: Clopper and Pearson, 95 %.
"""

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import inputs

from v2a_data.curate.intervals import clopper_pearson
from v2a_data.review.others import Heard, read_vggsounder

HEADER = ("label", "clips", "seen and heard", "95 % interval", "and clean", "95 % interval of clean")


def test_labels(path: Path) -> dict[str, str]:
    """Clip (`<YouTube id>_<6 digits>`) → class, of VGGSound's test list, which has no header."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row[0].removesuffix(".mp4"): row[1] for row in csv.reader(file) if row}


def rates(clips: Mapping[str, Heard], labels: Mapping[str, str]) -> dict[str, tuple[int, int, int]]:
    """Label, and `all` → clips, those seen and heard, those of them that are clean."""
    found: dict[str, tuple[int, int, int]] = {}
    for clip, label in labels.items():
        said = clips.get(clip)
        if said is None:
            continue
        both = said.labels.get(label) == (True, True)
        for name in ("all", label):
            total, seen_and_heard, clean = found.get(name, (0, 0, 0))
            found[name] = (total + 1, seen_and_heard + both, clean + (both and not said.confounders))
    return found


def line(label: str, counts: tuple[int, int, int]) -> Sequence[object]:
    """A row of the table."""
    total, *parts = counts
    cells: list[object] = [label, total]
    for part in parts:
        low, high = clopper_pearson(part, total, 0.95)
        cells += [round(part / total, 4), f"{low:.3f} to {high:.3f}"]
    return cells


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vggsounder", type=Path)
    parser.add_argument("vggsound_test", type=Path)
    parser.add_argument("--label", action="append", help="show only these; default: all labels")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    clips, count = read_vggsounder(options.vggsounder)
    found = rates(clips, test_labels(options.vggsound_test))
    names = ["all", *(options.label or sorted(set(found) - {"all"}))]
    rows = [line(name, found[name]) for name in names if name in found]
    total, both, clean = found.get("all", (0, 0, 0))
    words = f"{count} rows on {len(clips)} clips; {total} of them are test clips of VGGSound"
    share = {"clips": total, "seen_and_heard": both / max(1, total), "clean": clean / max(1, total)}
    inputs.show("vggsounder", HEADER, rows, words, options.json, labelled_rows=count, **share)
    return 0 if total else 1


if __name__ == "__main__":
    raise SystemExit(main())
