"""Heights of the cells of a tile from the points in and around it: what is seen from above, small holes filled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..libraries import library
from .footprint import looks
from .fusion import AGREE, COLUMN, Cloud, cubes, votes
from .geotiff import NODATA
from .grid import Grid
from .surface_plan import SurfacePlan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .depth_index import PairEntry

TOP = 0.8
"""The height of a cell is sought around this quantile of its points: where a wall stands in a cell, its top is meant."""
LOW = 0.05
"""Quantile of the points that may be ground."""

DENSE = 0.45
"""Part of the columns around that has points; at a straight rim it is a half."""
MOSTLY = 2.0
"""How many times more of the cells around a hole must be high than low, so that it is taken for one in a roof."""
BATCH = 20_000
"""Cells that are filled at a time: each needs some kilobytes."""
SPARSE = 0.35
"""The same, below which coarse points are asked."""


def accept(cloud: Cloud, pairs: Sequence[PairEntry], plan: SurfacePlan) -> tuple[NDArray[np.bool_], NDArray[np.uint8]]:
    """Which points count, and how many photos agree on each.

    At the rim, where no more than two pairs look, one is enough if none contradicts: else up to a strip's width would be lost. Coarse
    points count only where there are few others, as in woods: beside a wall they would make the roof wider.
    """
    import numpy as np

    photos = np.array([(pair.first, pair.second) for pair in pairs], np.int32).reshape(-1, 2)
    fine = np.flatnonzero(~cloud.coarse)
    exact = cloud.of(fine)
    views = np.zeros(len(cloud), np.uint8)
    views[fine] = votes(exact, photos, plan.cube, COLUMN)
    good = views >= AGREE
    alone = fine[~good[fine]]
    if len(alone):
        good[alone] = _lonely(cloud, good, alone, pairs, plan)
    if len(fine) < len(cloud):
        sparse = cloud.coarse & (_share(cloud.places, good, plan) < SPARSE)
        views[sparse] = votes(cloud, photos, plan.cube, COLUMN)[sparse]
        good |= sparse & (views >= AGREE)
    if plan.filter:
        kept = np.flatnonzero(good)
        good[kept] = _near_others(cloud.places[:, kept], plan)
    return good, views


def _lonely(
    cloud: Cloud, agreed: NDArray[np.bool_], alone: NDArray[np.int64], pairs: Sequence[PairEntry], plan: SurfacePlan
) -> NDArray[np.bool_]:
    """Which of the points ``alone``, on which no other pair agrees, count: those where at most two pairs look, in a column that only their
    own pair reaches, and among others that count."""
    import numpy as np

    flat = cloud.places.copy()
    flat[2] = 0
    column, _ = cubes(flat, plan.cube)
    once = np.unique((column * len(pairs) + cloud.pair)[~cloud.coarse]) // len(pairs)
    good = np.searchsorted(once, column[alone], "right") - np.searchsorted(once, column[alone], "left") == 1
    rest = alone[good]
    cube, first, back = np.unique(cubes(cloud.places[:, rest], plan.cube)[0], return_index=True, return_inverse=True)
    middle = cloud.places[:, rest[first]] // plan.cube * plan.cube + plan.cube // 2
    x, y, z = (middle[axis] * plan.unit - plan.origin[axis] for axis in range(3))
    looking = np.zeros(len(cube), np.int64)
    for pair in pairs:
        looking += np.logical_and.reduce([looks(sight, x, y, z) for sight in pair.sights])
    good[good] = looking[back] <= 2
    counted = agreed.copy()
    counted[alone[good]] = True
    found: NDArray[np.bool_] = good & (_share(cloud.places, counted, plan)[alone] >= DENSE)
    return found


def _share(places: NDArray[np.int64], counted: NDArray[np.bool_], plan: SurfacePlan) -> NDArray[np.float64]:
    """(n,) in which part of the columns of the 3 x 3 squares around each place there are ``counted`` ones. What matched by chance, in woods
    and water, lies in small patches."""
    import numpy as np

    if not places.shape[1]:
        return np.zeros(0)
    columns = places[:2] // plan.cube
    x, y = columns * plan.cube // plan.window
    left, low = int(x.min()) - 1, int(y.min()) - 1
    shape = int(x.max()) - left + 2, int(y.max()) - low + 2
    square = (x - left) * shape[1] + (y - low)
    first, second = columns[:, counted]
    _, once = np.unique(first * (1 << 31) + second, return_index=True)
    number = np.bincount(square[counted][once], minlength=shape[0] * shape[1]).reshape(shape)
    padded = np.pad(number, 1)
    around = np.add.reduce([padded[i : i + shape[0], j : j + shape[1]] for i in range(3) for j in range(3)])
    share: NDArray[np.float64] = around.ravel()[square] / (9 * (plan.window / plan.cube) ** 2)
    return share


def _near_others(places: NDArray[np.int64], plan: SurfacePlan) -> NDArray[np.bool_]:
    """Which points are at most ``filter`` standard deviations higher or lower than those of the squares around."""
    import numpy as np

    if not places.shape[1]:
        return np.zeros(0, bool)
    x, y = places[0] // plan.window, places[1] // plan.window
    left, low = int(x.min()) - 1, int(y.min()) - 1
    shape = int(x.max()) - left + 2, int(y.max()) - low + 2
    cell = (x - left) * shape[1] + (y - low)
    z = places[2] // 10  # millimetres: the sums of squares stay exact in 53 bits
    ground = np.full(shape[0] * shape[1], np.iinfo(np.int64).max)
    np.minimum.at(ground, cell, z)
    base = _least_around(ground.reshape(shape)).ravel()
    # sums of each square relative to heights that all nine squares of a neighbourhood share
    good = np.zeros(places.shape[1], bool)
    sums = _sums_around(cell, z, base, shape)
    count, first, second = (part.ravel()[cell] for part in sums)
    mean = first / count
    spread = np.maximum(second / count - mean * mean, 0.0)
    away = z - base[cell] - mean
    good[:] = away * away <= plan.filter * plan.filter * np.maximum(spread, (plan.gsd * 1000) ** 2)
    return good


def _least_around(values: NDArray[np.int64]) -> NDArray[np.int64]:
    import numpy as np

    padded = np.pad(values, 1, constant_values=np.iinfo(np.int64).max)
    rows, columns = values.shape
    parts = [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    least: NDArray[np.int64] = np.minimum.reduce(parts)
    return least


def _sums_around(
    cell: NDArray[np.int64], z: NDArray[np.int64], base: NDArray[np.int64], shape: tuple[int, int]
) -> list[NDArray[np.float64]]:
    """Number, sum, sum of squares of ``z - base`` of the 3 x 3 squares around each; ``base`` is that of the square in the middle."""
    import numpy as np

    rows, columns = shape
    own = np.where(base == np.iinfo(np.int64).max, 0, base)
    height = (z - own[cell]).astype(np.float64)
    n, one, two = (
        np.bincount(cell, weights, rows * columns).reshape(shape) for weights in (None, height, height * height)
    )
    n = n.astype(np.float64)
    centre = own.reshape(shape).astype(np.float64)
    padded = [np.pad(part, 1) for part in (n, one, two, centre)]
    total = [np.zeros(shape) for _ in range(3)]
    for i in range(3):
        for j in range(3):
            m, a, b, c = (part[i : i + rows, j : j + columns] for part in padded)
            d = c - centre  # from that square's base to ours
            total[0] += m.astype(np.float64)
            total[1] += np.where(m > 0, a + m * d, 0.0)
            total[2] += np.where(m > 0, b + 2 * d * a + m * d * d, 0.0)
    return total


def heights(places: NDArray[np.int64], grid: Grid, plan: SurfacePlan, quantile: float = TOP) -> NDArray[np.float32]:
    """(rows, columns) of ``grid``: the mean of the points of a cell that lie within a cube's side of its quantile; NODATA without."""
    import numpy as np

    reach = plan.cube
    column, row = grid.cells(places[0] * plan.unit, places[1] * plan.unit)
    inside = (column >= 0) & (column < grid.columns) & (row >= 0) & (row < grid.rows)
    found = np.full(grid.rows * grid.columns, NODATA, np.float32)
    if not inside.any():
        return found.reshape(grid.shape)
    z = places[2][inside]
    bottom = int(z.min())
    span = int(z.max()) - bottom + 2 * reach + 2
    key = (row[inside] * grid.columns + column[inside]) * span + (z - bottom + reach)
    key.sort()
    cell = key // span
    starts = np.flatnonzero(np.diff(cell, prepend=-1))
    count = np.diff(starts, append=len(key))
    middle = key[starts + (quantile * (count - 1)).astype(np.int64)]
    first, last = np.searchsorted(key, middle - reach, "left"), np.searchsorted(key, middle + reach, "right")
    total = np.concatenate([[0], np.cumsum(key - cell * span)])
    mean = (total[last] - total[first]) / (last - first) + (bottom - reach)
    found[cell[starts]] = mean * plan.unit
    return found.reshape(grid.shape)


