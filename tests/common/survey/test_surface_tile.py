"""Heights of cells."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from clusterray.common.survey.depth_index import PairEntry
from clusterray.common.survey.footprint import Sight
from clusterray.common.survey.fusion import Cloud, joined
from clusterray.common.survey.geotiff import NODATA
from clusterray.common.survey.grid import Grid
from clusterray.common.survey.surface_plan import SurfacePlan, round_up
from clusterray.common.survey.surface_tile import accept, filled, heights

PLAN = SurfacePlan(
    crs="EPSG:32615", origin=(0.0, 0.0, 0.0), gsd=0.1, resolution=0.1, unit=1e-3, cube=250, thin=100, window=800, fill=5, filter=5.0
)
GRID = Grid(resolution=0.1, west=0.0, north=10.0, columns=100, rows=100)
SIGHT = Sight(centre=(5.0, 5.0, 20.0), height=0.0, ground=((0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)))


def pair(first: int, second: int) -> PairEntry:
    return PairEntry(
        name=f"{first}-{second}", first=first, second=second, points=1, gsd=0.1, photo_gsd=0.1, low=(0.0, 0.0, 0.0), high=(10.0, 10.0, 5.0),
        angle=15.0, sights=(SIGHT, SIGHT),
    )  # fmt: skip


def plain(number: int, height: float = 0.0, noise: float = 0.03, part: float = 1.0, coarse: bool = False) -> Cloud:
    """Points of a pair all over the square, one in each cell."""
    random = np.random.default_rng(number)
    x, y = np.meshgrid(np.arange(0.05, 10, 0.1), np.arange(0.05, 10 * part, 0.1))
    z = height + random.normal(0, noise, x.size)
    places = np.rint(np.stack([x.ravel(), y.ravel(), z]) * 1000).astype(np.int64)
    count = places.shape[1]
    return Cloud(
        places=places, colors=np.zeros((count, 3), np.uint8), pair=np.full(count, number, np.int32), coarse=np.full(count, coarse)
    )


def together(*clouds: Cloud) -> Cloud:
    return joined(clouds)


PAIRS = [pair(0, 1), pair(1, 2), pair(2, 3), pair(3, 4)]


def test_what_pairs_agree_on_counts_and_what_one_says_does_not() -> None:
    cloud = together(plain(0), plain(1), plain(2), plain(3, height=3.0))
    good, views = accept(cloud, PAIRS, PLAN)
    assert good[cloud.pair < 3].all() and not good[cloud.pair == 3].any()
    assert np.median(views[good]) == 4


def test_at_the_rim_one_pair_is_enough() -> None:
    """Where at most two pairs look, and nothing contradicts."""
    good, _ = accept(plain(0), PAIRS[:1], PLAN)
    assert good.mean() > 0.9, "but for the very edge"
    good, _ = accept(together(plain(0), plain(1, height=3.0)), PAIRS[:2], PLAN)
    assert not good.any()
    good, _ = accept(plain(0), PAIRS, PLAN)  # four pairs look, one sees something
    assert not good.any()


def test_small_patches_of_one_pair_are_chance() -> None:
    patches = plain(0)
    x, y = patches.places[:2] // 100
    good, _ = accept(patches.of((x % 25 < 8) & (y % 25 < 8)), PAIRS[:1], PLAN)
    assert not good.any()


def test_coarse_points_count_where_there_is_nothing_better() -> None:
    """In a wood, not beside what is known exactly."""
    wood = together(*(plain(n, 2.0, coarse=True) for n in range(3)))
    good, _ = accept(wood, PAIRS, PLAN)
    assert good.mean() > 0.97
    both = together(wood, plain(0), plain(1))
    good, _ = accept(both, PAIRS, PLAN)
    assert good[~both.coarse].all() and good[both.coarse].mean() < 0.05


def test_a_point_far_from_all_around_is_left_out() -> None:
    """By pc-filter; 0 keeps it."""
    spike = np.array([[5000, 5020, 5040], [5000, 5020, 5040], [9000, 9010, 9020]], np.int64)
    thorn = Cloud(places=spike, colors=np.zeros((3, 3), np.uint8), pair=np.array([0, 1, 2], np.int32), coarse=np.zeros(3, bool))
    cloud = together(plain(0), plain(1), thorn)
    for limit, kept in ((5.0, False), (0.0, True)):
        plan = msgspec.structs.replace(PLAN, filter=limit)
        good, _ = accept(cloud, PAIRS, plan)
        assert good[-3:].all() == kept and good[:-3].mean() > 0.99


def test_flat_ground_is_not_lifted_and_a_wall_has_its_top() -> None:
    """The mean of noisy points, not their upper end; and in the cell of a wall the roof, although more points lie below."""
    dsm = heights(together(*(plain(n) for n in range(4))).places, GRID, PLAN)
    assert dsm.shape == GRID.shape and (dsm != NODATA).all()
    assert abs(np.median(dsm)) < 0.005 and np.abs(dsm).max() < 0.1
    x, y = np.full(10, 5050), np.full(10, 5050)
    wall = heights(np.stack([x, y, np.array([0, 5, 10, 15, 20, 25, 30, 4000, 4010, 4020])]), GRID, PLAN)
    assert (wall != NODATA).sum() == 1 and wall.max() == pytest.approx(4.01, abs=0.001)


def test_small_holes_are_filled_and_the_rim_stays() -> None:
    dsm = np.full((60, 60), NODATA, np.float32)
    dsm[10:50, 10:50] = np.arange(10, 50, dtype=np.float32) / 10
    dsm[20:26, 20:26] = NODATA
    found = filled(dsm, 5, 10.0)
    assert (found[20:26, 20:26] != NODATA).all()
    assert np.abs(found[20:26, 20:26] - np.arange(20, 26) / 10).max() < 0.35
    known = dsm != NODATA
    assert (found[known] == dsm[known]).all()
    assert (found[:10] == NODATA).all() and (found[:, :10] == NODATA).all()


def test_large_holes_stay_empty() -> None:
    dsm = np.zeros((80, 80), np.float32)
    dsm[20:60, 20:60] = NODATA
    assert (filled(dsm, 5, 10.0)[26:54, 26:54] == NODATA).all()


def test_at_the_foot_of_a_wall_the_hole_is_ground() -> None:
    dsm = np.zeros((40, 40), np.float32)
    dsm[:, 20:] = 8.0
    dsm[10:30, 15:20] = NODATA
    assert (filled(dsm, 5, 1.0)[10:30, 15:20] == 0).all()


def test_resolutions_that_a_person_may_write_down() -> None:
    assert [round_up(value) for value in (0.0324, 0.1, 0.0995, 0.101, 1.234)] == [0.033, 0.1, 0.1, 0.11, 1.3]
