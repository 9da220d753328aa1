"""GeoTIFFs of tiles and of the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from clusterray.common.survey.geotiff import NODATA, mosaic, open_raster, read_part, read_raster, write_raster, write_strips
from clusterray.common.survey.grid import Grid, tiles

GRID = Grid(resolution=0.05, west=576700.0, north=5188170.0, columns=300, rows=410)


def picture(grid: Grid = GRID) -> np.ndarray:
    return np.random.default_rng(1).normal(250, 5, grid.shape).astype(np.float32)


def test_other_programs_know_where_it_lies(tmp_path: Path) -> None:
    """CRS, corner, resolution and nodata are in the file."""
    write_raster(tmp_path / "a.tif", picture(), GRID, crs="EPSG:32615", nodata=NODATA)
    with rasterio.open(tmp_path / "a.tif") as file:
        assert file.crs.to_epsg() == 32615 and file.nodata == NODATA
        assert file.transform.almost_equals(rasterio.Affine(0.05, 0, 576700.0, 0, -0.05, 5188170.0))
        assert file.profile["tiled"] and file.compression.name == "deflate"
    array, grid = read_raster(tmp_path / "a.tif")
    assert grid == GRID and (array[0] == picture()).all()


@pytest.mark.parametrize("cut", [(1, 1), (3, 2), (7, 5)])
def test_the_whole_is_the_same_file_however_it_was_cut(tmp_path: Path, cut: tuple[int, int]) -> None:
    """Byte for byte."""
    whole = picture()
    write_raster(tmp_path / "whole.tif", whole, GRID, crs="EPSG:32615", nodata=NODATA)
    parts = tiles(GRID, *cut)
    for tile in parts:
        write_raster(tmp_path / f"{tile.name}.tif", whole[GRID.slices(tile.grid)], tile.grid, crs="EPSG:32615", nodata=NODATA)
    paths = [tmp_path / f"{tile.name}.tif" for tile in parts]
    fill = mosaic(paths, [tile.grid for tile in parts], bands=1, dtype="float32", nodata=NODATA)
    write_strips(tmp_path / "joined.tif", fill, GRID, bands=1, dtype="float32", crs="EPSG:32615", nodata=NODATA)
    assert (tmp_path / "joined.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()


def test_a_window_over_the_rim(tmp_path: Path) -> None:
    """Beyond the rim lies nodata."""
    write_raster(tmp_path / "a.tif", picture(), GRID, nodata=NODATA)
    with open_raster(tmp_path / "a.tif") as (file, grid):
        part = read_part(file, grid, grid.part(-2, -1, 5, 4), NODATA)[0]
    assert (part[0] == NODATA).all() and (part[:, :2] == NODATA).all()
    assert (part[1:, 2:] == picture()[:3, :3]).all()


def test_an_array_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        write_raster(tmp_path / "a.tif", np.zeros((2, 2), np.uint8), GRID)


def test_nothing_but_the_tiff_itself_is_read(tmp_path: Path) -> None:
    """A node's file is no list of other files, as GDAL's VRT is, whatever its name; nor do files beside it count."""
    write_raster(tmp_path / "secret.tif", picture(), GRID)
    (tmp_path / "tile.tif").write_text(
        f'<VRTDataset rasterXSize="{GRID.columns}" rasterYSize="{GRID.rows}"><GeoTransform>0,1,0,8,0,-1</GeoTransform>'
        f'<VRTRasterBand dataType="Float32" band="1"><SimpleSource><SourceFilename>{tmp_path}/secret.tif</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with rasterio.open(tmp_path / "tile.tif") as file:
        assert (file.read(1) == picture()).all()  # so GDAL alone would
    with pytest.raises(rasterio.errors.RasterioIOError, match="not recognized"):
        read_raster(tmp_path / "tile.tif")


@pytest.mark.parametrize("block", [256, 32768])
def test_a_small_file_that_announces_a_huge_picture_is_refused_before_memory_is_taken(tmp_path: Path, block: int) -> None:
    """As verify asks for the shape that a tile must have; and a single block may be no bomb either."""
    size = {"width": 32768, "height": 32768, "count": 1, "dtype": "uint8", "tiled": True, "blockxsize": block, "blockysize": block}
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", SPARSE_OK=True, transform=rasterio.Affine(1, 0, 0, 0, -1, 8), **size):
        pass
    with pytest.raises(ValueError, match="cells, not 1 x 8 x 8" if block == 256 else "blocks are larger"):
        read_raster(tmp_path / "a.tif", (1, 8, 8))
