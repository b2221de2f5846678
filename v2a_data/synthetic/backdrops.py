"""Places that things are shown in. None belongs to a label: they are drawn by seed alone."""

import numpy as np
from PIL import Image, ImageDraw

from v2a_data.synthetic.paint import Colour, mixed, shaded, texture
from v2a_data.synthetic.palette import hued

# Drawn small and enlarged: out of focus, as what lies behind a thing is.
_WIDE, _HIGH = 480, 270
_Pen = ImageDraw.ImageDraw


def backdrop(rng: np.random.Generator) -> Image.Image:
    """One place, 480 x 270, a little soft."""
    kinds = (_haze, _hills, _street, _room, _stripes, _lights, _woods, _tiles)
    picture = kinds[int(rng.integers(len(kinds)))](rng)
    grain = texture(rng, _WIDE, _HIGH, (116, 116, 116), (140, 140, 140), coarse=24, detail=0.9)
    lit = np.asarray(picture, np.float32) * (np.asarray(grain, np.float32) / 128)
    return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))


def _tone(rng: np.random.Generator) -> Colour:
    return hued(rng, (0.05, 0.6), (0.2, 0.9))


def _fade(rng: np.random.Generator, top: Colour, bottom: Colour) -> Image.Image:
    """A smooth change from top to bottom with soft clouds."""
    share = np.linspace(0, 1, _HIGH)[:, None, None]
    colours = np.asarray(top) * (1 - share) + np.asarray(bottom) * share
    clouds = np.asarray(texture(rng, _WIDE, _HIGH, (100, 100, 100), (156, 156, 156), coarse=4), np.float32) / 128
    return Image.fromarray(np.clip(colours * clouds, 0, 255).astype(np.uint8))


def _haze(rng: np.random.Generator) -> Image.Image:
    low = _tone(rng)
    return texture(rng, _WIDE, _HIGH, shaded(low, 0.7), mixed(low, _tone(rng), 0.6), coarse=int(rng.integers(3, 12)))


def _ridge(rng: np.random.Generator, pen: _Pen, height: float, rough: float, colour: Colour) -> None:
    across = np.linspace(0, _WIDE, 40)
    curve = sum(
        np.sin(across / _WIDE * 2 * np.pi * f + rng.uniform(0, 6.3)) / f for f in rng.uniform(0.6, 6, 4)
    )  # fmt: skip
    line = [(float(x), float(height + rough * y)) for x, y in zip(across, np.asarray(curve), strict=True)]
    pen.polygon([*line, (_WIDE, _HIGH), (0, _HIGH)], fill=colour)


def _hills(rng: np.random.Generator) -> Image.Image:
    sky, land = _tone(rng), _tone(rng)
    picture = _fade(rng, sky, mixed(sky, (240, 235, 225), float(rng.uniform(0, 0.8))))
    pen = ImageDraw.Draw(picture)
    horizon = rng.uniform(0.4, 0.85) * _HIGH
    for step in range(3):
        _ridge(rng, pen, horizon + step * 28, 22, mixed(sky, land, 0.4 + 0.3 * step))
    return picture


def _street(rng: np.random.Generator) -> Image.Image:
    sky, wall = _tone(rng), _tone(rng)
    picture = _fade(rng, sky, mixed(sky, wall, 0.5))
    pen = ImageDraw.Draw(picture)
    ground = rng.uniform(0.6, 0.9) * _HIGH
    x = -20.0
    while x < _WIDE:
        width, top = rng.uniform(30, 90), ground - rng.uniform(40, 170)
        front = mixed(wall, _tone(rng), float(rng.uniform(0, 0.5)))
        pen.rectangle([x, top, x + width, ground], fill=front)
        pane = shaded(front, float(rng.choice([0.6, 1.5])))
        for wx in np.arange(x + 6, x + width - 9, 16):
            for wy in np.arange(top + 8, ground - 12, 20):
                pen.rectangle([wx, wy, wx + 8, wy + 11], fill=pane)
        x += width + rng.uniform(0, 14)
    pen.rectangle([0, ground, _WIDE, _HIGH], fill=shaded(wall, 0.6))
    return picture


