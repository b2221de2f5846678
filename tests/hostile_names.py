"""Ids, labels and titles that somebody means badly, made by hypothesis, through every door by which text comes in."""

import csv
import io
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rebuilding import call

from v2a_data.cli.recipes import _printable
from v2a_data.console import Console, printable, table
from v2a_data.derive import derived_table, on_prompts
from v2a_data.errors import UsageError
from v2a_data.fetch.download import _channel, _title
from v2a_data.fetch.listing import add
from v2a_data.ids import check_video_id, slug, split_clip_id, youtube_video_id
from v2a_data.recipe import build_recipe, dump_recipe, load_recipe
from v2a_data.removal.find import parse_wanted
from v2a_data.removal.refused import Refused
from v2a_data.scorers.title_words import TitleWords
from v2a_data.sources.base import Listing
from v2a_data.sources.ids import Ids, native_id
from v2a_data.sources.label_tables import search_all
from v2a_data.sources.local import Local
from v2a_data.workspace import Workspace

PAYLOADS = (
    "../../../../etc/passwd", "/etc/passwd", "..\\..\\x", "a/../../b", "\x00", "x\x00.mp4", "-", "--", "-rf /", "--exec=touch x",
    "-o/tmp/x", "$(touch x)", "`touch x`", "; touch x;", "| touch x", "%(id)s", "%s%n", "{0.__class__}", "{id}", "{{7*7}}",
    "\x1b[2J", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\", "\x9b31m", "\r", "\n", "\t", "\x08", "\u202e", "\u2066", "\ufeff", "\u200b",
    "[/b]", "[red]x[/red]", "[link=file:///etc/passwd]x", "=cmd|' /C calc'!A0", "@SUM(1)", "+1", "-1", "=HYPERLINK(1)", "\t=1",
    '"', "'", '"""', "'''", "]\n[fetch]\nhosts=['evil']", '"]\nname="x', "#", "\\", "' OR 1=1 --", "'; DROP TABLE videos; --",
    "<script>alert(1)</script>", "![x](file:///x)", "CON", "NUL", ".", "..", " ", "", "AccessDenie", "a" * 300, "\U0001f600" * 90,
)  # fmt: skip
_ID = re.compile(r"(yt-[A-Za-z0-9_-]{11}|lo-[0-9a-f]{16}|sy-[0-9]{1,9}-[0-9]{1,9}|y8-[A-Za-z0-9_-]{4})\Z")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NAME_BYTES = 120
_READ_BACK_EVERY, _DERIVED_EVERY = 4, 200
_id_like = st.text("ABCxyz019_-", min_size=9, max_size=13)
texts = st.one_of(
    st.text(max_size=60),
    st.sampled_from(PAYLOADS),
    st.builds("".join, st.lists(st.one_of(st.sampled_from(PAYLOADS), st.text(max_size=12), _id_like), max_size=4)),
    _id_like,
    st.builds("https://www.youtube.com/watch?v={}".format, _id_like),
)


