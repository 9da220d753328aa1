"""Tilings: every pixel once, whatever the numbers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from clusterray.common.kinds.tiles import BLOCK, ROOMY, automatic, cuts, grid, grown
from clusterray.common.model import FarmShape
from hypothesis import given
from hypothesis import strategies as st

sizes = st.integers(1, 5000)


@given(sizes, st.data())
def test_cuts_cover_everything_once(size: int, data: st.DataObject) -> None:
    """No column is lost and none is rendered twice, for any number of parts: 2010's W // N lost the last ones."""
    parts = data.draw(st.integers(1, min(size, 300)))
    bounds = cuts(size, parts)
    assert bounds[0] == 0 and bounds[-1] == size and len(bounds) == parts + 1
    assert all(left < right for left, right in pairwise(bounds))


@pytest.mark.parametrize(("size", "parts"), [(640, 3), (640, 7), (1000, 6), (317, 3), (7, 7), (1, 1)])
def test_the_sizes_that_2010_lost_columns_of(size: int, parts: int) -> None:
    """Parts differ by at most one pixel where they are small."""
    bounds = cuts(size, parts)
    lengths = [right - left for left, right in pairwise(bounds)]
    assert sum(lengths) == size
    assert size // parts >= ROOMY or max(lengths) - min(lengths) <= 1


def test_roomy_parts_end_on_blocks() -> None:
    """Big tiles are cut where POV-Ray's blocks end, so that no block is rendered twice."""
    assert cuts(1920, 3) == [0, 640, 1280, 1920]
    assert all(bound % BLOCK == 0 for bound in cuts(1000, 6)[1:-1])


def test_more_parts_than_pixels_are_refused() -> None:
    """There is no empty tile."""
    with pytest.raises(ValueError, match="3 pixels"):
        cuts(3, 4)


def test_grid_names_sort_in_the_order_of_rows() -> None:
    """Names say where a tile lies and sort as the stitch wants them."""
    tiles = list(grid(100, 60, 12, 3))
    assert [tile.name for tile in tiles] == sorted(tile.name for tile in tiles)
    assert sum((r - x) * (b - t) for x, t, r, b in (tile.rect for tile in tiles)) == 6000


@given(sizes, sizes, st.integers(1, 400))
def test_automatic_suits_the_farm(width: int, height: int, slots: int) -> None:
    """``auto`` never cuts finer than blocks, and makes no more than four tiles per slot by much."""
    columns, rows = automatic(width, height, FarmShape(slots=slots))
    assert 1 <= columns <= max(1, width // BLOCK) and 1 <= rows <= max(1, height // BLOCK)
    assert columns * rows <= 4 * slots * 1.5 + 1


def test_automatic_examples() -> None:
    """A small picture stays whole or nearly so; a big one gives each slot three to five tiles."""
    assert automatic(100, 100, FarmShape(slots=8)) == (1, 1)
    assert automatic(800, 600, FarmShape(slots=1)) == (1, 1)
    columns, rows = automatic(1920, 1080, FarmShape(slots=8))
    assert 24 <= columns * rows <= 40
    columns, rows = automatic(7680, 4320, FarmShape(slots=100))
    assert 300 <= columns * rows <= 500


@given(sizes, sizes, st.sampled_from([1, BLOCK]), st.data())
def test_grown_contains_the_tile_and_avoids_the_trap(width: int, height: int, block: int, data: st.DataObject) -> None:
    """What is rendered holds the tile, starts on a block, and never ends at column or row 1, which POV-Ray takes for 100 %."""
    left = data.draw(st.integers(0, width - 1))
    top = data.draw(st.integers(0, height - 1))
    right = data.draw(st.integers(left + 1, width))
    bottom = data.draw(st.integers(top + 1, height))
    x, y, x2, y2 = grown((left, top, right, bottom), width, height, block)
    assert 0 <= x <= left < right <= x2 <= width and 0 <= y <= top < bottom <= y2 <= height
    assert x % block == 0 and y % block == 0
    assert (x2 > 1 or width == 1) and (y2 > 1 or height == 1)
    assert x2 == width or x2 % block == 0 or block == 1
