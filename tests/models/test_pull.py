"""Pulling from a hub: what is kept, what is refused, and that nothing half stays."""

import hashlib
import json
import pickle
from collections import namedtuple
from pathlib import Path

import pytest
from conftest_models import CLIP, TAGGER, clip_row, tagger_row
from hub import COMMIT, Hub, serve

from v2a_data.errors import BusyError, DiskError, FatalError, MissingToolError, UsageError
from v2a_data.models import store
from v2a_data.models.lock import LOCK_FILE, Locked, read_lock
from v2a_data.models.pull import pull
from v2a_data.models.registry import ModelFile, ModelRow
from v2a_data.progress import Progress

WEIGHTS = "open_clip_model.safetensors"


def get(row: ModelRow, done: list[int] | None = None) -> Locked:
    def progress(total: int | None) -> Progress:
        opened = Progress("pull", total, "kB", quiet=True)
        step = opened.step

        def counted(count: int = 1, **notes: int) -> None:
            if done is not None:
                done.append(count)
            step(count, **notes)

        opened.step = counted  # type: ignore[method-assign]
        return opened

    return pull(row, progress)


def left(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != ".lock")


def test_a_pull_brings_one_commit_and_records_it(hub: Hub, folder: Path, made: dict[str, Path]) -> None:
    done: list[int] = []
    entry = get(clip_row(), done)
    assert entry.revision == COMMIT
    assert left(folder) == [LOCK_FILE, f"{CLIP}/{WEIGHTS}", f"{CLIP}/{CLIP}.json"]
    assert (folder / CLIP / WEIGHTS).read_bytes() == made[WEIGHTS].read_bytes()
    assert sum(done) == pytest.approx(sum(entry.bytes.values()) / 1000, abs=2)
    found = store.find(CLIP)
    assert found.sha256 == hashlib.sha256(made[WEIGHTS].read_bytes()).hexdigest() == store.recorded_sha256(CLIP)
    assert read_lock(folder) == {CLIP: entry}
    # Asked for as "main" once, then at the commit that this meant.
    assert [path.split("/")[4] for _, path, _ in hub.log] == ["main"] + [COMMIT] * (len(hub.log) - 1)


def test_two_models_share_one_lock_file(hub: Hub, folder: Path) -> None:
    get(clip_row())
    get(tagger_row())
    assert set(json.loads((folder / LOCK_FILE).read_text())["models"]) == {CLIP, TAGGER}


