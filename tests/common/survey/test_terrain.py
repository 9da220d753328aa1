"""The terrain below what stands on it."""

from __future__ import annotations

import numpy as np
from clusterray.common.survey.geotiff import NODATA
from clusterray.common.survey.grid import Grid, tiles
from clusterray.common.survey.surface_plan import SurfacePlan
from clusterray.common.survey.terrain import coarse_cell, ground, join_low, low_points, terrain

PLAN = SurfacePlan(
    crs="EPSG:32615", origin=(0.0, 0.0, 0.0), gsd=0.1, resolution=0.5, unit=1e-3, cube=250, thin=100, window=800, fill=5, filter=5.0
)
GRID = Grid(resolution=0.5, west=0.0, north=100.0, columns=200, rows=200)


def hill(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return 8 * np.exp(-((x - 60) ** 2 + (y - 50) ** 2) / 900)


def surface(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A hill with a house of 15 x 20 m on its slope, 6 m high, and a tree."""
    house = (x > 20) & (x < 35) & (y > 40) & (y < 60)
    tree = (x - 75) ** 2 + (y - 75) ** 2 < 9
    return hill(x, y) + 6.0 * house + 4.0 * tree


def made() -> tuple[np.ndarray, np.ndarray]:
    """The terrain model as it comes out, and the truth."""
    random = np.random.default_rng(0)
    x, y = random.uniform(0, 100, (2, 60_000))
    places = np.rint(np.stack([x, y, surface(x, y) + random.normal(0, 0.03, len(x))]) * 1000).astype(np.int64)
    parts = [low_points(places, tile.grid, PLAN) for tile in tiles(GRID, 3, 2)]
    low, left, bottom = join_low(parts, GRID, PLAN)

    def dsm(part: Grid) -> np.ndarray:
        across, down = np.meshgrid(*part.centres())
        return surface(across, down).astype(np.float32)

    found = terrain(dsm, ground(low, coarse_cell(PLAN) * PLAN.unit), left, bottom, PLAN)(GRID)
    return found, hill(*np.meshgrid(*GRID.centres()))


def test_houses_and_trees_vanish_and_the_hill_stays() -> None:
    found, truth = made()
    off = np.abs(found - truth)
    assert np.quantile(off, 0.95) < 0.15 and off.max() < 1.2
    assert found.max() > truth.max() - 0.2


def test_low_points_do_not_depend_on_the_tiles() -> None:
    """Each coarse cell is in one tile, with the same height."""
    random = np.random.default_rng(1)
    places = random.integers((0, 0, 0), (100_000, 100_000, 5000), (30_000, 3)).T
    whole = low_points(places, GRID, PLAN)
    wanted = {(c, r): h for c, r, h in zip(whole["column"], whole["row"], whole["height"], strict=True)}
    found = {}
    for tile in tiles(GRID, 4, 3):
        part = low_points(places, tile.grid, PLAN)
        found.update({(c, r): h for c, r, h in zip(part["column"], part["row"], part["height"], strict=True)})
    assert found == wanted and len(found) > 9000


def test_without_a_surface_there_is_no_terrain() -> None:
    low, left, bottom = join_low([], GRID, PLAN)
    bare = ground(low, 1.0)
    assert np.isnan(bare).all()
    found = terrain(lambda part: np.full(part.shape, NODATA, np.float32), bare, left, bottom, PLAN)(GRID)
    assert (found == NODATA).all()
