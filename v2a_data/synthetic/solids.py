"""Small solids of flat faces, turned in space and drawn far to near with light from the upper left.

x to the right, y down, z away from the viewer; no perspective.
"""

from collections.abc import Sequence

import numpy as np

from v2a_data.synthetic.paint import Canvas, Colour

_LIGHT = np.asarray([-0.45, -0.75, -0.5]) / np.linalg.norm([-0.45, -0.75, -0.5])


class Solid:
    """Faces `(n, 4, 3)` with colours `(n, 3)`; a triangle repeats a corner."""

    def __init__(self, corners: np.ndarray, colours: np.ndarray) -> None:
        self.corners, self.colours = corners.astype(float), colours.astype(float)

    def __add__(self, other: "Solid") -> "Solid":
        return Solid(
            np.concatenate([self.corners, other.corners]),
            np.concatenate([self.colours, other.colours]),
        )

    def moved(self, x: float, y: float, z: float) -> "Solid":
        return Solid(np.add(self.corners, (x, y, z)), self.colours)

    def turned(self, matrix: np.ndarray) -> "Solid":
        return Solid(self.corners @ matrix.T, self.colours)

    def paint(self, canvas: Canvas, matrix: np.ndarray) -> None:
        """Draw it turned by a 3 x 3 matrix, about the origin."""
        placed = self.corners @ matrix.T
        one, two = placed[:, 2] - placed[:, 0], placed[:, 3] - placed[:, 1]
        normals = np.cross(one, two)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        # Both sides of a face can be seen: the normal is the one towards the viewer.
        normals *= -np.sign(normals[:, 2:] + 1e-12)
        light = 0.62 + 0.5 * np.clip(normals @ _LIGHT, -0.2, 1)
        paints = np.clip(self.colours * light[:, None], 0, 255).astype(int)
        order = np.argsort(-placed[:, :, 2].mean(axis=1))
        canvas.faces(placed[order][:, :, :2], paints[order])


def turn(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """3 x 3: first about the upright axis, then nodding, then in the picture (rad)."""
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    about_y = np.asarray([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.asarray([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.asarray([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


def box(middle: Sequence[float], size: Sequence[float], colour: Colour) -> Solid:
    """A block: middle and edge lengths in x, y, z."""
    x, y, z = (np.asarray([-0.5, 0.5]) * edge for edge in size)
    sides = [
        [(x[0], y[0], k), (x[1], y[0], k), (x[1], y[1], k), (x[0], y[1], k)] for k in z
    ] + [
        [(k, y[0], z[0]), (k, y[1], z[0]), (k, y[1], z[1]), (k, y[0], z[1])] for k in x
    ] + [
        [(x[0], k, z[0]), (x[1], k, z[0]), (x[1], k, z[1]), (x[0], k, z[1])] for k in y
    ]  # fmt: skip
    return Solid(np.asarray(sides), np.tile(colour, (6, 1))).moved(*middle)


def spindle(outline: Sequence[tuple[float, float, float]], colours: Sequence[Colour], sides: int = 10) -> Solid:
    """A round body along x: rows (x, radius, middle's y); one colour per stretch between rows."""
    angles = np.arange(sides + 1) * 2 * np.pi / sides
    rows = np.asarray([[(x, y + radius * np.cos(a), radius * np.sin(a)) for a in angles] for x, radius, y in outline])
    faces, paints = [], []
    for here, ahead, colour in zip(rows[:-1], rows[1:], colours, strict=True):
        faces += [[here[k], here[k + 1], ahead[k + 1], ahead[k]] for k in range(sides)]
        paints += [colour] * sides
    return Solid(np.asarray(faces), np.asarray(paints))


def plate(points: Sequence[tuple[float, float, float]], colour: Colour) -> Solid:
    """A thin flat face of three or four corners."""
    corners = [*points, points[-1]][:4]
    return Solid(np.asarray([corners]), np.asarray([colour]))


def joined(parts: Sequence[Solid]) -> Solid:
    """Several solids as one."""
    return Solid(np.concatenate([p.corners for p in parts]), np.concatenate([p.colours for p in parts]))
