"""The commands as users type them: results, messages, exit codes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner
from v2a.cli import app as v2a
from worlds import RECIPE

from v2a_data.cli import app as v2a_data
from v2a_data.workspace import Workspace

runner = CliRunner()


def call(*words: object, app=v2a_data) -> tuple[int, str, str]:
    done = runner.invoke(app, [str(w) for w in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def built(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three commands of the README, one after the other."""
    root = tmp_path_factory.mktemp("cli") / "w"
    at = ["-w", str(root), "--workers", "0", "-q"]
    for words in (
        ["fetch", "--source", "synthetic", "--input", str(world), "--recipe", RECIPE, "--set", "splits.test=2", *at],
        ["curate", *at],
        ["shard", *at],
    ):
        code, out, err = call(*words)
        assert (code, out) == (0, ""), (words, err)
    return root


def test_status_has_its_figures(built: Path) -> None:
    code, out, err = call("status", "-w", built, "--json")
    values = json.loads(out)
    assert (code, err) == (0, "")
    assert values["schema_version"] == 1
    assert values["command"] == "status"
    assert values["videos"]["total"] == 12
    assert values["videos"]["by_state"] == {"fetched": 12}
    assert values["clips"]["total"] == sum(values["clips"]["by_verdict"].values())
    assert values["clips"]["by_verdict"]["keep"] == values["samples"]["total"] > 3
    text = call("status", "-w", built)[1]
    assert "not kept because not" in text


def test_explain_in_the_terminal(built: Path) -> None:
    with Workspace.read(built) as workspace:
        clip = workspace.ledger.value("SELECT clip_id FROM clips WHERE verdict = 'drop' ORDER BY 1")
    code, out, _ = call("explain", clip, "-w", built)
    assert code == 0
    assert out.startswith(f"{clip}: drop, ")
    assert "not met:" in out
    assert json.loads(call("explain", clip, "-w", built, "--json")[1])["verdict"] == "drop"
    assert call("explain", "sy-0-99_000000000", "-w", built)[0] == 4
    assert call("explain", "../../etc", "-w", built)[0] == 2


def test_labels_list_source_and_id() -> None:
    code, out, _ = call("labels", "Airplane", "--json")
    rows = [(row["source"], row["id"]) for row in json.loads(out)["labels"]]
    assert code == 0
    assert {("youtube8m", "/m/05czz6l"), ("audioset", "/m/0cmf2")} <= set(rows)
    assert call("labels", "nothing is called this")[0] == 4


def test_recipe_new_writes_a_recipe_that_loads(tmp_path: Path) -> None:
    path = tmp_path / "h.toml"
    assert call("recipe", "new", "Helicopter", "-o", path)[0] == 0
    code, _, err = call("recipe", "new", "Helicopter", "-o", path)
    assert (code, "--force" in err) == (2, True)
    assert call("fetch", "--recipe", path, "-w", tmp_path / "w", "--dry-run")[0] == 0
    assert not (tmp_path / "w").exists()
    code, _, err = call("recipe", "new", "Poster", "-o", tmp_path / "p.toml")
    assert code == 0
    assert "AudioSet has no class for 'Poster'" in err


