"""`v2a-data models …` and `curate` with pulled models, as users type them."""

import json
import sys
from pathlib import Path

import pytest
from conftest_models import CLIP, TAGGER
from hub import Hub
from test_store import flip
from typer.testing import CliRunner

from v2a_data.cli import app
from v2a_data.models import store
from v2a_data.models.registry import MODELS
from v2a_data.shards.read import open_shards
from v2a_data.tables import load_manifest

runner = CliRunner()
RECIPE = f"""
name = "pulled"
labels = ["Airplane", "Drum"]

[scorers.clip_topic]
model = "{CLIP}"
image_px = 32
on = ["an airplane"]
off = ["a drum"]

[scorers.audio_tags]
model = "{TAGGER}"
classes = ["/m/0cmf2", "/m/026t6"]

[rules]
keep = "seen >= 0 and heard >= 0"

[splits]
test = 1
"""


def call(*words: object) -> tuple[int, str, str]:
    done = runner.invoke(app, [str(w) for w in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_list_says_what_is_here_and_how_it_is_held(hub: Hub, folder: Path) -> None:
    assert call("models", "pull", CLIP, "-q")[0] == 0
    code, out, _ = call("models", "list", "--json")
    values = json.loads(out)
    assert (code, values["command"], values["folder"]) == (0, "list", str(folder))
    states = {row["name"]: row["state"] for row in values["models"]}
    assert (states[CLIP], states[TAGGER]) == ("here", "not here")
    assert set(states) == set(MODELS)
    text = call("models", "list")[1]
    assert all(f"{name}: {row.note}" in text for name, row in MODELS.items())
    assert "sha256 at first pull" in text


def test_pull_and_verify(hub: Hub, folder: Path) -> None:
    code, out, err = call("models", "pull", CLIP, TAGGER, "--json")
    values = json.loads(out)
    assert code == 0
    assert [row["pulled"] for row in values["models"]] == [True, True]
    assert f"{hub.address}/org/clip" in err
    assert " kB" in err
    before = len(hub.log)
    assert [row["pulled"] for row in json.loads(call("models", "pull", CLIP, "--json")[1])["models"]] == [False]
    assert len(hub.log) == before
    code, out, _ = call("models", "verify", "--json")
    assert (code, json.loads(out)["ok"], len(json.loads(out)["files"])) == (0, True, 8)
    flip(folder / TAGGER / "model.onnx")
    code, out, _ = call("models", "verify")
    assert code == 1
    assert f"damaged       {TAGGER}: model.onnx" in out
    assert f"mend with: v2a-data models pull {TAGGER}" in out
    assert call("models", "pull", TAGGER)[0] == 0
    assert call("models", "verify", TAGGER)[0] == 0
    (folder / TAGGER / "model.onnx").unlink()
    assert call("models", "verify", TAGGER)[0] == 5


def test_a_dry_run_asks_nothing_and_writes_nothing(hub: Hub, folder: Path) -> None:
    code, out, _ = call("models", "pull", CLIP, "--dry-run", "--json")
    assert (code, json.loads(out)["models"][0]["repo"]) == (0, "org/clip")
    assert hub.log == []
    assert not folder.exists()


def test_verify_without_a_model_says_what_to_do(
    hub: Hub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "PACKAGED", tmp_path / "none")
    code, out, err = call("models", "verify")
    assert (code, out) == (4, "")
    assert "holds no models" in err and "models pull NAME" in err


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        (["pull", "ced-tiniest"], 4, "did you mean 'ced-tiny'", "models list"),
        (["verify", "nothing"], 4, "no model named 'nothing'", "models list"),
        (["pull", "clap-htsat-unfused"], 5, "published as a pickle only", ""),
        (["pull", "PE-Core-B-16/meta"], 5, "does not have it", ""),
    ],
)
def test_mistakes_end_with_words_and_a_code(
    words: list[str], code: int, message: str, hint: str, hub: Hub, folder: Path
) -> None:
    found, out, err = call("models", *words)
    assert (found, out) == (code, "")
    assert message in err
    assert hint in err


def test_a_folder_that_cannot_be_is_said(hub: Hub, folder: Path) -> None:
    folder.parent.joinpath("models").write_text("a file")
    code, _, err = call("models", "pull", CLIP)
    assert code == 1
    assert "models" in err


def test_help_of_the_group_loads_nothing_heavy() -> None:
    import subprocess

    code = "import sys; from v2a_data.cli import app\ntry: app(['models', 'pull', '--help'])\nexcept SystemExit: pass\nprint([m for m in ('torch', 'numpy', 'huggingface_hub') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.fixture
