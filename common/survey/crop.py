"""What of the results is kept: inside of a boundary, and not the frayed rim, where few photos saw the ground from one side alone.

The rim is that of the surface model's hull (its holes filled, bays closed), so that a lake in the middle keeps its shores. All results are
cut alike, since all ask here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..libraries import library
from .boundary import read_boundary
from .errors import BadSurvey
from .geotiff import NODATA, open_raster, read_part
from .grid import Bounds, Grid, touch
from .records import Frame
from .surface_index import DSM, SURFACE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Ring = NDArray[np.float64]
    """(n, 2) corners in the CRS."""

MOST_CELLS = 4_000_000
"""Of the coarse picture of the surface from which the hull is made."""
CLOSED = 1.0
"""Bays and gaps narrower than twice this times ``crop`` belong to the hull: they are not its rim."""
ROUND = 32
"""Corners of the circle by which the hull of the cameras is widened."""


@dataclass(frozen=True, kw_only=True)
class Keep:
    """What is kept: all that lies in one of ``polygons`` and deep enough in the hull."""

    polygons: tuple[tuple[Ring, ...], ...] | None = None
    """Each an outer ring and its holes; None: no boundary"""
    depth: NDArray[np.float32] | None = None
    """(rows, columns) metres to the rim of the hull minus crop, negative: cut; None: no crop"""
    grid: Grid | None = None
    """Of ``depth``"""
    notes: tuple[str, ...] = ()

    def mask(self, part: Grid) -> NDArray[np.bool_]:
        """(rows, columns): which cells of a grid are kept, by their middles."""
        import numpy as np

        kept = np.ones(part.shape, bool)
        if self.depth is not None and self.grid is not None:
            x, y = part.centres()
            kept &= _bilinear(self.depth, self.grid, x, y) >= 0
        if self.polygons is not None:
            features = library("rasterio.features", extra="survey")
            affine = library("rasterio", extra="survey").Affine
            west, _, _, north = part.bounds
            shapes = [{"type": "Polygon", "coordinates": [ring.tolist() for ring in polygon]} for polygon in self.polygons]
            transform = affine(part.resolution, 0, west, 0, -part.resolution, north)
            kept &= features.geometry_mask(shapes, out_shape=part.shape, transform=transform, invert=True)
        return kept

    def window(self, grid: Grid) -> Grid:
        """The least part of ``grid`` that holds all that is kept, by the bounds of what cuts."""
        west, south, east, north = grid.bounds
        if self.polygons is not None:
            corners = [ring for polygon in self.polygons for ring in polygon[:1]]
            west = max(west, min(float(ring[:, 0].min()) for ring in corners))
            east = min(east, max(float(ring[:, 0].max()) for ring in corners))
            south = max(south, min(float(ring[:, 1].min()) for ring in corners))
            north = min(north, max(float(ring[:, 1].max()) for ring in corners))
        if self.depth is not None and self.grid is not None:
            import numpy as np

            rows, columns = np.nonzero(self.depth >= 0)
            if len(rows):
                r, (left, _, _, top) = self.grid.resolution, self.grid.bounds
                west, east = max(west, left + (int(columns.min()) - 1) * r), min(east, left + (int(columns.max()) + 2) * r)
                north, south = min(north, top - (int(rows.min()) - 1) * r), max(south, top - (int(rows.max()) + 2) * r)
        r = grid.resolution
        first, last = math.floor((west - grid.bounds[0]) / r), math.ceil((east - grid.bounds[0]) / r)
        top, bottom = math.floor((grid.bounds[3] - north) / r), math.ceil((grid.bounds[3] - south) / r)
        return grid.part(first, top, max(1, last - first), max(1, bottom - top)).inside(grid)


def keep_of(inputs: Path, options: dict[str, Any], frame: Frame, cameras: Array) -> Keep:
    """By the options crop, boundary and auto-boundary. ``cameras``: (n, 3) in the CRS. Raises BadSurvey where a boundary lies elsewhere."""
    from .records import load
    from .surface_index import Surface

    surface = load(inputs / SURFACE, Surface)
    polygons: tuple[tuple[Ring, ...], ...] | None = None
    notes: list[str] = []
    if options["boundary"]:
        polygons = in_crs(*boundary_text(inputs, options["boundary"]), frame.crs)
        if not any(_meets(polygon, surface.bounds) for polygon in polygons):
            raise BadSurvey(
                "The boundary lies elsewhere: nothing of what the photos show is inside of it. GeoJSON counts in longitude and latitude."
            )
    elif options["auto-boundary"] and len(cameras) >= 3:
        polygons = ((around(cameras[:, :2]),),)
    if options["crop"] <= 0 or not (inputs / DSM).is_file():
        return Keep(polygons=polygons)
    depth, grid = hull_depth(inputs / DSM, float(options["crop"]))
    if not bool((depth >= 0).any()):
        notes.append(f"Nothing was cropped: the survey is so narrow that crop = {options['crop']:g} m would leave nothing of it.")
        return Keep(polygons=polygons, notes=tuple(notes))
    return Keep(polygons=polygons, depth=depth, grid=grid, notes=tuple(notes))


def boundary_text(inputs: Path, option: str) -> tuple[str, str]:
    """(GeoJSON, what to call it): the option itself, or the file that it names. Raises BadSurvey where there is no such file."""
    if option.lstrip().startswith("{"):
        return option, "Option boundary"
    path = inputs / option
    if Path(option).is_absolute() or ".." in Path(option).parts or not path.is_file():
        raise BadSurvey(f"Option boundary: there is no file {option} in the task's folder.")
    return path.read_text(encoding="utf-8-sig", errors="replace"), option


def in_crs(text: str, name: str, crs: str) -> tuple[tuple[Ring, ...], ...]:
    """A GeoJSON's polygons in the CRS. Raises BadSurvey."""
    import numpy as np

    transformer = library("pyproj", extra="survey").Transformer.from_crs("EPSG:4326", horizontal(crs), always_xy=True)
    polygons = []
    for polygon in read_boundary(text, name):
        rings = []
        for ring in polygon:
            fine = _dense(np.array(ring, np.float64))
            x, y = transformer.transform(fine[:, 0], fine[:, 1])
            if not (np.isfinite(x).all() and np.isfinite(y).all()):
                raise BadSurvey(f"{name}: the boundary reaches to where {crs} is not defined.")
            rings.append(np.stack([x, y], axis=1))
        polygons.append(tuple(rings))
    return tuple(polygons)


