"""Many pairs' points become one cloud."""

from __future__ import annotations

import numpy as np
from clusterray.common.survey.fusion import AGREE, COLUMN, FACES, Cloud, joined, thin, votes

PHOTOS = np.array([(3, 4), (4, 9), (3, 9), (9, 12)], np.int32)


def cloud(*points: tuple[int, int, int, int]) -> Cloud:
    """x, y, z, pair"""
    values = np.array(points, np.int64).reshape(-1, 4)
    return Cloud(
        places=values[:, :3].T, colors=np.repeat(values[:, 3:].astype(np.uint8), 3, axis=1), pair=values[:, 3].astype(np.int32),
        coarse=np.zeros(len(values), bool),
    )  # fmt: skip


def test_one_pair_alone_is_not_believed() -> None:
    """However many points it has there; two pairs are three photos or four."""
    seen = votes(cloud((5, 5, 5, 0), (6, 6, 6, 0), (500, 5, 5, 0), (501, 5, 6, 1)), PHOTOS, 10, COLUMN)
    assert seen.tolist() == [2, 2, 3, 3] and AGREE == 3


def test_agreement_reaches_over_the_side_of_a_cube() -> None:
    """Two points a hair apart agree although a border between cubes runs through; two that are far apart do not."""
    above = cloud((5, 5, 9, 0), (5, 5, 10, 3), (5, 5, 45, 1))
    assert votes(above, PHOTOS, 10, COLUMN).tolist() == [4, 4, 2]
    beside = cloud((9, 5, 5, 0), (10, 5, 5, 3))
    assert votes(beside, PHOTOS, 10, FACES).tolist() == [4, 4] and votes(beside, PHOTOS, 10, COLUMN).tolist() == [2, 2]


def test_neither_the_order_nor_what_lies_elsewhere_matters() -> None:
    """Votes and thinned points of a place are the same whatever else was loaded with it: that is what makes tiles equal to the whole."""
    random = np.random.default_rng(5)
    here = cloud(*random.integers((0, 0, 0, 0), (300, 300, 40, 4), (2000, 4)).tolist())
    there = cloud(*random.integers((-70_000, 0, 0, 0), (-69_700, 300, 900, 4), (500, 4)).tolist())
    order = random.permutation(len(here))
    alone, mixed = votes(here, PHOTOS, 10, FACES), votes(joined([there, here.of(order)]), PHOTOS, 10, FACES)
    assert (mixed[len(there) :] == alone[order]).all()
    one, two = thin(here, alone, 25), thin(joined([there, here.of(order)]), mixed, 25)
    kept = two.places[0] > -1000
    assert (one.places == two.places[:, kept]).all() and (one.colors == two.colors[kept]).all() and (one.views == two.views[kept]).all()


def test_one_point_for_each_cube() -> None:
    """At the mean of those in it, also where coordinates are below 0."""
    found = thin(cloud((-4, 2, 0, 1), (-2, 4, 2, 3), (1, 1, 1, 2)), np.array([3, 5, 4], np.uint8), 10)
    assert found.places.T.tolist() == [[-3, 3, 1], [1, 1, 1]]
    assert found.views.tolist() == [5, 4] and found.colors[:, 0].tolist() == [2, 2]


def test_nothing() -> None:
    empty = joined([])
    assert len(votes(empty, PHOTOS, 10, FACES)) == 0 and thin(empty, np.zeros(0, np.uint8), 10).places.shape == (3, 0)
