"""A report page from sections of text, tables, pictures and playable clips. All text is escaped."""

import base64
from dataclasses import dataclass
from pathlib import Path

from v2a_data.files import write_text

_TEMPLATE = Path(__file__).with_name("page.html.j2")


@dataclass(frozen=True)
class TableBlock:
    """A table; numbers are given as text."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    kind: str = "table"


@dataclass(frozen=True)
class TextBlock:
    """A paragraph, or lines as typed when `code` is set."""

    text: str
    code: bool = False
    kind: str = "text"


@dataclass(frozen=True)
class MediaItem:
    """A picture, sound or video inside the page, with its caption."""

    uri: str
    caption: str
    form: str


@dataclass(frozen=True)
class GalleryBlock:
    """Media side by side."""

    items: tuple[MediaItem, ...]
    kind: str = "gallery"


@dataclass(frozen=True)
class Section:
    """A heading with its blocks."""

    title: str
    blocks: tuple[TableBlock | TextBlock | GalleryBlock, ...]


def picture(body: bytes, caption: str) -> MediaItem:
    """A PNG."""
    return MediaItem(_uri("image/png", body), caption, "picture")


def video(path: Path, caption: str) -> MediaItem:
    """An MP4 file."""
    return video_bytes(path.read_bytes(), caption)


def video_bytes(body: bytes, caption: str) -> MediaItem:
    """An MP4 in memory."""
    return MediaItem(_uri("video/mp4", body), caption, "video")


def sound(body: bytes, caption: str, mime: str = "audio/wav") -> MediaItem:
    """A sound in memory."""
    return MediaItem(_uri(mime, body), caption, "sound")


def _uri(mime: str, body: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(body).decode()}"


def write_page(path: Path, title: str, lead: str, sections: list[Section]) -> None:
    """Write the page whole. Titles, labels and captions may be hostile: they are escaped."""
    from jinja2 import Environment

    template = Environment(autoescape=True).from_string(_TEMPLATE.read_text(encoding="utf-8"))
    write_text(path, template.render(title=title, lead=lead, sections=sections))
