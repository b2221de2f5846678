"""Sound by timestamp: chunks laid on one sample clock, mixed and resampled exactly."""

from collections.abc import Iterator
from itertools import pairwise

import av
import numpy as np

from v2a_data.errors import ItemError
from v2a_data.media.decode import SoundChunk

# Container times jitter by their own unit (1 ms in Matroska); below this a chunk just follows the last.
_JITTER_S = 0.005
# Channels more alike than this to the loudest one turned over would cancel it.
_TURNED_OVER = -0.5
_FADE_S = 0.005


class Timeline:
    """Lays chunks on a sample clock that starts at `start_s`: silence in gaps, overlaps cut.

    `holes_s` are the stretches of silence put in so far between chunks, `late_s` the one before the first sample.
    """

    def __init__(self, start_s: float) -> None:
        self.start_s = start_s
        self.rate_hz = 0
        self.channels = 0
        self.written = 0
        self.holes_s: list[tuple[float, float]] = []
        self.late_s: float | None = None
        self._earliest_s, self._latest_s = -np.inf, np.inf

    @property
    def stop_s(self) -> float:
        """The second up to which sound is laid."""
        return self.start_s + (self.written / self.rate_hz if self.rate_hz else 0.0)

    @property
    def shift_s(self) -> float:
        """How much later than on the sample clock the sound really stands.

        A container rounds times (Matroska to 1 ms), so the first chunk's time alone may be off by many
        samples. All chunks are laid end to end and each bounds the true time by its rounding: the middle of
        what all of them allow is right to a few microseconds.
        """
        if not self._earliest_s <= self._latest_s or np.isinf(self._earliest_s):
            return 0.0
        return float(self._earliest_s + self._latest_s) / 2

    def lay(self, chunk: SoundChunk) -> list[np.ndarray]:
        """The pieces `(channels, samples)` to append for this chunk, silence before it in pieces of a second.

        Raises `ItemError("sound_changes")` when rate or channel count changes in mid-stream.
        """
        if not self.rate_hz:
            self.rate_hz, self.channels = chunk.rate_hz, chunk.samples.shape[0]
        if (chunk.rate_hz, chunk.samples.shape[0]) != (self.rate_hz, self.channels):
            raise ItemError(
                "sound_changes", f"{self.channels}x{self.rate_hz} Hz to {chunk.samples.shape[0]}x{chunk.rate_hz}"
            )
        due = round((chunk.time_s - self.start_s) * self.rate_hz)
        if self.late_s is not None and abs(due - self.written) < _JITTER_S * self.rate_hz:
            due = self.written
        hole = due - self.written
        samples = chunk.samples
        if hole < 0:
            samples = samples[:, -hole:]
        if samples.shape[1] == 0:
            return []
        if self.late_s is None:
            self.late_s = max(0.0, hole / self.rate_hz)
        elif hole > 0:
            self.holes_s.append((self.stop_s, self.stop_s + hole / self.rate_hz))
        laid_s = self.start_s + (self.written + hole) / self.rate_hz
        self._earliest_s = max(self._earliest_s, chunk.time_s - chunk.tick_s / 2 - laid_s)
        self._latest_s = min(self._latest_s, chunk.time_s + chunk.tick_s / 2 - laid_s)
        self.written += max(0, hole) + samples.shape[1]
        return [*self._silence(max(0, hole)), samples]

    def _silence(self, samples: int) -> list[np.ndarray]:
        """One second of zeros, as often as it takes: a hole of hours costs no memory."""
        second = np.zeros((self.channels, min(samples, self.rate_hz)), np.float32)
        whole, rest = divmod(samples, self.rate_hz)
        return [second] * whole + ([second[:, :rest]] if rest else [])


def mix_to(channels: int, sound: np.ndarray) -> np.ndarray:
    """`(n, samples)` mixed to one or two channels.

    One: the mean of the channels that do not cancel the loudest one (anti-phase stereo leaves one side).
    Two: stereo as it is, mono doubled, more channels as front left and right with the rest, mixed to one, shared.
    """
    return sound if sound.shape[0] == channels else _mixing(channels, sound) @ sound


def mix_blocks(channels: int, sound: np.ndarray, block: int, first: int, fade: int) -> np.ndarray:
    """`mix_to` decided anew for each block of samples: borders at `first` + k · `block`, faded over 2 · `fade`.

    What cancels in one moment is no reason to lose a channel in another. A last piece under half a block joins the
    one before.
    """
    if sound.shape[0] == channels:
        return sound
    count = sound.shape[1]
    borders = [0, *range(first + block, count - block // 2, block), count]
    mixings = [_mixing(channels, sound[:, a:b]) for a, b in pairwise(borders)]
    out = np.concatenate(
        [mixing @ sound[:, a:b] for mixing, (a, b) in zip(mixings, pairwise(borders), strict=True)], axis=1
    )
    for border, (before, after) in zip(borders[1:-1], pairwise(mixings), strict=True):
        if not np.array_equal(before, after):
            piece = slice(max(0, border - fade), min(count, border + fade))
            share = np.linspace(0, 1, piece.stop - piece.start, dtype=np.float32)
            out[:, piece] = (1 - share) * (before @ sound[:, piece]) + share * (after @ sound[:, piece])
    return out


def fade_samples(rate_hz: int) -> int:
    """Half the length of the fade between two ways of mixing."""
    return round(_FADE_S * rate_hz)


def _mixing(channels: int, sound: np.ndarray) -> np.ndarray:
    """The matrix `(channels, n)` that mixes this sound."""
    count = sound.shape[0]
    if channels == 1:
        return _together(sound)[None]
    if count == 1:
        return np.ones((2, 1), np.float32)
    out = np.eye(2, count, dtype=np.float32)
    if count > 2:
        out[:, 2:] = _together(sound[2:])
        out /= 2
    return out


def _together(sound: np.ndarray) -> np.ndarray:
    """Equal weights for all channels but those that are the loudest one turned over, or nearly."""
    power = np.einsum("ij,ij->i", sound, sound)
    loudest = int(power.argmax())
    alike = sound @ sound[loudest] / np.sqrt(np.maximum(power * power[loudest], 1e-20))
    kept = (alike > _TURNED_OVER).astype(np.float32)
    return kept / kept.sum()


class Resampler:
    """Streaming resampler of mono float32 without delay: sample k goes to time k / rate."""

    def __init__(self, rate_in_hz: int, rate_out_hz: int) -> None:
        self.rate_in_hz, self.rate_out_hz = rate_in_hz, rate_out_hz
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=rate_out_hz)

    def push(self, sound: np.ndarray) -> Iterator[np.ndarray]:
        """Feed `(samples,)`; yields what is ready."""
        if self.rate_in_hz == self.rate_out_hz:
            yield sound
            return
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[None], np.float32), format="flt", layout="mono")
        frame.sample_rate = self.rate_in_hz
        for out in self._resampler.resample(frame):
            yield out.to_ndarray()[0]

    def flush(self) -> Iterator[np.ndarray]:
        """What is left at the end."""
        if self.rate_in_hz != self.rate_out_hz:
            for out in self._resampler.resample(None):
                yield out.to_ndarray()[0]


def resample(sound: np.ndarray, rate_in_hz: int, rate_out_hz: int) -> np.ndarray:
    """`(channels, samples)` at another rate, each channel alone."""
    if rate_in_hz == rate_out_hz or sound.shape[1] == 0:
        return sound
    rows = []
    for row in sound:
        resampler = Resampler(rate_in_hz, rate_out_hz)
        rows.append(np.concatenate([*resampler.push(row), *resampler.flush()]))
    return np.stack(rows)
