"""Both command lines: their names stay, help is complete, and showing it loads nothing heavy."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner
from v2a.cli import app as v2a

from v2a_data.cli import app as v2a_data

HEAVY = (
    "torch",
    "open_clip",
    "pandas",
    "pyarrow",
    "dask",
    "distributed",
    "webdataset",
    "yt_dlp",
    "av",
    "numpy",
    "rich",
)
COMMON = {
    "--workspace",
    "-w",
    "--recipe",
    "--set",
    "--workers",
    "--scheduler",
    "--json",
    "--quiet",
    "-q",
    "--verbose",
    "-v",
    "--debug",
    "--version",
    "--help",
    "-h",
}
COMMANDS = {
    ("v2a-data", "labels"): set(),
    ("v2a-data", "fetch"): {"--label", "--source", "--input", "--ids-only", "--ids-file", "--url", "--manifest", "--limit", "--keep-media", "--max-downloads", "--license", "--retry", "--cookies", "--dry-run", "--force"},
    ("v2a-data", "curate"): {"--only", "--models", "--dry-run", "--force"},
    ("v2a-data", "votes"): {"--import", "--format", "--export", "--sample", "--seed", "--out", "--dry-run", "--force"},
    ("v2a-data", "calibrate"): {"--precision", "--confidence", "--combine", "--out", "--dry-run", "--force"},
    ("v2a-data", "shard"): {"--samples-per-shard", "--text", "--keep-media", "--dry-run", "--force"},
    ("v2a-data", "verify"): {"--deep", "--seed"},
    ("v2a-data", "remove"): {"--ids", "--ids-file", "--channel", "--dry-run"},
    ("v2a-data", "leaks"): set(),
    ("v2a-data", "repair"): {"--dry-run"},
    ("v2a-data", "export"): {"--without", "--dry-run", "--force"},
    ("v2a-data", "run"): {"--until-kept", "--models", "--dry-run", "--force"},
    ("v2a-data", "status"): {"--availability", "--manifest"},
    ("v2a-data", "explain"): set(),
    ("v2a-data", "recipe", "new"): {"--output", "-o", "--dry-run", "--force"},
    ("v2a-data", "models", "list"): set(),
    ("v2a-data", "models", "pull"): {"--dry-run"},
    ("v2a-data", "models", "verify"): set(),
    ("v2a-data", "synth"): {
        "--videos", "--seed", "--labels", "--lines", "--seconds", "--faults", "--sound", "--no-sound",
        "--ood", "--view", "--serve", "--port", "--misbehave", "--dry-run",
    },
    ("v2a-data", "doctor"): set(),
    ("v2a", "demo"): {"--out", "--videos", "--seed", "--dry-run"},
    ("v2a", "train"): {"--shards", "--dry-run", "--force"},
    ("v2a", "encode"): {"--split", "--shards", "--dry-run"},
    ("v2a", "tune"): {"--shards", "--dry-run"},
    ("v2a", "generate"): {"--output", "-o", "--dry-run", "--force"},
    ("v2a", "evaluate"): {"--shards", "--dry-run"},
}  # fmt: skip


def show(*words: str) -> str:
    app = {"v2a-data": v2a_data, "v2a": v2a}[words[0]]
    done = CliRunner().invoke(app, [*words[1:], "--help"])
    assert done.exit_code == 0
    return done.output


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_has_exactly_its_options(words: tuple[str, ...]) -> None:
    text = show(*words)
    found = set(re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", text.split("Options:")[1]))
    found = {f for f in found if f.startswith("--") or len(f) == 2}
    assert COMMANDS[words] | COMMON <= found
    assert found - COMMON - COMMANDS[words] <= {"--limit", "--serve", "--only"}, found - COMMON - COMMANDS[words]


@pytest.mark.parametrize("words", COMMANDS)
def test_every_option_has_its_help(words: tuple[str, ...]) -> None:
    options = show(*words).split("Options:")[1]
    rows = re.split(r"\n  (?=-)", options)[1:]
    assert rows
    for row in rows:
        assert len(re.split(r"\s{2,}", row.strip().replace("\n", "  "), maxsplit=1)) == 2, row


def test_the_apps_hold_these_commands_and_no_others() -> None:
    listed = {
        ("v2a-data", n) for n in re.findall(r"^  ([a-z]+) ", show("v2a-data").split("Commands:")[1], re.MULTILINE)
    }
    listed |= {("v2a", n) for n in re.findall(r"^  ([a-z]+) ", show("v2a").split("Commands:")[1], re.MULTILINE)}
    assert listed == {words[:2] for words in COMMANDS}


@pytest.mark.parametrize("module", ["v2a_data", "v2a"])
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["fetch", "--help"], ["train", "--help"]])
def test_help_loads_nothing_heavy(module: str, words: list[str]) -> None:
    code = (
        f"import sys, atexit, json; sys.argv = ['x', *{words!r}]\n"
        f"atexit.register(lambda: sys.stderr.write(json.dumps([m for m in {HEAVY!r} if m in sys.modules])))\n"
        f"from {module}.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert json.loads(done.stderr.splitlines()[-1]) == []


def test_versions() -> None:
    from v2a_data import __version__

    assert CliRunner().invoke(v2a_data, ["--version"]).output == f"v2a-data {__version__}\n"
    assert CliRunner().invoke(v2a, ["--version"]).output == f"v2a {__version__}\n"


def test_docs_name_every_command_and_recipe() -> None:
    root = Path(__file__).parents[2]
    readme = (root / "README.md").read_text()
    for words in COMMANDS:
        assert " ".join(words) in readme, words
    for path in (root / "pipelines").glob("*.toml"):
        assert f"`{path.stem}`" in readme


def test_both_console_scripts_are_installed() -> None:
    for name in ("v2a-data", "v2a"):
        script = Path(sys.executable).with_name(name)
        assert os.access(script, os.X_OK)
