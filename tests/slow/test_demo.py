"""`v2a demo` from end to end, and the same by hand: typing its commands gives the same workspace."""

import base64
import hashlib
import io
import json
import os
import shlex
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import av
import pytest

from v2a_data.engine import local_cluster
from v2a_data.workspace import Workspace

pytestmark = pytest.mark.slow
# The smallest world that leaves a few training clips beside the recipe's 22 test clips per label.
VIDEOS = 140
SCRIPTS = Path(sys.executable).parent


@dataclass(frozen=True)
class Demo:
    """A finished demo: the folder it ran in, with `demo` below, and what it answered."""

    folder: Path
    answer: dict
    err: str

    @property
    def workspace(self) -> Path:
        return self.folder / "demo" / "workspace"

    @property
    def commands(self) -> list[str]:
        return (self.folder / "demo" / "commands.txt").read_text().splitlines()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("demo")
    words = ["demo", "--out", "demo", "--videos", str(VIDEOS), "--json", "-q"]
    done = subprocess.run([SCRIPTS / "v2a", *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Demo(folder, json.loads(done.stdout), done.stderr)


@pytest.fixture(scope="module")
def by_hand(demo: Demo) -> Path:
    """The printed commands, typed in another folder; what ends in & runs on until the others are done."""
    behind: list[subprocess.Popen[bytes]] = []
    try:
        for line in demo.commands:
            words = shlex.split(line.replace("demo/", "hand/"))
            command = [str(SCRIPTS / words[0]), *words[1:]]
            if command[-1] == "&":
                behind.append(subprocess.Popen(command[:-1], cwd=demo.folder, stdout=subprocess.DEVNULL))
                wait_for(int(words[words.index("--port") + 1]))
            else:
                done = subprocess.run(command, cwd=demo.folder, capture_output=True, text=True, check=False)
                assert done.returncode == 0, (line, done.stderr)
    finally:
        for process in behind:
            process.terminate()
            process.wait()
    return demo.folder / "hand" / "workspace"


def wait_for(port: int) -> None:
    stop = time.monotonic() + 30
    while time.monotonic() < stop:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.1)
    raise AssertionError(f"nothing answers at port {port}")


def test_a_cluster_leaves_the_environment_as_it_was() -> None:
    """Else the demo's trainings run with other thread counts, and other bytes, than those typed by hand."""
    before = dict(os.environ)
    with local_cluster(1, models=False) as cluster:
        assert len(cluster.workers) == 1
        assert dict(os.environ) == before


def test_the_demo_ends_with_all_its_parts(demo: Demo) -> None:
    assert "Traceback" not in demo.err
    assert demo.answer["videos"]["by_state"] == {"fetched": VIDEOS}
    assert demo.answer["clips"]["by_verdict"]["keep"] == demo.answer["samples"]["total"]
    assert demo.answer["samples"]["by_split"]["test"] >= 44
    assert {t["model"] for t in demo.answer["trained"]} == {"vqvae3d", "audio_fc-tied", "audio_fc-literal"}
    truth = demo.answer["truth"]
    assert truth["kept"] == demo.answer["samples"]["total"]
    assert truth["right"] >= 0.95 * truth["kept"]
    assert truth["found"] >= 0.8 * truth["findable"]
    rows = {row["name"] for row in demo.answer["evaluation"]["rows"]}
    assert {"audio_fc tied", "audio_fc literal", "real", "silence"} <= rows
    assert len(list((demo.folder / "demo" / "sounded").glob("*.mp4"))) == 4


class Page(HTMLParser):
    """Elements with their attributes, and the text that is shown."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_is_one_file_that_plays(demo: Demo) -> None:
    page = Page(Path(demo.folder / "demo" / "report.html").read_text())
    for tag, attributes in page.elements:
        assert tag not in ("script", "iframe", "link", "object", "embed")
        assert all(str(attributes[n]).startswith("data:") for n in ("src", "href", "poster") if n in attributes), tag
    for place in (str(demo.folder), str(Path.home()), str(SCRIPTS), str(Path(__file__).parents[2])):
        assert place not in page.text
    sounding = 0
    videos = [attributes["src"] for tag, attributes in page.elements if tag == "video"]
    for uri in videos:
        body = base64.b64decode(str(uri).partition(",")[2], validate=True)
        with av.open(io.BytesIO(body)) as container:
            assert container.streams.video[0].codec_context.name == "h264"
            assert next(container.decode(video=0)).width > 0
            sounding += bool(container.streams.audio)
    assert len(videos) == sounding >= 6 + 1 + 4
    for command in demo.commands:
        assert command in page.text
    pictures = [attributes["src"] for tag, attributes in page.elements if tag == "img"]
    assert len(pictures) >= 3
    assert all(base64.b64decode(str(p).partition(",")[2]).startswith(b"\x89PNG") for p in pictures)


def test_the_commands_typed_by_hand_give_the_same_workspace(demo: Demo, by_hand: Path) -> None:
    assert any(line.startswith("v2a-data synth demo/world ") for line in demo.commands)
    with Workspace.read(demo.workspace) as one, Workspace.read(by_hand) as two:
        first, second = one.ledger.dump(), two.ledger.dump()
    assert first == second
    assert len(first["samples"]) > 44
    kinds = {"shards": "*.tar", "checkpoints": "*.safetensors", "reports": "evaluation.json", "scores": "*.parquet"}
    for folder, pattern in kinds.items():
        found = hashes(demo.workspace / folder, pattern)
        assert found, folder
        assert hashes(by_hand / folder, pattern) == found, folder
    assert hashes(demo.workspace / "reports", "*.wav") == hashes(by_hand / "reports", "*.wav")
    assert hashes(demo.folder / "demo" / "sounded", "*.mp4") == hashes(demo.folder / "hand" / "sounded", "*.mp4")


def hashes(folder: Path, pattern: str) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob(pattern)
    }