@pytest.mark.parametrize("words", [["fetch", "--source", "local", "--input", "."], ["curate"], ["shard"]])
def test_dry_runs_write_nothing(words: list[str], tmp_path: Path) -> None:
    code, out, _ = call(*words, "--recipe", "keep_all", "-w", tmp_path / "w", "--dry-run", "--json")
    assert code == 0
    assert json.loads(out)["dry_run"] is True
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        (["fetch"], 2, "has no recipe yet", "fetch --label NAME"),
        (["fetch", "--label", "Airplan"], 4, "did you mean 'Airplane'", "v2a-data labels"),
        (["fetch", "--source", "yutube", "--label", "Dog"], 2, "did you mean 'youtube8m'?", ""),
        (["fetch", "--source", "local", "--recipe", "keep_all"], 2, "needs a folder", "--input DIR"),
        (["fetch", "--source", "local", "--input", "/nowhere", "--recipe", "keep_all"], 2, "not a folder", ""),
        (["fetch", "--label", "Dog", "--limit", "many"], 2, "expected a number or 'all'", ""),
        (
            ["fetch", "--label", "Dog", "--set", "clips.secnds=4"],
            2,
            "unknown key 'secnds'; did you mean 'seconds' or 'min_seconds' or 'label_seconds'?",
            "",
        ),
        (["fetch", "--recipe", "airplan"], 2, "did you mean 'airplane'", ""),
        (["fetch", "--ids-file", "/nowhere", "--label", "Dog"], 2, "no such file", ""),
        (["fetch", "--url", "https://example.org", "--label", "Dog"], 2, "neither a YouTube id nor an address", ""),
        (["curate", "--only", "scores", "--recipe", RECIPE], 2, "expected one of score, rules", ""),
        (["curate", "--recipe", RECIPE], 2, "is not a workspace", "v2a-data fetch"),
        (["shard", "--recipe", RECIPE], 2, "is not a workspace", "v2a-data fetch"),
        (["status"], 2, "is not a workspace", "v2a-data fetch"),
        (["synth", "W", "--lines", "7"], 2, "a multiple of 4", ""),
        (["synth", "W", "--faults", "stil:0.1"], 2, "unknown kind 'stil'; did you mean 'still'", ""),
        (["synth", "W", "--faults", "still:3"], 2, "a share from 0 to 1", ""),
        (["synth", "W", "--view", "tiny"], 2, "expected one of full, small, steady", ""),
        (["synth", "W", "--misbehave", "429:0.1"], 2, "says how --serve answers", "add --serve"),
        (["synth", "W", "--seconds", "x"], 2, "expected LOW-HIGH", ""),
        (["synth", "W", "--labels", "Cat"], 2, "unknown synthetic label 'Cat'", ""),
    ],
)
def test_mistakes_end_with_words_and_a_code(
    words: list[str], code: int, message: str, hint: str, tmp_path: Path
) -> None:
    at = [] if words[0] == "synth" else ["-w", tmp_path / "w", "--workers", "0"]
    words = [str(tmp_path / w) if w == "W" else w for w in words]
    found, out, err = call(*words, *at)
    assert found == code
    assert out == ""
    assert message in err
    assert hint in err
    assert "Traceback" not in err


def test_unknown_options_are_usage_errors() -> None:
    assert call("fetch", "--labl", "x")[0] == 2
    assert call("nothing")[0] == 2


