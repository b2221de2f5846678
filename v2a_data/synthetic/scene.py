"""Where a thing is seen and heard: place, distractors, camera, light; room and background sound.

Nothing here knows the label. Picture and sound of the surroundings are drawn from their own stream.
"""

from functools import cached_property

import numpy as np

from v2a_data.synthetic.backdrops import backdrop
from v2a_data.synthetic.distractors import distractors, near_things
from v2a_data.synthetic.draw import Draw
from v2a_data.synthetic.paint import Canvas
from v2a_data.synthetic.subject import Painted, Subject
from v2a_data.synthetic.tones import BANDS_HZ, SYNTH_HZ, filtered, noise, resampled, reverberated, slow_curve

_STEP_S = 0.02
# The backdrop is this much larger than the picture, so that the camera can look around.
_ROOM = 1.35
_LOUDNESS = 0.12


class Scene:
    """One subject in one place over one video."""

    def __init__(self, subject: Subject, draw: Draw, duration_s: float) -> None:
        self.subject, self.draw, self.duration_s = subject, draw, duration_s
        self._backdrop = backdrop(draw.child("backdrop"))
        self._distractors = distractors(draw, duration_s)
        self._near = near_things(draw, duration_s)
        self._times = np.arange(0, duration_s + 1, _STEP_S)
        self._view = self._camera()
        self._light = self._lights()

    def picture(self, canvas: Canvas, time_s: float, shown: Painted | None = None) -> None:
        """Draw the whole scene at a time; with `shown`, that stands in the subject's place."""
        x, y, zoom, light = (float(np.interp(time_s, self._times, c)) for c in (*self._view, self._light[0]))
        self._paint_backdrop(canvas, x, y, zoom)
        with canvas.camera(x, y, zoom):
            for thing in self._distractors:
                thing.paint(canvas, time_s)
            (shown or self.subject).paint(canvas, time_s)
            for thing in self._near:
                thing.paint(canvas, time_s)
        ramp = np.arange(256)[None] * (light * self._light[1])[:, None]
        canvas.tone(np.clip(ramp, 0, 255).astype(np.uint8).reshape(-1).tolist())

    def sound(self, rate_hz: int) -> np.ndarray:
        """Subject in the room with the background, `(samples,)` float32, as loud as the microphone was set.

        The peak lies 2 to 18 dB below full scale by seed: a level of its own would tell the label.
        """
        return self._at(self._heard + self._around, rate_hz)

    def subject_sound(self, rate_hz: int) -> np.ndarray:
        """The subject in the room, without the background."""
        return self._at(self._heard, rate_hz)

    def background_sound(self, rate_hz: int) -> np.ndarray:
        """What is heard without the subject."""
        return self._at(self._around, rate_hz)

    def _at(self, sound: np.ndarray, rate_hz: int) -> np.ndarray:
        return resampled(self._gain * sound, SYNTH_HZ, rate_hz, round(self.duration_s * rate_hz))

    @cached_property
    def _gain(self) -> float:
        level = 10 ** (self.draw.uniform("level_db", -18.0, -2.0) / 20)
        return level / max(float(np.abs(self._heard + self._around).max()), 1e-9)

    def _camera(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Offsets (heights) and zoom over time: slow pans and zooms, a hand's shake."""
        rng = self.draw.child("camera")
        pan = self.draw.uniform("pan", 0.01, 0.05)
        shake = self.draw.uniform("shake", 0.0, 0.006)
        zoom = self.draw.uniform("zoom", 0.02, 0.08)
        x, y = (pan * slow_curve(rng, self._times, 4.0) + shake * slow_curve(rng, self._times, 0.35) for _ in range(2))
        return x, y, 1.0 + zoom * slow_curve(rng, self._times, 5.0)

    def _lights(self) -> tuple[np.ndarray, np.ndarray]:
        """Brightness over time and the light's colour (3,)."""
        rng = self.draw.child("light")
        exposure = self.draw.uniform("exposure", 0.5, 1.35)
        drift = self.draw.uniform("light_drift", 0.02, 0.12)
        cast = np.asarray([self.draw.uniform(f"light_{name}", 0.55, 1.25) for name in ("red", "green", "blue")])
        return exposure * (1 + drift * slow_curve(rng, self._times, 3.0)), cast

    def _paint_backdrop(self, canvas: Canvas, x: float, y: float, zoom: float) -> None:
        picture = self._backdrop
        wide, high = picture.width / _ROOM / zoom, picture.height / _ROOM / zoom
        scale = picture.height / _ROOM
        # Far things move less than near ones.
        left = (picture.width - wide) / 2 + 0.7 * x * scale
        top = (picture.height - high) / 2 + 0.7 * y * scale
        left, top = np.clip(left, 0, picture.width - wide), np.clip(top, 0, picture.height - high)
        canvas.backdrop(picture, float(left), float(top), wide, high)

    @cached_property
    def _heard(self) -> np.ndarray:
        dry = self.subject.sound(SYNTH_HZ).astype(float)
        wet = reverberated(self._coloured(dry, "room"), self._room())
        return wet * (_LOUDNESS / max(_loud(wet), 1e-9))

    @cached_property
    def _around(self) -> np.ndarray:
        rng = self.draw.child("background")
        samples = round(self.duration_s * SYNTH_HZ)
        times = np.arange(samples) / SYNTH_HZ
        rough = noise(rng, samples, self.draw.uniform("background_tilt", 0.0, 2.0))
        rough *= 1 + 0.2 * slow_curve(rng, times, 3.0)
        pitch = 2 * np.pi * self.draw.uniform("hum_hz", 45.0, 240.0)
        hum = sum(np.sin(k * pitch * times + rng.uniform(0, 6)) / k**1.5 for k in range(1, 5))
        mixed = self._coloured(rough, "background") + self.draw.uniform("hum", 0.0, 0.8) * hum
        quiet = 10 ** (-self.draw.uniform("snr_db", 11.0, 22.0) / 20)
        return mixed * (_LOUDNESS * quiet / max(_loud(mixed), 1e-9))

    def _coloured(self, sound: np.ndarray, name: str) -> np.ndarray:
        """Each octave louder or softer by up to 9 dB and all tilted by up to 5 dB per octave, as microphones do."""
        gains = [self.draw.uniform(f"{name}_{hz:.0f}_hz_db", -9.0, 9.0) for hz in BANDS_HZ]
        tilt = self.draw.uniform(f"{name}_tilt_db", -5.0, 5.0) * (np.arange(len(BANDS_HZ)) - len(BANDS_HZ) / 2)
        return filtered(sound, SYNTH_HZ, BANDS_HZ, np.asarray(gains) + tilt)

    def _room(self) -> np.ndarray:
        """An impulse response: the direct sound, then noise that dies away (60 dB in 0.1..0.45 s)."""
        long_s = self.draw.uniform("reverb_s", 0.1, 0.45)
        share = self.draw.uniform("reverb", 0.05, 0.35)
        times = np.arange(round(long_s * SYNTH_HZ)) / SYNTH_HZ
        tail = self.draw.child("room").standard_normal(len(times)) * 10 ** (-3 * times / long_s)
        tail *= share / np.sqrt((tail**2).sum())
        tail[0] += 1.0
        return tail


def _loud(sound: np.ndarray) -> float:
    """RMS of the louder half of a sound, in 50 ms blocks: pauses do not count."""
    size = SYNTH_HZ // 20
    blocks = np.sqrt(np.mean(sound[: len(sound) // size * size].reshape(-1, size) ** 2, axis=1))
    return float(np.sqrt(np.mean(np.sort(blocks)[len(blocks) // 2 :] ** 2))) if len(blocks) else 0.0
