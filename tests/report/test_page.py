"""Report pages: one file that loads nothing, runs nothing and shows what it was given."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from v2a_data.report import page

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></pre></td><iframe src=//evil.example>",
    "{{ 7 * 7 }}{% for x in y %}",
    "javascript:alert(1)",
    "&lt;b&gt; &amp; \u202e drowssap",
]
LOADS = {"src", "href", "srcset", "data", "poster", "action", "background", "formaction"}


class Reader(HTMLParser):
    """What a browser would make of the page: elements with attributes, and the text inside each kind."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self._open.append(tag)
            self.text.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.text[self._open[-1]][-1] += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def read(path: Path) -> Reader:
    found = Reader(path.read_text(encoding="utf-8"))
    assert found._open == []
    return found


def check_self_contained(found: Reader) -> None:
    """No scripts, no handlers, nothing loaded but from inside the file."""
    for tag, attributes in found.elements:
        assert tag not in ("script", "iframe", "object", "embed", "link", "base", "form", "svg")
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in LOADS or str(value).startswith("data:"), (tag, name, str(value)[:60])
    style = "".join(found.text["style"])
    assert not re.search(r"url\(|@import|expression\(", style)
    policies = [m["content"] for m in found.of("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'")
    assert "script-src" not in policies[0]


def hostile_page(path: Path, words: str) -> Reader:
    sections = [
        page.Section(
            words,
            (
                page.TextBlock(words),
                page.TextBlock(words, code=True),
                page.TableBlock((words,), ((words,),)),
                page.GalleryBlock(
                    (page.picture(b"png", words), page.video_bytes(b"mp4", words), page.sound(b"wav", words))
                ),
            ),
        )
    ]
    page.write_page(path, words, words, sections)
    return read(path)


@pytest.mark.parametrize("words", HOSTILE)
def test_hostile_words_stay_words_everywhere(words: str, tmp_path: Path) -> None:
    found = hostile_page(tmp_path / "p.html", words)
    check_self_contained(found)
    tame = hostile_page(tmp_path / "t.html", "tame")
    assert [tag for tag, _ in found.elements] == [tag for tag, _ in tame.elements]
    for tag, count in {"title": 1, "h1": 1, "h2": 1, "p": 2, "pre": 1, "th": 1, "td": 1, "figcaption": 3}.items():
        assert found.text[tag] == [words] * count, tag
    assert found.of("img")[0]["alt"] == words


def test_tables_show_their_cells_in_order(tmp_path: Path) -> None:
    header, rows = ("step", "result"), (("fetch", "12 videos"), ("curate", "7 clips kept"))
    blocks = (page.TableBlock(header, rows), page.TableBlock(("empty",), ()))
    page.write_page(tmp_path / "p.html", "t", "l", [page.Section("one", blocks), page.Section("two", ())])
    found = read(tmp_path / "p.html")
    assert found.text["th"] == ["step", "result", "empty"]
    assert found.text["td"] == ["fetch", "12 videos", "curate", "7 clips kept"]
    assert found.text["h2"] == ["one", "two"]
    assert len(found.of("tr")) == 4


def test_media_lie_inside_the_page(tmp_path: Path, media) -> None:
    clip = media("page.mp4", seconds=1.0)
    items = (
        page.video(clip, "v"),
        page.sound(b"RIFF....", "s"),
        page.sound(b"ogg", "o", "audio/ogg"),
        page.picture(b"\x89PNG", "p"),
    )
    page.write_page(tmp_path / "p.html", "t", "l", [page.Section("g", (page.GalleryBlock(items),))])
    found = read(tmp_path / "p.html")
    check_self_contained(found)

    def body(tag: str, place: int, mime: str) -> bytes:
        head, _, text = str(found.of(tag)[place]["src"]).partition(",")
        assert head == f"data:{mime};base64"
        return base64.b64decode(text, validate=True)

    assert body("video", 0, "video/mp4") == clip.read_bytes()
    assert body("audio", 0, "audio/wav") == b"RIFF...."
    assert body("audio", 1, "audio/ogg") == b"ogg"
    assert body("img", 0, "image/png") == b"\x89PNG"
    assert all("controls" in element for tag in ("video", "audio") for element in found.of(tag))
    assert not any("autoplay" in element for _, element in found.elements)
    assert str(tmp_path) not in (tmp_path / "p.html").read_text()


def test_the_page_is_written_whole_over_an_old_one(tmp_path: Path) -> None:
    path = tmp_path / "p.html"
    path.write_text("old")
    page.write_page(path, "new", "l", [])
    assert read(path).text["h1"] == ["new"]
    assert list(tmp_path.iterdir()) == [path]
