"""The grid that all tiles share."""

from __future__ import annotations

import numpy as np
import pytest
from clusterray.common.survey.grid import Grid, automatic, covering, cut, tiles, touch
from hypothesis import given
from hypothesis import strategies as some

sizes = some.integers(1, 60)
resolutions = some.sampled_from((0.033, 0.05, 0.1, 0.25, 1.0))


places = some.integers(-10_000, 200_000_000)


@given(resolutions, places, places, sizes, sizes, some.integers(1, 7), some.integers(1, 7))
def test_every_cell_is_in_one_tile(resolution: float, left: int, top: int, columns: int, rows: int, across: int, down: int) -> None:
    """However an area is cut, no cell is lost or made twice."""
    grid = Grid(resolution=resolution, west=left * resolution, north=-top * resolution, columns=columns, rows=rows)
    times = np.zeros(grid.shape, int)
    for tile in tiles(grid, across, down):
        times[grid.slices(tile.grid)] += 1
    assert (times == 1).all()
    assert (grid.left, grid.top) == (left, top)


@given(resolutions, some.floats(500_000, 500_100), some.floats(5_000_000, 5_000_100), some.integers(0, 50))
def test_a_place_is_in_the_same_cell_whichever_tile_asks(resolution: float, x: float, y: float, margin: int) -> None:
    """Tiles with margins agree on where a point lies."""
    grid = covering((500_000, 5_000_000, 500_100, 5_000_100), resolution)
    for tile in tiles(grid, 3, 2):
        wide = tile.grid.grown(margin)
        (one,), (two,) = grid.cells(np.array([x]), np.array([y]))
        (a,), (b,) = wide.cells(np.array([x]), np.array([y]))
        assert (a + wide.left, b + wide.top) == (one + grid.left, two + grid.top)


def test_covering_and_centres() -> None:
    """The grid covers its bounds, on multiples of the resolution, and the middles of its cells lie in those cells."""
    grid = covering((100.03, 49.96, 101.01, 51.0), 0.1)
    west, south, east, north = grid.bounds
    assert west <= 100.03 and south <= 49.96 and east >= 101.01 and north >= 51.0
    assert (grid.left, grid.top) == (1000, -510)
    x, y = grid.centres()
    columns, _ = grid.cells(x, np.full_like(x, y[0]))
    _, rows = grid.cells(np.full_like(y, x[0]), y)
    assert columns.tolist() == list(range(grid.columns)) and rows.tolist() == list(range(grid.rows))


def test_what_two_tiles_have_in_common() -> None:
    grid = Grid(resolution=1.0, west=0.0, north=0.0, columns=10, rows=10)
    one, two = tiles(grid, 2, 1)
    assert one.grid.grown(2).inside(two.grid).columns == 2
    assert one.grid.inside(two.grid).columns == 0
    assert touch((0, 0, 2, 2), (1, 1, 3, 3)) and not touch((0, 0, 1, 1), (1, 0, 2, 1))


@pytest.mark.parametrize("option", ["auto", [3, 2]])
def test_tiles_by_the_option(option: str | list[int]) -> None:
    """[columns, rows] is taken at its word; auto makes tiles of about the size that is asked for, about square."""
    grid = Grid(resolution=1.0, west=0.0, north=0.0, columns=600, rows=400)
    made = cut(grid, option, 40_000)
    assert len(made) == 6
    assert automatic(grid, 10**9) == (1, 1)
