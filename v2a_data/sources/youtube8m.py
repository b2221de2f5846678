"""YouTube-8M: label → 4-character ids → YouTube ids, over the dataset's public lookup files.

Formats: `j/v/<mid>.js` holds `p("<mid>",["abcd",…]);` (the training partition),
`j/i/<first 2>/<id>.js` holds `i("abcd","<YouTube id>");`. A lost video answers 403 with an XML body. With the recipe's
`source.route = "records"` the 4 characters come from the published shards instead (`youtube8m_records`).
"""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest
from typing import Any

from v2a_data.engine import pause
from v2a_data.errors import FatalError, NothingError, UsageError, nearest
from v2a_data.fetch.http import Answer, get
from v2a_data.files import write_text
from v2a_data.ids import is_youtube_id, youtube_video_id
from v2a_data.recipe import SourceSection, digest
from v2a_data.sources.base import Label, Listing, Video
from v2a_data.sources.label_tables import label_ids, search, youtube8m_labels
from v2a_data.sources.youtube8m_records import listed_videos

_LIST = re.compile(r'p\("(?P<mid>[^"]+)",(?P<ids>\[.*\])\);\s*\Z', re.DOTALL)
_LOOKUP = re.compile(r'i\("(?P<key>[A-Za-z0-9_-]{4})","(?P<native>[A-Za-z0-9_-]{11})"\);\s*\Z')
_KEY = re.compile(r"[A-Za-z0-9_-]{4}\Z")
_GONE = (403, 404, 410)
_LOST = re.compile(rb"<Error>\s*<Code>")


