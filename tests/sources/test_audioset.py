"""AudioSet: its list files in every form that means the same, and refused in every form that does not."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from listings import listing
from rebuilding import call
from worlds import RECIPE

from v2a_data.console import Console
from v2a_data.engine import SerialEngine
from v2a_data.errors import FatalError, NothingError, UsageError
from v2a_data.fetch import http
from v2a_data.fetch.listing import listing_of
from v2a_data.fetch.stage import fetch
from v2a_data.recipe import load_recipe
from v2a_data.sources.audioset import AudioSet, StrongList, heard_share, label_mids
from v2a_data.sources.audioset_lists import read_segments, read_strong
from v2a_data.synthetic.server import serve_world
from v2a_data.synthetic.world import read_world
from v2a_data.workspace import Workspace

ROWS = [
    ("--4gqARaEJE", "0.000", "10.000", "/m/068hy,/m/07q6cd_,/m/0bt9lr,/m/0jbk"),
    ("_-BfvyPmVMo", "20.000", "30.000", "/m/03l9g"),
    ("-1yBrFkEADs", "12.500", "15.000", "/m/05tny_,/m/09x0r"),
    ("zzbTaK7CXJY", "30.000", "40.000", "/m/04rlf,/m/05tny_"),
]
HEAD = "# Segments csv created Sun Mar  5 10:54:25 2017\n# num_ytids=4, num_segs=4, num_unique_labels=8, num_positive_labels=9\n"
NAMES = "YTID, start_seconds, end_seconds, positive_labels\n"


def official(rows: list[tuple[str, ...]] = ROWS) -> str:
    return f"{HEAD}# {NAMES}" + "".join(f'{i}, {a}, {b}, "{m}"\n' for i, a, b, m in rows)


def write(folder: Path, text: str, name: str = "balanced_train_segments.csv") -> Path:
    path = folder / name
    path.write_text(text, newline="")
    return path


def plain(path: Path) -> list[tuple[str, float, float, str]]:
    return [(r.native, r.start_s, r.stop_s, r.mids) for r in read_segments(path)]


def test_a_list_that_promises_nothing_may_be_empty(tmp_path: Path) -> None:
    assert plain(write(tmp_path, f"# num_ytids=0, num_segs=0\n# {NAMES}")) == []


EXPECTED = [(i, float(a), float(b), m) for i, a, b, m in ROWS]


@pytest.mark.parametrize(
    "text",
    [
        official(),
        official().replace("\n", "\r\n"),
        "\ufeff" + official(),
        official().removesuffix("\n"),
        HEAD + NAMES + official().split(NAMES)[1],
        "YTID,start_seconds,end_seconds,positive_labels\n" + official().split(NAMES)[1].replace(", ", ","),
        f"# {NAMES}"
        + "".join(
            f"{i},{float(a):g},{float(b):g},{m}\n" if "," not in m else f'{i},{float(a):g},{float(b):g},"{m}"\n'
            for i, a, b, m in ROWS
        ),
        '"YTID","start_seconds","end_seconds","positive_labels"\n'
        + "".join(",".join(f'"{c}"' for c in row) + "\n" for row in ROWS),
    ],
    ids=["official", "crlf", "bom", "no last newline", "uncommented header", "pandas", "header only", "all quoted"],
)
def test_every_copy_that_means_the_same_is_read_the_same(text: str, tmp_path: Path) -> None:
    assert plain(write(tmp_path, text)) == EXPECTED


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("#NAME?,0,10,/m/09x0r\n", 1, "'#NAME?' is no YouTube id"),
        (f"# {NAMES}--4gqARaEJE,0,10,/m/068hy\n#NAME?,0,10,/m/09x0r\n", 3, "'#NAME?' is no YouTube id"),
        ("--4gqARaEJE,0,10,/m/068hy,/m/07q6cd_\n", 1, "5 columns, expected 4"),
        ('0,--4gqARaEJE,0.0,10.0,"/m/068hy"\n', 1, "5 columns, expected 4"),
        ("id,YTID,start_seconds,end_seconds,positive_labels\n", 1, "columns id, ytid, "),
        ("YTID,end_seconds,start_seconds,positive_labels\n", 1, "columns ytid, end_seconds, start_seconds"),
        (official()[:-20], 7, "unexpected end of data: the line is cut short"),
        (official()[: official().index("zzb")], 6, "the list ends after 3 segments, its head promises 4"),
        (official() + '0123456789a, 0.000, 10.000, "/m/068hy"\n', 8, "after 5 segments, its head promises 4"),
        (f"# {NAMES}--4gqARaEJE,0,10,/m/0bt9", 2, "the file ends in the middle: '/m/0bt9' is no label"),
        ('AccessDenie, 0.000, 10.000, "/m/068hy"\n', 1, "'AccessDenie' is no YouTube id"),
        ('--4gqARaEJE, 10.000, 10.000, "/m/068hy"\n', 1, "ends at 10 s, and starts at 10 s"),
        ('--4gqARaEJE, nan, 10.000, "/m/068hy"\n', 1, "'nan' are no seconds"),
        ('--4gqARaEJE, 0.000, 10.000, "Dog"\n', 1, "'Dog' are no labels of AudioSet"),
        ("x" * 20_000, 1, "a line of 20000 characters or more"),
        ("\x00PNG\x1b[2J" + "y" * 40 + "\n", 1, "1 columns, expected 4"),
        ("", 0, "no segments"),
    ],
)
def test_a_copy_that_would_be_misread_is_refused_with_its_line(text: str, line: int, why: str, tmp_path: Path) -> None:
    with pytest.raises(FatalError) as caught:
        plain(write(tmp_path, text))
    assert caught.value.message.startswith(f"balanced_train_segments.csv, line {line}: ")
    assert why in caught.value.message
    assert "\x1b" not in caught.value.message


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len(official()) - 1))
def test_no_cut_of_a_list_is_taken_for_a_list(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    text = official()[:cut]
    path = write(tmp_path_factory.getbasetemp(), text, "cut.csv")
    if cut == len(official()) - 1:
        assert plain(path) == EXPECTED
        return
    with pytest.raises(FatalError):
        plain(path)


mids = st.lists(st.sampled_from(["/m/09x0r", "/t/dd00002", "/g/122z_qxw", "/m/0bt9lr"]), min_size=1, max_size=5)
natives = st.text("ABCxyz019_-", min_size=11, max_size=11)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(natives, st.integers(0, 900), mids), min_size=1, max_size=8))
def test_what_a_csv_writer_writes_is_read_back(
    rows: list[tuple[str, int, list[str]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = io.StringIO()
    csv.writer(out).writerows((native, start, start + 10, ",".join(labels)) for native, start, labels in rows)
    path = write(tmp_path_factory.getbasetemp(), out.getvalue(), "any.csv")
    assert plain(path) == [(native, start, start + 10, ",".join(labels)) for native, start, labels in rows]


def keys(labels: tuple[str, ...], folder: Path, **source: object) -> list[str]:
    return [v.source_key for v in AudioSet().videos(labels, listing(folder, lists=str(folder), **source))]


def test_a_label_stands_for_its_descendants_and_segments_are_the_wanted_spans(tmp_path: Path) -> None:
    write(tmp_path, official())
    found = list(AudioSet().videos(("Dog",), listing(tmp_path, lists=str(tmp_path), subsets=["balanced"])))
    assert [(v.video_id, v.wanted_start_s, v.wanted_stop_s, v.position, v.labels) for v in found] == [
        ("yt---4gqARaEJE", 0.0, 10.0, 0, ("Dog",)),
        ("yt--1yBrFkEADs", 12.5, 15.0, 2, ("Dog",)),
        ("yt-zzbTaK7CXJY", 30.0, 40.0, 3, ("Dog",)),
    ]
    assert found[1].url == "https://www.youtube.com/watch?v=-1yBrFkEADs"
    assert found[1].source_key == "-1yBrFkEADs_12500"
    only = listing(tmp_path, frozenset({"-1yBrFkEADs_12500"}), lists=str(tmp_path), subsets=["balanced"])
    assert [v.native_id for v in AudioSet().videos(("Bark",), only)] == ["zzbTaK7CXJY"]
    assert AudioSet().count(("Dog",), only) == 3


def test_co_labels_are_left_out_with_those_below_them(tmp_path: Path) -> None:
    write(tmp_path, official())
    for without, left in (
        ([], 3),
        (["Speech"], 2),
        (["Speech", "Music"], 1),
        (["Human voice"], 2),
        (["/m/04rlf"], 2),
    ):
        assert len(keys(("Dog",), tmp_path, subsets=["balanced"], without=without)) == left, without
    with pytest.raises(NothingError, match="did you mean 'Music'"):
        keys(("Dog",), tmp_path, subsets=["balanced"], without=["Musik"])


def test_labels_go_by_name_synonym_id_alias_and_recipe(tmp_path: Path) -> None:
    source = listing(tmp_path, label_ids={"Mine": "/m/05tny_"}).recipe.source
    assert "/m/05tny_" in label_mids("Dog", source)
    assert label_mids("airplane", source) == label_mids("/m/0cmf2", source) == label_mids("Airplane", source)
    assert label_mids("Baby crying", source) == label_mids("Baby cry, infant cry", source) == ("/t/dd00002",)
    assert "/m/0j2kx" in label_mids("Water flowing", source)
    assert label_mids("Mine", source) == label_mids("Bark", source)
    for label, words in (("Airplan", "did you mean"), ("/m/05czz6l", "AudioSet has no label")):
        with pytest.raises(NothingError, match=words):
            label_mids(label, source)
    with pytest.raises(UsageError, match="needs a label"):
        AudioSet().count((), listing(tmp_path))


def test_lists_are_downloaded_once_and_only_when_those_before_are_used_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def save(url: str, target: Path, most_bytes: int) -> None:
        asked.append(url)
        target.parent.mkdir(exist_ok=True)
        target.write_text(official())

    monkeypatch.setattr("v2a_data.sources.segments.save", save)
    listed = listing(tmp_path)
    assert AudioSet().count(("Dog",), listed) is None
    videos = AudioSet().videos(("Dog",), listed)
    first = [next(videos) for _ in range(3)]
    assert [url.rpartition("/")[2] for url in asked] == ["balanced_train_segments.csv"]
    assert list(videos) == [], "the second list names the same uploads"
    assert [url.rpartition("/")[2] for url in asked][1:] == ["unbalanced_train_segments.csv"]
    assert [v.native_id for v in AudioSet().videos(("Dog",), listed)] == [v.native_id for v in first]
    assert len(asked) == 2


def test_a_withdrawn_list_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> http.Answer:
        return http.Answer(403, b"<Error>")

    monkeypatch.setattr(http, "_append", refuse)
    with pytest.raises(FatalError, match=r"balanced_train_segments.csv: HTTP 403"):
        list(AudioSet().videos(("Dog",), listing(tmp_path)))
    assert list((tmp_path / "cache").iterdir()) == []


STRONG = (
    "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n"
    "s9d-2nhuJCQ_30000\t2.627\t7.237\t/m/053hz1\n"
    "s9d-2nhuJCQ_30000\t0.0\t1.5\t/m/05tny_\n"
    "s9d-2nhuJCQ_30000\t1.0\t3.0\t/m/05tny_\n"
    "-_d-2nhuJCQ_0\t9.0\t10.0\t/m/05tny_\n"
    "-_d-2nhuJCQ_0\t0.0\t10.0\t/m/09x0r\n"
)


NATIVES = ("s9d-2nhuJCQ", "-_d-2nhuJCQ")


def test_strong_labels_are_spans_of_the_upload_and_shares_of_windows(tmp_path: Path) -> None:
    path = write(tmp_path, STRONG, "audioset_train_strong.tsv")
    strong = StrongList(path)
    found = {native: heard for native in NATIVES if (heard := strong.heard(native, {"/m/05tny_"}))}
    assert {native: heard.spans_s for native, heard in found.items()} == {
        "s9d-2nhuJCQ": [(30.0, 31.5), (31.0, 33.0)],
        "-_d-2nhuJCQ": [(9.0, 10.0)],
    }
    windows = 30.0 + 2.0 * np.arange(5)
    assert found["s9d-2nhuJCQ"].shares(windows).tolist() == [1.0, 0.5, 0.0, 0.0, 0.0]
    assert found["-_d-2nhuJCQ"].shares(np.array([0.0, 8.0])).tolist() == [0.0, 0.5]
    assert heard_share([], windows).tolist() == [0.0] * 5
    # Nobody listened before 30 s and after 40 s, nor to all of a window across these.
    assert np.isnan(found["s9d-2nhuJCQ"].shares(np.array([0.0, 29.0, 39.0, 40.0]))).all()
    # People listened, and did not hear it.
    other = strong.heard("-_d-2nhuJCQ", {"/m/068hy"})
    assert other is not None
    assert other.shares(np.array([0.0, 8.0])).tolist() == [0.0, 0.0]
    assert strong.heard("zzzzzzzzzzz", {"/m/05tny_"}) is None


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 30)), max_size=6))
def test_shares_are_those_of_counting_tenths(pairs: list[tuple[int, int]]) -> None:
    spans = [(start / 10, (start + length) / 10) for start, length in pairs]
    tenths = {t for start, length in pairs for t in range(start, start + length)}
    expected = [sum(20 * i <= t < 20 * i + 20 for t in tenths) / 20 for i in range(5)]
    assert np.allclose(heard_share(spans, 2.0 * np.arange(5)), expected)


def test_strong_lists_are_subsets_too(tmp_path: Path) -> None:
    write(tmp_path, STRONG, "audioset_train_strong.tsv")
    assert keys(("Dog",), tmp_path, subsets=["strong_train"]) == ["s9d-2nhuJCQ_30000", "-_d-2nhuJCQ_0"]
    assert keys(("Dog",), tmp_path, subsets=["strong_train"], without=["Speech"]) == ["s9d-2nhuJCQ_30000"]
    with pytest.raises(UsageError, match="AudioSet has no 'balance'; did you mean"):
        keys(("Dog",), tmp_path, subsets=["balance"])
    with pytest.raises(UsageError, match=r"eval_segments.csv does not exist"):
        keys(("Dog",), tmp_path, subsets=["eval"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Yb0RFKhbpFJA.wav\t0.0\t10.0\tWind\n", "line 1: 'Yb0RFKhbpFJA.wav' is no segment of AudioSet"),
        ("s9d-2nhuJCQ_30000,2.6,7.2,/m/053hz1\n", "line 1: 1 columns by tabs"),
        ("s9d-2nhuJCQ_30000\t7.2\t2.6\t/m/053hz1\n", "line 1: '7.2 to 2.6' is no span"),
        (STRONG + "s9d-2nhuJCQ_30000\t2.6\t7.2\tWind\n", "line 7: 'Wind' is no label"),
        (STRONG + "s9d-2nhuJCQ_30000\t2.6\t7.2\t/m/0", "line 7: the file ends in the middle"),
        ("", "line 1: the list is empty"),
    ],
)
def test_damaged_strong_lists_are_refused(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(FatalError) as caught:
        list(read_strong(write(tmp_path, text, "s.tsv")))
    assert why in caught.value.message


def test_the_command_lists_ids_and_refuses_a_damaged_list(tmp_path: Path) -> None:
    write(tmp_path, official())
    words = ("fetch", "--source", "audioset", "--label", "Dog", "--ids-only", "--set", f"source.lists={tmp_path}")
    subset = ("--set", 'source.subsets=["balanced"]', "--set", 'source.without=["Speech"]')
    code, out, _ = call(*words, *subset, "-w", tmp_path / "w", "--json")
    assert (code, '"listed": 2' in out) == (0, True)
    write(tmp_path, official()[:-20])
    code, _, err = call(*words, *subset, "-w", tmp_path / "w2")
    assert (code, "balanced_train_segments.csv, line 7" in err) == (1, True)
    code, _, err = call(*words, "--set", "source.subset=x", "-w", tmp_path / "w3")
    assert (code, "unknown key 'subset'; did you mean 'subsets'" in err) == (2, True)


def test_videos_of_a_served_list_are_fetched_with_their_spans(world: Path, tmp_path: Path, console: Console) -> None:
    with serve_world(world) as address:
        over = {
            "labels": ["Drum"],
            "source": {
                "name": "audioset",
                "audioset_url": f"{address}/us_audioset/youtube_corpus/v1/csv/{{list}}.csv",
                "watch_url": f"{address}/media/{{id}}.mp4",
            },
        }
        recipe = load_recipe(RECIPE, over)
        with Workspace.open(tmp_path / "w", "t") as workspace:
            fetch(workspace, recipe, AudioSet(), SerialEngine(), console, 2)
            rows = workspace.ledger.rows("SELECT * FROM videos WHERE state = 'fetched'")
            assert AudioSet().count(("Drum",), listing_of(workspace, AudioSet(), recipe)) is None
            cached = [path.name.partition("-")[2] for path in (tmp_path / "w" / "cache" / "audioset").iterdir()]
    names = {row.native_id for row in read_world(world) if row.label == "Drum"}
    assert len(rows) == 2
    assert all(row["native_id"] in names and row["source"] == "audioset" for row in rows)
    assert all(row["wanted_stop_s"] - row["wanted_start_s"] <= 10.0 for row in rows)
    assert cached == ["balanced_train_segments.csv"], "the next list is not asked for"