def horizontal(crs: str) -> Any:
    """The CRS without its vertical part, as a pyproj.CRS."""
    found = library("pyproj", extra="survey").CRS.from_user_input(crs)
    return found.sub_crs_list[0] if found.is_compound else found


def around(places: Array) -> Ring:
    """(n, 2) positions of cameras -> their convex hull, wider by the median distance between neighbours."""
    import numpy as np

    spatial = library("scipy.spatial", extra="survey")
    distance, _ = spatial.cKDTree(places).query(places, k=2)
    wider = max(1e-3, float(np.median(distance[:, 1])))
    turn = np.arange(ROUND) * (2 * math.pi / ROUND)
    circle = wider * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    spread = (places[:, None, :] + circle[None]).reshape(-1, 2)
    ring: Ring = spread[spatial.ConvexHull(spread).vertices]
    return ring


def hull_depth(dsm: Path, crop: float) -> tuple[NDArray[np.float32], Grid]:
    """(metres to the rim of the surface model's hull less ``crop``, on a coarse grid; that grid, which is wider than the model)."""
    import numpy as np

    ndimage = library("scipy.ndimage", extra="survey")
    with open_raster(dsm) as (file, grid):
        times = max(1, math.ceil(math.sqrt(grid.columns * grid.rows / MOST_CELLS)))
        columns, rows = -(-grid.columns // times), -(-grid.rows // times)
        valid = np.zeros((rows, columns), bool)
        for first in range(0, rows, 256):
            count = min(256, rows - first)
            cells = read_part(file, grid, grid.part(0, first * times, columns * times, count * times), NODATA)[0]
            valid[first : first + count] = (cells != NODATA).reshape(count, times, columns, times).any(axis=(1, 3))
    size = grid.resolution * times
    close = max(CLOSED * crop, 4 * size)
    pad = math.ceil(close / size) + 2
    padded = np.pad(valid, pad)
    if not padded.any():
        return np.full(padded.shape, -1.0, np.float32), _coarse(grid, times, pad, padded.shape)
    near = ndimage.distance_transform_edt(~padded) * size <= close
    hull = ndimage.distance_transform_edt(ndimage.binary_fill_holes(near)) * size > close
    # half a cell: a distance is from middle to middle, the rim lies between
    depth = ndimage.distance_transform_edt(hull | padded) * size - size / 2 - crop
    return depth.astype(np.float32), _coarse(grid, times, pad, padded.shape)


def _coarse(grid: Grid, times: int, pad: int, shape: tuple[int, int]) -> Loose:
    size = grid.resolution * times
    west, north = grid.bounds[0] - pad * size, grid.bounds[3] + pad * size
    return Loose(resolution=size, west=west, north=north, columns=shape[1], rows=shape[0])


class Loose(Grid, frozen=True, kw_only=True):
    """Cells that begin exactly where ``west`` and ``north`` say, on no multiples: of a picture that was scaled. Not for ``part``."""

    @property
    def bounds(self) -> Bounds:
        return (self.west, self.north - self.rows * self.resolution, self.west + self.columns * self.resolution, self.north)

    def centres(self) -> tuple[Array, Array]:
        import numpy as np

        x: Array = self.west + (np.arange(self.columns, dtype=np.float64) + 0.5) * self.resolution
        y: Array = self.north - (np.arange(self.rows, dtype=np.float64) + 0.5) * self.resolution
        return x, y


def _bilinear(values: NDArray[np.float32], grid: Grid, x: Array, y: Array) -> Array:
    """(rows, columns) of values between the middles of the cells of ``grid``; beyond its rim: as at the rim."""
    import numpy as np

    west, _, _, north = grid.bounds
    across = np.clip((x - west) / grid.resolution - 0.5, 0, grid.columns - 1)
    down = np.clip((north - y) / grid.resolution - 0.5, 0, grid.rows - 1)
    column, row = np.minimum(across.astype(np.int64), max(0, grid.columns - 2)), np.minimum(down.astype(np.int64), max(0, grid.rows - 2))
    a, b = (across - column)[None, :], (down - row)[:, None]
    right, below = np.minimum(column + 1, grid.columns - 1), np.minimum(row + 1, grid.rows - 1)
    upper, lower = (strip[:, column] * (1 - a) + strip[:, right] * a for strip in (values[row], values[below]))
    found: Array = upper * (1 - b) + lower * b
    return found


def _dense(ring: Array) -> Array:
    """More corners along the sides: what is straight in degrees bends in metres."""
    import numpy as np

    ends = np.roll(ring, -1, axis=0)
    parts = np.clip(np.ceil(np.abs(ends - ring).max(axis=1) / 0.002), 1, 64).astype(int)  # 0.002 degrees: at most 220 m
    return np.concatenate(
        [a + (b - a) * (np.arange(count) / count)[:, None] for a, b, count in zip(ring, ends, parts.tolist(), strict=True)]
    )


def _meets(polygon: Sequence[Ring], bounds: Bounds) -> bool:
    outer = polygon[0]
    (west, south), (east, north) = outer.min(axis=0), outer.max(axis=0)
    return touch((float(west), float(south), float(east), float(north)), bounds)
