"""What stands beside the shards: card and Croissant, read by the tools they are for; texts of one's own in samples."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rebuilding import at, call, hashes, run
from worlds import RECIPE

from v2a_data import load_index, load_table, schema
from v2a_data.recipe import load_recipe
from v2a_data.shards.card import write_card
from v2a_data.shards.format import SAMPLE_FIELDS, STAMP
from v2a_data.shards.read import open_shards
from v2a_data.workspace import Workspace

HOSTILE = "<script>a</script>|`b`[c](http://e.org)\n---\nlicense: mit \u202e $x$ {{ d }} é 🚲"


def front(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n")[1])


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`datasets` without a network, its cache in a folder of the test."""
    import datasets

    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()
    return tmp_path / "cache"


def test_the_front_matter_is_what_the_hub_reads(made: Path) -> None:
    from huggingface_hub import DatasetCard

    path = made / "shards" / "README.md"
    values = front(path.read_text())
    assert (values["license"], values["pretty_name"], values["size_categories"]) == ("apache-2.0", "world", ["n<1K"])
    assert {"video-classification", "audio-classification"} == set(values["task_categories"])
    splits = sorted(set(load_index(made / "shards").split))
    assert sorted(row["split"] for row in values["configs"][0]["data_files"]) == splits
    (struct,) = [row["struct"] for row in values["dataset_info"]["features"] if row["name"] == "json"]
    assert [row["name"] for row in struct] == list(SAMPLE_FIELDS)
    assert DatasetCard.load(path).data.license == "apache-2.0"


def test_the_card_says_how_many_and_how_to_remove(made: Path) -> None:
    text = (made / "shards" / "README.md").read_text()
    index = load_index(made / "shards")
    for label, rows in index.groupby("label"):
        counts = [sum(rows.split == split) for split in ("train", "validation", "test")]
        assert f"| {label} | {counts[0]} | {counts[1]} | {counts[2]} | {len(rows)} |" in text
    for heading in ("How it was made", "Counts", "Format", "Known limits", "Licence", "Removal"):
        assert f"\n## {heading}\n" in text
    assert "silero-vad 16k sequence" in text
    assert "silence &lt;= 0.2" in text
    assert "v2a-data fetch --manifest manifest.parquet" in text
    assert STAMP not in text
    assert not re.search(r"20\d\d-\d\d-\d\d|/tmp|/home", text)
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    shard = re.search(r'"(\S+\.tar)"', code)[1]
    assert (made / "shards" / shard).is_file()


@pytest.mark.parametrize("by", ["webdataset", "folder"])
def test_datasets_reads_the_folder(by: str, made: Path, hub: Path) -> None:
    import datasets

    words = {"webdataset": ("webdataset",), "folder": (str(made / "shards"),)}[by]
    more = {"data_dir": str(made / "shards")} if by == "webdataset" else {}
    found = datasets.load_dataset(*words, cache_dir=str(hub), **more)
    shards = open_shards(made / "shards")
    assert {split: len(rows) for split, rows in found.items()} == load_index(
        made / "shards"
    ).split.value_counts().to_dict()
    for split, rows in found.items():
        read = rows.cast_column("mp4", datasets.Video(decode=False))
        for row, entry in zip(read, shards.split(split), strict=True):
            sample = shards.read(entry)
            assert (row["__key__"], row["mp4"]["bytes"]) == (entry.key, sample.mp4)
            assert row["json"] == sample.values


def test_stock_webdataset_reads_every_shard(made: Path) -> None:
    import webdataset

    shards = open_shards(made / "shards")
    files = sorted(str(path) for path in (made / "shards").glob("*/*.tar"))
    read = {s["__key__"]: s for s in webdataset.WebDataset(files, shardshuffle=False)}
    assert read.keys() == {entry.key for entry in shards.entries}
    for entry in shards.entries:
        assert json.loads(read[entry.key]["json"]) == shards.read(entry).values


