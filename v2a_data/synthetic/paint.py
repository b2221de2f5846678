"""Drawing for the synthetic world: a canvas with a stack of placements and a camera.

Coordinates run 0..1 down the height and 0..width/height across. Small pictures are drawn at twice
their size and scaled down for smooth edges; larger ones are drawn as they are, for speed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from math import cos, hypot, pi, sin

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
# Red, green, blue and how opaque, each 0..255.
Paint = tuple[int, int, int] | tuple[int, int, int, int]
Points = Sequence[tuple[float, float]]
# x' = a x + b y + c, y' = d x + e y + f.
Affine = tuple[float, float, float, float, float, float]

_SMOOTH_BELOW = 240
_ROUND = [(cos(2 * pi * k / 20), sin(2 * pi * k / 20)) for k in range(20)]


class Canvas:
    """A picture `width` x `height` (pixels)."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.scale = 2 if height < _SMOOTH_BELOW else 1
        self.unit = float(height * self.scale)
        self.aspect = width / height
        self.image = Image.new("RGB", (width * self.scale, height * self.scale))
        self._opaque = ImageDraw.Draw(self.image)
        self._blend = ImageDraw.Draw(self.image, "RGBA")
        self._base: Affine = (self.unit, 0.0, 0.0, 0.0, self.unit, 0.0)
        self._at: Affine = self._base
        # The backdrop as it was last filled in: a camera that stands still sees the same one each time.
        self._shown: tuple[Image.Image, tuple[float, float, float, float], Image.Image] | None = None

    def clear(self, colour: Colour) -> None:
        """Fill the whole picture."""
        self.image.paste(colour, (0, 0, *self.image.size))

    @contextmanager
    def camera(self, x: float, y: float, zoom: float) -> Iterator[None]:
        """Inside, the view is moved by (x, y) and magnified about the middle of the picture."""
        middle = self.aspect / 2
        outer, self._at = self._at, self._base
        with self.at(middle - zoom * (middle + x), 0.5 - zoom * (0.5 + y), zoom):
            yield
        self._at = outer

    @contextmanager
    def at(
        self, x: float, y: float, scale: float = 1.0, angle_rad: float = 0.0, *, flip: bool = False, tall: float = 1.0
    ) -> Iterator[None]:
        """Inside, coordinates are those of a thing placed at (x, y), scaled, turned and perhaps mirrored.

        `tall` stretches it along its own y.
        """
        a, b, c, d, e, f = outer = self._at
        across, up = (-scale if flip else scale), scale * tall
        cosine, sine = cos(angle_rad), sin(angle_rad)
        xx, xy, yx, yy = cosine * across, -sine * up, sine * across, cosine * up
        self._at = (
            a * xx + b * yx, a * xy + b * yy, a * x + b * y + c,
            d * xx + e * yx, d * xy + e * yy, d * x + e * y + f,
        )  # fmt: skip
        try:
            yield
        finally:
            self._at = outer

    @property
    def magnified(self) -> float:
        """Pixels of the drawing per unit here."""
        a, b, _, d, e, _ = self._at
        return abs(a * e - b * d) ** 0.5

    def place(self, x: float, y: float) -> tuple[float, float]:
        """A point here in pixels of the drawing."""
        a, b, c, d, e, f = self._at
        return a * x + b * y + c, d * x + e * y + f

    def polygon(self, points: Points, paint: Paint) -> None:
        a, b, c, d, e, f = self._at
        placed = [(a * x + b * y + c, d * x + e * y + f) for x, y in points]
        (self._opaque if len(paint) == 3 else self._blend).polygon(placed, fill=paint)

    def faces(self, corners: np.ndarray, paints: np.ndarray) -> None:
        """Polygons `(n, corners, 2)` in their order, with colours `(n, 3)`."""
        a, b, c, d, e, f = self._at
        placed = corners @ np.asarray([[a, d], [b, e]]) + (c, f)
        for points, paint in zip(placed.reshape(len(corners), -1).tolist(), paints.tolist(), strict=True):
            self._opaque.polygon(points, fill=tuple(paint))

    def ellipse(self, x: float, y: float, rx: float, ry: float, paint: Paint) -> None:
        self.polygon([(x + rx * cosine, y + ry * sine) for cosine, sine in _ROUND], paint)

    def ball(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """An ellipse shaded like a ball lit from the upper left."""
        for step, light in enumerate((0.76, 0.88, 0.97, 1.05, 1.12)):
            shrink, shift = 1 - 0.19 * step, 0.06 * step
            self.ellipse(x - shift * rx, y - shift * ry, rx * shrink, ry * shrink, shaded(colour, light))

    def line(self, x0: float, y0: float, x1: float, y1: float, width: float, paint: Paint) -> None:
        (px, py), (qx, qy) = self.place(x0, y0), self.place(x1, y1)
        pen = self._opaque if len(paint) == 3 else self._blend
        pen.line([px, py, qx, qy], fill=paint, width=max(1, round(width * self.magnified)))

    def limb(self, x0: float, y0: float, x1: float, y1: float, start: float, stop: float, colour: Paint) -> None:
        """A rounded bar whose radius goes from `start` to `stop`."""
        length = hypot(x1 - x0, y1 - y0) or 1e-6
        nx, ny = -(y1 - y0) / length, (x1 - x0) / length
        self.ellipse(x0, y0, start, start, colour)
        self.ellipse(x1, y1, stop, stop, colour)
        ends = [(x0 + nx * start, y0 + ny * start), (x1 + nx * stop, y1 + ny * stop)]
        self.polygon([*ends, (x1 - nx * stop, y1 - ny * stop), (x0 - nx * start, y0 - ny * start)], colour)

    def glow(self, x: float, y: float, radius: float, colour: Colour, strength: float) -> None:
        """A soft spot, `strength` 0..1 in its middle."""
        size = round(2 * radius * self.magnified / 4) * 4
        if size < 4 or strength <= 0:
            return
        px, py = self.place(x, y)
        mask = _spot(min(size, 4 * round(self.unit)), min(16, round(strength * 16)))
        self.image.paste(colour, (round(px - mask.width / 2), round(py - mask.height / 2)), mask)

    def backdrop(self, picture: Image.Image, x: float, y: float, width: float, height: float) -> None:
        """Fill the canvas with the box (x, y, width, height) of a picture, in its pixels."""
        box = (x, y, x + width, y + height)
        if self._shown is None or self._shown[0] is not picture or self._shown[1] != box:
            self._shown = picture, box, picture.resize(self.image.size, Image.Resampling.BILINEAR, box=box)
        self.image.paste(self._shown[2])

    def picture(self, print_: Image.Image, x: float, y: float, width: float) -> None:
        """Paste a picture, upright, its middle at (x, y)."""
        wide = max(1, round(width * self.magnified))
        high = max(1, round(wide * print_.height / print_.width))
        px, py = self.place(x, y)
        self.image.paste(print_.resize((wide, high)), (round(px - wide / 2), round(py - high / 2)))

    def text(self, x: float, y: float, height: float, words: str, paint: Paint) -> None:
        """Words, upright, their middle at (x, y)."""
        size = max(4, round(height * self.magnified))
        self._opaque.text(self.place(x, y), words, fill=paint, font=_font(size), anchor="mm")

    def tone(self, table: Sequence[int]) -> None:
        """Send each channel through a table of 3 x 256 values: exposure and colour of the light."""
        self.image.paste(self.image.point(table))

    def pixels(self) -> np.ndarray:
        """`(height, width, 3)` uint8."""
        return np.asarray(self.image.reduce(self.scale) if self.scale > 1 else self.image).copy()


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


@lru_cache(maxsize=256)
def _spot(size: int, strength: int) -> Image.Image:
    across = (np.arange(size) + 0.5) / size * 2 - 1
    distance = np.hypot(across[:, None], across[None])
    soft = np.clip(1 - distance, 0, 1) ** 2 * (255 * strength / 16)
    return Image.fromarray(soft.astype(np.uint8))


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
    field = np.zeros((height, width), np.float32)
    weight, total = 1.0, 0.0
    for octave in range(4):
        cells = coarse * 2**octave
        grid = rng.random((max(2, cells * height // width), cells)).astype(np.float32)
        smooth = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        field += weight * np.asarray(smooth)
        total += weight
        weight *= detail
    shade = np.clip(field / total, 0, 1)[..., None]
    below, above = np.asarray(low, np.float32), np.asarray(high, np.float32)
    return Image.fromarray((below + (above - below) * shade).astype(np.uint8))


def shaded(colour: Colour, factor: float) -> Colour:
    """A colour made lighter (above 1) or darker."""
    red, green, blue = (min(255, max(0, round(channel * factor))) for channel in colour)
    return red, green, blue


def mixed(colour: Colour, other: Colour, share: float) -> Colour:
    """Between two colours: 0 the first, 1 the other."""
    red, green, blue = (round(p + (q - p) * share) for p, q in zip(colour, other, strict=True))
    return red, green, blue


def any_colour(rng: np.random.Generator, low: int = 30, high: int = 225) -> Colour:
    """A random colour."""
    red, green, blue = (int(channel) for channel in rng.integers(low, high, 3))
    return red, green, blue
