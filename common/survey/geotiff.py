"""GeoTIFFs on a ``Grid``, written in rows of blocks from the top: the same file however its cells were cut into tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..libraries import library
from .grid import Grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

NODATA = -9999.0
"""Of heights."""
BLOCK = 256
LARGEST_BLOCK = 1 << 20
"""Cells of a block that is read; ours have 512 x 512 at most."""
Fill = Callable[[Grid], "NDArray[Any]"]
"""A strip of the grid -> its cells, (rows, columns) or (bands, rows, columns)."""


def write_raster(path: Path, array: NDArray[Any], grid: Grid, *, crs: str = "", nodata: float | None = None, **more: Any) -> None:
    """(rows, columns) or (bands, rows, columns) as a tiled GeoTIFF with deflate; ``more`` are creation options of GDAL."""
    if array.shape[-2:] != grid.shape:
        raise ValueError(f"an array of {array.shape} does not fit a grid of {grid.shape}")
    bands = 1 if array.ndim == 2 else array.shape[0]
    whole = array.reshape(bands, *grid.shape)

    def strip(part: Grid) -> NDArray[Any]:
        rows, columns = grid.slices(part)
        return whole[:, rows, columns]

    write_strips(path, strip, grid, bands=bands, dtype=array.dtype.name, crs=crs, nodata=nodata, **more)


def write_strips(
    path: Path, fill: Fill, grid: Grid, *, bands: int, dtype: str, crs: str = "", nodata: float | None = None, **more: Any
) -> None:
    """As ``write_raster``, but asks ``fill`` for one strip of BLOCK rows after the other, from the top: never holds all."""
    rasterio = library("rasterio", extra="survey")
    profile: dict[str, Any] = {
        "driver": "GTiff", "width": grid.columns, "height": grid.rows, "count": bands, "dtype": dtype, "tiled": True,
        "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate", "predictor": 3 if dtype.startswith("float") else 2,
        "bigtiff": "if_safer", "num_threads": "1",
        "transform": rasterio.Affine(grid.resolution, 0.0, grid.bounds[0], 0.0, -grid.resolution, grid.bounds[3]),
    }  # fmt: skip
    if crs:
        profile["crs"] = rasterio.crs.CRS.from_user_input(crs)
    if nodata is not None:
        profile["nodata"] = nodata
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", **(profile | more)) as file:
        for top in range(0, grid.rows, BLOCK):
            rows = min(BLOCK, grid.rows - top)
            cells = fill(grid.part(0, top, grid.columns, rows)).reshape(bands, rows, grid.columns)
            file.write(cells, window=rasterio.windows.Window(0, top, grid.columns, rows))


def grid_of(file: Any) -> Grid:
    """Of an open rasterio data set with square cells and north up; ValueError for others."""
    a = file.transform
    if a.b or a.d or abs(a.a + a.e) > 1e-9 * abs(a.a):
        raise ValueError("its cells are not square with north up")
    west, north = round(a.c / a.a) * a.a, round(a.f / a.a) * a.a
    return Grid(resolution=a.a, west=west, north=north, columns=file.width, rows=file.height)


def read_raster(path: Path, shape: tuple[int, ...] | None = None) -> tuple[NDArray[Any], Grid]:
    """All of it: (bands, rows, columns), and where it lies. OSError (RasterioIOError) or ValueError where it is damaged.

    ``shape``: what it must have; an empty file of kilobytes may announce a picture that no memory holds.
    """
    with open_raster(path) as (file, grid):
        if shape is not None and (file.count, *file.shape) != shape:
            raise ValueError(f"it has {file.count} x {file.height} x {file.width} cells, not {' x '.join(map(str, shape))}")
        return file.read(), grid


@contextmanager
def open_raster(path: Path) -> Iterator[tuple[Any, Grid]]:
    """An open rasterio data set, for ``read_part``, and where it lies."""
    with open_geotiff(path) as file:
        yield file, grid_of(file)


@contextmanager
def open_geotiff(path: Path) -> Iterator[Any]:
    """A rasterio data set. Raises OSError (RasterioIOError) or ValueError where it is none that we would write.

    GDAL goes by what is in a file, and by the files beside it: a VRT under this name would hand out any file of this machine, or of the
    network. So nothing but the TIFF itself is read, and no block that a few bytes could blow up to gigabytes.
    """
    rasterio = library("rasterio", extra="survey")
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), rasterio.open(path, driver="GTiff") as file:
        if any(rows * columns > LARGEST_BLOCK for rows, columns in file.block_shapes):
            raise ValueError("its blocks are larger than any of ours")
        yield file


def read_part(file: Any, grid: Grid, part: Grid, nodata: float | None = None) -> NDArray[Any]:
    """(bands, rows, columns) of the cells of ``part``, which may reach over the rim of ``grid``: ``nodata`` (else 0) lies there."""
    import numpy as np

    rasterio = library("rasterio", extra="survey")
    array = np.full((file.count, *part.shape), 0 if nodata is None else nodata, file.dtypes[0])
    both = part.inside(grid)
    if both.columns and both.rows:
        window = rasterio.windows.Window(both.left - grid.left, both.top - grid.top, both.columns, both.rows)
        rows, columns = part.slices(both)
        array[:, rows, columns] = file.read(window=window)
    return array


def mosaic(paths: Sequence[Path], grids: Iterable[Grid], *, bands: int, dtype: str, nodata: float = 0) -> Fill:
    """A ``fill`` for ``write_strips`` that takes the cells from tiles side by side; where there is no tile, ``nodata``."""
    import numpy as np

    places = tuple(zip(paths, grids, strict=True))

    def strip(part: Grid) -> NDArray[Any]:
        array = np.full((bands, *part.shape), nodata, dtype)
        for path, grid in places:
            both = part.inside(grid)
            if both.columns and both.rows:
                rows, columns = part.slices(both)
                with open_raster(path) as (file, _):
                    array[:, rows, columns] = read_part(file, grid, both)
        return array

    return strip
