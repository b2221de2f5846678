"""Whether picture and sound move together: motion against sound, without a model, per window.

Three curves of the picture, 80 ms a step, are held against two of the sound, 20 ms a step, over 6 s around the
window: local motion against loudness; what starts to move, and what lights up, against onsets. Their correlations are
added and the best lag within 0.1 s is taken. A number of that kind says nothing alone – steady things always
agree a little – so the same is done with the video's own sound moved by 2 s or more, many times, as a null:
`together_z` is how many of its standard deviations the true sound lies above its mean.

Sound that was laid a little early or late is too rare a thing in 6 s to be told from chance; over the whole video it
shows. `shifted_z` holds the best place 0.14 to 2 s off against the place as it is, and against places further off.
"""

from typing import ClassVar

import numpy as np

from v2a_data.schema import WINDOW_S
from v2a_data.scorers.base import Field, Needs, VideoTap, WindowScores, WithoutModel

_SIZE = (64, 36)
_BLOCKS = (6, 8)
_MOVING_BLOCKS = 4
_PICTURE_HZ = 12.5
_RATE_HZ = 16000
_HOP = 320
_FFT = 512
_BANDS = 16
_HOPS = round(_RATE_HZ / _HOP / _PICTURE_HZ)  # of sound in a step of the picture
_CONTEXT_S = 6.0
_LAG_S = 0.1
_AWAY_S = 2.0
_SHORTEST_S = 8.0
_NULLS = 40
_LEAST_SPREAD = 0.05
# Sound this far off is shifted, as far as it is looked for, and further away is the null; at most so much of the video.
_OFF_S = (0.13, 2.01)
_FURTHEST_S = 5.0
_FURTHEST_SHARE = 0.4
# Below these nothing moves (grey levels) and nothing is heard (log10 of power), or its level never changes.
_MOTION_LEVELS = 1.0
_SILENT_POWER = -6.0
_CONSTANT = 0.02