def test_a_missing_model_is_exit_5_with_the_way_out(
    built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("V2A_MODELS", str(tmp_path))
    shutil.copytree(built, tmp_path / "w")
    over = ["--set", "scorers.audio_tags.model=ced-tiny", "--set", "labels=['Airplane', 'Drum']"]
    code, _, err = call("curate", "-w", tmp_path / "w", "--recipe", "keep_all", *over, "--force", "--workers", "0")
    assert code == 5
    assert str(tmp_path / "ced-tiny" / "model.onnx") in err
    assert "run `v2a-data models pull ced-tiny`" in err


def test_a_changed_recipe_is_a_diff(built: Path) -> None:
    code, _, err = call("curate", "-w", built, "--set", "clips.seconds=4", "--workers", "0")
    assert code == 2
    assert "clips.seconds: 10.0 → 4.0" in err
    assert "--force" in err


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    assert "Traceback" in call("status", "-w", tmp_path / "none", "--debug")[2]


def test_runs_are_recorded_without_secrets(built: Path) -> None:
    from v2a_data.runs import redacted

    records = [json.loads(p.read_text()) for p in (built / "runs").glob("*.json")]
    assert {"fetch", "curate", "shard"} <= {r["command"] for r in records}
    assert all(r["packages"]["yt-dlp"] for r in records)
    assert redacted(["fetch", "--cookies", "/secret", "--token=abc", "-w", "x"]) == [
        "fetch",
        "--cookies",
        "…",
        "--token=…",
        "-w",
        "x",
    ]


HOSTILE_NAMES = [
    "[/b] plane",
    "[link=file:///etc/passwd]x[/link]",
    "\x1b[31mred",
    "a\rb",
    "\u202egnp.exe",
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_labels_reach_no_terminal(name: str, world: Path, tmp_path: Path) -> None:
    code, out, err = call(
        "fetch",
        "--source",
        "local",
        "--input",
        world / "videos",
        "--label",
        name,
        "--limit",
        "1",
        "-w",
        tmp_path / "w",
        "--workers",
        "0",
        "--recipe",
        "keep_all",
    )
    assert code == 0, err
    code, out, err2 = call("status", "-w", tmp_path / "w")
    assert code == 0
    for text in (out, err, err2):
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", text)


def test_ctrl_c_keeps_what_is_done_and_goes_on(world: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "v2a_data",
        "fetch",
        "--source",
        "synthetic",
        "--input",
        str(world),
        "--recipe",
        RECIPE,
        "-w",
        str(tmp_path / "w"),
        "--workers",
        "2",
    ]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    ledger = tmp_path / "w" / "ledger.sqlite"
    while not ledger.exists():
        time.sleep(0.01)
    time.sleep(2.0)
    os.killpg(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode in (130, 0), err
    assert "Traceback" not in err
    if running.returncode == 130:
        assert "run the same command again to go on" in err
    assert subprocess.run([*command, "-q"], check=False).returncode == 0
    with Workspace.read(tmp_path / "w") as workspace:
        assert workspace.ledger.value("SELECT COUNT(*) FROM videos WHERE state = 'fetched'") == 12


def test_run_goes_on_until_enough_is_kept(world: Path, tmp_path: Path) -> None:
    from v2a_data import recipe as recipes

    recipe = tmp_path / "r.toml"
    over = {"source": {"name": "synthetic", "input": str(world)}, "splits": {"test": 1}}
    recipe.write_text(recipes.dump_recipe(recipes.load_recipe(RECIPE, over)))
    code, out, err = call("run", recipe, "--until-kept", "3", "-w", tmp_path / "w", "--workers", "0", "--json")
    assert code == 0, err
    assert json.loads(out)["kept"] >= 3
    code, _, err = call("run", recipe, "--until-kept", "500", "-w", tmp_path / "w", "--workers", "0")
    assert code == 3
    assert "has no more videos" in err


def test_doctor_passes_here_and_names_the_fix_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    code, out, _ = call("doctor", "--json", "-w", tmp_path)
    values = json.loads(out)
    assert code == 0, [c for c in values["checks"] if not c["ok"]]
    names = {check["name"] for check in values["checks"]}
    assert {
        "python",
        "yt-dlp",
        "ffmpeg",
        "JavaScript runtime",
        "torch and torchvision",
        "GPU",
        "disk",
        "model silero-vad",
    } <= names
    assert all(check["fix"] for check in values["checks"] if not check["ok"])
    monkeypatch.setenv("V2A_FFMPEG", "/nowhere/ffmpeg")
    code, out, _ = call("doctor", "-w", tmp_path)
    assert code == 1
    assert re.search(r"FAIL  ffmpeg: .*/nowhere/ffmpeg.*\n +.*V2A_FFMPEG", out)


def test_v2a_says_what_is_missing(built: Path, tmp_path: Path) -> None:
    assert call("evaluate", "-w", built, app=v2a)[0] == 5
    code, _, err = call("train", "decoder", "-w", built, "--workers", "0", app=v2a)
    assert (code, "v2a train vqvae" in err) == (5, True)
    assert call("train", "all", "-w", built, app=v2a)[0] == 2
    assert call("generate", tmp_path / "no.mp4", "-o", tmp_path / "o.wav", "-w", built, app=v2a)[0] == 2
    assert call("generate", built, "-o", tmp_path / "o.wav", "-w", built, app=v2a)[0] == 2
    code, _, err = call("train", "-w", built, "--set", "train.vqvae.options.chanels=[1, 2]", app=v2a)
    assert (code, "did you mean 'channels'" in err) == (2, True)
    code, _, err = call("train", "-w", built, "--set", "train.config=demmo", app=v2a)
    assert (code, "did you mean 'demo'" in err) == (2, True)
