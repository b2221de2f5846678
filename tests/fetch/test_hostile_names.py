"""500 ids, labels and titles made by hypothesis: none leaves the workspace, starts anything, or soils terminal or table.

`tests/slow/test_hostile_names.py` tries 20,000.
"""

import subprocess
import sys
from pathlib import Path

from hostile_names import noticing, run_all


def test_hostile_ids_labels_and_titles(tmp_path: Path) -> None:
    assert run_all(500, 250, tmp_path) >= 500


def test_the_watch_notices(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    with noticing(inside) as notes:
        (inside / "x").write_text("fine")
        (tmp_path / "y").write_text("outside")
        (inside / ".." / "z").mkdir()
        subprocess.run([sys.executable, "-c", ""], check=True)
    kinds = [note.split()[0] for note in notes]
    assert kinds[:2] == ["open", "os.mkdir"]
    assert "subprocess.Popen" in kinds
