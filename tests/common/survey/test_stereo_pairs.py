"""Which photos make pairs."""

from __future__ import annotations

import numpy as np
import pytest
from clusterray.common.survey.scene import Scene, View
from clusterray.common.survey.stereo_pairs import MOST_ANGLE, PARTNERS, Pair, choose, chunks

from . import built, painted


def scene_of(places: list[tuple[float, float, float]]) -> Scene:
    """Photos of a plain that look straight down."""
    views = [painted.view(n, place, (place[0], place[1], 0.0), up=(0, 1, 0)) for n, place in enumerate(places)]
    return made(views)


def made(views: list[View]) -> Scene:
    random = np.random.default_rng(2)
    points = np.column_stack([random.uniform(-20, 20, (9000, 2)), np.zeros(9000)])
    inside = []
    for view in views:
        pixels, depth = view.project(points)
        inside.append(((pixels > 0) & (pixels < (320, 240))).all(axis=1) & (depth > 0))
    seen = np.array(inside)
    kept = np.flatnonzero(seen.sum(0) >= 2)
    return Scene(
        frame=built.HERE, views=tuple(views), points=points[kept], colors=np.zeros((len(kept), 3), np.uint8), errors=np.zeros(len(kept)),
        tracks=tuple(np.flatnonzero(seen[:, point]).astype(np.int32) for point in kept),
    )  # fmt: skip


FLIGHT = [(x, y, 6.0) for y in (-4.5, -1.5, 1.5, 4.5) for x in (-6.0, -4.5, -3.0, -1.5, 0.0, 1.5, 3.0, 4.5, 6.0)]


def test_each_pair_once_each_photo_in_some() -> None:
    """An ordinary flight: photos get about four partners, whose lines of sight differ by a good angle."""
    pairs = choose(scene_of(FLIGHT))
    names = [pair.name for pair in pairs]
    assert names == sorted(set(names)) and all(pair.first < pair.second for pair in pairs)
    assert {one for pair in pairs for one in (pair.first, pair.second)} == set(range(len(FLIGHT)))
    assert len(FLIGHT) <= len(pairs) <= PARTNERS * len(FLIGHT)
    assert 8 < np.median([pair.angle for pair in pairs]) < 30 and max(pair.angle for pair in pairs) <= MOST_ANGLE


def test_partners_lie_on_several_sides() -> None:
    """What one neighbour does not see behind a wall, another does: pairs run along the strips and across."""
    ways = [np.abs(np.subtract(FLIGHT[pair.first], FLIGHT[pair.second])) for pair in choose(scene_of(FLIGHT))]
    assert any(way[1] > way[0] for way in ways) and any(way[0] > way[1] for way in ways)


@pytest.mark.parametrize(
    ("places", "why"),
    [
        ([(0, 0, 6.0), (0.1, 0, 6.0)], "the angle is too small"),
        ([(0, 0, 6.0), (5.5, 0, 6.0)], "they overlap too little"),
        ([(0, 0, 6.0), (1.0, 0, 15.0)], "one is far smaller than the other"),
    ],
)
def test_what_makes_no_pair(places: list[tuple[float, float, float]], why: str) -> None:
    assert not choose(scene_of(places)), why


def test_chunks_hold_each_pair_once_and_lie_together() -> None:
    """A job has few pairs, and they share photos."""
    pairs = choose(scene_of(FLIGHT))
    parts = chunks(pairs, 6)
    assert sorted(pair.name for part in parts for pair in part) == [pair.name for pair in pairs]
    assert all(1 <= len(part) <= 6 for part in parts)
    photos = [len({one for pair in part for one in (pair.first, pair.second)}) for part in parts]
    assert np.mean(photos) < 9
    assert chunks(()) == ()


def test_chunks_of_pairs_in_one_place() -> None:
    pairs = [Pair(first=0, second=n, middle=(0.0, 0.0, 0.0), angle=10.0, score=1.0) for n in range(1, 20)]
    assert sum(len(part) for part in chunks(pairs, 4)) == 19