def test_croissant_validates_and_leads_to_the_samples(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROISSANT_CACHE", str(tmp_path))
    import mlcroissant

    path = made / "shards" / "croissant.json"
    found = mlcroissant.Dataset(path)
    issues = found.metadata.ctx.issues
    assert not issues.errors
    # A date would make other bytes of the same dataset.
    assert [w for w in issues.warnings if "datePublished" not in w] == []
    rows = [{key.partition("/")[2]: value for key, value in row.items()} for row in found.records("samples")]
    index = load_index(made / "shards")
    assert [row["key"].decode() for row in rows] == list(index.key)
    assert [row["mp4_offset"] for row in rows] == list(index.mp4_offset)
    assert rows[0].keys() == {column.name for column in schema.INDEX.columns}
    files = {f["contentUrl"]: f["sha256"] for f in json.loads(path.read_text())["distribution"] if "sha256" in f}
    assert files == {
        name.removeprefix("shards/"): sha256
        for name, sha256 in hashes(made).items()
        if name.endswith((".tar", ".parquet"))
    }


def test_the_stamp_is_on_top(made: Path, tmp_path: Path) -> None:
    root = shutil.copytree(made, tmp_path / "w")
    clip = {"model": "v2a-tiny-clip", "on": ["a"], "off": ["b"]}
    with Workspace.open(root, "t") as workspace:
        write_card(workspace, load_recipe(RECIPE, {"scorers": {"clip_topic": clip}}))
    text = (root / "shards" / "README.md").read_text()
    assert text.split("---\n")[2].lstrip().startswith(f"# world\n\n> **{STAMP}**")
    assert "not-for-use" in front(text)["tags"]
    assert STAMP in json.loads((root / "shards" / "croissant.json").read_text())["description"]


def test_hostile_labels_stay_text(media: Callable[..., Path], tmp_path: Path) -> None:
    root = tmp_path / "w"
    (tmp_path / "in").mkdir()
    shutil.copy(media("long enough.mp4", seconds=10.4), tmp_path / "in" / "a.mp4")
    words = ("--source", "local", "--input", tmp_path / "in", "--label", HOSTILE, "--recipe", "keep_all")
    run("fetch", *words, *at(root))
    run("curate", *at(root))
    run("shard", *at(root))
    text = (root / "shards" / "README.md").read_text()
    values = front(text)
    assert values["license"] == "other"
    assert text.count("\n---\n") == 1
    body = text.split("---\n", 2)[2]
    assert "<script>" not in body
    assert not re.search(r"(?<!\\)[`|]b|(?<!\\)\[c", body)
    assert "http://" not in body
    row = next(line for line in body.splitlines() if "script" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 6
    json.loads((root / "shards" / "croissant.json").read_text())
    run("export", tmp_path / "m.parquet", *at(root))
    run("fetch", "--manifest", tmp_path / "m.parquet", "--input", tmp_path / "in", *at(tmp_path / "b"))
    run("curate", *at(tmp_path / "b"))
    run("shard", *at(tmp_path / "b"))
    assert hashes(tmp_path / "b") == hashes(root)


def unsharded(made: Path, root: Path) -> Path:
    """The dataset as it is before its first `shard`."""
    shutil.copytree(made, root, ignore=shutil.ignore_patterns("shards"))
    with Workspace.open(root, "t") as workspace:
        for table in ("samples", "shards"):
            workspace.ledger.execute(f"DELETE FROM {table}")
    return root


def test_texts_of_ones_own(made: Path, tmp_path: Path) -> None:
    root = unsharded(made, tmp_path / "w")
    one, two, *_ = sorted(load_index(made / "shards").key)
    path = tmp_path / "texts.csv"
    path.write_text(
        f'clip_id,video_id,text\n{one},,"by clip\x07,  cleaned"\n,{one[:-10]},by video\n,{two[:-10]},by video\n'
    )
    run("shard", "--text", path, *at(root))
    shards = open_shards(root / "shards")
    texts = {entry.key: shards.read(entry).values["text"] for entry in shards.entries}
    rest = {key: text for key, text in texts.items() if key not in (one, two)}
    assert (texts[one], texts[two]) == ("by clip, cleaned", "by video")
    assert all(re.fullmatch(r"a video of \w+ with its sound", text) for text in rest.values())
    before = hashes(root)
    for words in ((), ("--text", path)):
        assert "wrote 0 samples" in run("shard", *words, *at(root))
    other = tmp_path / "other.csv"
    other.write_text(f"video_id,text\n{one[:-10]},something else\n")
    code, _, err = call("shard", "--text", other, *at(root))
    assert (code, "with other texts" in err, "--force" in err) == (2, True, True)
    assert hashes(root) == before
    run("shard", "--text", other, "--force", *at(root))
    shards = open_shards(root / "shards")
    assert {e.key: shards.read(e).values["text"] for e in shards.entries}[one] == "something else"
    run("export", tmp_path / "m.parquet", *at(root))
    (root / "texts.csv").write_text("x")
    code, _, err = call("shard", *at(root))
    assert (code, "missing or damaged" in err) == (1, True)
    assert "wrote 0 samples" in run("shard", "--text", other, *at(root))


def test_texts_that_come_after_the_samples_need_force(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"video_id,text\n{load_table(made, 'videos').video_id[0]},x\n")
    root = shutil.copytree(made, tmp_path / "w")
    assert call("shard", "--text", path, *at(root))[0] == 2
    assert hashes(root) == hashes(made)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("video_id,text\nsy-0-1,a\nsy-0-1,b\n", "row 3: a second text for sy-0-1"),
        ("video_id,txt\nsy-0-1,a\n", "unknown column 'txt'; did you mean 'text'"),
        ("video_id\nsy-0-1\n", "expected the columns text and"),
        ("text\na\n", "expected the columns text and"),
        ("video_id,text\n../x,a\n", "row 2, column 'video_id': not a video id"),
        ("clip_id,text\nsy-0-1,a\n", "row 2, column 'clip_id': not a clip id"),
        ("clip_id,video_id,text\nsy-0-1_000000000,sy-0-1,a\n", "row 2: expected either"),
        ("video_id,text\nsy-0-1,\x00\x07\n", "row 2, column 'text': nothing that can be printed"),
        (f"video_id,text\nsy-0-1,{'x' * 2001}\n", "row 2, column 'text': 2001 characters"),
        (f"video_id,text\nsy-0-1,{'x' * 200_000}\n", "not a CSV file"),
        ("video_id,text\nsy-0-1,a,b\n", "row 2: 3 cells, expected 2"),
        ("video_id,text\n", "a table without rows"),
        (b"video_id,text\nsy-0-1,\xff\n", "not a CSV file in UTF-8"),
        (None, "no such file"),
    ],
)
def test_tables_of_texts_that_do_not_fit(body: str | bytes | None, message: str, made: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    if body is not None:
        path.write_bytes(body if isinstance(body, bytes) else body.encode())
    code, _, err = call("shard", "--text", path, *at(made))
    assert (code, message in err) == (2, True), err
    assert len(err) < 500


def test_texts_in_parquet(tmp_path: Path, made: Path) -> None:
    import pandas as pd

    from v2a_data.errors import UsageError
    from v2a_data.shards.given import read_texts

    path = tmp_path / "t.parquet"
    pd.DataFrame({"video_id": ["sy-0-1", None], "clip_id": [None, "sy-0-1_000000000"], "text": ["a", "b"]}).to_parquet(
        path
    )
    found = read_texts(path)
    assert [found.of(key) for key in ("sy-0-1_000000000", "sy-0-1_000010000", "sy-0-2_000000000")] == ["b", "a", None]
    pd.DataFrame({"video_id": ["sy-0-1"], "text": [3]}).to_parquet(path)
    with pytest.raises(UsageError, match="row 0, column 'text': no text"):
        read_texts(path)
    path.write_bytes(b"PAR1")
    with pytest.raises(UsageError, match="not a Parquet file"):
        read_texts(path)
    with pytest.raises(UsageError, match=r"expected a \.csv or \.parquet file"):
        read_texts(Path(__file__))
