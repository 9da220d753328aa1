"""The plan for the mesh of a surface model: how wide its blocks are, which photos each tile may have its colours from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .geotiff import NODATA, open_raster
from .mesh_surface import block_cells
from .scene import View
from .surface_index import Surface
from .texture import frame

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ROUGH = 1024
"""Samples of the surface model along its longer side."""
WITHIN = 24
"""Places along the side of a tile that are looked for in the photos."""
SHADOW = 2.0
"""Length of the longest shadow for its height: as seen by a camera 27 degrees above the horizon."""
MOST = 200
"""Blocks that a ray is followed at most."""
RAGGED = 1.05
"""Blocks at the rim are known where a part of their cells is."""


def rough_heights(path: Path) -> NDArray[np.float64]:
    """The surface model in at most ROUGH x ROUGH samples, absolute heights; NaN: unknown."""
    import numpy as np

    with open_raster(path) as (file, grid):
        shape = min(grid.rows, ROUGH), min(grid.columns, ROUGH)
        heights: NDArray[np.float64] = file.read(1, out_shape=shape).astype(np.float64)
    heights[(heights == NODATA) | ~np.isfinite(heights)] = np.nan
    return heights


def block_size(rough: NDArray[np.float64], surface: Surface, limit: int) -> int:
    """Cells along the side of a block, such that the known ones make at most about ``limit`` triangles."""
    import numpy as np

    known = float(np.isfinite(rough).mean()) if rough.size else 0.0
    return block_cells(round(RAGGED * known * surface.shape[0] * surface.shape[1]), limit)


def shadow_blocks(rough: NDArray[np.float64], size: float) -> int:
    """How many blocks of ``size`` metres away something may hide what is behind it."""
    import numpy as np

    known = rough[np.isfinite(rough)]
    low, high = np.percentile(known, [1, 99.9]) if len(known) else (0.0, 0.0)
    return min(MOST, int(np.ceil(SHADOW * (high - low) / size)) + 2)


def photos_of_tiles(
    rough: NDArray[np.float64], surface: Surface, origin: tuple[float, float, float], views: Sequence[View], margin: float
) -> Mapping[str, list[int]]:
    """Tile -> numbers of the photos that have a place of it, or up to ``margin`` metres around it, within their frame."""
    import numpy as np

    usual = float(np.nanmedian(rough)) if np.isfinite(rough).any() else origin[2]
    rows, columns = rough.shape
    west, south, east, north = surface.bounds
    found = {}
    for tile in surface.tiles:
        w, s, e, n = tile.grid.bounds
        x, y = np.meshgrid(np.linspace(w - margin, e + margin, WITHIN), np.linspace(s - margin, n + margin, WITHIN))
        column = np.clip(((x - west) / (east - west) * columns).astype(np.int64), 0, columns - 1)
        row = np.clip(((north - y) / (north - south) * rows).astype(np.int64), 0, rows - 1)
        z = rough[row, column]
        z = np.where(np.isfinite(z), z, usual)
        places = np.stack([x.ravel(), y.ravel(), z.ravel()], axis=1) - origin
        found[tile.name] = [view.number for view in views if bool(frame(view, places)[1].any())]
    return found
