"""How photos are cut into submodels."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from clusterray.common.survey.matching import joined
from clusterray.common.survey.records import Block, Matches, Photo
from clusterray.common.survey.submodels import count, cut
from hypothesis import given
from hypothesis import strategies as st

from .test_pairs import grid, photos


def near(places: list[tuple[float, float]], reach: float) -> Matches:
    """Photos closer than ``reach`` match, the better the closer."""
    found = []
    for a, one in enumerate(places):
        for b in range(a + 1, len(places)):
            far = float(np.hypot(one[0] - places[b][0], one[1] - places[b][1]))
            if far < reach:
                found.append(((a, b), np.zeros((15 + int(80 * (1 - far / reach)), 2), np.uint32), 2))
    return joined(found)


def parts(blocks: list[Block], photos: int) -> None:
    """Cores hold each photo once; blocks their core; neighbours share 6 and more."""
    assert sorted(number for block in blocks for number in block.core) == list(range(photos))
    assert all(set(block.core) <= set(block.photos) and list(block.photos) == sorted(block.photos) for block in blocks)


@pytest.mark.parametrize(
    ("many", "nodes", "split", "blocks"),
    [(18, 8, 0, 1), (39, 8, 0, 1), (75, 1, 0, 1), (75, 4, 0, 2), (400, 1, 0, 4), (400, 50, 0, 13), (75, 1, 25, 3),
     (75, 9, 1000, 1), (5, 1, 1, 3)],
)  # fmt: skip
def test_how_many_follows_from_photos_and_nodes_or_the_user(many: int, nodes: int, split: int, blocks: int) -> None:
    """Few photos: one. Many: 100 a core at most; more nodes: smaller ones, of 30 at least. ``split`` decides alone."""
    assert count(many, nodes, split) == blocks


def test_halves_of_equal_size_that_share_photos() -> None:
    """18 photos in 2: 9 and 9, 3 given from each side, as the reference measured."""
    places = grid(6, 3, 20, 20)
    one, other = cut(photos(places), near(places, 45), 2)
    parts([one, other], 18)
    assert (len(one.core), len(other.core), len(one.photos), len(other.photos)) == (9, 9, 12, 12)
    assert max(number % 6 for number in one.core) < min(number % 6 for number in other.core)
    assert {number % 6 for number in set(one.photos) & set(other.photos)} == {2, 3}


@given(st.integers(4, 90), st.integers(1, 7), st.integers(0, 1000))
def test_whatever_the_photos_each_is_in_one_core(many: int, blocks: int, seed: int) -> None:
    """Photos anywhere, also several at one place, also such that match nothing; the same each time."""
    rng = np.random.default_rng(seed)
    places = [(float(x), float(y)) for x, y in rng.integers(0, 8, (many, 2)) * 10]
    matches = near(places, 21)
    made = cut(photos(places), matches, blocks)
    parts(made, many)
    assert made == cut(photos(places), matches, blocks)
    assert len({block.name for block in made}) == len(made) <= blocks


def test_neighbours_share_a_third_of_a_core() -> None:
    """240 photos in 6: cores of 40; every two that adjoin share 12 photos, 6 of each."""
    places = grid(20, 12, 20, 20)
    blocks = cut(photos(places), near(places, 45), 6)
    parts(blocks, 240)
    assert {len(block.core) for block in blocks} == {40}
    shared = [len(set(a.photos) & set(b.photos)) for at, a in enumerate(blocks) for b in blocks[:at]]
    assert sum(size >= 12 for size in shared) >= 7


def test_overlap_in_metres() -> None:
    """split-overlap = 50: every photo within 50 m of a core is in its block."""
    places = grid(20, 4, 20, 20)
    for block in cut(photos(places), near(places, 45), 2, 50.0):
        for number, place in enumerate(places):
            if min(np.hypot(place[0] - places[core][0], place[1] - places[core][1]) for core in block.core) < 49:
                assert number in block.photos


def test_without_gps_photos_that_match_stay_together() -> None:
    """A walk of 60: two halves of the way, whatever the photos are numbered."""
    order = np.random.default_rng(2).permutation(60)
    places = [(10.0 * order[number], 0.0) for number in range(60)]
    one, other = cut(photos([None] * 60), near(places, 45), 2)
    parts([one, other], 60)
    first, second = ({int(order[number]) for number in block.core} for block in (one, other))
    assert min(max(first), max(second)) < max(min(first), min(second)) + 3 and abs(len(first) - 30) < 4
    assert len(set(one.photos) & set(other.photos)) >= 6


def test_a_photo_that_matches_only_the_other_side_goes_there() -> None:
    """Its GPS is wrong: it lies amid the first core, and what it shows is in the second."""
    places = grid(20, 4, 20, 20)
    matches = near(places, 45)
    says = list(places)
    says[79] = (0.0, 0.0)
    one, other = cut(photos(says), matches, 2)
    assert 79 in (other if 60 + 18 in other.core else one).core


def grouped(names: list[str]) -> list[Photo]:
    places = grid(10, 4, 20, 20)
    return [msgspec.structs.replace(photo, group=group) for photo, group in zip(photos(places), names, strict=True)]


def test_image_groups_are_submodels() -> None:
    """Each group a core; a photo that is in none joins the one that it matches best; names are fit for files."""
    names = ["east/1" if number % 10 >= 5 else "west" for number in range(40)]
    names[0] = ""
    east, west = cut(grouped(names), near(grid(10, 4, 20, 20), 45), 0)
    parts([east, west], 40)
    assert (east.name, west.name) == ("group000-east-1", "group001-west")
    assert 0 in west.core and all(number % 10 >= 5 for number in east.core)
    assert len(set(east.photos) & set(west.photos)) >= 6
