"""Drawing for the synthetic world: a canvas at twice the size, scaled down for smooth edges."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
_SCALE = 2


class Canvas:
    """A picture `width` x `height`; coordinates run 0..1 over the height and 0..width/height across."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.unit = height * _SCALE
        self.aspect = width / height
        self.image = Image.new("RGB", (width * _SCALE, height * _SCALE))
        self._draw = ImageDraw.Draw(self.image)

    def backdrop(self, texture: Image.Image, x: float, y: float) -> None:
        """Paste a texture so that its point (x, y), in canvas units, is the upper left corner."""
        left = round(x * self.unit) % max(1, texture.width - self.image.width)
        top = round(y * self.unit) % max(1, texture.height - self.image.height)
        self.image.paste(texture.crop((left, top, left + self.image.width, top + self.image.height)))

    def polygon(self, points: Sequence[tuple[float, float]], colour: Colour) -> None:
        self._draw.polygon([(x * self.unit, y * self.unit) for x, y in points], fill=colour)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, edge: Colour | None = None) -> None:
        box = [(x - rx) * self.unit, (y - ry) * self.unit, (x + rx) * self.unit, (y + ry) * self.unit]
        self._draw.ellipse(box, fill=colour, outline=edge, width=max(1, round(0.008 * self.unit)))

    def line(self, x0: float, y0: float, x1: float, y1: float, width: float, colour: Colour) -> None:
        ends = [x0 * self.unit, y0 * self.unit, x1 * self.unit, y1 * self.unit]
        self._draw.line(ends, fill=colour, width=max(1, round(width * self.unit)))

    def pixels(self) -> np.ndarray:
        """`(height, width, 3)` uint8."""
        return np.asarray(self.image.reduce(_SCALE))


def texture(
    rng: np.random.Generator,
    width: int,
    height: int,
    low: Colour,
    high: Colour,
    *,
    coarse: int = 6,
    detail: float = 0.5,
) -> Image.Image:
    """Soft noise between two colours: octaves of random grids, scaled up and summed."""
    field = np.zeros((height, width))
    weight, total = 1.0, 0.0
    for octave in range(4):
        cells = coarse * 2**octave
        grid = rng.random((max(2, cells * height // width), cells)).astype(np.float32)
        smooth = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        field += weight * np.asarray(smooth)
        total += weight
        weight *= detail
    shade = np.clip(field / total, 0, 1)[..., None]
    return Image.fromarray((np.asarray(low) * (1 - shade) + np.asarray(high) * shade).astype(np.uint8))


def shaded(colour: Colour, factor: float) -> Colour:
    """A colour made lighter (above 1) or darker."""
    red, green, blue = (min(255, max(0, round(channel * factor))) for channel in colour)
    return red, green, blue


def any_colour(rng: np.random.Generator, low: int = 30, high: int = 225) -> Colour:
    """A random colour."""
    red, green, blue = (int(channel) for channel in rng.integers(low, high, 3))
    return red, green, blue
