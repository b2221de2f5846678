"""What a cut has to pass: no hole in its picture, and a file that decodes to what was meant."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from v2a_data.errors import ItemError
from v2a_data.media.decode import TICK_S
from v2a_data.media.heard import HOLE_S, MAX_INTERVAL_S, Heard
from v2a_data.media.limits import open_media
from v2a_data.media.spec import CutSpec

_MAX_LAG_SAMPLES = 800
_BLOCK = 16384 - 2 * _MAX_LAG_SAMPLES
_QUIET = 1e-4
_ALIKE = 0.2
# Nearer to the band limit than this, two low-pass filters may differ.
_BAND = 0.9


def check_picture(times_s: Sequence[float], start_s: float, stop_s: float, off_s: float, fps: float) -> None:
    """Raise `ItemError` where the source's picture does not really fill a span.

    `times_s` are those of its frames, from the last one before `start_s` to the first one from `stop_s` on; `off_s` is
    the largest distance of a shown frame from its grid time, which half a frame of the source and half a frame of the
    sample may make up. Reasons: `short`, `picture_shifted`.
    """
    times = np.asarray(times_s)
    if len(times) == 0:
        raise ItemError("short", "no picture")
    steps = np.diff(times)
    interval = min(float(np.median(steps)) if len(steps) else MAX_INTERVAL_S, MAX_INTERVAL_S)
    allowed = interval + HOLE_S
    inside = times[(times >= start_s - allowed) & (times < stop_s)]
    if len(inside) == 0 or inside[0] > start_s + HOLE_S:
        late_s = (inside[0] if len(inside) else stop_s) - start_s
        raise ItemError("short", f"picture starts {late_s:.3f} s late")
    still_s = np.diff(np.append(inside, min(times[-1] + interval, stop_s))).max()
    if still_s > allowed:
        raise ItemError("short", f"picture stands still for {still_s:.3f} s")
    if times[-1] + interval < stop_s - HOLE_S:
        raise ItemError("short", f"picture ends {stop_s - times[-1] - interval:.3f} s early")
    if off_s > interval / 2 + 0.5 / fps + TICK_S:
        raise ItemError("picture_shifted", f"a frame is {off_s:.3f} s from its time")


def check_back(target: Path, frames: int, pcm: np.ndarray, spec: CutSpec, heard: Heard, start_s: float) -> int | None:
    """Decode a finished file again; its `sound_error_samples`.

    Raises `ItemError`: `miscounted` for other counts or other sound, `sound_shifted` for sound that moved.
    """
    found, parts = 0, []
    with open_media(target) as container:
        for packet in container.demux():
            for frame in packet.decode():
                if isinstance(frame, av.VideoFrame):
                    found += 1
                elif isinstance(frame, av.AudioFrame):
                    parts.append(frame.to_ndarray().reshape(-1, spec.channels))
    back = np.concatenate(parts).T if parts else np.zeros((spec.channels, 0), np.int16)
    if found != frames or back.shape != pcm.shape:
        raise ItemError("miscounted", f"{found} frames and {back.shape[1]} samples of {frames} and {pcm.shape[1]}")
    if not np.array_equal(back, pcm):
        raise ItemError("miscounted", "the sound read back differs")
    sound = back.astype(np.float32) / np.float32(32768.0)
    # Held against the source's sample that was to come first, not the wanted time: a tone is alike at many lags, and
    # the fraction of a sample between the two would decide for another one.
    lag = sound_lag(sound, spec.rate_hz, heard.samples, heard.rate_hz, heard.nearest(start_s) / heard.rate_hz)
    if lag:
        raise ItemError("sound_shifted", f"{lag} audio samples")
    return lag


def sound_lag(sound: np.ndarray, rate_hz: int, reference: np.ndarray, rate_in_hz: int, offset_s: float) -> int | None:
    """Audio samples by which `sound` lags behind the source's, or null where the source is silent.

    Both are `(channels, samples)` with the same channels; `sound` should start `offset_s` into `reference`. The source
    is read off at the samples' own times by interpolation, a way that shares nothing with the resampler, and the two
    are cross-correlated in the loudest channel. Raises `ItemError("sound_shifted")` where they are not alike at any lag
    up to 800 audio samples.
    """
    loudest = int(np.square(sound).sum(axis=1).argmax())
    heard, whole = sound[loudest] - sound[loudest].mean(), reference[loudest]
    places = (offset_s + np.arange(sound.shape[1]) / rate_hz) * rate_in_hz
    lag = _lag(heard, _read_off(whole, places))
    if lag is not None:
        return lag
    # What lies above the sample's band folds back in interpolation; without it the two must be alike.
    source = _read_off(_low_passed(whole, _BAND * rate_hz / rate_in_hz), places)
    if np.abs(source).max() < _QUIET:
        return None
    lag = _lag(_low_passed(heard, _BAND), source)
    if lag is None:
        raise ItemError("sound_shifted", "its sound is not like the source's")
    return lag


def _lag(heard: np.ndarray, source: np.ndarray) -> int | None:
    """The lag at which the two are most alike, or null where they are not alike."""
    source = source - source.mean()
    window = _correlation(heard, source)
    if window.max() <= _ALIKE * np.sqrt(np.dot(heard, heard) * np.dot(source, source)):
        return None
    return int(window.argmax()) - _MAX_LAG_SAMPLES


def _low_passed(sound: np.ndarray, share: float) -> np.ndarray:
    """The sound without mean and without what lies above a share of its own band."""
    if share >= 1:
        return sound - sound.mean()
    spectrum = np.fft.rfft(sound)
    spectrum[0], spectrum[int(share * len(spectrum)) :] = 0, 0
    return np.fft.irfft(spectrum, len(sound)).astype(np.float32)


def _read_off(sound: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values between samples by straight lines; 0 beyond both ends."""
    left = np.floor(places).astype(np.int64)
    right_share = (places - left).astype(np.float32)
    padded = np.pad(sound, (1, 2))
    left = np.clip(left + 1, 0, len(padded) - 2)
    return padded[left] * (1 - right_share) + padded[left + 1] * right_share


def _correlation(heard: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Cross-correlation at lags from −800 to 800 audio samples, summed over short blocks: a fraction of the work of
    one transform over all."""
    blocks = -(-len(heard) // _BLOCK)
    size = _BLOCK + 2 * _MAX_LAG_SAMPLES
    one = np.zeros((blocks, size), np.float32)
    one[:, :_BLOCK] = np.pad(heard, (0, blocks * _BLOCK - len(heard))).reshape(blocks, _BLOCK)
    padded = np.pad(source, (_MAX_LAG_SAMPLES, blocks * _BLOCK - len(source) + _MAX_LAG_SAMPLES))
    other = np.lib.stride_tricks.sliding_window_view(padded, size)[::_BLOCK]
    spectrum = np.sum(np.conj(np.fft.rfft(one)) * np.fft.rfft(other), axis=0)
    # Lag d of heard behind source: heard[t] meets source[t - d], which stands at t - d + 800 of its block.
    return np.fft.irfft(spectrum, size)[: 2 * _MAX_LAG_SAMPLES + 1][::-1]
