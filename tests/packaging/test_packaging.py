"""What is in the wheel, who imports whom, and that every named package does real work."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Distribution name → import name, for the packages that the user chose.
CHOSEN = {
    "yt-dlp": "yt_dlp",
    "ffmpeg-python": "ffmpeg",
    "pandas": "pandas",
    "pyarrow": "pyarrow",
    "webdataset": "webdataset",
    "torch": "torch",
    "open-clip-torch": "open_clip",
    "typer": "typer",
    "dask": "distributed",
}
# The trainer may lean on these parts of the data package only; demo and its report drive both.
ALLOWED = (
    "cli.common",
    "console",
    "engine",
    "errors",
    "files",
    "media",
    "progress",
    "recipe",
    "registry",
    "resources",
    "shards",
    "workspace",
)
DRIVERS = ("demo.py", "demo_report.py")


def sources(package: Path) -> list[Path]:
    return sorted(p for p in package.rglob("*.py") if "__pycache__" not in p.parts)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("name", CHOSEN)
def test_every_chosen_package_is_imported_by_product_code(name: str) -> None:
    users = [
        p
        for p in sources(ROOT / "v2a_data") + sources(ROOT / "train")
        if any(i.split(".")[0] == CHOSEN[name] for i in imports(p))
    ]
    assert users, name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert any(re.match(rf"{re.escape(name)}\b", d) for d in project["dependencies"])


def test_the_data_package_never_imports_the_trainer() -> None:
    for path in sources(ROOT / "v2a_data"):
        assert not {i for i in imports(path) if i.split(".")[0] == "v2a"}, path


def test_the_trainer_imports_only_the_agreed_parts() -> None:
    for path in sources(ROOT / "train" / "v2a"):
        if path.name in DRIVERS:
            continue
        used = {i.removeprefix("v2a_data.") for i in imports(path) if i.startswith("v2a_data.")}
        assert not {u for u in used if not u.startswith(ALLOWED)}, path


def test_media_bytes_are_touched_in_one_place() -> None:
    """PyAV: only media/, the renderer, and the trainer's decoder of its own shards."""
    users = {
        p.relative_to(ROOT).as_posix()
        for p in sources(ROOT / "v2a_data") + sources(ROOT / "train")
        if "av" in imports(p)
    }
    elsewhere = {u for u in users if not u.startswith(("v2a_data/media/", "v2a_data/synthetic/"))}
    assert elsewhere == {"train/v2a/reading/decode.py"}


@pytest.mark.parametrize(
    "words",
    [
        r"pickle\.load",
        r"weights_only\s*=\s*False",
        r"shell\s*=\s*True",
        r"os\.system",
        r"yaml\.load",
        r"\beval\(",
        r"tempfile\.mktemp",
    ],
)
def test_nothing_executes_what_it_reads(words: str) -> None:
    for path in sources(ROOT / "v2a_data") + sources(ROOT / "train"):
        code = "\n".join(line.split("#")[0] for line in path.read_text().splitlines())
        found = [m for m in re.findall(rf".*{words}.*", code) if ".eval()" not in m]
        assert not found, (path, found)


def test_heavy_packages_are_imported_inside_functions() -> None:
    heavy = {
        "torch",
        "open_clip",
        "pandas",
        "pyarrow",
        "webdataset",
        "yt_dlp",
        "distributed",
        "dask",
        "onnxruntime",
        "matplotlib",
    }
    for path in sources(ROOT / "v2a_data"):
        tree = ast.parse(path.read_text())
        top = {
            (alias.name if isinstance(node, ast.Import) else node.module or "").split(".")[0]
            for node in tree.body
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for alias in node.names
        }
        assert not top & heavy, path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    for builder in (
        ["uv", "build", "--wheel", "-q", "-o", str(out)],
        [sys.executable, "-m", "uv", "build", "--wheel", "-q", "-o", str(out)],
    ):
        try:
            done = subprocess.run(builder, cwd=ROOT, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            continue
        if done.returncode == 0:
            return next(out.glob("*.whl"))
    pytest.fail(done.stderr)


def test_the_wheel_holds_both_packages_and_their_data(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert top == {"v2a", "v2a_data"}
    for wanted in (
        "v2a_data/_pipelines/airplane.toml",
        "v2a_data/_manifests/youtube8m_labels.csv",
        "v2a_data/report/page.html.j2",
        "v2a_data/synthetic/voice/utterance_0.ogg",
        "v2a/_configs/demo.toml",
    ):
        assert wanted in names


def test_the_wheel_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from v2a_data import recipe, resources\n"
        "assert resources.__file__.startswith(sys.argv[1]), resources.__file__\n"
        "assert recipe.load_recipe('airplane').labels == ('Airplane',)\n"
        "from v2a_data.sources.label_tables import youtube8m_labels; assert len(youtube8m_labels()) == 3862\n"
        "from v2a.config import load_train_config; assert load_train_config({'config': 'demo'}).view.width == 64\n"
        "from importlib.metadata import entry_points\n"
        "from v2a_data.cli import main; from v2a.cli import main as other\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", _with_site(code), str(tmp_path / "site")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def _with_site(code: str) -> str:
    """The packages of this environment without the editable install's own path entries."""
    import site

    packages = site.getsitepackages()
    return f"import sys; sys.path += {packages!r}\n{code}"


def test_entry_points_load() -> None:
    from importlib.metadata import entry_points

    found = {e.name: e.value for e in entry_points(group="console_scripts") if e.name in ("v2a", "v2a-data")}
    assert found == {"v2a": "v2a.cli:main", "v2a-data": "v2a_data.cli:main"}


def test_no_lock_file_and_no_address_in_the_project() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    assert not [t for t in tracked if t.endswith((".lock", "pylock.toml"))]
    assert "index-url" not in (ROOT / "pyproject.toml").read_text()