def _room(rng: np.random.Generator) -> Image.Image:
    wall, floor = _tone(rng), _tone(rng)
    picture = _fade(rng, shaded(wall, 1.1), shaded(wall, 0.85))
    pen = ImageDraw.Draw(picture)
    edge = rng.uniform(0.6, 0.85) * _HIGH
    pen.rectangle([0, edge, _WIDE, _HIGH], fill=floor)
    pen.rectangle([0, edge - 6, _WIDE, edge], fill=shaded(wall, 1.25))
    for k in range(-8, 9):
        pen.line([_WIDE / 2 + k * 40, edge, _WIDE / 2 + k * 90, _HIGH], fill=shaded(floor, 0.85), width=2)
    for _ in range(int(rng.integers(0, 4))):
        x, y, w, h = rng.uniform(0, _WIDE), rng.uniform(10, edge - 70), rng.uniform(35, 90), rng.uniform(35, 60)
        pen.rectangle([x, y, x + w, y + h], fill=shaded(wall, 0.6))
        pen.rectangle([x + 4, y + 4, x + w - 4, y + h - 4], fill=_tone(rng))
    return picture


def _stripes(rng: np.random.Generator) -> Image.Image:
    first, second = _tone(rng), _tone(rng)
    picture = Image.new("RGB", (_WIDE, _HIGH), first)
    pen = ImageDraw.Draw(picture)
    step, lean = rng.uniform(24, 90), rng.uniform(-120, 120)
    for x in np.arange(-200, _WIDE + 200, step):
        corners = [(x, 0), (x + step * 0.5, 0), (x + step * 0.5 + lean, _HIGH), (x + lean, _HIGH)]
        pen.polygon(corners, fill=mixed(first, second, 0.6))
    return picture


def _lights(rng: np.random.Generator) -> Image.Image:
    base = shaded(_tone(rng), float(rng.uniform(0.3, 1.0)))
    picture = _fade(rng, shaded(base, 0.8), base)
    pen = ImageDraw.Draw(picture, "RGBA")
    for _ in range(int(rng.integers(15, 45))):
        x, y, r = rng.uniform(0, _WIDE), rng.uniform(0, _HIGH), rng.uniform(5, 26)
        red, green, blue = hued(rng, (0.2, 0.8), (0.7, 1.0))
        pen.ellipse([x - r, y - r, x + r, y + r], fill=(red, green, blue, int(rng.integers(30, 130))))
    return picture


def _woods(rng: np.random.Generator) -> Image.Image:
    air, leaf = _tone(rng), _tone(rng)
    picture = _fade(rng, air, shaded(leaf, 0.9))
    pen = ImageDraw.Draw(picture)
    for depth in range(3):
        for _ in range(int(rng.integers(4, 9))):
            x, width = rng.uniform(-20, _WIDE), rng.uniform(4, 10) * (depth + 1)
            lean = rng.uniform(-12, 12)
            trunk = mixed(air, shaded(leaf, 0.35), 0.3 + 0.3 * depth)
            pen.polygon([(x, 0), (x + width, 0), (x + lean + width * 1.3, _HIGH), (x + lean, _HIGH)], fill=trunk)
    return picture


def _tiles(rng: np.random.Generator) -> Image.Image:
    base, step = _tone(rng), int(rng.integers(26, 70))
    picture = Image.new("RGB", (_WIDE, _HIGH), shaded(base, 0.75))
    pen = ImageDraw.Draw(picture)
    for row, y in enumerate(range(0, _HIGH, step)):
        for x in range(-(row % 2) * step, _WIDE, step * 2):
            pen.rectangle([x + 1, y + 1, x + 2 * step - 2, y + step - 2], fill=shaded(base, rng.uniform(0.85, 1.15)))
    return picture