def filled(dsm: NDArray[np.float32], reach: int, step: float) -> NDArray[np.float32]:
    """Holes up to ``2 * reach`` cells wide are filled from the cells around, by inverse squared distance; the outer rim stays.

    A filled cell depends on those up to ``2 * reach`` away. Where those around it are more than ``step`` apart in height, only the lower
    ones count, as what no two photos see is mostly the ground at the foot of a wall; or only the upper, where they are MOSTLY.
    """
    import numpy as np

    ndimage = library("scipy.ndimage", extra="survey")
    there = dsm != NODATA
    size = 2 * reach + 1
    disc = _disc(reach)
    grown = ndimage.binary_dilation(np.pad(there, size), disc)
    closed = ndimage.binary_erosion(grown, disc)[size:-size, size:-size]
    rows, columns = np.nonzero(closed & ~there)
    result = dsm.copy()
    if not len(rows):
        return result
    padded = np.pad(dsm, 2 * reach, constant_values=NODATA)
    for start in range(0, len(rows), BATCH):
        part = slice(start, start + BATCH)
        result[rows[part], columns[part]] = _guessed(padded, rows[part], columns[part], 2 * reach, step)
    return result


def _guessed(
    padded: NDArray[np.float32], rows: NDArray[np.int64], columns: NDArray[np.int64], reach: int, step: float
) -> NDArray[np.float64]:
    """Heights for cells from those within ``reach``, which is the width of the rim that was put around."""
    import numpy as np

    around = [padded[rows + i, columns + j] for i, j in _offsets(reach, 2)]
    low = np.minimum.reduce([np.where(value != NODATA, value, np.inf) for value in around])
    high = np.maximum.reduce([np.where(value != NODATA, value, -np.inf) for value in around])
    with np.errstate(invalid="ignore"):  # where there is nothing around
        middle = np.where(high - low > step, (low + high) / 2, np.inf)
    above = np.add.reduce([(value != NODATA) & (value > middle) for value in around], dtype=np.int32)
    below = np.add.reduce([(value != NODATA) & (value <= middle) for value in around], dtype=np.int32)
    upper = above > MOSTLY * below
    total, weight = np.zeros(len(rows)), np.zeros(len(rows))
    for i, j in _offsets(reach, 1):
        value = padded[rows + i, columns + j].astype(np.float64)
        meant = (value != NODATA) & (upper == (value > middle))
        near = meant / max(1, (i - reach) ** 2 + (j - reach) ** 2)
        total += near * value
        weight += near
    return np.where(weight > 0, total / np.maximum(weight, 1e-300), NODATA)


def _offsets(reach: int, step: int) -> list[tuple[int, int]]:
    """Steps to the places within ``reach``, each ``step``th, counted from the corner of their square."""
    import numpy as np

    return [(int(i), int(j)) for i, j in zip(*np.nonzero(_disc(reach)), strict=True) if i % step == 0 and j % step == 0]


def _disc(reach: int) -> NDArray[np.bool_]:
    import numpy as np

    steps = np.arange(-reach, reach + 1)
    disc: NDArray[np.bool_] = steps[:, None] ** 2 + steps[None, :] ** 2 <= reach * reach
    return disc
