"""The second route of YouTube-8M: plan, shards, resumption; and the ratings of its segments."""

import hashlib
import json
from pathlib import Path

import pytest
from listings import listing
from rebuilding import call
from records_made import example, record, sequence, video

from v2a_data.errors import FatalError, NothingError, UsageError
from v2a_data.fetch import http
from v2a_data.sources.label_tables import youtube8m_labels
from v2a_data.sources.youtube8m import YouTube8M
from v2a_data.sources.youtube8m_records import Rating, read_ratings, read_videos

SHARDS = {
    "train0A.tfrecord": video("aaa0", 46, 3) + video("-aa1", 155) + video("_aa2", 0),
    "train0a.tfrecord": video("bbb0", 155, 46),
    "train0b.tfrecord": video("ccc0", 46),
}


class Site:
    """Plan, shards and lookups in memory; `down` shards cannot be had."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.down: set[str] = set()
        self.plan = {name: hashlib.md5(body).hexdigest() for name, body in SHARDS.items()}
        monkeypatch.setattr("v2a_data.sources.youtube8m.get", self.get)
        monkeypatch.setattr("v2a_data.sources.youtube8m_records.get", self.get)
        monkeypatch.setattr("v2a_data.sources.youtube8m_records.save", self.save)

    def get(self, url: str) -> http.Answer:
        self.asked.append(url.rpartition("/")[2])
        if url.endswith("download_plans/video_train.json"):
            return http.Answer(200, json.dumps({"files": self.plan}).encode())
        key = url.removesuffix(".js")[-4:]
        return http.Answer(200, f'i("{key}","id_of__{key}");'.encode())

    def save(self, url: str, target: Path, most_bytes: int, md5: str) -> None:
        name = url.rpartition("/")[2]
        self.asked.append(name)
        if name in self.down:
            raise FatalError(f"{url}: HTTP 403")
        assert hashlib.md5(SHARDS[name]).hexdigest() == md5
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(SHARDS[name])


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(monkeypatch)


def test_labels_are_rows_of_the_vocabulary() -> None:
    assert youtube8m_labels()[46].name == "Airplane"
    assert youtube8m_labels()[186].name == "Helicopter"
    assert len(youtube8m_labels()) == 3862


def test_shards_are_taken_one_by_one_and_never_twice(site: Site, tmp_path: Path) -> None:
    listed = listing(tmp_path, route="records")
    assert YouTube8M().count(("Airplane",), listed) is None
    site.down = {"train0a.tfrecord"}
    videos = YouTube8M().videos(("Airplane", "Jet aircraft"), listed)
    first = [next(videos), next(videos)]
    assert [(v.video_id, v.labels) for v in first] == [
        ("yt-id_of__aaa0", ("Airplane",)),
        ("yt-id_of__-aa1", ("Jet aircraft",)),
    ]
    with pytest.raises(FatalError, match="HTTP 403"):
        next(videos)
    assert site.asked == ["video_train.json", "train0A.tfrecord", "aaa0.js", "-aa1.js", "train0a.tfrecord"]
    site.down, site.asked = set(), []
    again = listing(tmp_path, frozenset({"aaa0", "-aa1"}), route="records")
    rest = list(YouTube8M().videos(("Airplane", "Jet aircraft"), again))
    assert [(v.source_key, v.position, v.labels) for v in rest] == [
        ("bbb0", 2, ("Airplane", "Jet aircraft")),
        ("ccc0", 3, ("Airplane",)),
    ]
    assert site.asked == ["train0a.tfrecord", "bbb0.js", "train0b.tfrecord", "ccc0.js"]
    site.asked = []
    assert [v.source_key for v in YouTube8M().videos(("Game",), listed)] == ["_aa2"], "other labels need no download"
    assert site.asked == ["_aa2.js"]
    left = sorted(path.suffix for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert left == [".json", ".txt", ".txt", ".txt"]


def test_a_folder_of_shards_needs_no_plan(site: Site, tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "validate00.tfrecord").write_bytes(SHARDS["train0A.tfrecord"])
    listed = listing(tmp_path, route="records", lists=str(tmp_path / "shards"), subsets=["validate"])
    assert [v.source_key for v in YouTube8M().videos(("Airplane",), listed)] == ["aaa0"]
    assert site.asked == ["aaa0.js"]
    with pytest.raises(UsageError, match=r"holds no train\*.tfrecord"):
        list(YouTube8M().videos(("Airplane",), listing(tmp_path, route="records", lists=str(tmp_path / "shards"))))


@pytest.mark.parametrize(
    "plan",
    [
        {"../../x.tfrecord": "0" * 32},
        {"train00.tfrecord": "no md5"},
        {"train00.tfrecord": 5},
        {},
    ],
)
def test_a_plan_that_is_none_is_refused_and_not_kept(plan: dict, site: Site, tmp_path: Path) -> None:
    site.plan = plan
    with pytest.raises(FatalError, match="HTTP 200, not a download plan of YouTube-8M"):
        list(YouTube8M().videos(("Airplane",), listing(tmp_path, route="records")))
    assert not (tmp_path / "cache").exists()


def test_what_does_not_fit_the_route_is_said(site: Site, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no labels for 'test'"):
        list(YouTube8M().videos(("Airplane",), listing(tmp_path, route="records", subsets=["test"])))
    with pytest.raises(UsageError, match="the lists per label hold 'train' alone, not validate"):
        list(YouTube8M().videos(("Airplane",), listing(tmp_path, subsets=["validate"])))
    with pytest.raises(UsageError, match="the shards have no /m/zzz"):
        list(YouTube8M().videos(("x",), listing(tmp_path, route="records", label_ids={"x": "/m/zzz"})))
    with pytest.raises(NothingError):
        list(YouTube8M().videos(("Airplan",), listing(tmp_path, route="records")))
    code, _, err = call("fetch", "--label", "Dog", "--set", "source.route=record", "-w", tmp_path / "w")
    assert (code, "'record' is none of 'lookup', 'records'" in err) == (2, True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (record(example(id=[b"toolong"], labels=[3])), "x.tfrecord: an id"),
        (record(example(id=[b"abcd", b"efgh"], labels=[3])), "x.tfrecord: an id"),
        (record(example(id=[5], labels=[3])), "x.tfrecord: an id"),
        (record(example(id=[b"a/.."], labels=[3])), "x.tfrecord: an id"),
        (video("abcd", 3862), "labels that YouTube-8M does not have"),
        (video("abcd", -1), "labels that YouTube-8M does not have"),
        (record(example(id=[b"abcd"], labels=[b"Dog"])), "labels that YouTube-8M does not have"),
        (video("abcd", 3) + record(b"\xff\xff"), "record 1: a number that is cut short"),
    ],
    ids=["long id", "two ids", "id a number", "id a path", "label 3862", "label -1", "label a word", "cut short"],
)
def test_damaged_shards_are_refused(body: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.tfrecord").write_bytes(body)
    with pytest.raises(FatalError) as caught:
        list(read_videos(tmp_path / "x.tfrecord"))
    assert words in caught.value.message


def test_videos_without_labels_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "x.tfrecord").write_bytes(record(example(id=[b"abcd"])) + video("efgh", 1, 2))
    assert list(read_videos(tmp_path / "x.tfrecord")) == [("efgh", (1, 2))]


def rated(**changes: list) -> bytes:
    context = {
        "id": [b"n-_c"],
        "labels": [46, 3],
        "segment_labels": [46, 46, 3],
        "segment_start_times": [5, 90, 10],
        "segment_end_times": [10, 95, 15],
        "segment_scores": [1.0, 0.0, 1.0],
    }
    return record(sequence(20, **{**context, **changes}))


def test_ratings_of_segments_are_read(tmp_path: Path) -> None:
    path = tmp_path / "validate00.tfrecord"
    path.write_bytes(rated() + record(sequence(3, id=[b"none"], labels=[1])))
    assert list(read_ratings(path)) == [
        Rating("n-_c", 5.0, 10.0, 46, 1.0),
        Rating("n-_c", 90.0, 95.0, 46, 0.0),
        Rating("n-_c", 10.0, 15.0, 3, 1.0),
    ]
    for changes, words in (
        ({"segment_scores": [1.0]}, "3 rated labels, 3 starts and 1 scores"),
        ({"segment_scores": [1.0, 0.5, 1.0]}, "a rating of 0.5 at 90"),
        ({"segment_start_times": [-5, 90, 10]}, "a rating of 1.0 at -5"),
        ({"segment_labels": [46, 46, 9999]}, "labels that YouTube-8M does not have"),
    ):
        path.write_bytes(rated(**changes))
        with pytest.raises(FatalError) as caught:
            list(read_ratings(path))
        assert caught.value.message == f"validate00.tfrecord: {words}"
