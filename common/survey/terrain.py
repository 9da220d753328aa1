"""The terrain below buildings and trees: lowest points on a coarse grid, opened with growing windows (a progressive morphological filter,
Zhang et al. 2003), and the surface model where it lies near that ground.

Tiles only hand in their lowest points; the filter sees the whole area at once, which is small on the coarse grid, so there are no seams.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..libraries import library
from .geotiff import NODATA
from .grid import Grid
from .surface_plan import SurfacePlan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CELL = 1.0
"""Metres, at least: side of a coarse cell."""
LOW = 0.05
"""Quantile of the heights in it that is taken as the ground's."""
WIDEST = 40.0
"""Metres: larger buildings are taken for terrain."""
SLOPE = 0.3
"""Steepest ground, as rise over run: what rises faster than that within a window is no ground."""
STEP = 0.3
"""Metres that ground may differ from its opening by, whatever the window."""
NEAR = 0.25
"""Metres: the surface is terrain where it is nearer than this to the ground of the coarse grid."""


def coarse_cell(plan: SurfacePlan) -> int:
    """Side of a coarse cell in units."""
    return round(max(CELL, 6 * plan.gsd) / plan.unit)


def low_points(places: NDArray[np.int64], grid: Grid, plan: SurfacePlan) -> dict[str, NDArray[Any]]:
    """Coarse cells whose middle is in ``grid``: ``column``, ``row`` (counted from x = y = 0, rows to the north), ``height`` in metres."""
    import numpy as np

    side = coarse_cell(plan)
    west, south, east, north = grid.bounds
    at = places // side
    x, y = (at[:2] + 0.5) * (side * plan.unit)
    inside = (x >= west) & (x < east) & (y > south) & (y <= north)
    order = np.lexsort((places[2][inside], at[0][inside], at[1][inside]))
    column, row, z = at[0][inside][order], at[1][inside][order], places[2][inside][order]
    starts = np.flatnonzero((np.diff(column, prepend=-(1 << 60)) != 0) | (np.diff(row, prepend=-(1 << 60)) != 0))
    count = np.diff(starts, append=len(z))
    pick = starts + (LOW * (count - 1)).astype(np.int64)
    return {"column": column[starts], "row": row[starts], "height": z[pick] * plan.unit}


def join_low(parts: Sequence[Mapping[str, NDArray[Any]]], grid: Grid, plan: SurfacePlan) -> tuple[NDArray[np.float64], int, int]:
    """The coarse grid that covers ``grid``, rows to the north, NaN where there is no point; number of its first column and row."""
    import numpy as np

    side = coarse_cell(plan) * plan.unit
    west, south, east, north = grid.bounds
    left, bottom = math.floor(west / side) - 1, math.floor(south / side) - 1
    low = np.full((math.ceil(north / side) - bottom + 1, math.ceil(east / side) - left + 1), np.nan)
    for part in parts:
        low[part["row"] - bottom, part["column"] - left] = part["height"]
    return low, left, bottom


def ground(low: NDArray[np.float64], cell: float) -> NDArray[np.float64]:
    """The terrain on the coarse grid; ``cell`` metres wide. Cells without ground are bridged from those around; NaN where all is empty."""
    import numpy as np

    ndimage = library("scipy.ndimage", extra="survey")
    if np.isnan(low).all():
        return low
    there = ~np.isnan(low)
    surface = _nearest(low, there)
    kept = there.copy()
    opened, before = surface, 0.0
    for radius in _radii(cell):
        smooth = ndimage.grey_opening(opened, footprint=_disc(radius), mode="nearest")
        width = radius * cell
        kept &= opened - smooth <= STEP + SLOPE * (width - before) + SLOPE * cell
        opened, before = smooth, width
    # what lies below all around it is no ground either: a wrong match under the surface
    kept &= surface - ndimage.median_filter(surface, size=5, mode="nearest") > -4 * STEP
    if not kept.any():
        kept = there
    return _bridged(low, kept)


def _radii(cell: float) -> list[int]:
    """Growing windows, each about 1.5 times as wide as the last."""
    radii, width = [1], 1.0
    while radii[-1] * cell * 2 < WIDEST:
        width *= 1.5
        radii.append(max(radii[-1] + 1, round(width)))
    return radii


def _disc(radius: int) -> NDArray[np.bool_]:
    import numpy as np

    steps = np.arange(-radius, radius + 1)
    disc: NDArray[np.bool_] = steps[:, None] ** 2 + steps[None, :] ** 2 <= radius * radius
    return disc


def _nearest(values: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    ndimage = library("scipy.ndimage", extra="survey")
    rows, columns = ndimage.distance_transform_edt(~there, return_distances=False, return_indices=True)
    found: NDArray[np.float64] = values[rows, columns]
    return found


def _bridged(values: NDArray[np.float64], there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The cells that are not ``there`` from the nearest ones, smoothed until they lie evenly between them (Laplace's equation)."""
    import numpy as np

    surface = _nearest(values, there)
    for _ in range(200):
        padded = np.pad(surface, 1, mode="edge")
        mean = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
        surface = np.where(there, surface, mean)
    return surface


def terrain(
    dsm: Callable[[Grid], NDArray[Any]], low: NDArray[np.float64], left: int, bottom: int, plan: SurfacePlan
) -> Callable[[Grid], NDArray[np.float32]]:
    """A ``fill`` for geotiff.write_strips: the surface where it lies near the coarse ground, else that ground."""
    import numpy as np

    side = coarse_cell(plan) * plan.unit

    def strip(part: Grid) -> NDArray[np.float32]:
        surface = dsm(part).reshape(part.shape)
        x, y = part.centres()
        u = np.clip(x / side - left - 0.5, 0, low.shape[1] - 1.001)
        v = np.clip(y / side - bottom - 0.5, 0, low.shape[0] - 1.001)
        i, j = u.astype(np.int64), v.astype(np.int64)
        a, b = (u - i)[None, :], (v - j)[:, None]
        base = (low[j][:, i] * (1 - a) + low[j][:, i + 1] * a) * (1 - b) + (low[j + 1][:, i] * (1 - a) + low[j + 1][:, i + 1] * a) * b
        away = surface - base
        weight = np.clip(2 - np.abs(away) / NEAR, 0, 1)  # whole up to NEAR, nothing from twice NEAR: no step between the two
        return np.where(surface == NODATA, NODATA, base + away * weight).astype(np.float32)

    return strip
