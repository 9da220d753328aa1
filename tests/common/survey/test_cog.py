"""Finished rasters, as other programs read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from clusterray.common.process import find_program, run
from clusterray.common.survey.cog import publish
from clusterray.common.survey.crop import Keep
from clusterray.common.survey.geotiff import NODATA, write_raster
from clusterray.common.survey.grid import Grid
from rio_cogeo.cogeo import cog_validate

GRID = Grid(resolution=0.037, west=0.037 * 15586000, north=0.037 * 140220000, columns=1300, rows=700)
_CORNERS = np.array([(200.0, 100.0), (1100.0, 100.0), (1100.0, 600.0), (200.0, 600.0)])
BOUNDARY = Keep(polygons=((_CORNERS * 0.037 * (1, -1) + (GRID.bounds[0], GRID.bounds[3]),),))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An orthophoto and a surface model as the stages leave them."""
    folder = tmp_path_factory.mktemp("cog")
    random = np.random.default_rng(0)
    rgba = random.integers(0, 255, (4, *GRID.shape)).astype(np.uint8) // 32 * 32
    rgba[3] = 255
    rgba[:, :40] = 0
    write_raster(folder / "ortho.tif", rgba, GRID, crs="EPSG:32615", photometric="RGB", alpha="YES", interleave="pixel")
    heights = (200 + np.add.outer(np.arange(GRID.rows), np.arange(GRID.columns)) / 100).astype(np.float32)
    heights[:40] = NODATA
    write_raster(folder / "dsm.tif", heights, GRID, crs="EPSG:32615+5773", nodata=NODATA)
    return folder


def made(sources: Path, to: Path, name: str, keep: Keep) -> Path:
    crs, nodata = ("EPSG:32615", None) if name == "ortho" else ("EPSG:32615+5773", NODATA)
    publish(sources / f"{name}.tif", to / f"{name}.tif", keep, to / "scratch", crs, nodata)
    return to / f"{name}.tif"


@pytest.mark.parametrize("name", ["ortho", "dsm"])
def test_it_is_a_valid_cog_with_overviews(sources: Path, tmp_path: Path, name: str) -> None:
    path = made(sources, tmp_path, name, Keep())
    valid, errors, warnings = cog_validate(path)
    assert valid and not errors and not warnings
    with rasterio.open(path) as file:
        assert file.overviews(1) == [2, 4]


@pytest.mark.parametrize("name", ["ortho", "dsm"])
def test_not_one_value_changes_and_none_moves(sources: Path, tmp_path: Path, name: str) -> None:
    """Rows in which nothing is are cut off, the others are where they were."""
    with rasterio.open(made(sources, tmp_path, name, Keep())) as file, rasterio.open(sources / f"{name}.tif") as source:
        assert (file.width, file.height) == (1300, 660)
        assert np.array_equal(file.read(), source.read()[:, 40:])
        assert file.transform.a == GRID.resolution
        assert file.transform.f == pytest.approx(source.transform.f - 40 * 0.037, abs=1e-6)


def test_the_boundary_cuts_both(sources: Path, tmp_path: Path) -> None:
    with rasterio.open(made(sources, tmp_path, "ortho", BOUNDARY)) as file:
        assert (file.width, file.height) == (900, 500)
        assert (file.read(4) == 255).all()
    with rasterio.open(made(sources, tmp_path, "dsm", BOUNDARY)) as file:
        assert file.nodata == NODATA and file.dtypes == ("float32",)
        assert (file.width, file.height) == (900, 500)


def test_a_vertical_datum_stays(sources: Path, tmp_path: Path) -> None:
    with rasterio.open(made(sources, tmp_path, "dsm", Keep())) as file:
        assert "EGM96" in file.crs.wkt and "UTM zone 15N" in file.crs.wkt


def test_the_same_picture_is_the_same_bytes(sources: Path, tmp_path: Path) -> None:
    for name in ("ortho", "dsm"):
        one, other = (made(sources, tmp_path / place, name, BOUNDARY).read_bytes() for place in ("a", "b"))
        assert one == other
        assert b"DateTime" not in one and b"2026:" not in one


def test_gdal_reads_it(sources: Path, tmp_path: Path) -> None:
    """With GDAL's own program, as QGIS would."""
    gdalinfo = find_program("gdalinfo")
    assert gdalinfo, "apt-get install gdal-bin"
    wanted = {"ortho": ("LAYOUT=COG", "ColorInterp=Alpha", "PREDICTOR=2"), "dsm": ("LAYOUT=COG", "NoData Value=-9999", "EGM96")}
    for name, words in wanted.items():
        path = made(sources, tmp_path, name, Keep())
        done = run([gdalinfo, "-checksum", str(path)], timeout=60, env={"PATH": "/usr/bin:/bin"})
        assert done.code == 0, done.stderr
        assert all(word in done.stdout for word in ("Pixel Size = (0.037", "UTM zone 15N", *words))
        assert "ERROR" not in done.stderr


def test_where_nothing_is_kept_there_is_still_a_picture(sources: Path, tmp_path: Path) -> None:
    nothing = Keep(depth=np.full((4, 4), -1, np.float32), grid=GRID.part(0, 0, 4, 4))
    with rasterio.open(made(sources, tmp_path, "ortho", nothing)) as file:
        assert not file.read().any()
