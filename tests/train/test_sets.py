"""Several sets of shards trained on by the command: their shares, where they lie, what is refused."""

import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from small import TINY, files_of
from test_remote import served, write_index
from typer.testing import CliRunner
from v2a import train
from v2a.cli import _report_name
from v2a.cli import app as v2a
from v2a.reading.address import check_place
from v2a.reading.sets import data_hash, held_out_elsewhere, mixed, open_sets, pool_of, weights_of
from v2a.stream import Crops, ShardStream
from v2a.training.held_out import _spread

from v2a_data.errors import FatalError, NothingError, UsageError
from v2a_data.recipe import merge
from v2a_data.runs import redacted
from v2a_data.shards.read import ShardSet, open_shards

SPLITS = ("train", "train", "validation", "test")
STEPS = 6
# Longer than every sample, so that each gives one crop: an epoch of four samples is one batch of four.
OVER: dict[str, Any] = {
    "view": {"seconds": 3.36},
    "vqvae": {"optimisation": {"steps": STEPS, "validate_every": 3}},
    "decoder": {"optimisation": {"steps": STEPS, "validate_every": 3}},
}
FILES = [f"step-{STEPS:06d}/{name}" for name in ("model.safetensors", "optimizer.safetensors", "state.json")]
FOLDERS = ("vqvae3d", "audio_fc-tied")


