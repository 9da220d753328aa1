"""The terrain with its buildings: what POV-Ray renders is evaluated here, exactly.

Coordinates are metres, x east, y north, z up, from the middle of the place. POV-Ray's are left-handed and y is up: <x, z, y> of here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float64]
STEPS = 65535
"""Heights are whole multiples of relief / STEPS, since POV-Ray reads them from a PNG of 16 bits."""


@dataclass(frozen=True, kw_only=True)
class Building:
    """A box with a flat roof."""

    x: float
    y: float
    length: float
    width: float
    turn: float
    """Degrees, anticlockwise from above."""
    roof: float
    """z"""

    def covers(self, x: Array, y: Array, margin: float = 0.0) -> NDArray[np.bool_]:
        angle = np.radians(self.turn)
        u = (x - self.x) * np.cos(angle) + (y - self.y) * np.sin(angle)
        v = (y - self.y) * np.cos(angle) - (x - self.x) * np.sin(angle)
        return (np.abs(u) <= self.length / 2 + margin) & (np.abs(v) <= self.width / 2 + margin)


class Ground:
    """Flat triangles between points ``cell`` metres apart, and boxes upon them."""

    def __init__(self, steps: NDArray[np.uint16], cell: float, relief: float, buildings: tuple[Building, ...]) -> None:
        self.steps, self.cell, self.relief, self.buildings = steps, cell, relief, buildings
        """``steps``: the first row is the most northern one."""
        rows, columns = steps.shape
        self.east, self.north = (columns - 1) * cell / 2, (rows - 1) * cell / 2
        self._heights: Array = steps[::-1].astype(np.float64) * (relief / STEPS)

    @classmethod
    def make(cls, east: float, north: float, buildings: int, seed: int, cell: float = 0.5) -> Ground:
        """Hills, humps and bumps over [-east, east] x [-north, north]; ``buildings`` boxes, three in four of them inside of the middle."""
        from scipy.ndimage import gaussian_filter

        random = np.random.default_rng(seed)
        rows, columns = round(2 * north / cell) + 1, round(2 * east / cell) + 1
        heights = np.zeros((rows, columns))
        for scale, size in ((25.0, 2.2), (8.0, 0.5), (2.0, 0.06)):
            wave = gaussian_filter(random.standard_normal((rows, columns)), scale / cell / 2, mode="reflect")
            heights += size * (wave - wave.mean()) / wave.std()
        heights -= heights.min()
        relief = float(np.ceil(heights.max()))
        plain = cls(np.round(heights[::-1] / relief * STEPS).astype(np.uint16), cell, relief, ())
        boxes: list[Building] = []
        for _ in range(1000 * buildings):
            if len(boxes) == buildings:
                break
            reach = 0.4 if len(boxes) % 4 else 0.6
            x, y = random.uniform(-reach * east, reach * east), random.uniform(-reach * north, reach * north)
            length, width, turn, tall = random.uniform(6, 14), random.uniform(5, 9), random.uniform(0, 90), random.uniform(3, 9)
            if all(np.hypot(x - box.x, y - box.y) > 14 for box in boxes):
                foot = float(plain.heights(np.array([x]), np.array([y]))[0])
                boxes.append(Building(x=x, y=y, length=length, width=width, turn=turn if len(boxes) % 2 else 0.0, roof=foot + tall))
        if len(boxes) < buildings:
            raise ValueError(f"{buildings} buildings have no room on {2 * east:g} x {2 * north:g} m.")
        return cls(plain.steps, cell, relief, tuple(boxes))

    @property
    def top(self) -> float:
        return max([self.relief, *(box.roof for box in self.buildings)])

    def terrain(self, x: Array, y: Array) -> Array:
        """z without buildings. POV-Ray cuts each cell in two from its south-eastern to its north-western corner."""
        u, v = (x + self.east) / self.cell, (y + self.north) / self.cell
        rows, columns = self._heights.shape
        i, j = np.clip(np.floor(u).astype(int), 0, columns - 2), np.clip(np.floor(v).astype(int), 0, rows - 2)
        u, v = u - i, v - j
        southwest, southeast = self._heights[j, i], self._heights[j, i + 1]
        northwest, northeast = self._heights[j + 1, i], self._heights[j + 1, i + 1]
        low = southwest + u * (southeast - southwest) + v * (northwest - southwest)
        high = northeast + (1 - u) * (northwest - northeast) + (1 - v) * (southeast - northeast)
        return np.where(u + v <= 1, low, high)

    def heights(self, x: Array, y: Array) -> Array:
        """z of what is seen from above."""
        z = self.terrain(x, y)
        for box in self.buildings:
            z = np.where(box.covers(x, y), np.maximum(z, box.roof), z)
        return z

    def first_hit(self, origin: Array, directions: Array) -> Array:
        """(3,), (n, 3) downwards -> (n, 3) where each ray meets the surface first: looked for every 5 cm, then halved to a nanometre."""
        start = (origin[2] - self.top - 0.1) / -directions[:, 2]
        end = (origin[2] + 0.1) / -directions[:, 2]
        count = int(np.ceil(((end - start) * np.linalg.norm(directions, axis=1)).max() / 0.05))
        below, above = end.copy(), start.copy()
        found = np.zeros(len(directions), bool)
        for number in range(count + 1):
            at = start + (end - start) * (number / count)
            rest = ~found
            points = origin + at[rest, None] * directions[rest]
            under = points[:, 2] <= self.heights(points[:, 0], points[:, 1])
            index = np.nonzero(rest)[0]
            below[index[under]] = at[index[under]]
            above[index[~under]] = at[index[~under]]
            found[index[under]] = True
            if found.all():
                break
        for _ in range(36):
            at = (below + above) / 2
            points = origin + at[:, None] * directions
            under = points[:, 2] <= self.heights(points[:, 0], points[:, 1])
            below, above = np.where(under, at, below), np.where(under, above, at)
        return origin + above[:, None] * directions

    def save(self, folder: Path) -> dict[str, Any]:
        """``heights.png`` for POV-Ray and for ``load``; what else ``load`` needs."""
        Image.fromarray(self.steps).save(folder / "heights.png")
        return {"cell": self.cell, "relief": self.relief, "buildings": [asdict(box) for box in self.buildings]}

    @classmethod
    def load(cls, folder: Path, words: dict[str, Any]) -> Ground:
        steps = np.array(Image.open(folder / "heights.png"), np.uint16)
        return cls(steps, words["cell"], words["relief"], tuple(Building(**box) for box in words["buildings"]))
