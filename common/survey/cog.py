"""Finished rasters: cut to what is kept, with overviews, in GDAL's layout for the cloud (COG), so that a map program shows them at once.

Nothing is lost by compression: deflate with a predictor. No date is written: the same picture is the same bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..libraries import library
from .crop import Keep
from .geotiff import BLOCK, open_raster, read_part, write_strips
from .grid import Grid

TILE = 512
CACHE = 256
"""Megabytes of GDAL's cache."""


def publish(source: Path, to: Path, keep: Keep, scratch: Path, crs: str, nodata: float | None = None, cores: int = 1) -> int:
    """Write ``to``; how many cells have a value. ``nodata`` None: the last band is alpha.

    Rows and columns at the edge in which nothing is kept are cut off. Never holds more than a strip.
    """
    import numpy as np

    rasterio = library("rasterio", extra="survey")
    shutil = library("rasterio.shutil", extra="survey")
    scratch.mkdir(parents=True, exist_ok=True)
    to.parent.mkdir(parents=True, exist_ok=True)
    cut = scratch / "cut.tif"
    with rasterio.Env(GDAL_CACHEMAX=CACHE), open_raster(source) as (file, whole):
        count, bands, kind = 0, file.count, file.dtypes[0]

        def cells(part: Grid) -> Any:
            found = read_part(file, whole, part, nodata)
            lost = ~keep.mask(part)
            found[:, lost] = 0 if nodata is None else nodata
            return found

        def has(found: Any) -> Any:
            return found[-1] > 0 if nodata is None else found[0] != nodata

        window = _filled(keep.window(whole), lambda part: has(cells(part)))

        def strip(part: Grid) -> Any:
            nonlocal count
            found = cells(part)
            count += int(np.count_nonzero(has(found)))
            return found

        more: dict[str, Any] = {"photometric": "RGB", "alpha": "YES", "interleave": "pixel"} if nodata is None else {}
        write_strips(cut, strip, window, bands=bands, dtype=kind, crs=crs, nodata=nodata, zlevel=1, **more)
    with rasterio.Env(GDAL_CACHEMAX=CACHE, GDAL_TIFF_INTERNAL_MASK=True):
        shutil.copy(
            str(cut), str(to), driver="COG", compress="DEFLATE", level=6, predictor="YES", blocksize=TILE, overview_resampling="AVERAGE",
            bigtiff="IF_SAFER", num_threads=str(cores),
        )  # fmt: skip
    cut.unlink()
    return count


def _filled(grid: Grid, has: Any) -> Grid:
    """The least part of ``grid`` that holds all cells for which ``has`` is true; all of it where there are none."""
    import numpy as np

    columns = np.zeros(grid.columns, bool)
    rows = np.zeros(grid.rows, bool)
    for top in range(0, grid.rows, BLOCK):
        count = min(BLOCK, grid.rows - top)
        found = has(grid.part(0, top, grid.columns, count))
        columns |= found.any(axis=0)
        rows[top : top + count] = found.any(axis=1)
    across, down = np.flatnonzero(columns), np.flatnonzero(rows)
    if not len(across):
        return grid
    left, top = int(across[0]), int(down[0])
    return grid.part(left, top, int(across[-1]) + 1 - left, int(down[-1]) + 1 - top)