@pytest.fixture(scope="module")
def folders(coded: ShardSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two sets: the first samples of the coded ones, and their media again as other videos of another label, moved."""
    one, two = (tmp_path_factory.mktemp("sets") / name for name in ("one", "two"))
    entries = [replace(entry, split=split) for entry, split in zip(coded.entries, SPLITS, strict=False)]
    moved = [
        replace(
            entry,
            key=entry.key.replace("sy-7", "sy-8"),
            group_id=entry.key.replace("sy-7", "sy-8"),
            label="y",
            mp4_offset=entry.mp4_offset + 512,
            json_offset=entry.json_offset + 512,
        )
        for entry in entries
    ]
    for folder, rows, before in ((one, entries, 0), (two, moved, 512)):
        folder.mkdir()
        (folder / "s.tar").write_bytes(bytes(before) + (coded.folder / "s.tar").read_bytes())
        write_index(folder, rows)
    return one, two


def recipe(folder: Path, **over: Any) -> Path:
    table: dict[str, Any] = {"name": "sets", "train": merge(json.loads(json.dumps(TINY)), OVER)}
    path = folder / "sets.toml"
    path.write_text(tomli_w.dumps({**table, "train": merge(table["train"], over)}))
    return path


def weighted(*pairs: tuple[object, float]) -> list[dict[str, Any]]:
    return [{"shards": str(place), "weight": weight} for place, weight in pairs]


def run(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(v2a, [str(word) for word in (*words, "--workers", 0)])
    return done.exit_code, done.stdout, done.stderr


def noting(monkeypatch: pytest.MonkeyPatch, stop_after: int | None = None) -> list[tuple[str, ...]]:
    """The keys of every batch that is trained on; Ctrl-C at one of them."""
    seen: list[tuple[str, ...]] = []

    class Noting(ShardStream):
        def __iter__(self) -> Iterator[Crops]:
            for crops in super().__iter__():
                seen.append(crops.keys)
                if len(seen) == stop_after:
                    os.kill(os.getpid(), signal.SIGINT)
                yield crops

    monkeypatch.setattr(train, "ShardStream", Noting)
    return seen


@pytest.fixture(scope="module")
def mixed_run(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list]:
    """A workspace trained on both sets 1 : 3, its recipe, and the keys of all batches."""
    root = tmp_path_factory.mktemp("mixed")
    path = recipe(root, sets=weighted((folders[0], 1), (folders[1], 3)))
    with pytest.MonkeyPatch.context() as patched:
        seen = noting(patched)
        code, _, err = run("train", "-w", root / "w", "--recipe", path, "--json")
    assert code == 0, err
    return root / "w", path, seen


def test_sets_have_the_share_of_their_weight_in_both_trainings(mixed_run: tuple[Path, Path, list]) -> None:
    _, _, seen = mixed_run
    assert len(seen) == 2 * STEPS
    for keys in seen:
        assert Counter(key[:5] for key in keys) == {"sy-7-": 1, "sy-8-": 3}
    # Nothing that is held out.
    assert {key for keys in seen for key in keys} <= {f"sy-{of}-{n}_000000000" for of in (7, 8) for n in (0, 1)}
    assert len(set(seen)) > 2  # the order differs from epoch to epoch


def test_stopped_and_taken_up_the_order_and_the_weights_are_the_same(
    mixed_run: tuple[Path, Path, list], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, path, wanted = mixed_run
    seen = noting(monkeypatch, stop_after=STEPS + 2)
    words = ("train", "-w", tmp_path / "w", "--recipe", path)
    assert run(*words)[0] == 130
    assert len(seen) == STEPS + 2
    code, _, err = run(*words)
    assert code == 0, err
    assert seen == wanted
    for name in FOLDERS:
        here, there = (root / "checkpoints" / name for root in (tmp_path / "w", whole))
        assert files_of(here, FILES) == files_of(there, FILES)


@pytest.mark.parametrize("change", ["weights", "order", "one set", "labels"])
def test_other_sets_or_weights_are_another_training(
    mixed_run: tuple[Path, Path, list], folders: tuple[Path, Path], tmp_path: Path, change: str
) -> None:
    root, _, _ = mixed_run
    one, two = folders
    over: dict[str, dict[str, Any]] = {
        "weights": {"sets": weighted((one, 1), (two, 2))},
        "order": {"sets": weighted((two, 3), (one, 1))},
        "one set": {"sets": weighted((one, 1))},
        "labels": {"sets": weighted((two, 3)), "labels": ["y"]},
    }
    code, _, err = run("train", "vqvae", "-w", root, "--recipe", recipe(tmp_path, **over[change]))
    assert code == 2
    assert "was trained otherwise" in err and "shards: [[" in err and ", 3.0]] → " in err and "--force" in err


def test_moved_sets_are_the_same_training(
    mixed_run: tuple[Path, Path, list], folders: tuple[Path, Path], tmp_path: Path
) -> None:
    root, _, _ = mixed_run
    for folder in folders:
        shutil.copytree(folder, tmp_path / folder.name)
    sets = weighted((tmp_path / "one", 1), (tmp_path / "two", 3))
    code, out, err = run("train", "-w", root, "--recipe", recipe(tmp_path, sets=sets), "--json")
    assert code == 0, err
    assert [row["steps"] for row in json.loads(out)["trained"]] == [STEPS, STEPS]


def test_codes_and_judging_go_on(mixed_run: tuple[Path, Path, list], folders: tuple[Path, Path]) -> None:
    """Codes of all sets; test clips of one of them, with sounds retrieved from all that was trained on."""
    root, path, _ = mixed_run
    before = sorted(folder.name for folder in (root / "checkpoints" / "vqvae3d").glob("codes-*"))
    code, out, err = run("encode", "-w", root, "--recipe", path, "--json")
    assert code == 0, err
    samples = {row["split"]: row["samples"] for row in json.loads(out)["encoded"]}
    assert samples == {"train": 4, "validation": 2, "test": 2}
    after = sorted(folder.name for folder in (root / "checkpoints" / "vqvae3d").glob("codes-*"))
    assert len(before) == 1 and set(before) < set(after) and len(after) == 3
    code, out, err = run("evaluate", "-w", root, "--recipe", path, "--shards", folders[0], "--json")
    assert code == 0, err
    assert "no sound is retrieved" not in err
    values = json.loads(out)
    assert values["clips"] == 1
    assert {row["name"] for row in values["rows"]} >= {"audio_fc tied", "nearest by motion"}
    assert "too good" not in err and "not what was trained on" not in err
    assert len(list((root / "reports").glob("evaluate-one-??????/evaluation.json"))) == 1


def test_judging_takes_the_sets_that_are_named(
    mixed_run: tuple[Path, Path, list], folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """Without a place, their test clips; where they are gone, others, from other data, or none at all."""
    root, path, _ = mixed_run
    code, out, err = run("evaluate", "-w", root, "--recipe", path, "--dry-run", "--json")
    assert (code, json.loads(out)["clips"]) == (0, 2), err
    own = recipe(tmp_path, sets=weighted((folders[0], 1)))
    code, out, err = run("evaluate", "-w", root, "--recipe", own, "--json")
    assert (code, json.loads(out)["clips"]) == (0, 1), err
    assert (root / "reports" / "evaluate" / "evaluation.json").is_file()
    shutil.copytree(folders[0], tmp_path / "one")
    write_index(tmp_path / "one", [replace(e, split="test") for e in open_shards(folders[0]).entries])
    for sets, words in (
        ((folders[1], 1), "two is not what was trained on: the nearest and mean rows are not from the training data"),
        ((tmp_path / "nowhere", 1), "nowhere holds no index.parquet; what was trained on is left out"),
        ((folders[0], 1), "2 test clips are of videos that are trained on, such as sy-7-0_000000000: figures will be"),
    ):
        other = recipe(tmp_path, sets=weighted(sets))
        code, out, err = run("evaluate", "-w", root, "--recipe", other, "--shards", tmp_path / "one", "--json")
        assert (code, words in err) == (0, True), err
        rows = {row["name"]: row for row in json.loads(out)["rows"]}
        there = rows["nearest by motion"]["energy_ratio"]["mean"] is not None
        assert there == (sets[0] == folders[1])


def test_sets_of_one_name_are_reported_apart_and_the_same_set_twice_is_refused(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    assert _report_name("s3://a/shards/") == _report_name("s3://a/shards") != _report_name("s3://b/shards")
    assert _report_name(str(tmp_path / "a" / "shards")) != _report_name(str(tmp_path / "b" / "shards"))
    shutil.copytree(folders[0], tmp_path / "copy")
    with pytest.raises(UsageError, match=r"one and .*copy have the same samples to train on"):
        open_sets([(str(folders[0]), 1.0), (str(tmp_path / "copy"), 2.0)], ())
    assert data_hash(open_shards(folders[0])) == data_hash(open_shards(tmp_path / "copy"))


def test_the_card_names_every_set(mixed_run: tuple[Path, Path, list]) -> None:
    text = (mixed_run[0] / "checkpoints" / "vqvae3d" / "README.md").read_text()
    assert "4 clips" in text and "with weight 1, set `" in text and "with weight 3: x 2, y 2" in text


def test_over_http_it_trains_to_the_same_weights(
    mixed_run: tuple[Path, Path, list], folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    whole, _, _ = mixed_run
    with served(folders[1]) as site:
        path = recipe(tmp_path, sets=weighted((folders[0], 1), (site.url, 3)))
        code, _, err = run("train", "-w", tmp_path / "w", "--recipe", path)
        assert code == 0, err
    assert {path for path, _ in site.asked} == {"/index.parquet", "/s.tar"}
    spans = Counter(span for path, span in site.asked if path == "/s.tar")
    assert None not in spans and set(spans.values()) == {1}  # each sample once, and by its range alone
    for name in FOLDERS:
        here, there = (root / "checkpoints" / name for root in (tmp_path / "w", whole))
        assert files_of(here, FILES) == files_of(there, FILES)
        assert (here / "metrics.jsonl").read_text() == (there / "metrics.jsonl").read_text()


def test_places_on_the_command_line_have_equal_parts(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = noting(monkeypatch)
    places = ("--shards", folders[0], "--shards", folders[1])
    words = ("train", "vqvae", "-w", tmp_path / "w", "--recipe", recipe(tmp_path), *places)
    code, out, _ = run(*words, "--dry-run", "--json")
    assert (code, json.loads(out)["samples"]) == (0, 4)
    code, _, err = run(*words)
    assert code == 0, err
    assert all(Counter(key[:5] for key in keys) == {"sy-7-": 2, "sy-8-": 2} for keys in seen)
    record = json.loads(next((tmp_path / "w" / "runs").glob("*-train.json")).read_text())
    assert [each["shards"] for each in record["train"]["sets"]] == [str(folder) for folder in folders]


def test_weights_and_balance_can_be_set_by_hand(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One set has three samples of a label and one of another: in balance it gives two of each."""
    seen = noting(monkeypatch)
    shutil.copytree(folders[0], tmp_path / "uneven")
    rows = open_shards(folders[0]).entries
    labels = ("x", "x", "x", "z")
    write_index(
        tmp_path / "uneven", [replace(e, split="train", label=label) for e, label in zip(rows, labels, strict=True)]
    )
    sets = f'train.sets=[{{shards="{tmp_path / "uneven"}", weight=3}}, {{shards="{folders[1]}"}}]'
    words = ("train", "vqvae", "--recipe", recipe(tmp_path), "--set", "train.balance=true")
    code, _, err = run(*words, "-w", tmp_path / "one", "--shards", tmp_path / "uneven")
    assert code == 0, err
    last = rows[3].key
    assert len(seen) == STEPS and all(keys.count(last) == 2 for keys in seen)
    code, out, _ = run(*words, "-w", tmp_path / "two", "--set", sets, "--dry-run", "--json")
    assert (code, json.loads(out)["samples"]) == (0, 6)
    shards = open_sets([(str(tmp_path / "uneven"), 3.0), (str(folders[1]), 1.0)], ())
    assert weights_of(shards) == weights_of(shards.only(["x", "y", "z"])) == (3.0, 1.0)


def test_held_out_clips_are_those_of_all_sets(folders: tuple[Path, Path]) -> None:
    shards = open_sets([(str(folder), 1.0) for folder in folders], ())
    held_out = _spread(shards.split("validation"), 2)
    assert [pool_of(entry) for entry in held_out] == [0, 1]
    # A small set has its share beside a large one.
    few, many = held_out[:1], [held_out[1]] * 500
    assert Counter(pool_of(entry) for entry in _spread([*few, *many], 16)) == {0: 1, 1: 8}
    assert [shards.values(entry)["key"] for entry in few] == [few[0].key]
    assert shards.only(["y"]).split("validation") == held_out[1:]


def test_a_clip_that_stands_in_both_sets_is_read_from_each(folders: tuple[Path, Path]) -> None:
    shards = mixed([open_shards(folders[0]), open_shards(folders[0])], [1.0, 1.0])
    a, b = shards.split("test")
    assert a.key == b.key and a != b
    assert shards.read(a, verify=True).mp4 == shards.read(b, verify=True).mp4


def test_videos_that_another_set_holds_out_are_said(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(folders[0], tmp_path / "again")
    rows = open_shards(folders[0]).entries
    write_index(tmp_path / "again", [replace(e, split="train") for e in rows])
    places = [(str(folders[0]), 1.0), (str(tmp_path / "again"), 1.0)]
    assert [entry.key for entry in held_out_elsewhere(open_sets(places, ()))] == [rows[2].key, rows[3].key]
    assert held_out_elsewhere(open_shards(folders[0])) == []
    path = recipe(tmp_path, tune={"space": {"decoder.options.hidden": [4]}})
    with served(tmp_path / "again") as site:
        for name, place in (("train", tmp_path / "again"), ("tune", tmp_path / "again"), ("tune", site.url)):
            words = (name, "-w", tmp_path / "w", "--recipe", path, "--dry-run")
            code, _, err = run(*words, "--shards", folders[0], "--shards", place)
            assert code == 0, err
            assert f"2 samples to train on are of videos that another set holds out, such as {rows[2].key}" in err
            assert ("leaks A B" in err) == (place != site.url)


def test_a_set_too_light_to_be_drawn_is_named(folders: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match=r"two with weight 1 of 1001 gives no sample to an epoch of 4"):
        open_sets([(str(folders[0]), 1000.0), (str(folders[1]), 1.0)], ())


def test_what_cannot_be_trained_on_is_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    one = str(folders[0])
    shutil.copytree(folders[0], tmp_path / "empty")
    write_index(tmp_path / "empty", [replace(e, split="test") for e in open_shards(folders[0]).entries])
    with pytest.raises(NothingError, match="empty has no samples to train on"):
        open_sets([(one, 1.0), (str(tmp_path / "empty"), 1.0)], ())
    with pytest.raises(NothingError, match=r"two has no samples to train on with the label 'x'"):
        open_sets([(one, 1.0), (str(folders[1]), 1.0)], ["x"])
    with pytest.raises(UsageError, match=r"one, .*two has no samples of 'z'"):
        open_sets([(one, 1.0), (str(folders[1]), 1.0)], ["z"])
    with pytest.raises(UsageError, match=r"nowhere holds no index\.parquet"):
        open_sets([(one, 1.0), (str(tmp_path / "nowhere"), 1.0)], ())
    with pytest.raises(UsageError, match="'ftp://h/x' is no address of shards"):
        open_sets([("ftp://h/x", 1.0)], ())


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([{"shards": "a"}, {"shards": "b", "weight": 0}], "train.sets[1].weight: from 1e-06 to 1e+06, got 0"),
        ([{"shards": "a", "weight": -1.0}], "train.sets[0].weight: from 1e-06 to 1e+06, got -1"),
        ([{"shards": "a", "weight": float("inf")}], "train.sets[0].weight: from 1e-06 to 1e+06, got inf"),
        ([{"shards": "a", "weight": 1e308}], "train.sets[0].weight: from 1e-06 to 1e+06, got 1e+308"),
        ([{"shards": "a", "wieght": 1.0}], "train.sets[0]: unknown key 'wieght'; did you mean 'weight'?"),
        ([{"weight": 1.0}], "train.sets[0]: missing shards"),
        ([{"shards": " "}], "train.sets[0].shards: an empty place of shards"),
        (["a"], "train.sets[0]: expected a table, got 'a'"),
    ],
)
def test_mistakes_in_sets_name_the_place(sets: list[Any], message: str, tmp_path: Path) -> None:
    code, _, err = run("train", "-w", tmp_path / "w", "--recipe", recipe(tmp_path, sets=sets))
    assert (code, message in err) == (2, True), err


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("https://me:hush@host/x", "https://host holds a user or password"),
        ("https://hush@host/x", "https://host holds a user or password"),
        ("https://me:hu/hush@host/x", "https://… holds a user or password"),
        ("ftp://me:hush@host/x", "ftp://host holds a user or password"),
        ("simplecache::https://me:hush@host/x", "…://host holds a user or password"),
        ("https://host/x?token=hush", "https://host holds a ? or #"),
        ("HTTPS://host?token=hush", "HTTPS://host holds a ? or #"),
        ("https://host/x#hush", "https://host holds a ? or #"),
    ],
)
def test_an_address_with_a_secret_is_refused_and_not_repeated(place: str, shown: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        open_sets([(place, 1.0)], ())
    assert shown in caught.value.message and "hush" not in caught.value.message
    by_hand = ("--recipe", recipe(tmp_path))
    (tmp_path / "named").mkdir()
    named = ("--recipe", recipe(tmp_path / "named", sets=weighted((place, 1))))
    for where, words in (
        ("train.sets[0].shards", ("train", *named)),
        ("--shards", ("train", *by_hand, "--shards", place)),
        ("--shards", ("evaluate", *by_hand, "--shards", place)),
    ):
        code, out, err = run(*words, "-w", tmp_path / "w")
        assert code == 2 and f"{where}: the address {shown}" in err and "credentials come from" in err
        assert "hush" not in out + err
    assert not (tmp_path / "w" / "runs").exists()


@pytest.mark.parametrize(
    "place", ["s3://b/x@1?y", "hf://datasets/me/x@main/y", "https://host:80/a@b", "http://[::1]:8/x"]
)
def test_addresses_without_secrets_pass(place: str) -> None:
    check_place(place)


def test_records_hold_no_users_of_addresses() -> None:
    words = ["v2a", "--set", 'train.sets=[{shards="https://me:hush@host/x"}]', "a@b", "hf://datasets/me/x@main"]
    assert redacted(words) == ["v2a", "--set", 'train.sets=[{shards="https://…@host/x"}]', *words[3:]]


def test_a_server_that_is_gone_ends_it_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with served(tmp_path) as site, pytest.raises(FatalError, match=r"127\.0\.0\.1.*index\.parquet cannot be fetched"):
        open_sets([(site.url, 1.0)], ())
