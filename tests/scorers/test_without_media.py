"""Scorers that look at no picture and hear no sound: words of titles, strong labels of AudioSet."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rebuilding import at, run

from v2a_data.curate.score import scorer_specs
from v2a_data.errors import FatalError, UsageError
from v2a_data.files import sha256_file
from v2a_data.recipe import load_recipe
from v2a_data.scorers.base import VideoTap
from v2a_data.scorers.listed_heard import ListedHeard
from v2a_data.scorers.title_words import TitleWords
from v2a_data.sources import audioset
from v2a_data.sources.audioset_lists import StrongRow, read_strong
from v2a_data.tables import load_table
from v2a_data.workspace import Workspace


def tap(title: str | None = None, label: str = "Airplane", video_id: str = "yt-s9d-2nhuJCQ") -> VideoTap:
    return VideoTap(video_id, label, 28.0 + 2.0 * np.arange(7), title=title)


def hint(title: str | None, label: str = "Airplane", **config: object) -> list[float]:
    (scores,) = TitleWords(TitleWords.Config(**config)).score([tap(title, label)])
    return scores.fields["title_hint"].tolist()


@pytest.mark.parametrize(
    ("title", "label", "expected"),
    [
        ("How to fold a paper airplane", "Airplane", 1.0),
        ("HOW TO: a plane", "Airplane", 1.0),
        ("Papercraft jet", "Airplane", 1.0),
        ("Evening News 5 pm", "Airplane", 1.0),
        ("GTA V gameplay \u2013 jets", "Airplane", 1.0),
        ("Let\u2019s play airport", "Airplane", 1.0),
        ("Boeing 747 takeoff at sunset", "Airplane", 0.0),
        ("Newsome airfield; show how tomorrow", "Airplane", 0.0),
        ("", "Airplane", 0.0),
        ("Toy train on its track", "Toy train", 0.0),
        ("News of the day", "News", 0.0),
    ],
)
def test_words_are_whole_and_the_labels_own_do_not_count(title: str, label: str, expected: float) -> None:
    assert hint(title, label) == [expected] * 7


def test_no_title_is_no_answer() -> None:
    assert np.isnan(hint(None)).all()


def test_words_of_ones_own() -> None:
    assert hint("A drone show", words=("drone show",)) == [1.0] * 7
    assert hint("How to fly", words=("drone show",)) == [0.0] * 7


def test_hostile_titles_are_only_text() -> None:
    for title in ("\x1b[31m news \x1b[0m", "=cmd|' /C calc'!A0 how to", "[/b] " * 4000 + "vlog"):
        assert hint(title) == [1.0] * 7
    assert hint("(" * 5000 + "a*" * 5000) == [0.0] * 7


STRONG = (
    "segment_id\tstart_time_seconds\tend_time_seconds\tlabel\n"
    "s9d-2nhuJCQ_30000\t2.6\t7.2\t/m/0cmf2\n"
    "s9d-2nhuJCQ_30000\t0.0\t10.0\t/m/09x0r\n"
    "abcdefghijk_0\t0.0\t10.0\t/m/09x0r\n"
)


@pytest.fixture
def strong(tmp_path: Path) -> Path:
    path = tmp_path / "audioset_eval_strong.tsv"
    path.write_text(STRONG)
    return path


def heard(strong: Path, **about: str) -> list[float]:
    (scores,) = ListedHeard(ListedHeard.Config(str(strong))).score([tap(**about)])
    return np.round(scores.fields["listed_heard"].astype(float), 4).tolist()


def test_what_people_timed_is_the_share_of_each_window(strong: Path) -> None:
    found = heard(strong)
    assert np.isnan([found[0], found[-1]]).all(), "nobody listened before 30 s and after 40 s"
    assert found[1:6] == [0.0, 0.7, 1.0, 0.6, 0.0]


def test_it_is_zero_where_people_heard_other_things_and_null_where_nobody_listened(strong: Path) -> None:
    assert heard(strong, label="Dog")[1:6] == [0.0] * 5
    assert heard(strong, label="Speech")[1:6] == [1.0] * 5
    for about in (
        {"label": "no label of AudioSet"},
        {"video_id": "yt-zzzzzzzzzzz"},
        {"video_id": "lo-0123456789abcdef"},
    ):
        assert np.isnan(heard(strong, **about)).all()


def test_a_list_that_is_missing_or_damaged_says_so(strong: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        heard(tmp_path / "none.tsv")
    strong.write_text(STRONG + "s9d-2nhuJCQ_30000\t2.6\n")
    with pytest.raises(FatalError, match="line 5"):
        heard(strong)


def test_a_list_is_read_once_for_all_labels(strong: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []

    def counted(path: Path) -> Iterator[StrongRow]:
        reads.append(path)
        return read_strong(path)

    monkeypatch.setattr(audioset, "read_strong", counted)
    scorer = ListedHeard(ListedHeard.Config(str(strong)))
    labels = ("Airplane", "Speech", "Dog", "Drum", "Cat", "Rain", "Car", "Train", "Bell", "Gunshot, gunfire")
    for _ in range(3):
        scorer.score([tap(label=label) for label in labels])
    assert len(reads) == 1


def test_scores_of_another_list_are_other_scores(strong: Path) -> None:
    over = {"scorers": {"listed_heard": {"list": str(strong)}}}

    def spec() -> str:
        return next(s.hash for s in scorer_specs(load_recipe("keep_all", over)) if s.name == "listed_heard")

    before, model = spec(), ListedHeard(ListedHeard.Config(str(strong))).model
    assert model is not None
    assert (model.name, model.sha256) == ("audioset_eval_strong.tsv", sha256_file(strong))
    strong.write_text(STRONG.replace("7.2\t", "7.3\t"))
    assert spec() != before


def test_titles_reach_the_scorer_and_rules(world: Path, tmp_path: Path, strong: Path) -> None:
    root, videos = tmp_path / "w", tmp_path / "world"
    shutil.copytree(world, videos)
    recipe = tmp_path / "titles.toml"
    recipe.write_text(
        'name = "titles"\nlabels = ["Airplane", "Drum"]\n[scorers.title_words]\n'
        f"[scorers.listed_heard]\nlist = {json.dumps(str(strong))}\n"
        '[rules]\nkeep = "title_hint <= 0.5"\n[clips]\nseconds = 10\n'
    )
    assert load_recipe(str(recipe)).scorers["title_words"].words
    run("fetch", "--source", "synthetic", "--input", videos, "--recipe", recipe, "--limit", 3, *at(root))
    with Workspace.open(root, "test") as workspace:
        ids = [row[0] for row in workspace.ledger.rows("SELECT video_id FROM videos ORDER BY position")]
        for video_id, title in zip(ids, ("How to", "A drum", None), strict=True):
            workspace.ledger.execute("UPDATE videos SET title = ? WHERE video_id = ?", (title, video_id))
    run("curate", *at(root))
    clips = load_table(root, "clips")
    verdicts = {video_id: set(clips[clips.video_id == video_id].verdict) for video_id in ids}
    assert "keep" not in verdicts[ids[0]]
    assert "keep" in verdicts[ids[1]]
    assert verdicts[ids[2]] <= {"review", "drop"}
    assert "review" in verdicts[ids[2]]
