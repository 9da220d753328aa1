"""Which photos see a place on the ground: whether it lies in the picture, and whether something of the surface stands in between.

What hides what is found on lines that run from below the camera outward over the map. Along such a line a place is hidden where a
nearer one is seen under a larger angle off the vertical: ``r / (height of the camera - height of the place)`` only has to be compared
with its running maximum. So a whole photo costs one look at each cell, and what comes out does not depend on how the map is cut.

All is calculated cell by cell (no matrix products, whose sums depend on the shape of the array): a tile has the very values of the whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .geotiff import NODATA, open_raster, read_part
from .grid import Bounds, Grid
from .records import Lens
from .scene import View

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FAR = 3.0
"""Places more than 3 times as far away on the map as the camera is high above them (72 degrees off the vertical) are not used."""
POOL = 2
"""Occluders are looked for on cells of this many cells' side of the surface model, of the highest height in each."""
SLACKS = ((1, 2.0), (2, 0.0), (3, -1.0))
"""(cells back along the line from which on something may hide a place, how many cells' sides the place may then lie below the line of
sight): noise and rough ground beside it hide nothing; of what stands further away the edge is not known better than a cell."""
_LINES = 256


@dataclass(frozen=True, kw_only=True)
class Relief:
    """The surface model, or a part of it, for ``lowest_seen``: the highest height of each POOL x POOL cells."""

    heights: NDArray[np.float32]
    """(rows, columns), model coordinates; -inf: nothing is known, so nothing is in the way"""
    grid: Grid
    origin: tuple[float, float, float]
    """Of the frame: what to take off coordinates of ``grid``."""