def test_a_cut_connection_goes_on_where_it_was(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    hub.cut_at[WEIGHTS] = 50_000
    get(clip_row())
    ranges = [headers.get("range") for headers in hub.asked("GET", WEIGHTS)]
    assert ranges == [None, "bytes=50000-"]
    assert store.find(CLIP).sha256


def test_a_connection_that_is_always_cut_leaves_nothing(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    hub.cut_at[WEIGHTS], hub.cuts = 50_000, 99
    with pytest.raises(FatalError, match="could not be pulled") as caught:
        get(clip_row())
    assert caught.value.exit_code == 1
    assert left(folder) == []
    hub.cut_at.clear()
    get(clip_row())
    assert store.find(CLIP).sha256


def test_a_truncated_file_leaves_nothing(hub: Hub, folder: Path) -> None:
    hub.announced[WEIGHTS] = (10_000_000, None)
    with pytest.raises(FatalError, match="could not be pulled"):
        get(clip_row())
    assert left(folder) == []


def test_another_hash_than_the_tables_is_refused_before_the_first_byte(hub: Hub, folder: Path) -> None:
    wanted, offered = "0" * 64, hashlib.sha256(hub.files["org/clip", WEIGHTS]).hexdigest()
    with pytest.raises(FatalError) as caught:
        get(clip_row(files=(ModelFile(WEIGHTS, wanted),)))
    assert wanted in caught.value.message and offered in caught.value.message
    assert hub.asked("GET", WEIGHTS) == []
    assert left(folder) == []


def test_a_hub_that_lies_about_the_hash_is_found_out(hub: Hub, folder: Path) -> None:
    true = hashlib.sha256(hub.files["org/clip", WEIGHTS]).hexdigest()
    hub.announced[WEIGHTS] = (None, "a" * 64)
    with pytest.raises(FatalError) as caught:
        get(clip_row(files=(ModelFile(WEIGHTS, "a" * 64),)))
    assert "a" * 64 in caught.value.message and true in caught.value.message
    with pytest.raises(FatalError):
        get(clip_row())
    assert left(folder) == []


def test_what_the_first_pull_brought_is_enforced_from_then_on(hub: Hub, folder: Path) -> None:
    entry = get(clip_row())
    (folder / CLIP / WEIGHTS).unlink()
    before = len(hub.log)
    get(clip_row())
    assert all(f"/{COMMIT}/" in path for _, path, _ in hub.log[before:]), "the recorded commit, no longer main"
    hub.put("org/clip", WEIGHTS, hub.files["org/clip", WEIGHTS] + b"0")
    (folder / CLIP / WEIGHTS).unlink()
    with pytest.raises(FatalError) as caught:
        get(clip_row())
    assert entry.sha256[WEIGHTS] in caught.value.message
    assert LOCK_FILE in (caught.value.hint or "")
    assert read_lock(folder) == {CLIP: entry}


def test_another_commit_than_the_pinned_one_is_refused(hub: Hub, folder: Path) -> None:
    with pytest.raises(MissingToolError, match="does not have it"):
        get(clip_row(revision="d" * 40))
    assert left(folder) == []


@pytest.mark.parametrize(
    ("status", "headers", "words", "hint"),
    [
        (404, {"X-Error-Code": "EntryNotFound"}, "does not have it", "models list"),
        (404, {"X-Error-Code": "RepoNotFound"}, "does not have it", "models list"),
        (401, {"X-Error-Code": "GatedRepo"}, "known accounts only", "HF_TOKEN"),
        (403, {"X-Error-Code": "GatedRepo"}, "known accounts only", "HF_TOKEN"),
        (401, {}, "known accounts only", "HF_TOKEN"),
    ],
)
def test_what_the_hub_does_not_give_is_exit_5(
    status: int, headers: dict[str, str], words: str, hint: str, hub: Hub, folder: Path
) -> None:
    hub.refuse[f"{CLIP}.json"] = (status, headers)
    with pytest.raises(MissingToolError) as caught:
        get(clip_row())
    assert words in caught.value.message
    assert hint in (caught.value.hint or "")
    assert hub.asked("GET", WEIGHTS) == [], "all files are asked for before the first is fetched"
    assert left(folder) == []


def test_a_hub_in_trouble_is_a_failure(hub: Hub, folder: Path) -> None:
    hub.refuse[WEIGHTS] = (500, {})
    with pytest.raises(FatalError, match="could not be pulled") as caught:
        get(clip_row())
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("xet", [True, False])
def test_the_token_goes_to_the_endpoint_and_nowhere_else(
    xet: bool,
    hub: Hub,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    caplog.set_level("DEBUG")
    with serve(Hub(files=hub.files)) as storage:
        hub.storage, hub.xet = storage.address, xet
        get(clip_row())
        assert all(headers["authorization"] == "Bearer hf_verysecret" for _, _, headers in hub.log)
        assert [method for method, _, _ in storage.log] == ["GET", "GET"]
        assert all("authorization" not in headers for _, _, headers in storage.log)
    assert store.find(CLIP).sha256
    captured = capfd.readouterr()
    assert "hf_verysecret" not in captured.out + captured.err + caplog.text
    assert all("hf_verysecret" not in p.read_text(errors="replace") for p in folder.rglob("*") if p.is_file())


def test_a_redirect_to_bytes_of_another_kind_is_refused(hub: Hub, folder: Path) -> None:
    with serve(Hub(files={("org/clip", WEIGHTS): b"x" * len(hub.files["org/clip", WEIGHTS])})) as storage:
        storage.files["org/clip", f"{CLIP}.json"] = hub.files["org/clip", f"{CLIP}.json"]
        hub.storage = storage.address
        with pytest.raises(FatalError, match="another sha256"):
            get(clip_row())
    assert left(folder) == []


@pytest.mark.parametrize("address", ["http://example.org", "ftp://127.0.0.1", "huggingface.co"])
def test_plain_http_beyond_loopback_is_refused(address: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", address)
    with pytest.raises(UsageError, match="must be https"):
        get(clip_row())


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pkl", "../model.onnx", "/etc/model.json"])
def test_pickles_and_paths_outside_are_never_asked_for(name: str, hub: Hub, folder: Path) -> None:
    hub.put("org/clip", name, b"x")
    with pytest.raises(UsageError, match="is refused"):
        get(clip_row(files=(ModelFile(name),)))
    assert hub.log == []


@pytest.mark.parametrize("body", [pickle.dumps({"a": 1}), b"<html>sign in</html>", b"", b"\xff" * 200])
def test_what_only_calls_itself_safetensors_is_refused(body: bytes, hub: Hub, folder: Path) -> None:
    hub.put("org/clip", WEIGHTS, body)
    with pytest.raises(FatalError, match=r"not a safetensors file|could not be pulled"):
        get(clip_row())
    assert left(folder) == []


def test_a_model_without_files_says_why(folder: Path) -> None:
    from v2a_data.models.registry import MODELS

    for name in ("clap-htsat-unfused", "v2a-tiny-clip"):
        with pytest.raises(MissingToolError, match="cannot be pulled"):
            get(MODELS[name])
    assert left(folder) == [] if folder.exists() else True


def test_a_full_disk_is_said_before_the_download(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("v2a_data.models.pull.shutil.disk_usage", lambda path: usage(1, 1, 1000))
    with pytest.raises(DiskError, match="MB free"):
        get(clip_row())
    assert left(folder) == []


def test_a_disk_that_fills_is_a_disk_error(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "x")

    monkeypatch.setattr("v2a_data.models.pull.publish", full)
    with pytest.raises(DiskError):
        get(clip_row())
    assert left(folder) == []


def test_one_pull_at_a_time_and_killed_ones_are_cleaned_up(hub: Hub, folder: Path) -> None:
    from v2a_data.models.pull import _alone

    (folder / ".tmp-killed" / "files").mkdir(parents=True)
    (folder / ".tmp-killed" / "files" / "part").write_bytes(b"x")
    with _alone(folder), pytest.raises(BusyError):
        get(clip_row())
    get(clip_row())
    assert not list(folder.glob(".tmp-*"))


def test_offline_mode_of_the_hub_client_is_named(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FatalError) as caught:
        get(clip_row())
    assert "HF_HUB_OFFLINE" in (caught.value.hint or "")
    assert hub.log == []
