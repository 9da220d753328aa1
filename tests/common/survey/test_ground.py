"""The heights under an orthophoto: exact where they were measured, sensible in narrow holes, and the same whichever tile asks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clusterray.common.survey.geotiff import NODATA, write_raster
from clusterray.common.survey.grid import Grid, covering, tiles
from clusterray.common.survey.ground import heights_on

from . import built

GRID = Grid(resolution=0.1, west=500.3, north=800.7, columns=230, rows=190)


def ragged(path: Path) -> np.ndarray:
    """A slope with holes of 1 and 5 m, and nothing in the east."""
    x, y = GRID.centres()
    heights = (100 + 0.2 * (x[None, :] - x[0]) - 0.3 * (y[:, None] - y[0])).astype(np.float32)
    heights[20:30, 20:30] = heights[100:150, 60:110] = heights[:, 170:] = NODATA
    write_raster(path, heights, GRID, nodata=NODATA)
    return heights


def test_narrow_holes_are_filled_and_wide_ones_stay(tmp_path: Path) -> None:
    raw = ragged(tmp_path / "dsm.tif")
    found, filled = heights_on(tmp_path / "dsm.tif", GRID, (0.0, 0.0, 0.0), reach=1.0)
    assert filled[20:30, 20:30].all() and not np.isnan(found[20:30, 20:30]).any()
    assert np.isnan(found[115:135, 75:95]).all() and not filled[115:135, 75:95].any()
    x, y = GRID.centres()
    wanted = 100 + 0.2 * (x[None, :] - x[0]) - 0.3 * (y[:, None] - y[0])
    assert np.abs(found - wanted)[20:30, 20:30].max() < 0.15
    known = raw != NODATA
    assert np.abs(found - wanted)[20:-20, 20:150][known[20:-20, 20:150]].max() < 0.03, "what was measured stays"
    assert np.abs(found - wanted)[known].max() < 0.15, "but in the corners of the survey"


def test_a_wrong_island_in_a_hole_bends_nothing_out_of_shape(tmp_path: Path) -> None:
    """Matching in woods leaves some cells at any height; a picture on them would be full of swirls."""
    heights = np.full(GRID.shape, 100, np.float32)
    heights[60:120, 60:120] = NODATA
    heights[88:91, 88:91] = 125
    write_raster(tmp_path / "dsm.tif", heights, GRID, nodata=NODATA)
    found, _ = heights_on(tmp_path / "dsm.tif", GRID, (0.0, 0.0, 0.0), reach=3.2)
    assert found[88:91, 88:91].max() < 114, "half of it, as part of a broad hill"
    down, across = np.gradient(found)
    assert np.hypot(down, across).max() < 2.5, "metres from cell to cell; 12 as it came"


def test_the_rim_does_not_grow_outward(tmp_path: Path) -> None:
    ragged(tmp_path / "dsm.tif")
    found, _ = heights_on(tmp_path / "dsm.tif", GRID.grown(30), (0.0, 0.0, 0.0), reach=2.5)
    assert np.isnan(found[:, 30 + 171 :]).all()
    assert np.isnan(found[:29]).all() and np.isnan(found[:, :29]).all()


def test_tiles_have_the_heights_of_the_whole(tmp_path: Path) -> None:
    ragged(tmp_path / "dsm.tif")
    fine = covering(GRID.bounds, 0.07)
    whole, holes = heights_on(tmp_path / "dsm.tif", fine, (1.0, 2.0, 3.0), reach=2.8)
    for part in tiles(fine, 4, 3):
        found, filled = heights_on(tmp_path / "dsm.tif", part.grid, (1.0, 2.0, 3.0), reach=2.8)
        assert np.array_equal(found, whole[fine.slices(part.grid)], equal_nan=True)
        assert np.array_equal(filled, holes[fine.slices(part.grid)])


def test_heights_between_cells_are_bilinear_and_holes_stay(tmp_path: Path) -> None:
    grid = built.GRID.part(0, 0, 20, 10)
    x, y = grid.centres()
    heights = (100 + 2 * (x[None, :] - x[0]) - 3 * (y[:, None] - y[0])).astype(np.float32)
    heights[4:6, 8:10] = NODATA
    write_raster(tmp_path / "dsm.tif", heights, grid, nodata=NODATA)
    fine = covering((grid.bounds[0] + 0.1, grid.bounds[1] + 0.1, grid.bounds[2] - 0.1, grid.bounds[3] - 0.1), 0.015)
    found, filled = heights_on(tmp_path / "dsm.tif", fine, (0.0, 0.0, 90.0))
    fx, fy = fine.centres()
    wanted = 10 + 2 * (fx[None, :] - x[0]) - 3 * (fy[:, None] - y[0])
    good = ~np.isnan(found)
    assert not filled.any()
    assert np.abs(found - wanted)[good].max() < 0.11, "beside the hole the nearest cell counts, half a cell away"
    assert np.median(np.abs(found - wanted)[good]) < 1e-4
    assert (~good).mean() == pytest.approx(4 * 0.04**2 / (fine.columns * fine.rows * 0.015**2), rel=0.25)