class Together(WithoutModel):
    """Co-activity of picture and sound as a z-score against the video's own sound at other times.

    Null in videos under 8 s, and around windows in which nothing moves or nothing is heard (`shifted_z`: in all of
    the video). It finds dubbed and wrong sound where things happen one by one; a steady engine seen in steady flight
    gives it little to hold on to. Periodic things agree with themselves a period later, which makes the null high and
    the score low. `shifted_z` and `shifted_s` are of the video, the same in each of its windows: below 0 the sound
    fits best where it is, above 2 it hardly ever does.
    """

    name: ClassVar[str] = "together"
    version: ClassVar[int] = 2
    writes: ClassVar[tuple[Field, ...]] = (
        Field("together_z", "standard deviations", "agreement of motion and sound above that with shifted sound"),
        Field("lag_s", "s", "how much later than the picture the sound fits best, -0.1 to 0.1"),
        Field(
            "shifted_z", "standard deviations", "how much better the video's sound fits 0.14 to 2 s off than in place"
        ),
        Field("shifted_s", "s", "how much later than the picture the sound fits best there, -2 to 2"),
    )

    @property
    def needs(self) -> Needs:
        return Needs(luma=(*_SIZE, _PICTURE_HZ), sound="mono16k")

    def _score(self, tap: VideoTap) -> WindowScores:
        found = np.full((len(self.writes), len(tap.window_start_s)), np.nan, np.float32)
        if tap.luma is not None and tap.sound is not None:
            picture, sound = picture_curves(np.asarray(tap.luma)), sound_curves(np.asarray(tap.sound[0]))
            steps = min(picture.shape[1], sound.shape[1] // _HOPS)
            if steps >= _SHORTEST_S * _PICTURE_HZ:
                null = _Null(picture[:, :steps], sound[:, : steps * _HOPS])
                for i, start_s in enumerate(tap.window_start_s):
                    found[:2, i] = null.window(start_s - tap.window_start_s[0])
                found[2:] = np.asarray(shifted(picture[:, :steps], sound[:, : steps * _HOPS]))[:, None]
        fields = {field.name: row for field, row in zip(self.writes, found, strict=True)}
        return WindowScores(fields, np.full(len(tap.window_start_s), np.nan))


class _Null:
    """The curves of one video, and how windows of it agree with the sound in place and moved."""

    def __init__(self, picture: np.ndarray, sound: np.ndarray) -> None:
        self.picture, self.sound = picture, sound
        self.steps, self.hops = picture.shape[1], sound.shape[1]
        # Means over a step of the picture, from every hop on, round the end.
        wrapped = np.concatenate([sound, sound[:, : _HOPS - 1]], axis=1)
        self.means = np.lib.stride_tricks.sliding_window_view(wrapped, _HOPS, axis=1).mean(axis=2)
        reach = round(_LAG_S * _RATE_HZ / _HOP)
        self.lags = np.arange(-reach, reach + 1)
        away = round(_AWAY_S * _RATE_HZ / _HOP)
        moved = np.unique(np.linspace(away, self.hops - away, _NULLS).round().astype(int))
        self.moves = np.concatenate([[0], moved])

    def window(self, start_s: float) -> tuple[float, float]:
        """z-score and lag of the window that begins `start_s` after the first; NaN where nothing happens."""
        length = min(round(_CONTEXT_S * _PICTURE_HZ), self.steps)
        middle = round((start_s + WINDOW_S / 2) * _PICTURE_HZ)
        first = min(max(middle - length // 2, 0), self.steps - length)
        seen = self.picture[:, first : first + length]
        heard = self.sound[0, first * _HOPS : (first + length) * _HOPS]
        if _nothing_happens(seen, heard):
            return np.nan, np.nan
        places = (np.arange(first, first + length) * _HOPS)[None, None] + self.lags[:, None] + self.moves[:, None, None]
        agreed = np.zeros(places.shape[:2])
        for curve, row in zip(seen, (0, 1, 1), strict=True):
            agreed += _unit(self.means[row][places % self.hops]) @ _unit(curve)
        best = agreed.max(axis=1)
        z = (best[0] - best[1:].mean()) / max(float(best[1:].std()), _LEAST_SPREAD)
        return float(z), float(self.lags[agreed[0].argmax()] * _HOP / _RATE_HZ)


def _nothing_happens(seen: np.ndarray, heard: np.ndarray) -> bool:
    """Whether nothing moves or nothing is heard in curves `(3, n)` of the picture and `(hops,)` of loudness."""
    return bool(seen[0].max() < np.log1p(_MOTION_LEVELS) or heard.max() < _SILENT_POWER or heard.std() < _CONSTANT)


def shifted(picture: np.ndarray, sound: np.ndarray) -> tuple[float, float]:
    """How much better sound `(2, n · 4)` fits pictures `(3, n)` when it is taken as shifted, and by how many seconds.

    The lesser of two numbers of standard deviations of places further off: above the best place within 0.12 s, and
    above their mean. NaN where nothing happens.
    """
    if _nothing_happens(picture, sound[0]):
        return np.nan, np.nan
    hop_s = _HOP / _RATE_HZ
    furthest = min(round(_FURTHEST_S / hop_s), int(sound.shape[1] * _FURTHEST_SHARE))
    lags = np.arange(-furthest, furthest + 1)
    agreed = np.asarray([_agreement(picture, sound, int(lag)) for lag in lags])
    away_s = np.abs(lags) * hop_s
    off = (away_s > _OFF_S[0]) & (away_s < _OFF_S[1])
    null = agreed[away_s >= _OFF_S[1]]
    best = agreed[off].max()
    above = min(best - agreed[away_s <= _OFF_S[0]].max(), best - null.mean())
    return float(above / max(float(null.std()), _LEAST_SPREAD)), float(lags[off][agreed[off].argmax()] * hop_s)


def _agreement(picture: np.ndarray, sound: np.ndarray, lag: int) -> float:
    """Sum of the correlations with the sound `lag` hops later, over the steps for which there is sound."""
    first = max(0, -(lag // _HOPS))
    last = min(picture.shape[1], (sound.shape[1] - lag) // _HOPS)
    part = sound[:, first * _HOPS + lag : last * _HOPS + lag].reshape(len(sound), -1, _HOPS).mean(axis=2)
    return float(np.sum(_unit(picture[:, first:last]) * _unit(part[[0, 1, 1]])))


def picture_curves(luma: np.ndarray) -> np.ndarray:
    """`(n, 36, 64)` uint8 → `(3, n - 1)`: log of local motion, its rises, log of brightening.

    Local is what the four blocks that change most do beyond the middle one: a moving camera moves all of them.
    """
    change = np.diff(luma.astype(np.int16), axis=0)
    rows, columns = _BLOCKS
    height, width = _SIZE[1] // rows, _SIZE[0] // columns
    blocks = np.abs(change).reshape(-1, rows, height, columns, width).mean(axis=(2, 4)).reshape(len(change), -1)
    blocks.sort(axis=1)
    local = blocks[:, -_MOVING_BLOCKS:].mean(axis=1) - blocks[:, blocks.shape[1] // 2]
    motion = np.log1p(np.maximum(local, 0))
    brighter = np.log1p(np.maximum(change, 0).mean(axis=(1, 2)))
    return np.stack([motion, np.maximum(np.diff(motion, prepend=motion[:1]), 0), brighter])


def sound_curves(sound: np.ndarray) -> np.ndarray:
    """`(samples,)` at 16 kHz → `(2, samples // 320)`: log10 of power, and onset strength over 16 bands."""
    count = len(sound) // _HOP
    padded = np.pad(sound, (_FFT // 2 - _HOP // 2, _FFT))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP][:count]
    bands = [_bands(frames[first : first + 4096]) for first in range(0, count, 4096)]
    loud = np.concatenate(bands) if bands else np.zeros((0, _BANDS))
    loud = np.log10(loud + 1e-5 * loud.max(initial=0.0) + 1e-12)
    onsets = np.zeros(count)
    onsets[1:-1] = np.maximum(loud[2:] - loud[:-2], 0).mean(axis=1)
    power = np.square(sound[: count * _HOP].reshape(count, _HOP)).mean(axis=1)
    return np.stack([np.log10(power + 1e-7), onsets])


def _bands(frames: np.ndarray) -> np.ndarray:
    """Power of `(n, 512)` samples in bands evenly spaced in log frequency, `(n, bands)`."""
    power = np.abs(np.fft.rfft(frames * np.hanning(_FFT).astype(np.float32), axis=1)[:, 1:]) ** 2
    edges = np.unique(np.geomspace(1, _FFT // 2, _BANDS + 1).astype(int))
    return np.asarray(np.add.reduceat(power, edges[:-1] - 1, axis=1))


def _unit(rows: np.ndarray) -> np.ndarray:
    """Rows without their mean, of length 1; zeros stay zeros."""
    centred = rows - rows.mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), 1e-9))
