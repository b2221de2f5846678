"""Exact cuts: frames on a fixed grid and sound by timestamp, on one clock.

A span `[start_s, stop_s)` becomes `round(duration · fps)` frames and `frames · rate / fps` audio
samples, always; a span that the source does not really fill is refused (`check`, `heard`). Every file
is decoded back and compared before it counts. What a span becomes depends on file and span alone, not on
what is cut along with it.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from v2a_data.errors import ItemError
from v2a_data.media.check import check_back, check_picture
from v2a_data.media.decode import Media, Picture, pictures_from
from v2a_data.media.encode import SampleFile
from v2a_data.media.heard import MAX_INTERVAL_S, Heard, hear
from v2a_data.media.limits import open_media
from v2a_data.media.passes import keyframes, plan_passes
from v2a_data.media.pick import Picker
from v2a_data.media.picture import Scaler
from v2a_data.media.spec import CutSpec


@dataclass(frozen=True)
class CutResult:
    """One span: where its file is and how exact it is, or why it was refused."""

    start_s: float
    stop_s: float
    path: str | None
    frames: int = 0
    audio_samples: int = 0
    picture_error_s: float | None = None
    sound_error_samples: int | None = None
    reason: str | None = None
    message: str = ""


def cut(path: str, spans: Sequence[tuple[float, float]], spec: CutSpec, folder: str) -> list[CutResult]:
    """Cut `spans` (rising, not overlapping) out of one file into `<folder>/<index>.mp4`.

    Each span ends as a file or with a reason: `short`, `picture_shifted`, `sound_shifted`, `sound_changes`,
    `miscounted`. Raises `ItemError` where the file as a whole cannot be decoded.
    """
    media = Media(open_media(path))
    with media.container:
        if media.video is None or media.audio is None:
            raise ItemError("no_picture" if media.video is None else "no_sound")
        scaler = Scaler(float(media.video.sample_aspect_ratio or 1))
        keyframes_s = keyframes(media) if len(spans) > 1 else np.zeros(0)
    results: list[CutResult] = []
    for group in plan_passes(spans, keyframes_s, 1 / media.frame_interval_s):
        results += _one_pass(path, [_Span(path, *spans[i], Path(folder) / f"{i:06d}.mp4", spec, scaler) for i in group])
    return results


def _one_pass(path: str, spans: Sequence["_Span"]) -> Iterator[CutResult]:
    """Neighbouring spans in one run through the file, each given out when it is complete."""
    waiting = deque(spans)
    try:
        for picture in pictures_from(path, spans[0].start_s) if spans else ():
            for span in waiting:
                if picture.time_s < span.start_s - 2 * MAX_INTERVAL_S:
                    break
                span.push(picture)
            while waiting and waiting[0].done:
                yield waiting.popleft().result()
            if not waiting:
                return
        while waiting:
            yield waiting.popleft().result()
    finally:
        for span in waiting:
            span.drop()


class _Span:
    """One span on its way into a file. The first error that refuses it is kept and ends its work."""

    def __init__(self, path: str, start_s: float, stop_s: float, target: Path, spec: CutSpec, scaler: Scaler) -> None:
        self.path, self.start_s, self.stop_s, self.target = path, start_s, stop_s, target
        self.spec, self.scaler = spec, scaler
        self.frames = spec.frames(stop_s - start_s)
        self.grid_s = start_s + np.arange(self.frames) * float(1 / spec.fps)
        self.picker = Picker(self.grid_s)
        self.source_s: list[float] = []
        self.shown_s: list[float] = []
        self.heard: Heard | None = None
        self.file: SampleFile | None = None
        self.last: av.VideoFrame | None = None
        self.refused: ItemError | None = None

    @property
    def done(self) -> bool:
        """Whether no later frame can matter."""
        return self.refused is not None or bool(self.source_s and self.source_s[-1] >= self.stop_s)

    def push(self, picture: Picture) -> None:
        """Feed the next frame of the source; those from a little before the span on may be its first one."""
        if self.done:
            return
        if picture.time_s < self.start_s:
            self.source_s.clear()
        self.source_s.append(picture.time_s)
        self._take(self.picker.push(picture))

    def _take(self, picked: Iterable[tuple[int, Picture]]) -> None:
        for _, picture in picked:
            if self.file is None and not self._open():
                return
            assert self.file is not None
            if self.last is None or self.shown_s[-1] != picture.time_s:
                self.last = self.scaler.fitted(picture.frame, self.spec.width, self.spec.height, self.spec.fit)
            self.file.add(self.last)
            self.shown_s.append(picture.time_s)

    def _open(self) -> bool:
        """Read the sound before the first frame is coded: a span that is refused for it costs no more."""
        try:
            self.heard = hear(self.path, self.start_s, self.stop_s, self.spec.channels)
        except ItemError as error:
            self.refused = error
            return False
        self.file = SampleFile(self.target, self.spec)
        return True

    def result(self) -> CutResult:
        """The finished file, or why there is none. At the end of the source its last frame stays on."""
        try:
            if self.refused is None:
                self._take(self.picker.finish())
            if self.refused is not None:
                raise self.refused
            off_s = np.abs(np.asarray(self.shown_s) - self.grid_s[: len(self.shown_s)]).max(initial=0.0)
            check_picture(self.source_s, self.start_s, self.stop_s, float(off_s), float(self.spec.fps))
            return self._finish(float(off_s))
        except ItemError as error:
            self.drop()
            return CutResult(self.start_s, self.stop_s, None, reason=error.reason, message=error.message)

    def _finish(self, picture_error_s: float) -> CutResult:
        assert self.file is not None
        assert self.heard is not None
        samples = self.spec.audio_samples(self.frames)
        sound = self.heard.placed(self.start_s, samples, self.spec.rate_hz)
        pcm = np.clip(np.round(sound * 32768.0), -32768, 32767).astype(np.int16)
        self.file.finish(pcm)
        sound_error = check_back(self.target, self.frames, pcm, self.spec, self.heard, self.start_s)
        self.file = self.heard = self.last = None
        return CutResult(
            self.start_s, self.stop_s, str(self.target), self.frames, samples, picture_error_s, sound_error
        )

    def drop(self) -> None:
        """Leave no file."""
        if self.file is not None:
            self.file.drop()
            self.target.unlink(missing_ok=True)
        self.file = self.heard = self.last = None
