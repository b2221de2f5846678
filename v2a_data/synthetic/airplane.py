"""A propeller plane that circles past the camera.

State: bearing and distance from the geometry of the path, engine speed from the throttle. Distance
sets size and loudness, engine speed and approach speed (Doppler) the pitch.
"""

import numpy as np

from v2a_data.synthetic.paint import Canvas, any_colour, shaded, texture
from v2a_data.synthetic.tones import noise, slow_curve

_SOUND_SPEED = 343.0
_FOCAL = 1.5
_STATE_HZ = 100


class Airplane:
    """One plane over one video."""

    def __init__(self, rng: np.random.Generator, duration_s: float) -> None:
        self._rng = np.random.default_rng(rng.integers(2**63))
        self.duration_s = duration_s
        self.wingspan_m = float(rng.uniform(9, 16))
        self.closest_m = self.wingspan_m * float(rng.uniform(1.7, 2.6))
        self.swing_rad = float(rng.uniform(1.2, 1.4))
        self.period_s = float(rng.uniform(4.0, 11.0))
        self.phase_rad = float(rng.uniform(0, 2 * np.pi))
        self.blade_pass_hz = float(rng.uniform(70, 150))
        self.blades = int(rng.integers(2, 5))
        self.altitude = float(rng.uniform(0.3, 0.55))
        self.colour = any_colour(rng, 60, 240)
        self._times = np.arange(0, duration_s + 1, 1 / _STATE_HZ)
        self._throttle = 1 + 0.12 * slow_curve(rng, self._times, 4.0)
        self._sway = 0.02 * slow_curve(rng, self._times, 1.5)
        sky = rng.choice([0.75, 1.0, 1.2])
        self._sky = texture(rng, 2200, 600, shaded((70, 110, 170), sky), shaded((205, 215, 225), sky), coarse=5)
        self._ground = shaded(any_colour(rng, 50, 120), 1.0)
        self._horizon = float(rng.uniform(0.78, 0.95))

    @property
    def parameters(self) -> dict[str, float]:
        return {
            "wingspan_m": self.wingspan_m,
            "closest_m": self.closest_m,
            "swing_rad": self.swing_rad,
            "period_s": self.period_s,
            "blade_pass_hz": self.blade_pass_hz,
        }

    @property
    def events_s(self) -> np.ndarray:
        """Closest passes: the bearing crosses straight ahead twice a period."""
        first = (-self.phase_rad / np.pi) % 1.0
        return np.arange(first, 2 * self.duration_s / self.period_s, 1.0) * self.period_s / 2

    def bearing(self, times_s: np.ndarray) -> np.ndarray:
        """Angle from straight ahead (rad)."""
        return self.swing_rad * np.sin(2 * np.pi * times_s / self.period_s + self.phase_rad)

    def distance(self, times_s: np.ndarray) -> np.ndarray:
        """Distance (m): the plane stays in the plane `closest_m` in front of the camera."""
        return self.closest_m / np.cos(self.bearing(times_s))

    def paint(self, canvas: Canvas, time_s: float) -> None:
        now = np.asarray([time_s])
        bearing, distance = float(self.bearing(now)[0]), float(self.distance(now)[0])
        ahead = float(self.bearing(now + 0.02)[0])
        # The camera follows, a little late: the backdrop pans and the plane leads the middle.
        camera = float(self.bearing(now - 0.25)[0])
        sway = float(np.interp(time_s, self._times, self._sway))
        canvas.backdrop(self._sky, 2.0 + camera * 1.5 + sway, 0.15 + sway)
        canvas.polygon(
            [(0, self._horizon), (canvas.aspect, self._horizon - 0.03 * camera), (canvas.aspect, 1), (0, 1)],
            self._ground,
        )
        x = canvas.aspect / 2 + 0.6 * (bearing - camera)
        y = self.altitude + sway
        size = _FOCAL * self.wingspan_m / distance
        self._paint_plane(canvas, x, y, size, np.sign(ahead - bearing) or 1.0, abs(np.cos(bearing)), time_s)

    def _paint_plane(
        self, canvas: Canvas, x: float, y: float, size: float, direction: float, side: float, time_s: float
    ) -> None:
        length = size * (0.35 + 0.5 * side)
        dark, light = shaded(self.colour, 0.6), shaded(self.colour, 1.25)
        canvas.polygon(
            [
                (x - 0.1 * length, y),
                (x + 0.12 * length, y),
                (x - 0.05 * length, y + 0.28 * size),
                (x - 0.2 * length, y + 0.28 * size),
            ],
            dark,
        )
        canvas.ellipse(x, y, length / 2, 0.075 * size, self.colour)
        tail = x - direction * 0.44 * length
        canvas.polygon(
            [(tail, y), (tail - direction * 0.1 * length, y - 0.2 * size), (tail + direction * 0.12 * length, y)], light
        )
        canvas.polygon(
            [
                (x - 0.08 * length, y),
                (x + 0.1 * length, y),
                (x + 0.02 * length, y - 0.16 * size),
                (x - 0.1 * length, y - 0.16 * size),
            ],
            light,
        )
        nose = x + direction * 0.5 * length
        canvas.ellipse(nose, y, 0.012 * size + 0.003, 0.15 * size, shaded((150, 150, 155), 1.0))
        turn = 2 * np.pi * self.blade_pass_hz / self.blades * time_s
        for blade in range(self.blades):
            reach = 0.15 * size * np.cos(turn + 2 * np.pi * blade / self.blades)
            canvas.line(nose, y, nose, y + reach, 0.01 * size + 0.003, (40, 40, 45))

    def sound(self, rate_hz: int) -> np.ndarray:
        samples = round(self.duration_s * rate_hz)
        times = np.arange(samples) / rate_hz
        distance = self.distance(self._times)
        approach = np.gradient(distance, self._times)
        rate = self.blade_pass_hz * self._throttle / (1 + approach / _SOUND_SPEED)
        phase = 2 * np.pi * np.cumsum(np.interp(times, self._times, rate)) / rate_hz
        near = np.interp(times, self._times, (self.closest_m / distance) ** 1.6)
        bright = np.interp(times, self._times, self.closest_m / distance)
        hum = sum(np.sin(k * phase) * bright ** (0.15 * k) / k**0.7 for k in range(1, 15))
        wash = noise(self._rng, samples, 1.0) * np.interp(times, self._times, self._throttle**2)
        mixed = near * (0.05 * hum + 0.16 * wash)
        return (mixed + 0.002 * noise(self._rng, samples, 1.5)).astype(np.float32)
