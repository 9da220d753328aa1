"""The heights on which an orthophoto is made: those of the surface model, and between them where holes are narrow.

Crowns of trees, water and shadows leave holes in every surface model; a picture need not have them, as an error of a metre in height shifts
it by less than that. A hole is filled where it is narrower than twice the ``reach``; bays of the rim likewise, the rim never grows outward.
Where little was measured around, heights are smoothed. They come from coarser and coarser means and back (pull and push), on cells that
are the same whatever part of the map is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..libraries import library
from .geotiff import NODATA, open_raster, read_part
from .grid import Grid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

LONELY = 0.25
"""Part of the cells around that must have been measured; up to twice as much, heights are smoothed: islands in a hole are mostly noise, and
a picture on them is full of swirls."""
FEW = 0.1
"""Part of the cells of a coarse cell below which its mean is not used."""
MOST_REACH = 256
"""Cells: it decides how much around a tile has to be read."""


def heights_on(path: Path, part: Grid, origin: tuple[float, float, float], reach: float = 0.0) -> tuple[Array, NDArray[np.bool_]]:
    """In the middle of the cells of ``part``, which may have another resolution than dsm.tif: ((rows, columns) heights in model
    coordinates, NaN: none; which of them were filled in). ``reach``: metres; 0: holes stay.

    Bilinear; beside cells that have no height, that of the cell itself.
    """
    import numpy as np

    with open_raster(path) as (file, grid):
        xs, ys = part.centres()
        across, down = xs / grid.resolution - 0.5, -ys / grid.resolution - 0.5
        column, row = np.floor(across).astype(np.int64), np.floor(down).astype(np.int64)
        left, top = int(column.min()), int(row.min())
        window = grid.part(left - grid.left, top - grid.top, int(column.max()) - left + 2, int(row.max()) - top + 2)
        cells = min(MOST_REACH, math.floor(reach / grid.resolution))
        wide = _aligned(window, cells) if cells else window
        found = read_part(file, grid, wide, NODATA)[0].astype(np.float64)
    found[found == NODATA] = np.nan
    hole = np.isnan(found)
    if cells and hole.any() and not hole.all():
        found = filled(found, cells)
    rows, columns = wide.slices(window)
    found, hole = found[rows, columns], hole[rows, columns]
    a, b = (across - column)[None, :], (down - row)[:, None]
    column, row = column - left, row - top
    above, below = (strip[:, column] * (1 - a) + strip[:, column + 1] * a for strip in (found[row], found[row + 1]))
    between = above * (1 - b) + below * b
    nearest = row + (b[:, 0] >= 0.5), column + (a[0] >= 0.5)
    made: Array = np.where(np.isnan(between), found[nearest[0]][:, nearest[1]], between) - origin[2]
    return made, hole[nearest[0]][:, nearest[1]] & ~np.isnan(made)


def filled(heights: Array, reach: int) -> Array:
    """(rows, columns) with holes (NaN) filled narrower than 2 x ``reach`` cells. Its corner is on a multiple of ``_block(reach)``."""
    import numpy as np

    ndimage = library("scipy.ndimage", extra="survey")
    hole = np.isnan(heights)
    near = ndimage.distance_transform_edt(hole) <= reach
    closed = ndimage.distance_transform_edt(near) > reach
    levels, counts = [heights], [(~hole).astype(np.float64)]
    while 1 << (len(levels) - 1) < _block(reach):
        level, count = _pull(levels[-1], counts[-1])
        levels.append(level)
        counts.append(count)
    middle = len(levels) - 3
    share = counts[middle] / 4.0**middle
    smooth = [np.where(share < FEW, np.nan, levels[middle]), *levels[middle + 1 :]]
    sparse = _between(smooth)
    for finer in reversed(levels[:middle]):
        shape = finer.shape
        sparse, share = _push(sparse, shape), _push(share, shape)
    fine = _between(levels)
    trust = np.clip((share - LONELY) / LONELY, 0.0, 1.0)
    made: Array = np.where(hole & ~closed, np.nan, np.where(trust < 1, fine * trust + sparse * (1 - trust), fine))
    return made


def _between(levels: Sequence[Array]) -> Array:
    """The first of ``levels``, each half as fine as the one before it, where it has no height filled from the coarser ones."""
    import numpy as np

    found = levels[-1]
    for level in reversed(levels[:-1]):
        found = np.where(np.isnan(level), _push(found, level.shape), level)
    return found


def _block(reach: int) -> int:
    """Side of the coarsest cells: in each hole that is filled, one beside its own has a height."""
    return 1 << (math.ceil(math.log2(max(2, reach))) + 1)


def _aligned(window: Grid, reach: int) -> Grid:
    """With all that what is filled in it depends on, its corner on a multiple of the coarsest cells."""
    block = _block(reach)
    left, top = (window.left // block - 2) * block, (window.top // block - 2) * block
    right, bottom = (-(-(window.left + window.columns) // block) + 2) * block, (-(-(window.top + window.rows) // block) + 2) * block
    return window.part(left - window.left, top - window.top, right - left, bottom - top)


def _pull(fine: Array, count: Array) -> tuple[Array, Array]:
    """(rows, columns) and how many measured cells are in each -> half as many of both: the mean of all those cells."""
    import numpy as np

    places = [(slice(a, None, 2), slice(b, None, 2)) for a in (0, 1) for b in (0, 1)]
    number: Array = sum((count[at] for at in places), np.zeros(count[::2, ::2].shape))
    total: Array = sum((np.nan_to_num(fine[at]) * count[at] for at in places), np.zeros(number.shape))
    return np.where(number > 0, total / np.maximum(number, 1), np.nan), number


def _push(coarse: Array, shape: tuple[int, ...]) -> Array:
    """(rows, columns) -> twice as many: between the middles of those that there are."""
    import numpy as np

    known = np.pad((~np.isnan(coarse)).astype(np.float64), 1)
    value = np.pad(np.nan_to_num(coarse), 1)
    made = np.empty(shape)
    rows, columns = coarse.shape
    for a in (0, 1):
        for b in (0, 1):
            weight, total = np.zeros(coarse.shape), np.zeros(coarse.shape)
            for down, part in ((0, 0.75), (2 * a - 1, 0.25)):
                for across, share in ((0, 0.75), (2 * b - 1, 0.25)):
                    at = slice(1 + down, 1 + down + rows), slice(1 + across, 1 + across + columns)
                    weight += part * share * known[at]
                    total += part * share * known[at] * value[at]
            made[a::2, b::2] = np.where(weight > 0, total / np.maximum(weight, 1e-9), np.nan)
    return made
