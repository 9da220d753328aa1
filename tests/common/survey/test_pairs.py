"""Which photos are compared."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
from clusterray.common.survey import pairs
from clusterray.common.survey.records import Photo


def photos(places: Sequence[tuple[float, float] | None], *, at: tuple[float, float] = (15.0, 48.0), altitude: float = 100.0) -> list[Photo]:
    """At metres east and north of a place on earth."""
    made = []
    for number, place in enumerate(places):
        photo = Photo(number=number, name=f"{number:04d}.jpg", width=800, height=600, camera="c", focal=700.0, focal_known=True)
        if place is not None:
            north = place[1] / 111_195
            east = place[0] / 111_195 / np.cos(np.radians(at[1]))
            longitude = (at[0] + east + 180) % 360 - 180
            photo = msgspec.structs.replace(photo, longitude=longitude, latitude=at[1] + north, altitude=altitude + 7.0 * number)
        made.append(photo)
    return made


def grid(columns: int, rows: int, dx: float, dy: float) -> list[tuple[float, float]]:
    return [(dx * column, dy * row) for row in range(rows) for column in range(columns)]


def nothing(numbers: Sequence[int]) -> list[tuple[int, int]]:
    raise AssertionError("looks are not needed")


def test_each_photo_is_compared_with_its_neighbours_on_the_ground() -> None:
    """The eight around it, whatever the altitudes say, and not with those across the survey."""
    choice = pairs.choose(photos(grid(10, 8, 20, 20)), nothing)
    chosen = set(choice.pairs)
    assert choice.by == "gps" and not choice.notes
    for row in range(8):
        for column in range(10):
            number = 10 * row + column
            near = [(column + 1, row), (column - 1, row + 1), (column, row + 1), (column + 1, row + 1)]
            assert all((number, 10 * y + x) in chosen for x, y in near if 0 <= x < 10 and y < 8)
    assert (0, 79) not in chosen
    assert all(first < second for first, second in choice.pairs) and list(choice.pairs) == sorted(chosen)


def test_strips_flown_densely_are_tied_across() -> None:
    """60 photos a strip, 2 m apart, strips 30 m apart: all 13 nearest are in the strip; each still has partners in the next."""
    choice = pairs.choose(photos(grid(60, 4, 2, 30)), nothing)
    for row in range(3):
        across = {first for first, second in choice.pairs if first // 60 == row and second // 60 == row + 1}
        assert len(across) > 40


def test_a_bad_gps_still_finds_the_neighbours() -> None:
    """Positions 17 m off, photos 30 m apart: nine of ten true neighbours are compared."""
    places = np.array(grid(10, 8, 30, 30))
    wrong = places + np.random.default_rng(0).normal(0, 17 / np.sqrt(2), places.shape)
    chosen = set(pairs.choose(photos([(x, y) for x, y in wrong]), nothing).pairs)
    true = [(number, number + 1) for number in range(80) if number % 10 < 9] + [(number, number + 10) for number in range(70)]
    assert sum(pair in chosen for pair in true) > 0.9 * len(true)


def test_as_many_neighbours_as_asked_for() -> None:
    """matcher-neighbors = 4: the four nearest and those around, no more."""
    few = pairs.choose(photos(grid(10, 8, 20, 20)), nothing, neighbours=4)
    assert len(few.pairs) < len(pairs.choose(photos(grid(10, 8, 20, 20)), nothing).pairs) / 2
    assert {(0, 1), (0, 10)} <= set(few.pairs)


def test_a_survey_on_the_date_line_is_one_place() -> None:
    """Neighbours on either side of 180 degrees are compared."""
    places = [(x, y) for x, y in np.array(grid(10, 8, 20, 20)) + np.random.default_rng(0).normal(0, 2, (80, 2))]
    there, here = (pairs.choose(photos(places, at=at), nothing) for at in ((179.9990, -17.0), (15.0, -17.0)))
    assert there.pairs == here.pairs


def test_a_photo_with_gps_far_away_is_told_and_compared_by_looks() -> None:
    """One of 40 photos says that it is 30 km away: named, and handed to retrieval alone."""
    places: list[tuple[float, float] | None] = list(grid(8, 5, 20, 20))
    places[17] = (30_000.0, 0.0)
    asked: list[Sequence[int]] = []

    def looks(numbers: Sequence[int]) -> list[tuple[int, int]]:
        asked.append(list(numbers))
        return [(17, 9), (17, 25)]

    choice = pairs.choose(photos(places), looks)
    assert asked == [[17]]
    assert {pair for pair in choice.pairs if 17 in pair} == {(9, 17), (17, 25)}
    assert any("0017.jpg" in note for note in choice.notes)


def test_photos_without_gps_among_others_are_compared_by_looks() -> None:
    """Without a note: nothing is wrong with them."""
    places: list[tuple[float, float] | None] = list(grid(8, 5, 20, 20))
    places[3] = None
    choice = pairs.choose(photos(places), lambda numbers: [(number, 20) for number in numbers])
    assert {pair for pair in choice.pairs if 3 in pair} == {(3, 20)} and not choice.notes


@pytest.mark.parametrize("places", [[None] * 20, [(0.1 * number, 0.0) for number in range(20)]])
def test_up_to_60_photos_that_gps_does_not_tell_apart_are_all_compared(places: list[tuple[float, float] | None]) -> None:
    """No GPS, or 20 photos of an object within 2 m."""
    assert len(pairs.choose(photos(places), nothing).pairs) == 190


def test_many_photos_without_gps_are_compared_by_looks_and_in_their_order() -> None:
    """100 photos: what retrieval says, and each with the next two."""
    choice = pairs.choose(photos([None] * 100), lambda numbers: [(5, 90)])
    assert choice.by == "looks"
    assert set(choice.pairs) == {(5, 90)} | {(n, n + 1) for n in range(99)} | {(n, n + 2) for n in range(98)}


def test_photos_in_one_straight_line_are_compared() -> None:
    """A single strip has no triangles."""
    choice = pairs.choose(photos([(10.0 * number, 0.0) for number in range(40)]), nothing)
    assert all((number, number + 1) in choice.pairs for number in range(39))


def test_jobs_hold_each_pair_once_and_few_photos() -> None:
    """Some 600 pairs of 80 photos: no job is longer than PAIRS or reads more than half of the photos; neighbours share jobs."""
    some = photos(grid(10, 8, 20, 20))
    choice = pairs.choose(some, nothing)
    runs = pairs.cut(choice.pairs, some)
    assert sorted(pair for run in runs for pair in run) == list(choice.pairs)
    assert max(map(len, runs)) <= pairs.PAIRS
    read = [len({number for pair in run for number in pair}) for run in runs]
    assert max(read) <= 40 and sum(read) / len(read) < 24
    assert runs == pairs.cut(choice.pairs, some)
    assert pairs.cut((), some) == []