def fetched(world: Path, tmp_path: Path, folder: Path) -> list[str]:
    """A workspace with four videos and the recipe that names the two small models."""
    recipe = tmp_path / "pulled.toml"
    recipe.write_text(RECIPE)
    at = ["-w", str(tmp_path / "w"), "--workers", "0", "-q"]
    from_world = ["--source", "synthetic", "--input", str(world), "--limit", "4"]
    assert call("fetch", "--recipe", recipe, *from_world, *at)[0] == 0
    return at


def test_curate_without_the_models_stops_before_any_work(fetched: list[str], tmp_path: Path) -> None:
    code, _, err = call("curate", *fetched)
    assert code == 5
    assert f"run `v2a-data models pull {TAGGER}`" in err
    assert not list((tmp_path / "w" / "scores").rglob("*.parquet"))
    code, _, err = call("run", tmp_path / "pulled.toml", *fetched)
    assert code == 5
    assert f"run `v2a-data models pull {TAGGER}`" in err


def test_pull_curate_shard(hub: Hub, fetched: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call("models", "pull", CLIP, TAGGER, "-q")[0] == 0
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    code, out, err = call("curate", *fetched[:-1], "--json")
    assert code == 0, err
    assert json.loads(out)["clips"]["keep"] >= 4
    assert call("shard", *fetched)[0] == 0
    shards = open_shards(tmp_path / "w" / "shards")
    values = shards.read(shards.entries[0]).values
    assert [text.split()[:2] for text in values["models"]] == [["audio_tags:", TAGGER], ["clip_topic:", CLIP]]
    assert all(len(text.split()[2]) == 64 for text in values["models"])
    assert values["not_for_use"] is False
    assert all(0 < value < 1 for value in values["seen"] + values["heard"])
    assert not load_manifest(tmp_path / "w").not_for_use.any()
    # What is measured needs no model again.
    (tmp_path / "models" / CLIP / "open_clip_model.safetensors").unlink()
    assert call("curate", *fetched)[0] == 0


def test_doctor_names_the_recipes_models(hub: Hub, fetched: list[str], tmp_path: Path) -> None:
    def checks() -> dict[str, dict]:
        found = json.loads(call("doctor", "-w", tmp_path / "w", "--json")[1])["checks"]
        return {check["name"]: check for check in found}

    missing = checks()[f"model {CLIP}"]
    assert (missing["ok"], missing["optional"]) == (False, False)
    assert missing["fix"] == f"run `v2a-data models pull {CLIP}`"
    call("models", "pull", CLIP, TAGGER)
    assert checks()[f"model {CLIP}"]["ok"] and checks()[f"model {TAGGER}"]["ok"]
    everything = json.loads(call("doctor", "-w", tmp_path / "none", "--json")[1])["checks"]
    rows = {c["name"].removeprefix("model "): c for c in everything if c["name"].startswith("model ")}
    assert {"ced-tiny", "v2a-tiny-clip", "PE-Core-B-16/meta", CLIP} <= set(rows)
    assert all(c["optional"] for name, c in rows.items() if not c["ok"])


def test_tiny_models_on_real_videos_are_stamped_everywhere(
    world: Path, tiny: Path, tmp_path: Path, folder: Path
) -> None:
    recipe = tmp_path / "pulled.toml"
    recipe.write_text(RECIPE)
    at = ["-w", str(tmp_path / "w"), "--workers", "0", "-q"]
    local = ["--source", "local", "--input", str(world / "videos"), "--label", "Airplane", "--limit", "3"]
    assert call("fetch", "--recipe", recipe, *local, *at)[0] == 0
    assert call("curate", *at)[0] == 5, "never a fallback"
    code, _, err = call("curate", "--models", "tiny", *at)
    assert (code, "scorers.clip_topic.model" in err) == (2, True), "a change of the recipe is shown first"
    assert call("curate", "--models", "tiny", "--force", *at)[0] == 0
    code, _, err = call("curate", *at)
    assert (code, "--models tiny" in err) == (2, True)
    assert call("curate", "--models", "tiny", *at)[0] == 0
    assert call("shard", *at)[0] == 0
    shards = open_shards(tmp_path / "w" / "shards")
    values = shards.read(shards.entries[0]).values
    assert values["not_for_use"] is True
    assert "v2a-tiny-clip" in values["models"][1]
    assert "NOT FOR USE" in call("status", "-w", tmp_path / "w")[1]
    assert json.loads(call("status", "-w", tmp_path / "w", "--json")[1])["not_for_use"] is True
    assert load_manifest(tmp_path / "w").not_for_use.all()
    assert "NOT FOR USE" in call("doctor", "-w", tmp_path / "w")[1]
    assert call("curate", "--models", "small", *at)[0] == 2
