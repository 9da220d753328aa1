"""Which photos see a place: what stands in the way hides it, and no more than that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clusterray.common.survey.geotiff import NODATA, write_raster
from clusterray.common.survey.visibility import POOL, depth_below, project, read_relief, seen_bounds

from . import built, painted

EAST = painted.view(0, (4.0, 0.0, 5.0), (4.0, 0.0, 0.0), up=(0, 1, 0))
"""Beside the box, to the east of it."""


@pytest.fixture
def dsm(tmp_path: Path) -> Path:
    write_raster(tmp_path / "dsm.tif", built.heights(built.GRID), built.GRID, crs="EPSG:32615", nodata=NODATA)
    return tmp_path / "dsm.tif"


def below(dsm: Path, x: list[float], y: list[float], z: float = 0.0) -> np.ndarray:
    relief = read_relief(dsm, built.GRID.bounds, built.ORIGIN)
    return depth_below(EAST, relief, np.array(x), np.array(y), np.full((len(y), len(x)), z), 8.0)


def test_what_lies_behind_a_house_is_hidden(dsm: Path) -> None:
    """The roof's far edge (x = -1) is 3.5 m below the camera and 5 m away; the ground is hidden to x = -3.1."""
    hidden = below(dsm, [-1.2, -2.0, -2.6], [0.0, 0.5]) > 0
    assert hidden.all()


def test_ground_in_front_of_a_house_and_its_roof_are_seen(dsm: Path) -> None:
    assert (below(dsm, [1.2, 2.0, 2.9], [0.0, 0.5]) <= 0).all()
    assert (below(dsm, [-0.9, 0.0, 0.9], [0.0, 0.9], painted.HEIGHT) <= 0).all()
    assert (below(dsm, [-2.0], [2.5, -2.5]) <= 0).all(), "beside the house nothing is in the way"


def test_the_depth_below_the_line_of_sight_is_right(dsm: Path) -> None:
    """Behind the roof's edge the line of sight falls by 3.5 / 5 of a metre for each metre; one cell of 8 cm is for safety."""
    sight = painted.HEIGHT - (2.0 - 1.0) * 3.5 / 5
    assert below(dsm, [-2.0], [0.0])[0, 0] == pytest.approx(sight + built.GRID.resolution * POOL, abs=0.06)


def test_a_part_of_the_map_has_the_values_of_the_whole(dsm: Path) -> None:
    """Tiles meet without a step, because what a tile sees does not depend on where it ends."""
    relief = read_relief(dsm, built.GRID.bounds, built.ORIGIN)
    x, y = np.linspace(-2.9, 2.9, 60), np.linspace(2.9, -2.9, 50)
    z = np.where((np.abs(x)[None, :] < 1) & (np.abs(y)[:, None] < 1), painted.HEIGHT, 0.0)
    whole = depth_below(EAST, relief, x, y, z, 8.0)
    part = depth_below(EAST, relief, x[7:31], y[11:40], z[11:40, 7:31], 8.0)
    assert np.array_equal(part, whole[11:40, 7:31])


def test_cells_without_a_height_hide_nothing(tmp_path: Path) -> None:
    heights = built.heights(built.GRID)
    heights[heights > 251] = NODATA
    write_raster(tmp_path / "dsm.tif", heights, built.GRID, nodata=NODATA)
    assert (below(tmp_path / "dsm.tif", [-2.0], [0.0]) <= 0).all()


def test_places_are_projected_as_the_scene_does_it() -> None:
    points = np.random.default_rng(0).uniform((2.8, -1, 0), (5.2, 1, 1), (200, 3))
    u, v, depth = project(EAST, *points.T.copy())
    pixels, deep = EAST.project(points)
    assert np.allclose(u, pixels[:, 0]) and np.allclose(v, pixels[:, 1]) and np.allclose(depth, deep)


def test_places_beside_or_behind_the_lens_have_no_pixel() -> None:
    """A polynomial of distortion would bring places far outside back into the picture."""
    u, _, _ = project(EAST, np.array([4.0, 30.0]), np.array([0.0, 0.0]), np.array([6.0, 0.0]))
    assert np.isnan(u).all()


def test_a_photo_sees_nothing_outside_of_its_rectangle() -> None:
    """It says which photos a tile's job must have."""
    tilted = painted.view(1, (0, 0, 5), (2, 1, 0))
    for view in (EAST, tilted):
        bounds = seen_bounds(view, 0.0, 1.5)
        assert bounds is not None
        points = np.random.default_rng(3).uniform((-20, -20, 0), (20, 20, 1.5), (20_000, 3))
        u, v, _ = project(view, *points.T.copy())
        seen = points[(u > 0) & (v > 0) & (u < view.lens.width) & (v < view.lens.height)]
        assert len(seen) > 50
        assert (seen[:, 0] > bounds[0]).all() and (seen[:, 0] < bounds[2]).all()
        assert (seen[:, 1] > bounds[1]).all() and (seen[:, 1] < bounds[3]).all()


def test_a_photo_of_the_sky_sees_no_ground() -> None:
    assert seen_bounds(painted.view(0, (0, 0, 5), (0.1, 0, 9)), 0.0, 1.0) is None
