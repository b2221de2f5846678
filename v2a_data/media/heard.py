"""The source's sound around a span, placed by its timestamps."""

from dataclasses import dataclass

import numpy as np

from v2a_data.errors import ItemError
from v2a_data.media.decode import sound_from
from v2a_data.media.sound import Timeline, fade_samples, mix_blocks, resample
from v2a_data.schema import WINDOW_S

# CONTRACTS, "short": a hole of more than this beyond the source's own chunk length.
HOLE_S = 0.040
MAX_INTERVAL_S = 0.5
# Sound is decoded this far beyond the span on both sides, so that resampling has context.
_MARGIN_S = 0.25


@dataclass(frozen=True)
class Heard:
    """Sound `(channels, samples)` float32, mixed to a sample's channels, at the source's rate from `start_s` on."""

    samples: np.ndarray
    rate_hz: int
    start_s: float

    def nearest(self, time_s: float) -> int:
        """Index of the audio sample nearest to a time; below 0 before the first."""
        return round((time_s - self.start_s) * self.rate_hz)

    def placed(self, start_s: float, count: int, rate_hz: int) -> np.ndarray:
        """`(channels, count)` float32 at `rate_hz`, from `start_s` on.

        Audio sample 0 is the source's nearest to `start_s`: at most half a source sample off. The lead kept
        before it for the resampler is a whole number of samples at both rates. Where the sound starts a little
        late there is silence.
        """
        sound, first = self.samples, self.nearest(start_s)
        if first < 0:
            sound, first = np.pad(sound, ((0, 0), (-first, 0))), 0
        step = self.rate_hz // np.gcd(self.rate_hz, rate_hz)
        lead = first // step * step
        out = resample(sound[:, first - lead :], self.rate_hz, rate_hz)
        out = out[:, lead * rate_hz // self.rate_hz :][:, :count]
        return np.pad(out, ((0, 0), (0, count - out.shape[1])))


def hear(path: str, start_s: float, stop_s: float, channels: int) -> Heard:
    """The sound of a span with some more on both sides, mixed anew for each of its windows, as scorers hear it.

    Raises `ItemError`: `short` for holes and missing ends, `sound_changes`.
    """
    line = Timeline(max(0.0, start_s - _MARGIN_S))
    parts, longest_s = [], 0.0
    for chunk in sound_from(path, line.start_s):
        if chunk.time_s >= stop_s + _MARGIN_S:
            break
        duration_s = chunk.samples.shape[1] / chunk.rate_hz
        longest_s = max(longest_s, duration_s)
        if chunk.time_s + duration_s > line.start_s:
            parts += line.lay(chunk)
    if not parts:
        raise ItemError("short", "no sound")
    _whole(line, start_s, stop_s, min(longest_s, MAX_INTERVAL_S) + HOLE_S)
    whole = Heard(np.concatenate(parts, axis=1), line.rate_hz, line.start_s + line.shift_s)
    window, fade = round(WINDOW_S * line.rate_hz), fade_samples(line.rate_hz)
    mixed = mix_blocks(channels, whole.samples, window, max(0, whole.nearest(start_s)), fade)
    return Heard(mixed, whole.rate_hz, whole.start_s)


def _whole(line: Timeline, start_s: float, stop_s: float, allowed_s: float) -> None:
    late_s = (line.late_s or 0.0) - (start_s - line.start_s)
    if late_s > allowed_s:
        raise ItemError("short", f"sound starts {late_s:.3f} s late")
    hole_s = max((min(stop, stop_s) - max(start, start_s) for start, stop in line.holes_s), default=0.0)
    if hole_s > allowed_s:
        raise ItemError("short", f"sound has a hole of {hole_s:.3f} s")
    if line.stop_s < stop_s - allowed_s:
        raise ItemError("short", f"sound ends {stop_s - line.stop_s:.3f} s early")
