"""`votes` and `calibrate` as users type them: the sheet's round, refusals line by line, tables of others."""

import csv
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner
from voted import LABEL, RECIPE, Made, make

from v2a_data.cli import app
from v2a_data.curate.promise import gather
from v2a_data.curate.stretches import recipe_rules
from v2a_data.errors import NothingError
from v2a_data.review import votes as module
from v2a_data.review.votes import store_votes
from v2a_data.synthetic.truth import CONFOUNDERS as FAULTS
from v2a_data.tables import load_table
from v2a_data.workspace import Workspace

runner = CliRunner()
HEADER = "video_id,window_index,rater,seen,heard,confounders,note"


def call(*words: object) -> tuple[int, str, str]:
    done = runner.invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("voted") / "w")


@pytest.fixture
def made(base: Made, tmp_path: Path) -> Made:
    shutil.copytree(base.root, tmp_path / "w")
    return Made(tmp_path / "w", base.keys, base.truth, base.scores)


def table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def answered(made: Made, sheet: Path) -> None:
    """Fill a sheet in, as a spreadsheet would save it."""
    place = {key: i for i, key in enumerate(made.keys)}
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        i = place[row["video_id"], int(row["window_index"])]
        answers = {name: "Yes" if made.truth[name][i] else "no" for name in ("seen", "heard")}
        row.update(answers, rater="Ann", confounders="voice" if made.truth["voice"][i] else "")
    with sheet.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=";")
        writer.writeheader()
        writer.writerows(rows)


def test_the_spreadsheet_round_ends_in_a_recipe(made: Made, tmp_path: Path) -> None:
    sheet, out = tmp_path / "sheet.csv", tmp_path / "new.toml"
    at = ("-w", made.root)
    code, text, _ = call("votes", "--sample", 400, "--seed", 3, "--out", sheet, "--json", *at)
    assert (code, json.loads(text)["open"], json.loads(text)["population"]) == (0, 400, 1200)
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({(row["video_id"], row["window_index"]) for row in rows}) == 400
    one = rows[0]
    assert one["link"].startswith("file:///")
    assert one["link"].endswith(f"media/{one['video_id']}.mp4#t={one['start_s']},{one['stop_s']}")
    assert not any(row[name] for row in rows for name in ("rater", "seen", "heard", "confounders", "note"))
    assert not {"score", "weight"} & set(one)

    answered(made, sheet)
    assert call("votes", "--import", sheet, *at)[0] == 0
    votes = load_table(made.root, "votes")
    assert (len(votes), set(votes.blind), set(votes.label)) == (400, {1}, {LABEL})
    code, text, err = call("calibrate", "--precision", 0.9, "--out", out, "--json", *at)
    values = json.loads(text)
    assert (code, values["promised"], err) == (0, True, "")
    assert 0.9 <= values["bound"] <= values["precision"]["value"]
    assert "[calibration]" in out.read_text()
    assert call("curate", "--recipe", out, "--only", "rules", "--dry-run", *at)[0] == 0


def test_a_larger_draw_goes_on_and_another_seed_does_not(made: Made, tmp_path: Path) -> None:
    first, second, at = tmp_path / "a.csv", tmp_path / "b.csv", ("-w", made.root)
    call("votes", "--sample", 50, "--out", first, *at)
    answered(made, first)
    call("votes", "--import", first, *at)
    code, text, _ = call("votes", "--sample", 80, "--out", second, "--json", *at)
    assert (code, json.loads(text)["windows"], json.loads(text)["open"]) == (0, 80, 30)
    code, _, err = call("votes", "--sample", 80, "--seed", 1, "--out", tmp_path / "c.csv", *at)
    assert code == 2
    assert "an earlier draw had the seed 0" in err