def made(count: int) -> list[str]:
    """So many texts, each of which passed the doors that it can pass alone."""
    found: list[str] = []

    @settings(
        max_examples=count, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(texts)
    def one(text: str) -> None:
        as_id(text)
        as_label(text, len(found))
        as_title(text)
        found.append(text)

    one()
    return found


def is_clean(text: str) -> bool:
    """No control, direction or escape character."""
    return all(c.isprintable() for c in text)


def as_id(text: str) -> None:
    """What is taken for an id is one, and safe as a file name; what is not is refused with words that can be shown."""
    doors: tuple[Callable[[str], Any], ...] = (
        youtube_video_id,
        check_video_id,
        lambda t: split_clip_id(t)[0],
        lambda t: f"yt-{native_id(t)}",
        lambda t: next(iter(parse_wanted([t], ()).ids)),
    )
    for door in doors:
        try:
            video_id = door(text)
        except (ValueError, UsageError) as error:
            words = printable(str(error))
        else:
            words = ""
            _check_id(video_id)
        assert is_clean(words)


def _check_id(video_id: str) -> None:
    assert _ID.match(video_id), video_id
    assert not video_id.startswith("-")
    if video_id.startswith("yt-"):
        (video,) = Ids([video_id[3:]]).videos(("x",), Listing(load_keep_all(), Path("none")))
        assert video.url == f"https://www.youtube.com/watch?v={video_id[3:]}"
        assert native_id(str(video.url)) == video_id[3:]


def load_keep_all() -> Any:
    global _recipe
    _recipe = _recipe or load_recipe("keep_all", {"labels": ["x"]})
    return _recipe


_recipe: Any = None


def as_label(text: str, number: int) -> None:
    """A label is printable, its file name stays a name, and its recipe reads back as it was.

    That is tried of every fourth one, and of every two hundredth with all that is derived for a label.
    """
    try:
        (label,) = _printable([text])
    except UsageError:
        return
    assert is_clean(label)
    assert re.fullmatch(r"[a-z0-9_]{1,60}", slug(label))
    if number % _READ_BACK_EVERY:
        return
    if number % _DERIVED_EVERY == 0:
        list(search_all(text))
        recipe = build_recipe(derived_table([label], "youtube8m", None), "derived")
    else:
        prompts = {"model": "m", "labels": {label: {"on": on_prompts(label), "off": [label]}}}
        about = {"name": slug(label), "labels": [label], "scorers": {"clip_topic": prompts}}
        recipe = build_recipe({**about, "source": {"label_ids": {label: "/m/0"}}}, "by hand")
    again = build_recipe(tomllib.loads(dump_recipe(recipe)), "read back")
    assert again == recipe
    assert again.labels == (label,)
    assert again.fetch.hosts == load_keep_all().fetch.hosts


def as_title(text: str) -> None:
    """Titles and channels are printable and bounded; measuring one is a search for words."""
    title = _title({"title": text})
    channel = _channel({"extractor_key": "Youtube", "channel_id": text})
    for kept in (title, channel):
        assert kept is None or (is_clean(kept) and 0 < len(kept) <= 200)
    TitleWords(TitleWords.Config()).hints(text, text)
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        console = Console("t", verbose=True)
        console.say(text)
        console.warn(text)
        console.detail(text)
        console.result({}, table(("a", text), [(text, 1)]))
    assert is_clean((out.getvalue() + err.getvalue()).replace("\n", ""))


def through_a_workspace(batch: list[str], folder: Path) -> None:
    """Names of files and folders, titles and notes of people, through a workspace and its commands."""
    root, given_files = folder / "w", folder / "in"
    for i, text in enumerate(batch):
        place = given_files / _file_name(batch[-i - 1], "folder") / f"{_file_name(text, 'file')}"
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            place.write_text(f"not media {i}")
    recipe = load_recipe("keep_all", {"source": {"name": "local", "input": str(given_files)}})
    with noticing(folder) as notes:
        with Workspace.open(root, "test") as workspace:
            workspace.adopt(recipe, force=False)
            listing = Listing(recipe, root / "cache" / "local")
            for video in Local().videos((), listing):
                add(workspace.ledger, video, Refused(workspace.ledger))
            ids = [row[0] for row in workspace.ledger.rows("SELECT video_id FROM videos ORDER BY 1")]
            for video_id, text in zip(ids, batch, strict=False):
                sql = "UPDATE videos SET title = ? WHERE video_id = ?"
                workspace.ledger.execute(sql, (_title({"title": text}), video_id))
                assert workspace.media_path(video_id, text).resolve().is_relative_to(root.resolve() / "media")
        _commands(root, ids, batch)
    assert notes == []


def _file_name(text: str, other: str) -> str:
    """The text as a name on disk, as far as the disk allows it."""
    name = text.replace("/", "_").replace("\0", "")
    name = name.encode("utf-8", "surrogatepass")[:_NAME_BYTES].decode("utf-8", "ignore")
    return other if name in ("", ".", "..") or name.startswith(".") else name


def _commands(root: Path, ids: list[str], batch: list[str]) -> None:
    sheet, exported = root / "sheet.csv", root / "exported.csv"
    with sheet.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("video_id", "window_index", "rater", "seen", "heard", "confounders", "note"))
        for video_id, text in zip(ids, batch, strict=False):
            writer.writerow((video_id, 0, "ann", "yes", "no", "", text.replace("\0", "")))
    for words in (
        ("votes", "--import", sheet),
        ("votes", "--export", exported),
        ("status", "--availability"),
        ("status",),
        ("remove", "--dry-run", *(word for text in batch[:5] for word in ("--channel", text.replace("\0", "")))),
    ):
        code, out, err = call(*words, "-w", root)
        assert code in (0, 2), (words, err)
        assert is_clean((out + err).replace("\n", "")), (words, out, err)
    with exported.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.reader(file):
            for cell in row:
                assert is_clean(cell), cell
                assert not cell.startswith(_FORMULA), cell


@contextmanager
def noticing(folder: Path) -> Iterator[list[str]]:
    """What this process writes, makes, moves or deletes outside of a folder, and whatever it starts."""
    global _notes
    _install()
    notes: list[str] = []
    _notes = (notes, os.path.realpath(folder))
    try:
        yield notes
    finally:
        _notes = None


_notes: tuple[list[str], str] | None = None
_installed = False
_STARTS = (
    "os.system",
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
    "os.forkpty",
    "pty.spawn",
    "socket.connect",
)
_CHANGES = ("os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.truncate", "sqlite3.connect")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC


def _install() -> None:
    """Audit hooks stay for good; this one sleeps while nobody asks."""
    global _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _notes is None:
        return
    notes, folder = _notes
    if event in _STARTS:
        notes.append(f"{event} {args!r}")
    elif event in _CHANGES or (event == "open" and len(args) > 2 and (args[2] or 0) & _WRITING):
        for path in args[:2] if event in ("os.rename", "os.link") else args[:1]:
            name = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
            name = name.removeprefix("file://").partition("?")[0] if event == "sqlite3.connect" else name
            if (
                name
                and not name.endswith((".pyc", "/dev/null"))
                and "__pycache__" not in name
                and _outside(name, folder)
            ):
                notes.append(f"{event} {name!r}")


def _outside(name: str, folder: str) -> bool:
    from urllib.parse import unquote

    return not f"{os.path.realpath(unquote(name))}/".startswith(f"{folder}/")


def run_all(count: int, batch: int, folder: Path) -> int:
    """All of it; returns how many texts were tried."""
    found = made(count)
    through_a_workspace(["plain", "words"], folder / "warm")  # what is imported late is imported here
    for first in range(0, len(found), batch):
        place = folder / str(first)
        place.mkdir()
        through_a_workspace(found[first : first + batch], place)
    return len(found)