class YouTube8M:
    """Google's machine-labelled list of 6.1 M YouTube videos and 3,862 classes (version of May 2018)."""

    name = "youtube8m"
    licence = "CC BY 4.0 (labels and ids); the videos stay with their owners"
    citation = "Abu-El-Haija et al. 2016, YouTube-8M: A Large-Scale Video Classification Benchmark, arXiv:1609.08675"
    note = (
        "Labels are machine-made. The lists name the training partition only. A video deleted or made private "
        "answers 403 with XML and is recorded as gone; expect a quarter to a half of the 2018 list to be gone. "
        'source.route = "records" reads the video-level shards instead of the lists: 18 GB to download for train.'
    )

    def labels(self, query: str | None) -> Iterator[Label]:
        return search(youtube8m_labels(), query)

    def count(self, labels: tuple[str, ...], listing: Listing) -> int | None:
        mids = [self.mid(label, listing.recipe.source) for label in labels]
        if listing.recipe.source != replace(listing.recipe.source, **_usual_lists()):
            return None
        counts = {label.id: label.count or 0 for label in youtube8m_labels()}
        return sum(counts.get(mid, 0) for mid in mids)

    def videos(self, labels: tuple[str, ...], listing: Listing) -> Iterator[Video]:
        for position, (key, names) in enumerate(self._listed(labels, listing)):
            if key in listing.known:
                continue
            if not listing.resolved.get(key) and not pause(listing.recipe.source.lookup_sleep_s):
                return
            yield self._look_up(key, names, position, listing)

    def _listed(self, labels: tuple[str, ...], listing: Listing) -> Iterator[tuple[str, tuple[str, ...]]]:
        """4-character ids with their labels, by the recipe's route."""
        source = listing.recipe.source
        if source.route == "records":
            yield from self._recorded(labels, listing)
            return
        if source.subsets not in ((), ("train",)):
            raise UsageError(
                f"source.subsets: the lists per label hold 'train' alone, not {', '.join(source.subsets)}",
                hint="--set source.route=records reads the shards of other partitions",
            )
        yield from self._keys(labels, listing).items()

    def _recorded(self, labels: tuple[str, ...], listing: Listing) -> Iterator[tuple[str, tuple[str, ...]]]:
        mids = [item.id for item in youtube8m_labels()]
        wanted: dict[int, set[str]] = {}
        for label in labels:
            mid = self.mid(label, listing.recipe.source)
            if mid not in mids:
                raise UsageError(f"source.label_ids: the shards have no {mid}", hint="an id of YouTube-8M's 3,862")
            wanted.setdefault(mids.index(mid), set()).add(label)
        for video in listed_videos(listing):
            if not wanted.keys().isdisjoint(video.labels):
                names = {name for index in video.labels for name in wanted.get(index, ())}
                yield video.key, tuple(sorted(names))

    def _keys(self, labels: tuple[str, ...], listing: Listing) -> dict[str, tuple[str, ...]]:
        """4-character id → its labels, the labels' lists taken in turn."""
        lists = {label: self._list(self.mid(label, listing.recipe.source), listing) for label in labels}
        owners: dict[str, set[str]] = {}
        for label, keys in lists.items():
            for key in keys:
                owners.setdefault(key, set()).add(label)
        in_turn = (key for row in zip_longest(*lists.values()) for key in row if key is not None)
        return {key: tuple(sorted(owners[key])) for key in in_turn}

    def mid(self, label: str, source: SourceSection) -> str:
        """The id of a label: the recipe's, or the table's. Raises `NothingError` with the nearest names."""
        if label in source.label_ids:
            return source.label_ids[label]
        ids = label_ids(label, youtube8m_labels())
        if not ids:
            names = [item.name for item in youtube8m_labels() if item.name]
            raise NothingError(
                f"YouTube-8M has no label {label!r}; {nearest(label, names)}",
                hint=f"`v2a-data labels {label}` searches the names of all sources",
            )
        return ids[0]

    def _list(self, mid: str, listing: Listing) -> list[str]:
        short = mid.removeprefix("/m/")
        url = listing.recipe.source.label_url.format(mid=short)
        cached = listing.cache / f"{short}-{digest(url)[:8]}.json"
        if cached.is_file():
            return list(json.loads(cached.read_text()))
        answer = get(url)
        keys = _keys_in(answer, short)
        if keys is None:
            raise FatalError(
                f"{url}: HTTP {answer.status}, not a list of YouTube-8M ids",
                hint="the list may be withdrawn; use --ids-file with ids of your own, or another source",
            )
        write_text(cached, json.dumps(keys))
        return keys

    def _look_up(self, key: str, labels: tuple[str, ...], position: int, listing: Listing) -> Video:
        source = listing.recipe.source
        resolved = listing.resolved.get(key)
        if resolved:
            return self._video(resolved, key, labels, position, listing)
        url = source.lookup_url.format(prefix=key[:2], id=key)
        answer = get(url)
        match = _LOOKUP.match(answer.body.decode("utf-8", "replace").strip()) if answer.status == 200 else None
        if match and match["key"] == key and is_youtube_id(match["native"]):
            return self._video(match["native"], key, labels, position, listing)
        # A proxy or a login page may answer anything: only the store's own XML says that a video is lost.
        gone = answer.status in _GONE and _LOST.search(answer.body[:2000]) is not None
        state, reason = ("gone", "lookup_gone") if gone else ("later", "lookup_malformed")
        unclear = ", neither an id nor the store's word that it is lost"
        words = f"{url}: HTTP {answer.status}{'' if gone else unclear}"
        return Video(f"y8-{key}", self.name, labels, position, key, state=state, reason=reason, message=words)

    def _video(self, native: str, key: str, labels: tuple[str, ...], position: int, listing: Listing) -> Video:
        watch = listing.recipe.source.watch_url.format(id=native)
        return Video(youtube_video_id(native), self.name, labels, position, key, native, watch)


def _usual_lists() -> dict[str, Any]:
    """The addresses and route whose count the label table knows."""
    usual = SourceSection()
    return {name: getattr(usual, name) for name in ("label_url", "plan_url", "route", "subsets", "lists")}


def _keys_in(answer: Answer, mid: str) -> list[str] | None:
    """The 4-character ids in the list of a label, null where the answer is no such list."""
    match = _LIST.match(answer.body.decode("utf-8", "replace").strip()) if answer.status == 200 else None
    if match is None or match["mid"] != mid:
        return None
    try:
        listed = json.loads(match["ids"])
    except (ValueError, RecursionError):
        return None
    return [key for key in listed if isinstance(key, str) and _KEY.match(key)]