def test_votes_are_weighed_by_the_largest_draw_that_is_answered(made: Made, tmp_path: Path) -> None:
    first, second, at = tmp_path / "a.csv", tmp_path / "b.csv", ("-w", made.root)
    call("votes", "--sample", 150, "--out", first, *at)
    answered(made, first)
    call("votes", "--import", first, *at)

    def evidence() -> tuple[int, float, int, str]:
        with Workspace.open(made.root, "test") as workspace:
            found = gather(workspace, RECIPE, recipe_rules(RECIPE))
        return len(found.keys), float(found.judged.weights.sum()), found.unanswered, found.votes_sha256

    small = evidence()
    call("votes", "--sample", 400, "--out", tmp_path / "unused.csv", *at)
    assert evidence() == (*small[:2], 250, small[3])
    call("votes", "--sample", 600, "--out", second, *at)
    assert evidence() == (*small[:2], 450, small[3])
    assert (
        "450 windows of the newest draw have no vote"
        in call("calibrate", "--precision", 0.8, "--out", tmp_path / "c.toml", *at)[1]
    )

    answered(made, second)
    rows = second.read_text(encoding="utf-8-sig").splitlines()
    second.write_text("\n".join(rows[:-10]))
    call("votes", "--import", second, *at)
    count, weight, unanswered, sha256 = evidence()
    assert (count, unanswered, sha256 == small[3]) == (590, 10, False)
    # Nearly all windows there are: with the weights of the smaller draw it would be far off.
    assert weight == pytest.approx(len(made.keys), rel=0.1)


def test_a_draw_that_is_half_answered_is_refused(made: Made, tmp_path: Path) -> None:
    sheet, at = tmp_path / "s.csv", ("-w", made.root)
    call("votes", "--sample", 200, "--seed", 4, "--out", sheet, *at)
    answered(made, sheet)
    rows = sheet.read_text(encoding="utf-8-sig").splitlines()
    sheet.write_text("\n".join(rows[:101]))
    call("votes", "--import", sheet, *at)
    code, _, err = call("calibrate", "--precision", 0.8, "--out", tmp_path / "c.toml", *at)
    assert code == 2
    assert "100 of the 200 windows that were drawn have no vote" in err
    assert "--sample 200 --seed 4" in err


