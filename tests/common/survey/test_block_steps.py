"""Whether submodels meet on the ground."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from clusterray.common.survey.block_steps import count_steps, measure_steps
from clusterray.common.survey.grid import tiles

from .test_surface_tile import GRID, PAIRS, PLAN, plain, together

TWO = [msgspec.structs.replace(pair, block=block) for pair, block in zip(PAIRS, ("north", "north", "south", ""), strict=True)]


@pytest.mark.parametrize("step", [0.0, 0.35, -1.2])
def test_the_step_is_measured(step: float) -> None:
    """Height of the second submodel above the first, and its spread, whatever the tiles."""
    cloud = together(plain(0), plain(1), plain(2, height=step, part=0.5), plain(3, height=50.0))
    whole = measure_steps(count_steps(cloud, TWO, GRID, PLAN), PLAN.gsd)
    parts = [part for tile in tiles(GRID, 3, 2) for part in count_steps(cloud, TWO, tile.grid, PLAN)]
    assert measure_steps(parts, PLAN.gsd) == whole
    (found,) = whole
    assert (found.first, found.second, found.cells) == ("north", "south", 5000)
    assert found.median == pytest.approx(step, abs=0.01) and 0.02 < found.nmad < 0.06


def test_nothing_is_said_of_submodels_that_do_not_touch() -> None:
    alone = together(plain(0), plain(1))
    assert count_steps(alone, TWO[:2], GRID, PLAN) == ()
    cloud = together(plain(0), plain(2).of(np.arange(20)))
    assert measure_steps(count_steps(cloud, TWO, GRID, PLAN), PLAN.gsd) == ()
