"""A dataset goes out as a manifest and comes back: byte for byte, in part with reasons, or not at all."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rebuilding import at, call, changed, hashes, run
from worlds import RECIPE

from v2a_data import load_manifest, rebuild, schema
from v2a_data.errors import FatalError, UsageError
from v2a_data.manifest import open_manifest, own_manifest
from v2a_data.recipe import build_recipe, load_recipe
from v2a_data.shards.format import SAMPLE_FIELDS, STAMP
from v2a_data.shards.read import open_shards
from v2a_data.workspace import Workspace


@pytest.fixture
def manifest(made: Path) -> Path:
    return made.parent / "m.parquet"


def rebuilt(manifest: Path, folder: Path, root: Path, *, code: int = 0) -> dict:
    """The three commands; gives what `shard --json` says of the clips."""
    assert call("fetch", "--manifest", manifest, "--input", folder, *at(root))[0] == code
    run("curate", *at(root))
    found, out, err = call("shard", "--json", *at(root))
    assert found == code, err
    return json.loads(out)["rebuild"]


def test_the_same_media_give_the_same_bytes(made: Path, manifest: Path, world: Path, tmp_path: Path) -> None:
    found = rebuilt(manifest, world, tmp_path / "b")
    assert found == {
        "clips": {
            "identical": len(load_manifest(manifest)), "other_bytes": 0, "media_differs": 0, "gone": 0, "waiting": 0
        },
        "gone": [],
    }  # fmt: skip
    assert hashes(tmp_path / "b") == hashes(made)
    assert len(hashes(made)) > 4
    run("export", tmp_path / "again.parquet", *at(tmp_path / "b"))
    assert (tmp_path / "again.parquet").read_bytes() == manifest.read_bytes()
    with Workspace.read(tmp_path / "b") as workspace:
        assert workspace.ledger.value("SELECT COUNT(*) FROM scored") == 0, "nothing was judged anew"
        assert workspace.ledger.value("SELECT COUNT(*) FROM videos") == len(set(load_manifest(manifest).video_id))


def test_files_are_found_by_their_bytes_under_any_name(made: Path, manifest: Path, world: Path, tmp_path: Path) -> None:
    for i, path in enumerate(sorted((world / "videos").iterdir())):
        target = tmp_path / "in" / str(i) / f"renamed{path.suffix}"
        target.parent.mkdir(parents=True)
        shutil.copy(path, target)
    assert rebuilt(manifest, tmp_path / "in", tmp_path / "b")["gone"] == []
    assert hashes(tmp_path / "b") == hashes(made)


def test_what_is_gone_is_listed_and_joins_its_own_shard_later(
    made: Path, manifest: Path, world: Path, tmp_path: Path
) -> None:
    shutil.copytree(world / "videos", tmp_path / "in")
    table = load_manifest(manifest)
    full = next(name for name, rows in table.groupby("shard") if len(rows) == 2)
    lost = table[table.shard == full].iloc[1]
    away = (tmp_path / "in" / lost.native_id).rename(tmp_path / lost.native_id)
    found = rebuilt(manifest, tmp_path / "in", tmp_path / "b", code=3)
    assert found["clips"] == {
        "identical": len(table) - 1, "other_bytes": 0, "media_differs": 0, "gone": 1, "waiting": 0
    }  # fmt: skip
    assert found["gone"] == [{"clip_id": lost.key, "reason": "later: not_in_input"}]
    assert f"gone: {lost.key}  later: not_in_input" in run("status", *at(tmp_path / "b"))
    report = (tmp_path / "b" / "reports" / "rebuild.csv").read_text().splitlines()
    assert report[0] == "clip_id,video_id,outcome,reason"
    assert f"{lost.key},{lost.video_id},gone,later: not_in_input" in report
    values = json.loads(call("fetch", "--json", *at(tmp_path / "b"))[1])
    assert values["missing"] == [{"video_id": lost.video_id, "state": "later", "reason": "not_in_input"}]
    away.rename(tmp_path / "in" / lost.native_id)
    assert rebuilt(manifest, tmp_path / "in", tmp_path / "b")["clips"]["identical"] == len(table)
    assert hashes(tmp_path / "b") == hashes(made)


def test_other_media_and_other_bytes_are_told_apart(manifest: Path, world: Path, tmp_path: Path) -> None:
    first, second = load_manifest(manifest).iloc[:2].itertuples()
    shutil.copytree(world / "videos", tmp_path / "in")
    (tmp_path / "in" / first.native_id).write_bytes((world / "videos" / second.native_id).read_bytes())

    def other(rows: list[dict]) -> None:
        rows[1]["sha256"] = "0" * 64

    changed(manifest, tmp_path / "m.parquet", other)
    found = rebuilt(tmp_path / "m.parquet", tmp_path / "in", tmp_path / "b")["clips"]
    assert (found["media_differs"], found["other_bytes"], found["gone"]) == (1, 1, 0)
    entries = open_shards(tmp_path / "b" / "shards").entries
    wanted = load_manifest(manifest)
    assert sorted((e.key, e.shard, e.frames, e.duration_s) for e in entries) == sorted(
        zip(wanted.key, wanted.shard, wanted.frames, wanted.stop_s - wanted.start_s, strict=True)
    )


def test_a_manifest_holds_no_machine(manifest: Path, made: Path, world: Path) -> None:
    body = manifest.read_bytes()
    table = pq.read_table(manifest)
    text = json.dumps(table.to_pylist()) + str(table.schema.metadata)
    for word in (str(world), str(made), "127.0.0.1", "/tmp", "sleep_s"):
        assert word not in text
        assert word.encode() not in body
    assert set(SAMPLE_FIELDS) <= set(table.column_names)
    assert table.column_names == list(schema.MANIFEST.names)
    frame = load_manifest(manifest)
    assert frame.build.str.match(r"PyAV [\d.]+, FFmpeg [\d.]+").all()
    assert [len(scores) for scores in frame.seen] == [5] * len(frame)
    for entry in open_shards(made / "shards").entries:
        row = frame[frame.key == entry.key].iloc[0]
        assert (row.sha256, row.shard, row.label) == (entry.sha256, entry.shard, entry.label)


def test_without_leaves_videos_out_and_shards_as_they_are(
    made: Path, manifest: Path, world: Path, tmp_path: Path
) -> None:
    table = load_manifest(manifest)
    run("export", tmp_path / "less.parquet", "--without", table.video_id[0], *at(made))
    assert list(load_manifest(tmp_path / "less.parquet").key) == list(table.key[table.video_id != table.video_id[0]])
    rebuilt(tmp_path / "less.parquet", world, tmp_path / "b")
    before, after = hashes(made), hashes(tmp_path / "b")
    assert {name for name in before if name.endswith(".tar") and before[name] != after.get(name)} == {
        f"shards/{table.shard[0]}"
    }
    code, _, err = call("export", tmp_path / "x.parquet", "--without", "sy-0-999", *at(made))
    assert (code, "no such video or clip" in err) == (2, True)


def test_a_path_in_the_recipe_is_not_exported(made: Path, tmp_path: Path) -> None:
    from v2a_data.manifest import _recipe_text

    scorers = {"clip_topic": {"model": "ViT-B-32", "weights": "/home/me/w.safetensors", "on": ["a"], "off": ["b"]}}
    with pytest.raises(UsageError, match=r"scorers\.clip_topic\.weights"):
        _recipe_text(load_recipe(RECIPE, {"scorers": scorers}))
    code, _, err = call("export", tmp_path / "m.csv", *at(made))
    assert (code, "a .parquet file" in err) == (2, True)


def set_to(**values: object) -> Callable[[list[dict]], None]:
    return lambda rows: rows[1].update(values)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("key", "../../etc/passwd"),
        ("key", "sy-0-0_000000001"),
        ("video_id", "yt-../../../a"),
        ("video_id", "y8-abcd"),
        ("source", "youtube8m"),
        ("source", "manifest"),
        ("native_id", "/etc/passwd"),
        ("native_id", "../x.mp4"),
        ("url", "http://169.254.169.254/latest"),
        ("url", "file:///etc/passwd"),
        ("label", "a\x1b[31m"),
        ("label", "Cat"),
        ("labels", '["Drum", "Airplane"]'),
        ("labels", "[" * 2000),
        ("labels", '{"a": 1}'),
        ("text", "a\nb"),
        ("text", "x" * 2001),
        ("text", "x" * 30_000),
        ("start_s", float("nan")),
        ("start_s", -2.0),
        ("stop_s", 1e300),
        ("stop_s", 5000.0),
        ("split", "../train"),
        ("group_id", "x"),
        ("frames", 251),
        ("audio_samples", 1),
        ("width", 4096),
        ("fps", "0/0"),
        ("seen", "[NaN, 0, 0, 0, 0]"),
        ("heard", "[0, 0]"),
        ("heard", "[0, 0, 0, 0, true]"),
        ("verdict", "drop"),
        ("recipe_hash", "0" * 16),
        ("models", '["\\u202e"]'),
        ("not_for_use", 1),
        ("v2a_data", "1; rm"),
        ("sha256", "A" * 64),
        ("media_sha256", None),
        ("media_bytes", 0),
        ("shard", "train/../../x.tar"),
        ("shard", "/x.tar"),
        ("build", "x" * 500),
    ],
)
def test_every_value_is_checked(column: str, value: object, manifest: Path, tmp_path: Path) -> None:
    path = changed(manifest, tmp_path / "m.parquet", set_to(**{column: value}))
    with pytest.raises(UsageError) as caught:
        open_manifest(path)
    message = caught.value.message
    assert f"column {column!r}" in message
    assert "row 1" in message or "30000 bytes" in message
    assert not any(ord(c) < 32 or 0x202A <= ord(c) <= 0x202E for c in message)
    assert len(message) < 600


def test_rows_must_agree_with_each_other(manifest: Path, tmp_path: Path) -> None:
    def twice(rows: list[dict]) -> None:
        rows[1:1] = [dict(rows[0])]

    def leak(rows: list[dict]) -> None:
        rows[1]["group_id"] = rows[0]["group_id"]
        rows[1]["split"] = "validation"
        rows[1]["shard"] = "validation/world-validation-000000.tar"

    def overlap(rows: list[dict]) -> None:
        rows[1:1] = [{**rows[0], "key": rows[0]["key"][:-9] + "000002000", "start_s": 2.0, "stop_s": 12.0}]

    for change, word in ((twice, "rising order"), (leak, "is in two splits"), (overlap, "overlaps the clip before")):
        with pytest.raises(UsageError, match=word):
            open_manifest(changed(manifest, tmp_path / "m.parquet", change))


def test_foreign_and_damaged_files_are_said_to_be_so(manifest: Path, made: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    body = manifest.read_bytes()
    cases = {"empty": b"", "text": b"key,label\n", "cut": body[:-100], "tail": body[len(body) // 2 :]}
    for bad in cases.values():
        path.write_bytes(bad)
        with pytest.raises(UsageError, match="damaged, or no Parquet file"):
            open_manifest(path)
    with pytest.raises(UsageError, match="is a table, but no manifest"):
        open_manifest(made / "shards" / "index.parquet")
    for metadata, word in (
        ({b"format_version": b"2"}, "manifest version '2'"),
        ({b"recipe": b"name = ["}, "not valid TOML"),
        ({b"recipe": None}, "0 bytes of text"),
        ({b"recipe": b"a = " + b"[" * 5000}, "not valid TOML"),
        ({b"recipe": b"name = 'x'\nlabells = []"}, "did you mean 'labels'"),
        ({b"recipe": b"name = 'x'\nsource = 3"}, "the recipe in"),
        ({b"recipe": b"name = 'x'\n[source]\nwatch_url = 'http://10.0.0.1/{id}'"}, "names source.watch_url"),
        ({b"recipe": b"name = 'x'\n[fetch]\nhosts = ['10.0.0.1']"}, "names fetch.hosts"),
        ({b"recipe": b"name = 'x'\n[train]\nconfig = '/etc/x.toml'"}, "names train.config"),
        ({b"not_for_use": b"x"}, "do not agree"),
        ({b"recipe": b"name = 'x'"}, "as the recipe says"),
    ):
        with pytest.raises(UsageError, match=word):
            open_manifest(changed(manifest, path, metadata=metadata))
    table = pq.read_table(manifest)
    for odd, word in (
        (table.append_column("pickle", pa.array([b"x"] * len(table))), "unknown column 'pickle'"),
        (table.drop_columns(["split"]), "no column 'split'"),
        (table.set_column(17, "channels", table["channels"].cast(pa.string())), "'channels' holds string"),
        (table.slice(0, 0), "without rows"),
    ):
        pq.write_table(odd, path)
        with pytest.raises(UsageError, match=word):
            open_manifest(path)


def test_every_flipped_byte_is_found_or_harmless(manifest: Path, tmp_path: Path) -> None:
    body, path, wanted = manifest.read_bytes(), tmp_path / "m.parquet", load_manifest(manifest)
    found = 0
    for place in range(4, len(body) - 8, max(1, len(body) // 60)):
        path.write_bytes(body[:place] + bytes([body[place] ^ 0x40]) + body[place + 1 :])
        try:
            same = load_manifest(path).equals(wanted)
        except UsageError:
            found += 1
        else:
            assert same or place > len(body) // 2, "what reads as something else can only be metadata"
    assert found > 20


def test_a_small_file_that_stands_for_very_long_texts_ends_early(manifest: Path, tmp_path: Path) -> None:
    table, rows, path = pq.read_table(manifest), 20_000, tmp_path / "m.parquet"
    one = {name: pa.array(table[name].to_pylist()[:1] * rows, table[name].type) for name in table.column_names}
    one["text"] = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["x" * 5_000_000])
    bomb = pa.table(one)
    with pq.ParquetWriter(path, bomb.schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(bomb)
        writer.add_key_value_metadata(dict(table.schema.metadata))
    assert path.stat().st_size < 500_000, "100 GB of text"
    with pytest.raises(UsageError, match=r"column 'text': .*a value of 5000000 bytes"):
        open_manifest(path)


def test_rows_are_looked_up_by_key_in_whatever_groups_they_lie(manifest: Path, tmp_path: Path) -> None:
    table = pq.read_table(manifest)
    pq.write_table(table, tmp_path / "m.parquet", row_group_size=1, write_page_checksum=True)
    opened = open_manifest(tmp_path / "m.parquet")
    rows = {row["key"]: row for row in opened.rows()}
    keys = sorted(rows)
    assert len(keys) >= 4
    for some in ([], keys[:1], keys[1:3], keys[::2], keys[-1:]):
        found = opened.lookup(some, ("text", "seen"))
        assert found == {key: {name: rows[key][name] for name in ("key", "text", "seen")} for key in some}
    with pytest.raises(FatalError, match="has no row sy-9-9_000000000"):
        opened.lookup([keys[0], "sy-9-9_000000000"], ("text",))


def test_a_workspace_follows_one_manifest(made: Path, manifest: Path, world: Path, tmp_path: Path) -> None:
    root = tmp_path / "b"
    run("fetch", "--manifest", manifest, "--input", world, *at(root))
    other = changed(manifest, tmp_path / "other.parquet", lambda rows: rows.pop())
    for words, message in (
        (("fetch", "--manifest", other, "--input", world), "is rebuilt from another manifest"),
        (("fetch", "--label", "Drum"), "a manifest says all of that itself"),
        (("fetch", "--set", "clips.seconds=4"), "rebuilt from a manifest of recipe"),
        (("curate", "--models", "tiny"), "takes every verdict from its manifest"),
        (("curate", "--set", "shard.crf=30", "--force"), "rebuilt from a manifest of recipe"),
        (("shard", "--samples-per-shard", 5), "has those of its manifest"),
        (("run", RECIPE), "is rebuilt from a manifest"),
    ):
        code, _, err = call(*words, *at(root))
        assert (code, message in err) == (2, True), (words, err)
    code, _, err = call("fetch", "--manifest", manifest, "--input", world, *at(made))
    assert (code, "holds a dataset already" in err) == (2, True)
    code, _, err = call("fetch", "--manifest", manifest, *at(tmp_path / "c"))
    assert (code, "add --input DIR" in err) == (2, True)
    (root / "manifest.parquet").write_bytes(other.read_bytes())
    with Workspace.read(root) as workspace, pytest.raises(FatalError, match="missing or damaged"):
        own_manifest(workspace)
    run("fetch", "--manifest", manifest, *at(root))
    assert (root / "manifest.parquet").read_bytes() == manifest.read_bytes()


def test_videos_of_a_site_are_asked_for_again_where_this_machine_says(world: Path, tmp_path: Path) -> None:
    from v2a_data.synthetic.server import serve_world

    one, two = tmp_path / "one", tmp_path / "two"
    with serve_world(world) as base:

        def addresses(root: Path, *names: str) -> list[object]:
            paths = {
                "label_url": "2/j/v/{mid}.js",
                "lookup_url": "2/j/i/{prefix}/{id}.js",
                "watch_url": "media/{id}.mp4",
            }
            return [w for name in names for w in ("--set", f"source.{name}={base}/{paths[name]}")] + list(at(root))

        run("fetch", "--recipe", RECIPE, "--limit", 3, *addresses(one, "label_url", "lookup_url", "watch_url"))
        run("curate", *at(one))
        run("shard", *at(one))
        run("export", tmp_path / "m.parquet", *at(one))
        assert base.partition("//")[2] not in str(pq.read_table(tmp_path / "m.parquet").to_pylist())
        assert set(load_manifest(tmp_path / "m.parquet").source) == {"youtube8m"}
        # Without a word of this machine its own hosts are asked, with pauses.
        quiet = Workspace.look(two)
        recipe = rebuild.recipe_of(rebuild.choose(quiet, tmp_path / "m.parquet"), None, {})
        assert recipe.fetch.hosts == build_recipe({"name": "x"}, "x").fetch.hosts
        paces = (
            "--set",
            "fetch.sleep_s=[0,0]",
            "--set",
            "fetch.extractors=['generic']",
            "--set",
            "fetch.hosts=['127.0.0.1']",
        )
        run("fetch", "--manifest", tmp_path / "m.parquet", *paces, *addresses(two, "watch_url"))
    run("curate", *at(two))
    run("shard", *at(two))
    assert hashes(two) == hashes(one)


def test_what_tiny_models_judged_stays_stamped(world: Path, tmp_path: Path) -> None:
    root = tmp_path / "w"
    words = ("--source", "synthetic", "--input", world, "--limit", 1, "--recipe", "keep_all", "--label", "Airplane")
    run("fetch", *words, "--set", 'scorers.audio_tags.model="v2a-tiny-tagger"', *at(root))
    run("curate", "--models", "tiny", "--force", *at(root))
    run("shard", *at(root))
    assert STAMP in run("export", tmp_path / "m.parquet", *at(root))
    metadata = pq.read_schema(tmp_path / "m.parquet").metadata
    assert metadata[b"not_for_use"].decode() == STAMP
    assert load_manifest(tmp_path / "m.parquet").not_for_use.all()
    rebuilt(tmp_path / "m.parquet", world, tmp_path / "b")
    assert hashes(tmp_path / "b") == hashes(root)
    assert f"> **{STAMP}**" in (tmp_path / "b" / "shards" / "README.md").read_text()
    with pytest.raises(UsageError, match="do not agree"):
        open_manifest(changed(tmp_path / "m.parquet", tmp_path / "x.parquet", metadata={b"not_for_use": None}))


def test_the_recipe_in_it_is_the_recipe(made: Path, manifest: Path) -> None:
    with Workspace.read(made) as workspace:
        recipe = workspace.recipe()
    found = open_manifest(manifest).recipe
    assert (found.name, found.hash, found.rules) == (recipe.name, recipe.hash, recipe.rules)
    assert found.source.input is None
    assert found.fetch.sleep_s == build_recipe({"name": "x"}, "x").fetch.sleep_s
