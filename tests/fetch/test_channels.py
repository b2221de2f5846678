"""What a site says of a video beside its media: the title is kept clean, a removed channel is turned away."""

import json
import subprocess
from pathlib import Path

import pytest
from rebuilding import call, run
from youtube_loopback import mapped, player_answer

from v2a_data.console import Console
from v2a_data.engine import SerialEngine
from v2a_data.fetch.stage import FetchResult, fetch
from v2a_data.media.ffmpeg import ffmpeg_path
from v2a_data.recipe import load_recipe
from v2a_data.sources.ids import Ids
from v2a_data.tables import load_table
from v2a_data.workspace import Workspace

CHANNEL = "UC" + "x" * 22
IDS = ("-0DdlOuIFUI", "abcdefghijk")


@pytest.fixture
def files(media, tmp_path: Path) -> dict[int, Path]:
    made = {134: tmp_path / "v.mp4", 140: tmp_path / "a.m4a"}
    for path, drop in ((made[134], "-an"), (made[140], "-vn")):
        command = [ffmpeg_path(), "-v", "error", "-i", str(media("a.mp4")), drop, "-c", "copy", str(path)]
        subprocess.run(command, check=True)
    return made


def fetched(root: Path, native: str, files: dict[int, Path], console: Console) -> FetchResult:
    over = {"labels": ["Dog"], "fetch": {"sleep_s": [0, 0], "sleep_requests_s": 0}}
    recipe = load_recipe("airplane", over)
    with mapped({native: player_answer(native, 11.0, files)}, files), Workspace.open(root, "t") as workspace:
        workspace.adopt(recipe, force=True)
        return fetch(workspace, recipe, Ids([native]), SerialEngine(), console, None)


def holding(root: Path, word: str) -> list[str]:
    paths = [path for path in root.rglob("*") if path.is_file()]
    return [path.name for path in paths if word in path.name or word.encode() in path.read_bytes()]


def test_titles_are_kept_clean_and_a_channel_goes_for_good(files, tmp_path: Path, console: Console) -> None:
    root = tmp_path / "w"
    assert fetched(root, IDS[0], files, console).fetched == 1
    (title,) = load_table(root, "videos").title
    assert title == "made-up video [/b] [31m"
    assert list(load_table(root, "channels").channel) == [f"Youtube/{CHANNEL}"]
    values = json.loads(run("remove", "--channel", CHANNEL, "-w", root, "--json"))
    assert values["videos"] == 1
    assert [holding(root, word) for word in (IDS[0], CHANNEL, "made-up")] == [[], [], []]
    # Another video of the channel, and the same one again: neither stays.
    for native in (IDS[1], IDS[0]):
        result = fetched(root, native, files, console)
        assert (result.fetched, result.refused, result.states) == (0, 1, {})
    with Workspace.read(root) as workspace:
        assert workspace.ledger.value("SELECT COUNT(*) FROM removed") == 3, "the channel and both videos"
    assert list((root / "media").rglob("*.mp4")) == []


def test_an_id_that_was_removed_is_not_even_asked_for(files, tmp_path: Path, console: Console) -> None:
    root = tmp_path / "w"
    Workspace.open(root, "t").close()
    assert call("remove", "--ids", IDS[0], "-w", root)[0] == 0
    with mapped({}, files) as requests, Workspace.open(root, "t") as workspace:
        recipe = load_recipe("airplane", {"fetch": {"sleep_s": [0, 0]}})
        result = fetch(workspace, recipe, Ids([IDS[0]]), SerialEngine(), console, None)
    assert (result.listed, result.refused, requests) == (0, 1, [])
