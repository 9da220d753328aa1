"""One LAZ of the points of all tiles, a part at a time: no cloud has to fit into memory.

Its header has the CRS, offsets of whole metres, and a date that never changes: the same points are the same bytes.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..libraries import library
from .crop import Keep
from .grid import Bounds, covering

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AT_ONCE = 1_000_000
LOOK = 0.25
"""Metres: side of the cells by which points are found to be kept, where the surface model's are smaller."""
MADE = datetime.date(2000, 1, 1)
"""Of every file: where there is no date, laspy writes that of the day."""
SOFTWARE = "ClusterRay"


@dataclass(frozen=True, kw_only=True)
class Joined:
    """What was written."""

    points: int
    dropped: int
    """Outside of what is kept"""
    bounds: tuple[float, float, float, float, float, float]
    """West, south, lowest, east, north, highest"""
    picture: NDArray[np.uint8] | None
    """(rows, columns, 4) red, green, blue, alpha: the cloud from above, north up; None: no points"""


def join(tiles: Sequence[Path], to: Path, *, crs: str, bounds: Bounds, keep: Keep, size: int = 1200) -> Joined:
    """Write ``to`` from LAZ files; ``bounds``: around all of them. ``size``: of the longer side of the picture, pixels."""
    import numpy as np

    laspy = library("laspy", extra="survey")
    to.parent.mkdir(parents=True, exist_ok=True)
    canvas = Canvas(bounds, size)
    count = dropped = 0
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    header = _header(tiles, crs, bounds)
    with laspy.open(str(to), mode="w", header=header) as writer:
        for tile in tiles:
            with laspy.open(str(tile)) as reader:
                for points in reader.chunk_iterator(AT_ONCE):
                    x, y, z = (np.asarray(points[axis], np.float64) for axis in "xyz")
                    chosen = inside(keep, x, y)
                    dropped += int((~chosen).sum())
                    if not chosen.any():
                        continue
                    x, y, z = x[chosen], y[chosen], z[chosen]
                    record = laspy.ScaleAwarePointRecord.zeros(len(x), header=header)
                    for name in points.point_format.dimension_names:
                        if name not in ("X", "Y", "Z"):
                            record[name] = points[name][chosen]
                    record.x, record.y, record.z = x, y, z
                    writer.write_points(record)
                    count += len(x)
                    place = np.stack([x, y, z])
                    low, high = np.minimum(low, place.min(axis=1)), np.maximum(high, place.max(axis=1))
                    canvas.add(x, y, z, np.stack([record.red, record.green, record.blue], axis=1))
    ends = (*low.tolist(), *high.tolist()) if count else (0.0,) * 6
    return Joined(points=count, dropped=dropped, bounds=ends, picture=canvas.picture() if count else None)


def inside(keep: Keep, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) which points are kept, by the LOOK x LOOK cell in which they lie."""
    import numpy as np

    if keep.polygons is None and keep.depth is None:
        return np.ones(len(x), bool)
    grid = covering((float(x.min()), float(y.min()), float(x.max()) + LOOK, float(y.max()) + LOOK), LOOK)
    columns, rows = grid.cells(x, y)
    found: NDArray[np.bool_] = keep.mask(grid)[np.clip(rows, 0, grid.rows - 1), np.clip(columns, 0, grid.columns - 1)]
    return found


class Canvas:
    """The cloud from above: the highest point of each pixel."""

    def __init__(self, bounds: Bounds, size: int) -> None:
        import numpy as np

        wide, tall = max(1e-9, bounds[2] - bounds[0]), max(1e-9, bounds[3] - bounds[1])
        self._step = max(wide, tall) / size
        self._west, self._north = bounds[0], bounds[3]
        shape = max(1, math.ceil(tall / self._step)), max(1, math.ceil(wide / self._step))
        self._heights = np.full(shape, -np.inf)
        self._colours = np.zeros((*shape, 4), np.uint8)

    def add(self, x: Any, y: Any, z: Any, colours: Any) -> None:
        """(n,) places and heights, (n, 3) colours of 16 bits."""
        import numpy as np

        rows, columns = self._heights.shape
        row = np.clip(((self._north - y) / self._step).astype(np.int64), 0, rows - 1)
        column = np.clip(((x - self._west) / self._step).astype(np.int64), 0, columns - 1)
        cell = row * columns + column
        order = np.lexsort((z, cell))
        last = order[np.append(np.flatnonzero(np.diff(cell[order])), len(order) - 1)]
        higher = last[z[last] > self._heights.ravel()[cell[last]]]
        self._heights.ravel()[cell[higher]] = z[higher]
        self._colours.reshape(-1, 4)[cell[higher]] = np.column_stack(
            [np.asarray(colours)[higher] >> 8, np.full(len(higher), 255)]
        ).astype(np.uint8)  # fmt: skip

    def picture(self) -> NDArray[np.uint8]:
        return self._colours


def _header(tiles: Sequence[Path], crs: str, bounds: Bounds) -> Any:
    laspy = library("laspy", extra="survey")
    with laspy.open(str(tiles[0])) as first:
        source = first.header
        header = laspy.LasHeader(point_format=source.point_format, version=source.version)
    header.scales = source.scales
    header.offsets = [float(math.floor(bounds[0])), float(math.floor(bounds[1])), 0.0]
    header.creation_date, header.generating_software = MADE, SOFTWARE
    header.system_identifier = SOFTWARE
    if crs:
        header.add_crs(library("pyproj", extra="survey").CRS.from_user_input(crs))
    return header
