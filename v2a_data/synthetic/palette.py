"""Random colours that look like paint, cloth, fur and skin rather than like noise."""

import colorsys

import numpy as np

from v2a_data.synthetic.paint import Colour, mixed


def hued(rng: np.random.Generator, strong: tuple[float, float], bright: tuple[float, float]) -> Colour:
    """Any hue; saturation and brightness from ranges within 0..1."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*strong), rng.uniform(*bright))
    return round(255 * red), round(255 * green), round(255 * blue)


def lacquer(rng: np.random.Generator) -> Colour:
    """Paint of a machine: from white and grey to strong colours."""
    return hued(rng, (0.0, 0.85), (0.35, 0.95))


def metal(rng: np.random.Generator) -> Colour:
    """Grey with a hint of a hue."""
    return hued(rng, (0.0, 0.15), (0.45, 0.8))


def skin(rng: np.random.Generator) -> Colour:
    """Human skin, light to dark."""
    return mixed((246, 214, 190), (96, 62, 44), float(rng.random()))


def fur(rng: np.random.Generator) -> Colour:
    """A dog's coat: white, black, grey, tan, brown, red."""
    tones = ((236, 228, 214), (52, 48, 48), (140, 136, 134), (208, 168, 112), (118, 78, 48), (176, 98, 52))
    first, second = rng.choice(len(tones), 2, replace=False)
    return mixed(tones[first], tones[second], float(rng.uniform(0, 0.5)))


def cloth(rng: np.random.Generator) -> Colour:
    """Textiles: soft to strong."""
    return hued(rng, (0.15, 0.75), (0.4, 0.95))