def test_a_refusal_writes_nothing_and_says_how_many_more(made: Made, tmp_path: Path) -> None:
    sheet, out, at = tmp_path / "s.csv", tmp_path / "new.toml", ("-w", made.root)
    assert call("calibrate", "--precision", 0.95, "--out", out, *at)[0] == 4
    call("votes", "--sample", 60, "--out", sheet, *at)
    answered(made, sheet)
    call("votes", "--import", sheet, *at)
    code, text, _ = call("calibrate", "--precision", 0.95, "--out", out, *at)
    assert code == 1
    assert "refused: precision >= 0.95 at 95%" in text
    assert "more votes would do" in text
    assert not out.exists()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sy-9-9,0,Ann,yes,no,,", "line 3, video_id: 'sy-9-9' is not in this workspace"),
        ("sy-0-1,4,Ann,yes,no,,", "line 3, window_index: sy-0-1 has no window 4"),
        ("sy-0-1,-1,Ann,yes,no,,", "line 3, window_index: expected 0, 1, …, got '-1'"),
        ("sy-0-1,1,,yes,no,,", "line 3, rater: a printable name"),
        ("sy-0-1,1,Ann,maybe,no,,", "line 3, seen: expected yes, no or unsure, got 'maybe'"),
        ("sy-0-1,1,Ann,yes,,,", "line 3, heard: expected yes, no or unsure, got ''"),
        ("sy-0-1,1,Ann,yes,no,musik,", "line 3, confounders: unknown 'musik'; did you mean 'music'?"),
        ("sy-0-0,0,Ann,no,no,,", "line 3, rater: 'Ann' said something else of this window in 2"),
        ("sy-0-1,1,Ann,yes,no,,,,", "line 3: 9 cells under 7 columns"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_taken(made: Made, tmp_path: Path, line: str, words: str) -> None:
    file = table(tmp_path / "v.csv", "sy-0-0,0,Ann,yes,yes,,fine", line)
    code, _, err = call("votes", "--import", file, "-w", made.root)
    assert code == 2
    assert words in err
    assert len(load_table(made.root, "votes")) == 0


def test_columns_are_checked(made: Made, tmp_path: Path) -> None:
    file = tmp_path / "v.csv"
    for header, words in (("video_id,rater,seen,heard", "no column window_index or start_s"),
                          ("video_id,window_index,rater,seen,herd", "unknown column 'herd'; did you mean 'heard'?")):  # fmt: skip
        file.write_text(f"{header}\n")
        code, _, err = call("votes", "--import", file, "-w", made.root)
        assert (code, words in err) == (2, True)


def test_a_newer_vote_replaces_and_blank_rows_are_passed_over(made: Made, tmp_path: Path) -> None:
    at = ("-w", made.root, "--json")
    file = table(tmp_path / "v.csv", "sy-0-0,0,Ann,yes,yes,,", "sy-0-0,0,Bob,no,yes,voice music,", "sy-0-1,0,,,,,")
    values = json.loads(call("votes", "--import", file, *at)[1])
    assert (values["added"], values["replaced"], values["blank"]) == (2, 0, 1)
    table(file, "sy-0-0,0,Ann,unsure,no,,changed my mind")
    values = json.loads(call("votes", "--import", file, *at)[1])
    assert (values["added"], values["replaced"]) == (0, 1)
    votes = load_table(made.root, "votes").set_index("rater")
    assert pd.isna(votes.seen["Ann"])
    assert (votes.heard["Ann"], votes.note["Ann"]) == (0, "changed my mind")
    assert votes.confounders["Bob"] == ["music", "voice"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_what_goes_out_comes_in_again(made: Made, base: Made, tmp_path: Path, suffix: str) -> None:
    file = table(tmp_path / "v.csv", "sy-0-0,0,Ann,yes,unsure,voice,=1+1", "sy-0-1,3,Bob,no,no,,ünïcode; and\ttab")
    call("votes", "--import", file, "-w", made.root)
    out = tmp_path / f"out{suffix}"
    assert call("votes", "--export", out, "-w", made.root)[0] == 0
    if suffix == ".csv":
        assert "'=1+1" in out.read_text(encoding="utf-8-sig")
    other = tmp_path / "other"
    shutil.copytree(base.root, other)
    assert call("votes", "--import", out, "-w", other)[0] == 0
    same = [load_table(root, "votes").drop(columns="id") for root in (made.root, other)]
    pd.testing.assert_frame_equal(*same)
    assert same[0].note.tolist() == ["=1+1", "ünïcode; and tab"]


def test_a_killed_import_leaves_no_vote(made: Made, tmp_path: Path) -> None:
    lines = [f"{video},{index},Ann,yes,yes,," for video, index in made.keys]
    file = table(tmp_path / "v.csv", *lines)
    code = (
        "import os, sys; from v2a_data.ledger import Ledger; from v2a_data.cli import app; plain = Ledger.insert\n"
        "def insert(self, table, rows, **more):\n"
        "    if self.value('SELECT COUNT(*) FROM votes') == 700: os.kill(os.getpid(), 9)\n"
        "    return plain(self, table, rows, **more)\n"
        f"Ledger.insert = insert; app(['votes', '--import', {str(file)!r}, '-w', {str(made.root)!r}])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert len(load_table(made.root, "votes")) == 0
    assert json.loads(call("votes", "--import", file, "-w", made.root, "--json")[1])["added"] == len(lines)


def test_vggsounder_goes_to_the_windows_of_its_clips(tmp_path: Path) -> None:
    root = tmp_path / "w"
    made = make(root, videos=1)
    ids = {"yt-aaaaaaaaaaa": 30.0, "yt-bbbbbbbbbbb": None, "yt-ccccccccccc": 0.0, "yt-ddddddddddd": 0.0}
    from v2a_data import schema
    from v2a_data.workspace import Workspace

    with Workspace.open(root, "test") as workspace, workspace.ledger.transaction():
        rows = [
            {"video_id": video, "source": "ids", "labels": ["Cow" if video[3] == "d" else LABEL], "position": n,
             "state": "listed", "wanted_start_s": start, "wanted_stop_s": None if start is None else start + 10}
            for n, (video, start) in enumerate(ids.items())
        ]  # fmt: skip
        workspace.ledger.insert(schema.VIDEOS, rows)
    file = tmp_path / "vggsounder.csv"
    file.write_text(
        "video_id,label,modality,background_music,static_image,voice_over\n"
        "aaaaaaaaaaa_000030,drum,AV,True,False,True\n"
        "aaaaaaaaaaa_000030,rain,A,True,False,True\n"
        "bbbbbbbbbbb_000007,drum,A,False,False,False\n"
        "ccccccccccc_000000,rain,AV,False,True,False\n"
        "ddddddddddd_000000,rain,AV,False,True,False\n"
        "eeeeeeeeeee_000000,drum,AV,False,True,False\n"
    )
    values = json.loads(call("votes", "--import", file, "--format", "vggsounder", "-w", made.root, "--json")[1])
    assert (values["rows"], values["elsewhere"], values["added"]) == (6, 2, 14)
    votes = load_table(root, "votes")
    found = {
        video: (rows.window_index.tolist(), set(rows.seen), set(rows.heard), rows.confounders.iloc[0])
        for video, rows in votes.groupby("video_id")
    }
    assert found == {
        "yt-aaaaaaaaaaa": ([0, 1, 2, 3, 4], {1}, {1}, ["music", "voice"]),
        "yt-bbbbbbbbbbb": ([4, 5, 6, 7], {0}, {1}, []),
        "yt-ccccccccccc": ([0, 1, 2, 3, 4], {0}, {0}, ["still"]),
    }
    file.write_text(file.read_text().replace("_000007,drum,A,", "_000007,drum,AVX,"))
    code, _, err = call("votes", "--import", file, "--format", "vggsounder", "-w", made.root)
    assert code == 2
    assert "line 4, modality: expected A, V or AV, got 'AVX'" in err


def test_truth_comes_in_as_votes(made: Made, tmp_path: Path) -> None:
    rows = [
        {"video_id": "sy-0-0", "window_index": i, "start_s": 2.0 * i, "seen": i != 1, "heard": True,
         **dict.fromkeys(FAULTS, 0.0), "shift_s": 0.5 if i == 2 else 0.0, "music": 0.6 if i == 0 else 0.4}
        for i in range(5)
    ]  # fmt: skip
    pd.DataFrame(rows).to_parquet(tmp_path / "windows.parquet")
    videos = [("sy-0-0", "aaaaaaaaaaa", LABEL), ("sy-0-1", "bbbbbbbbbbb", "Dog"), ("sy-7-7", "ccccccccccc", LABEL)]
    pd.DataFrame(videos, columns=["video_id", "native_id", "label"]).to_parquet(tmp_path / "videos.parquet")
    words = ("votes", "--import", tmp_path / "windows.parquet", "--format", "truth", "-w", made.root, "--json")
    values = json.loads(call(*words)[1])
    assert (values["rows"], values["elsewhere"], values["added"]) == (5, 2, 4)
    votes = load_table(made.root, "votes")
    assert votes.seen.tolist() == [1, 0, 1, 1]
    assert votes.confounders.tolist() == [["music"], [], ["shift"], []]


def test_tables_of_others_that_are_damaged_name_file_and_place(made: Made, tmp_path: Path) -> None:
    sounder = tmp_path / "vggsounder.csv"
    header = "video_id,label,modality,background_music,static_image,voice_over"
    for row, words in (
        ("aaaaaaaaaaa_000030," + "x" * 200_000 + ",A,False,False,False", "line 3: field larger than field limit"),
        ("aaaaaaaaaaa_000030,drum,A,False,False,False,1,2", "line 3: more cells than columns"),
    ):
        sounder.write_text(f"{header}\naaaaaaaaaaa_000030,drum,A,False,False,False\n{row}\n")
        code, _, err = call("votes", "--import", sounder, "--format", "vggsounder", "-w", made.root)
        assert code == 2
        assert f"{sounder}: {words}" in err

    windows, videos = tmp_path / "windows.parquet", tmp_path / "videos.parquet"
    windows.write_bytes(b"PAR1")
    pd.DataFrame([("sy-0-0", "aaaaaaaaaaa", LABEL)], columns=["video_id", "native_id", "label"]).to_parquet(videos)
    truth = ("votes", "--import", windows, "--format", "truth", "-w", made.root)
    assert call(*truth)[0] == 2
    pd.DataFrame({"video_id": ["sy-0-0"]}).to_parquet(windows)
    code, _, err = call(*truth)
    assert (code, "no column start_s, seen" in err) == (2, True)
    values = {"video_id": "sy-0-0", "start_s": "now", "seen": 1, "heard": 1, "shift_s": 0.0}
    pd.DataFrame([{**values, **dict.fromkeys(FAULTS, 0.0)}]).to_parquet(windows)
    code, _, err = call(*truth)
    assert (code, "row 1, start_s: expected float, got 'now'" in err) == (2, True)


def test_a_small_file_that_stands_for_very_many_votes_is_refused(made: Made, tmp_path: Path) -> None:
    column = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), 10_000_001), pa.array(["x" * 200]))
    names = ("video_id", "window_index", "rater", "seen", "heard")
    file = tmp_path / "many.parquet"
    pq.write_table(pa.table(dict.fromkeys(names, column)), file, compression="zstd")
    assert file.stat().st_size < 5_000_000
    code, _, err = call("votes", "--import", file, "-w", made.root)
    assert (code, "10,000,001 rows, at most 10,000,000" in err) == (2, True)