def project(view: View, x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    """Model coordinates, arrays of one shape -> pixels to the right and down, depth. NaN: it is not in front of the lens."""
    import numpy as np

    r, t, lens = view.rotation, view.translation, view.lens
    depth = r[2, 0] * x + r[2, 1] * y + r[2, 2] * z + t[2]
    depth = np.where(depth > 1e-6, depth, np.nan)
    a = (r[0, 0] * x + r[0, 1] * y + r[0, 2] * z + t[0]) / depth
    b = (r[1, 0] * x + r[1, 1] * y + r[1, 2] * z + t[1]) / depth
    square = a * a + b * b
    square = np.where(square <= widest(lens), square, np.nan)  # the polynomial turns back on itself further out
    radial = 1 + square * (lens.k1 + square * lens.k2)
    u = lens.fx * (a * radial + 2 * lens.p1 * a * b + lens.p2 * (square + 2 * a * a)) + lens.cx
    v = lens.fy * (b * radial + 2 * lens.p2 * a * b + lens.p1 * (square + 2 * b * b)) + lens.cy
    return u, v, depth


def rays(lens: Lens, u: Array, v: Array) -> tuple[Array, Array]:
    """(n,) pixels -> (n,) x and y on the plane at depth 1, without distortion: by fixed-point iteration."""
    x0, y0 = (u - lens.cx) / lens.fx, (v - lens.cy) / lens.fy
    x, y = x0, y0
    for _ in range(25):
        square = x * x + y * y
        radial = 1 + square * (lens.k1 + square * lens.k2)
        x, y = (
            (x0 - 2 * lens.p1 * x * y - lens.p2 * (square + 2 * x * x)) / radial,
            (y0 - 2 * lens.p2 * x * y - lens.p1 * (square + 2 * y * y)) / radial,
        )
    return x, y


def widest(lens: Lens) -> float:
    """The square of the tangent of the widest angle off the axis that is on the photo, and a little more."""
    import numpy as np

    corners = np.array([[0, 0], [lens.width, 0], [0, lens.height], [lens.width, lens.height]], np.float64)
    x, y = rays(lens, corners[:, 0], corners[:, 1])
    found = float(np.max(x * x + y * y))
    return found * 1.1 if math.isfinite(found) else 4.0


def seen_bounds(view: View, low: float, high: float) -> Bounds | None:
    """A rectangle on the map, model coordinates, outside of which the photo sees nothing between these heights; None: it sees nothing."""
    import numpy as np

    lens = view.lens
    side = np.linspace(0.0, 1.0, 9)
    u = lens.width * np.concatenate([side, side, np.zeros(9), np.ones(9)])
    v = lens.height * np.concatenate([np.zeros(9), np.ones(9), side, side])
    x, y = rays(lens, u, v)
    directions = np.stack([x, y, np.ones_like(x)], axis=1) @ view.rotation
    places = []
    cx, cy, cz = view.centre
    for height in (low, high):
        above = cz - height
        if above <= 0:
            continue
        flat = np.hypot(directions[:, 0], directions[:, 1])
        reach = np.where(directions[:, 2] < 0, above * flat / np.maximum(-directions[:, 2], 1e-9), np.inf)
        reach = np.minimum(reach, FAR * above) / np.maximum(flat, 1e-12)
        places.append(np.stack([cx + directions[:, 0] * reach, cy + directions[:, 1] * reach], axis=1))
    if not places or not bool((directions[:, 2] < 0).any()):
        return None
    found = np.concatenate(places)
    (west, south), (east, north) = found.min(axis=0), found.max(axis=0)
    slack = 0.02 * max(east - west, north - south)
    return float(west - slack), float(south - slack), float(east + slack), float(north + slack)


def read_relief(path: Path, bounds: Bounds, origin: tuple[float, float, float]) -> Relief:
    """The part of dsm.tif that covers ``bounds`` (coordinates of its CRS), in strips."""
    import numpy as np

    with open_raster(path) as (file, grid):
        west, south, east, north = bounds
        r = grid.resolution
        left, right = max(grid.left, math.floor(west / r)), min(grid.left + grid.columns, math.ceil(east / r))
        top, bottom = max(grid.top, math.floor(-north / r)), min(grid.top + grid.rows, math.ceil(-south / r))
        left, top = left // POOL, top // POOL  # on even cells of the whole, whatever the part
        columns, rows = max(1, -(-right // POOL) - left), max(1, -(-bottom // POOL) - top)
        pooled = Grid(resolution=r * POOL, west=left * r * POOL, north=-top * r * POOL, columns=columns, rows=rows)
        heights = np.empty(pooled.shape, np.float32)
        for first in range(0, rows, 512):
            count = min(512, rows - first)
            strip = grid.part(left * POOL - grid.left, (top + first) * POOL - grid.top, columns * POOL, count * POOL)
            found = read_part(file, grid, strip, NODATA)[0].reshape(count, POOL, columns, POOL)
            high = found.max(axis=(1, 3))
            heights[first : first + count] = np.where(high == NODATA, -np.inf, high - origin[2])
    return Relief(heights=heights, grid=pooled, origin=origin)


def depth_below(view: View, relief: Relief, x: Array, y: Array, z: Array, reach: float) -> Array:
    """(rows, columns) how far places lie below the lowest line of sight that reaches them from the photo; up to 0: they are seen.

    ``x`` (columns,), ``y`` (rows,), ``z`` (rows, columns), model coordinates; ``relief`` covers them and the way to them. ``reach``: how
    far from the place below the camera the photo is looked at, the same for all parts of the map; it gives the angle between the lines.
    """
    import numpy as np

    cx, cy, cz = (float(value) for value in view.centre)
    step = relief.grid.resolution
    lines = 1 << math.ceil(math.log2(max(8.0, 2 * math.pi * reach / step)))
    dx, dy = x[None, :] - cx, y[:, None] - cy
    distance = np.sqrt(dx * dx + dy * dy)
    line = np.floor(np.arctan2(dy, dx) * (lines / (2 * math.pi))).astype(np.int64) % lines
    cell = np.floor(distance / step).astype(np.int64)
    wanted = np.zeros(lines, bool)
    wanted[line] = True
    numbers = np.flatnonzero(wanted)
    place = np.zeros(lines, np.int64)
    place[numbers] = np.arange(len(numbers))
    turns: Array = numbers.astype(np.float64) * (2 * math.pi / lines) + math.pi / lines
    steepest = _steepest(relief, (cx, cy, cz), turns, int(cell.max()) + 1)
    below = np.full(z.shape, -np.inf)
    for back, slack in SLACKS:
        slope = np.where(cell >= back, steepest[place[line], np.maximum(cell - back, 0)], 0.0)
        below = np.maximum(below, cz - distance / np.maximum(slope, 1e-9) - z - slack * step)
    return below


def _steepest(relief: Relief, centre: tuple[float, float, float], turns: Array, count: int) -> NDArray[np.float32]:
    """(lines, count) for each direction ``turns`` and each cell outward the largest distance / height below the camera so far."""
    import numpy as np

    cx, cy, cz = centre
    step = relief.grid.resolution
    west, north = relief.grid.bounds[0] - relief.origin[0], relief.grid.bounds[3] - relief.origin[1]
    radius = (np.arange(count) + 0.5) * step
    found = np.empty((len(turns), count), np.float32)
    for first in range(0, len(turns), _LINES):
        turn = turns[first : first + _LINES, None]
        column = np.floor((cx + np.cos(turn) * radius - west) / step).astype(np.int64)
        row = np.floor((north - cy - np.sin(turn) * radius) / step).astype(np.int64)
        inside = (column >= 0) & (column < relief.grid.columns) & (row >= 0) & (row < relief.grid.rows)
        height = np.where(inside, relief.heights[np.where(inside, row, 0), np.where(inside, column, 0)], -np.inf)
        slope = np.where(height < cz, radius / np.maximum(cz - height, 1e-9), np.inf)
        found[first : first + _LINES] = np.maximum.accumulate(slope, axis=1)
    return found
