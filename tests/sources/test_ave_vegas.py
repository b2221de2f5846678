"""AVE's events placed by AudioSet's lists or in files; VEGAS as its loaders lay it out."""

from pathlib import Path

import pytest
from listings import listing

from v2a_data.errors import FatalError, NothingError, UsageError
from v2a_data.sources.ave import Ave, read_events
from v2a_data.sources.vegas import Vegas

EVENTS = """Church bell&RUhOCu3LNXM&good&0&10
Helicopter&-1qyr-IzqKY&good&2&5
Fixed-wing aircraft, airplane&_1qyr-IzqKY&good&6&10
Helicopter&AAAAAAAAAAA&good&0&10
Helicopter&-1qyr-IzqKY&good&7&8
Helicopter&VWi2ENBuTbw&good&0&0
"""
SEGMENTS = '-1qyr-IzqKY, 30.000, 40.000, "/m/09ct_"\n_1qyr-IzqKY, 100.000, 109.000, "/m/0cmf2"\n'


def write_ave(folder: Path) -> None:
    (folder / "Annotations.txt").write_text(EVENTS)
    (folder / "balanced_train_segments.csv").write_text('RUhOCu3LNXM, 0.000, 10.000, "/m/03w41f"\n')
    (folder / "unbalanced_train_segments.csv").write_text(SEGMENTS)
    (folder / "eval_segments.csv").write_text(SEGMENTS.replace("IzqKY", "other"))


def test_events_are_placed_in_uploads_by_audiosets_lists(tmp_path: Path) -> None:
    write_ave(tmp_path)
    listed = listing(tmp_path, lists=str(tmp_path))
    found = list(Ave().videos(("Airplane", "Helicopter"), listed))
    assert [(v.video_id, v.state, v.wanted_start_s, v.wanted_stop_s, v.labels, v.position) for v in found[:2]] == [
        ("yt--1qyr-IzqKY", "listed", 32.0, 35.0, ("Helicopter",), 1),
        ("yt-_1qyr-IzqKY", "listed", 106.0, 109.0, ("Airplane",), 2),
    ]
    assert [(v.source_key, v.state, v.reason) for v in found[2:]] == [("AAAAAAAAAAA", "later", "no_segment_start")]
    assert Ave().count(("Airplane", "Helicopter"), listed) == 3


def test_in_files_the_seconds_are_the_files_own(tmp_path: Path) -> None:
    write_ave(tmp_path)
    (tmp_path / "AVE").mkdir()
    (tmp_path / "AVE" / "-1qyr-IzqKY.mp4").write_text("x")
    found = list(Ave().videos(("Helicopter",), listing(tmp_path, lists=str(tmp_path), input=str(tmp_path / "AVE"))))
    assert [(v.native_id, v.state, v.wanted_start_s, v.wanted_stop_s) for v in found] == [
        ("-1qyr-IzqKY", "listed", 2.0, 5.0),
        ("AAAAAAAAAAA_0", "later", None, None),
    ]


def test_labels_of_ave_are_its_28(tmp_path: Path) -> None:
    write_ave(tmp_path)
    assert len(list(Ave().labels(None))) == 28
    with pytest.raises(NothingError, match="AVE has no label 'Fireworks'"):
        Ave().count(("Fireworks",), listing(tmp_path, lists=str(tmp_path)))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("Church bell,RUhOCu3LNXM,good,0,10", "1 columns by &"),
        ("Church bell&RUhOCu3LNX&good&0&10", "'RUhOCu3LNX' is no YouTube id"),
        ("Church bell&RUhOCu3LNXM&good&5&2", "'5 to 2' is no span"),
        ("Church bell&RUhOCu3LNXM&good&0&1e9", "'0 to 1e9' is no span"),
        ("&RUhOCu3LNXM&good&0&10", "'' is no label"),
    ],
)
def test_damaged_events_are_refused(line: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "Annotations.txt"
    path.write_text(EVENTS + line + "\n")
    with pytest.raises(FatalError) as caught:
        list(read_events(path))
    assert caught.value.message == f"Annotations.txt, line 7: {caught.value.message.partition(': ')[2]}"
    assert why in caught.value.message


def vegas(folder: Path, header: str = "YTID,start_second,end_second\n", videos: bool = True) -> Path:
    for category, natives in {"baby_cry": ("-aaaaaaaaaa", "_bbbbbbbbbb"), "dog": ("ccccccccccc",)}.items():
        place = folder / "VEGAS" / category
        (place / "videos").mkdir(parents=True)
        rows = (f"{native},{20 * n},{20 * n + 7.5}\n" for n, native in enumerate(natives))
        (place / "video_info.csv").write_text(header + "".join(rows))
        for n, native in enumerate(natives if videos else ()):
            (place / "videos" / f"video_{n:05d}.mp4").write_text(native)
    return folder


@pytest.mark.parametrize("header", ["YTID,start_second,end_second\n", ""])
def test_vegas_files_meet_their_rows(header: str, tmp_path: Path) -> None:
    folder = str(vegas(tmp_path, header))
    listed = listing(tmp_path, input=folder)
    found = list(Vegas().videos(("Baby crying", "Dog"), listed))
    assert [(v.native_id, v.labels, v.source_key, v.wanted_start_s, v.wanted_stop_s) for v in found] == [
        ("-aaaaaaaaaa", ("Baby crying",), "baby_cry/videos/video_00000.mp4", 0.0, 7.5),
        ("_bbbbbbbbbb", ("Baby crying",), "baby_cry/videos/video_00001.mp4", 0.0, 7.5),
        ("ccccccccccc", ("Dog",), "dog/videos/video_00000.mp4", 0.0, 7.5),
    ]
    assert all(v.video_id.startswith("lo-") and v.path is not None for v in found)
    assert Vegas().count(("Baby crying", "Dog"), listed) == 3
    again = listing(tmp_path, frozenset({"baby_cry/videos/video_00000.mp4"}), input=folder + "/VEGAS")
    assert [v.position for v in Vegas().videos(("baby_cry",), again)] == [1]


def test_vegas_tables_alone_name_youtube_videos(tmp_path: Path) -> None:
    folder = str(vegas(tmp_path, videos=False))
    found = list(Vegas().videos(("Baby crying",), listing(tmp_path, lists=folder)))
    assert [(v.video_id, v.wanted_start_s, v.wanted_stop_s) for v in found] == [
        ("yt--aaaaaaaaaa", 0.0, 7.5),
        ("yt-_bbbbbbbbbb", 20.0, 27.5),
    ]


def test_vegas_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="whose official download is gone"):
        list(Vegas().videos(("Dog",), listing(tmp_path)))
    with pytest.raises(UsageError, match="holds none of VEGAS' categories"):
        list(Vegas().videos(("Dog",), listing(tmp_path, input=str(tmp_path))))
    folder = vegas(tmp_path)
    with pytest.raises(NothingError, match="VEGAS has no label 'Airplane'"):
        list(Vegas().videos(("Airplane",), listing(tmp_path, input=str(folder))))
    (folder / "VEGAS" / "dog" / "video_info.csv").write_text("YTID,start_second,end_second\nccccccccccc,5,2\n")
    with pytest.raises(FatalError, match=r"video_info.csv, line 2: '5 to 2' is no span"):
        list(Vegas().videos(("Dog",), listing(tmp_path, input=str(folder))))
    assert len(list(Vegas().labels(None))) == 10