def test_a_text_that_is_long_in_every_row_does_not_fill_the_memory(made: Made, tmp_path: Path) -> None:
    note = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), 5000), pa.array(["x" * 20_000_000]))
    given = {"video_id": "sy-0-0", "window_index": "0", "rater": "Ann", "seen": "yes", "heard": "yes"}
    file = tmp_path / "long.parquet"
    pq.write_table(pa.table({**{name: [text] * 5000 for name, text in given.items()}, "note": note}), file)
    assert call("votes", "--import", file, "-w", made.root)[0] == 2


def test_no_cell_is_a_formula() -> None:
    for text in ("=1", "+1", "-1", "@x", "\tx"):
        assert module.cell(text) == f"'{text}"
    assert module.cell("a=1") == "a=1"


def shard_of_ratings(folder: Path) -> Path:
    """A shard of 3/frame/validate: a drum is there from 0 to 5 s and not from 5 to 10 s; another label besides."""
    from records_made import record, sequence

    from v2a_data.sources.label_tables import youtube8m_labels

    drum = [label.id for label in youtube8m_labels()].index("/m/026t6")
    about = {"segment_labels": [drum, drum, 3], "segment_start_times": [0, 5, 0], "segment_scores": [1.0, 0.0, 1.0]}
    bodies = [record(sequence(3, id=[key], labels=[drum], **about)) for key in (b"abcd", b"zzzz")]
    path = folder / "validate00.tfrecord"
    path.write_bytes(b"".join(bodies))
    return path


