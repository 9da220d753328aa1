"""The one grid of cells that surface model and orthophoto lie on, and the tiles that it is cut into.

Cells are counted from the zero point of the CRS in steps of the resolution, columns to the east and rows to the south, so that a place
is in the same cell whichever tile asks. A tile, with or without a margin, is itself a ``Grid``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .records import Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Bounds = tuple[float, float, float, float]
"""West, south, east, north."""


class Grid(Record, frozen=True, kw_only=True):
    """Cells of a raster with north up."""

    resolution: float
    """Side of a cell, units of the CRS."""
    west: float
    north: float
    """The outer corner of the first cell, multiples of ``resolution``."""
    columns: int
    rows: int

    @property
    def left(self) -> int:
        """Number of the first column, counted from x = 0."""
        return round(self.west / self.resolution)

    @property
    def top(self) -> int:
        """Number of the first row, counted from y = 0 to the south."""
        return round(-self.north / self.resolution)

    @property
    def bounds(self) -> Bounds:
        r = self.resolution
        return (self.left * r, -(self.top + self.rows) * r, (self.left + self.columns) * r, -self.top * r)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows, columns."""
        return self.rows, self.columns

    def part(self, left: int, top: int, columns: int, rows: int) -> Grid:
        """Another window of the same cells; ``left`` and ``top`` count from the corner of this one and may lie outside."""
        r = self.resolution
        return Grid(resolution=r, west=(self.left + left) * r, north=-(self.top + top) * r, columns=columns, rows=rows)

    def grown(self, margin: int) -> Grid:
        """With ``margin`` more cells on each side."""
        return self.part(-margin, -margin, self.columns + 2 * margin, self.rows + 2 * margin)

    def inside(self, other: Grid) -> Grid:
        """The cells that both have; no columns or rows where there are none."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        right = min(self.left + self.columns, other.left + other.columns)
        bottom = min(self.top + self.rows, other.top + other.rows)
        return self.part(left - self.left, top - self.top, max(0, right - left), max(0, bottom - top))

    def slices(self, part: Grid) -> tuple[slice, slice]:
        """Where ``part``, which lies inside, is in an array of this grid."""
        left, top = part.left - self.left, part.top - self.top
        return slice(top, top + part.rows), slice(left, left + part.columns)

    def cells(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Column and row of each place, counted from the corner of this grid; outside: below 0, or ``columns``/``rows`` and more."""
        import numpy as np

        columns = np.floor(x / self.resolution).astype(np.int64) - self.left
        return columns, np.floor(-y / self.resolution).astype(np.int64) - self.top

    def centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """x of each column, y of each row, of the middle of the cells."""
        import numpy as np

        x = (self.left + np.arange(self.columns, dtype=np.float64) + 0.5) * self.resolution
        return x, -(self.top + np.arange(self.rows, dtype=np.float64) + 0.5) * self.resolution


class Tile(Record, frozen=True, kw_only=True):
    name: str
    """``r003c012``"""
    grid: Grid
    """Without margin."""


def covering(bounds: Bounds, resolution: float) -> Grid:
    """The least grid of that resolution which covers ``bounds``."""
    west, south, east, north = bounds
    left, top = math.floor(west / resolution), math.floor(-north / resolution)
    columns, rows = math.ceil(east / resolution) - left, math.ceil(-south / resolution) - top
    return Grid(resolution=resolution, west=left * resolution, north=-top * resolution, columns=max(1, columns), rows=max(1, rows))


def tiles(grid: Grid, columns: int, rows: int) -> tuple[Tile, ...]:
    """``columns`` x ``rows`` tiles of nearly one size, row by row; each cell is in one. At most as many as there are cells."""
    columns, rows = min(columns, grid.columns), min(rows, grid.rows)
    xs = [grid.columns * i // columns for i in range(columns + 1)]
    ys = [grid.rows * i // rows for i in range(rows + 1)]
    return tuple(
        Tile(name=f"r{r:03d}c{c:03d}", grid=grid.part(xs[c], ys[r], xs[c + 1] - xs[c], ys[r + 1] - ys[r]))
        for r in range(rows)
        for c in range(columns)
    )


def automatic(grid: Grid, most: int) -> tuple[int, int]:
    """Columns and rows of tiles that are about square and have at most about ``most`` cells each."""
    wanted = max(1, math.ceil(grid.columns * grid.rows / most))
    side = math.sqrt(grid.columns * grid.rows / wanted)
    return max(1, round(grid.columns / side)), max(1, round(grid.rows / side))


def cut(grid: Grid, option: str | Sequence[int], most: int) -> tuple[Tile, ...]:
    """The tiles for the option ``tiles``: "auto" or [columns, rows]."""
    if isinstance(option, str):
        return tiles(grid, *automatic(grid, most))
    return tiles(grid, option[0], option[1])


def touch(a: Bounds, b: Bounds) -> bool:
    """Whether two rectangles have more than an edge in common."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
