"""A surface model as a mesh: one vertex for each block of its cells, tile by tile, without cracks.

The blocks are counted from the corner of the whole surface model, and a vertex is made from the cells of its block alone. So tiles have
the same vertices along their common borders, bit for bit, and all of them together are the mesh that one tile would have given.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .geotiff import NODATA, open_raster, read_part
from .grid import Grid
from .triangles import Triangles, vertex_normals

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .scene import View

Window = tuple[int, int, int, int]
"""left, top, right, bottom: blocks of the whole surface, half open"""
SLACK = 2
"""Blocks beside a face that cannot hide it: its own slope, and the roughness of its block."""


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Heights of blocks of a surface model, a window of the whole."""

    heights: NDArray[np.float64]
    """(rows, columns); NaN: nothing known. Row 0 is the northernmost."""
    left: int
    top: int
    """Where the window begins, in blocks of the whole."""
    west: float
    north: float
    """Corner of the whole surface model, minus the origin of the frame."""
    size: float
    """Side of a block."""


def block_cells(cells: int, limit: int) -> int:
    """How many cells wide a block is, so that ``cells`` cells give at most ``limit`` triangles."""
    side = 1
    while 2 * -(-cells // (side * side)) > limit:
        side += 1
    return side


def window_of(tile: Grid, whole: Grid, cells: int) -> Window:
    """The blocks whose north-western cell lies in ``tile``: tiles that have each cell of ``whole`` once have each block once."""
    left, top = tile.left - whole.left, tile.top - whole.top
    return -(-left // cells), -(-top // cells), -(-(left + tile.columns) // cells), -(-(top + tile.rows) // cells)


def read_blocks(path: Path, window: Window, cells: int, origin: tuple[float, float, float]) -> Blocks:
    """The blocks of ``window`` (cut to the surface), each the median of its ``cells`` x ``cells`` cells that are known."""
    import numpy as np

    with open_raster(path) as (file, whole):
        columns, rows = -(-whole.columns // cells), -(-whole.rows // cells)
        left, top, right, bottom = max(0, window[0]), max(0, window[1]), min(columns, window[2]), min(rows, window[3])
        wide, high = max(0, right - left), max(0, bottom - top)
        found = read_part(file, whole, whole.part(left * cells, top * cells, wide * cells, high * cells), NODATA)[0].astype(np.float64)
    found[(found == NODATA) | ~np.isfinite(found)] = np.nan
    found = found.reshape(high, cells, wide, cells).transpose(0, 2, 1, 3).reshape(high, wide, -1)
    west, _, _, north = whole.bounds
    return Blocks(
        heights=medians(found) - origin[2], left=left, top=top, west=west - origin[0], north=north - origin[1],
        size=whole.resolution * cells,
    )  # fmt: skip


def medians(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """(rows, columns): of each block the middle of its known values, the lower one of two; NaN where it has none."""
    import numpy as np

    if not blocks.size:
        return blocks.reshape(blocks.shape[:2])
    ordered = np.sort(blocks, axis=2)  # NaN last
    known = np.isfinite(ordered).sum(axis=2)
    return np.take_along_axis(ordered, np.maximum(known - 1, 0)[..., None] // 2, axis=2)[..., 0]


def grid_mesh(grid: Blocks, core: Window) -> Triangles:
    """Two triangles for each four neighbouring blocks that are known, one where three are; core: those whose first block lies in ``core``.

    A square is cut along the diagonal whose ends differ less in height, as an edge of a roof runs along it.
    """
    import numpy as np

    z = grid.heights
    rows, columns = z.shape
    known = np.isfinite(z)
    number = (np.cumsum(known).reshape(z.shape) - 1).astype(np.int32)
    row, column = np.nonzero(known)
    x = grid.west + (column + grid.left + 0.5) * grid.size
    y = grid.north - (row + grid.top + 0.5) * grid.size
    vertices = np.stack([x, y, z[known]], axis=1)
    if rows < 2 or columns < 2:
        faces, inside = np.zeros((0, 3), np.int32), np.zeros(0, bool)
    else:
        faces, inside = _faces(z, known, number, grid, core)
    return Triangles(vertices=vertices, faces=faces, normals=vertex_normals(vertices, faces), core=inside)


def _faces(
    z: NDArray[np.float64], known: NDArray[np.bool_], number: NDArray[np.int32], grid: Blocks, core: Window
) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    import numpy as np

    corners = [part.ravel() for part in (number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:])]
    there = [part.ravel() for part in (known[:-1, :-1], known[:-1, 1:], known[1:, :-1], known[1:, 1:])]
    nw, ne, sw, se = corners
    nwk, nek, swk, sek = there
    zs = [part.ravel() for part in (z[:-1, :-1], z[:-1, 1:], z[1:, :-1], z[1:, 1:])]
    with np.errstate(invalid="ignore"):
        falling = np.abs(zs[0] - zs[3]) <= np.abs(zs[1] - zs[2])  # cut from north-west to south-east
    falling = np.where(nwk & nek & swk & sek, falling, nwk & sek)
    choices = [
        (falling & nwk & swk & sek, (nw, sw, se)),
        (falling & nwk & sek & nek, (nw, se, ne)),
        (~falling & nwk & swk & nek, (nw, sw, ne)),
        (~falling & swk & sek & nek, (sw, se, ne)),
    ]
    square = np.concatenate([np.nonzero(where)[0] for where, _ in choices])
    kind = np.concatenate([np.full(int(where.sum()), n, np.int8) for n, (where, _) in enumerate(choices)])
    faces = np.concatenate([np.stack([corner[where] for corner in three], axis=1) for where, three in choices])
    order = np.lexsort((kind, square))
    square, faces = square[order], faces[order].astype(np.int32)
    row, column = square // (z.shape[1] - 1) + grid.top, square % (z.shape[1] - 1) + grid.left
    left, top, right, bottom = core
    return faces, (column >= left) & (column < right) & (row >= top) & (row < bottom)


def in_sight(grid: Blocks, view: View, points: NDArray[np.float64], reach: int) -> NDArray[np.bool_]:
    """(n,) whether no block of the grid stands between a point and the photo.

    The ray is followed block by block until it is above all, or ``reach`` blocks away: whoever has the grid so far around the points sees
    the same.
    """
    import numpy as np

    z = grid.heights
    free = np.ones(len(points), bool)
    if not np.isfinite(z).any() or not len(points):
        return free
    highest = float(np.nanmax(z))
    way = view.centre - points
    flat = np.hypot(way[:, 0], way[:, 1])
    rise = way[:, 2] / np.maximum(flat, 1e-12)
    x = (points[:, 0] - grid.west) / grid.size - grid.left
    y = (grid.north - points[:, 1]) / grid.size - grid.top
    dx, dy = way[:, 0] / np.maximum(flat, 1e-12), -way[:, 1] / np.maximum(flat, 1e-12)
    with np.errstate(divide="ignore"):
        far = np.where(rise > 0, (highest - points[:, 2]) / np.maximum(rise, 1e-12), np.inf)
    far = np.minimum(np.minimum(far, flat) / grid.size, reach)
    alive = np.nonzero(far > SLACK)[0]
    step = float(SLACK)
    while len(alive):
        column = np.floor(x[alive] + dx[alive] * step).astype(np.int64)
        row = np.floor(y[alive] + dy[alive] * step).astype(np.int64)
        inside = (column >= 0) & (column < z.shape[1]) & (row >= 0) & (row < z.shape[0])
        height = np.full(len(alive), -np.inf)
        height[inside] = z[row[inside], column[inside]]
        # half a block of grace: the mesh between two blocks is lower than the higher one
        ray = points[alive, 2] + rise[alive] * (step + 0.5) * grid.size
        with np.errstate(invalid="ignore"):
            hidden = height > ray
        free[alive[hidden]] = False
        step += 1.0
        alive = alive[~hidden & (far[alive] > step) & inside]
    return free