def test_rated_segments_are_votes_on_the_topic_alone(made: Made, tmp_path: Path) -> None:
    video_id = made.keys[0][0]
    with Workspace.open(made.root, "test") as workspace:
        sql = "UPDATE videos SET source = 'youtube8m', source_key = 'abcd' WHERE video_id = ?"
        workspace.ledger.execute(sql, (video_id,))
    shard = shard_of_ratings(tmp_path)
    for place in (shard, tmp_path):
        code, out, _ = call("votes", "--import", place, "--format", "youtube8m", "-w", made.root, "--json")
        values = json.loads(out)
        assert (code, values["rows"], values["elsewhere"]) == (0, 6, 2)
        assert (values["added"], values["replaced"]) in ((3, 0), (0, 3))
    votes = load_table(made.root, "votes")
    found = [(row.window_index, row.topic, row.rater) for row in votes.itertuples()]
    # Windows 0 and 1 lie in the first segment, 3 in the second one; 2 lies across.
    assert found == [(0, 1, "youtube8m"), (1, 1, "youtube8m"), (3, 0, "youtube8m")]
    assert votes.seen.isna().all()
    assert votes.heard.isna().all()
    exported = tmp_path / "all.csv"
    assert call("votes", "--export", exported, "-w", made.root)[0] == 0
    with exported.open(encoding="utf-8-sig", newline="") as file:
        rows = [(row["seen"], row["heard"], row["topic"]) for row in csv.DictReader(file)]
    assert rows == [("unsure", "unsure", "yes")] * 2 + [("unsure", "unsure", "no")]
    assert call("votes", "--import", exported, "-w", made.root)[0] == 0
    assert load_table(made.root, "votes").topic.tolist() == [1, 1, 0]


def test_votes_on_the_topic_do_not_calibrate(made: Made, tmp_path: Path) -> None:
    with Workspace.open(made.root, "test") as workspace:
        recipe = workspace.recipe() or RECIPE
        store_votes(workspace.ledger, [replace(vote, seen=None, heard=None, topic=True) for vote in made.votes()])
        with pytest.raises(NothingError, match="votes on 0 scored windows"):
            gather(workspace, recipe, recipe_rules(recipe))
        store_votes(workspace.ledger, made.votes("someone"))
        evidence = gather(workspace, recipe, recipe_rules(recipe))
    assert evidence.aside == {"on the topic alone": len(made.keys)}
    assert evidence.votes == len(made.keys)


def test_a_shard_that_is_none_is_refused(made: Made, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert call("votes", "--import", tmp_path / "empty", "--format", "youtube8m", "-w", made.root)[0] == 2
    (tmp_path / "x.tfrecord").write_bytes(b"no shard")
    assert call("votes", "--import", tmp_path / "x.tfrecord", "--format", "youtube8m", "-w", made.root)[0] == 1
